"""Bounds on what the server holds at a time: the bytes of requests, and the memory of runs."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import TracebackType

from inception_serving import errors
from inception_serving.server.received.turns import Turn

# The defaults keep what requests add to the loaded models below 1.5 GiB.
_BYTES, _WORK_BYTES = 128 << 20, 768 << 20
_MUCH = 1 << 20
# An answer up to here takes less than what a thread takes anyway.
_SMALL_ANSWER = 1 << 18
# What a request may have whatever others hold, as a part of the limit: 64 KiB. Calls and
# connections, and so what all of these may have together, are counted elsewhere.
_ALWAYS = 1 / 2048
# What waits for memory may want so many times what there is, or nobody else would find a thread.
_MOST_WAITING = 8


def default_limit() -> int:
    """The bytes of all requests in flight: 128 MiB, on a small machine a sixteenth of the memory.

    A request is held as bytes, parsed and as arrays, so the memory that it takes is some times
    as much.
    """
    return min(_memory() // 16, _BYTES)


def default_work_limit() -> int:
    """The memory of all runs: 768 MiB, on a small machine a quarter of the memory."""
    return min(_memory() // 4, _WORK_BYTES)


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return _WORK_BYTES * 16


class ByteBudget:
    """The bytes of all requests in flight, over gRPC and REST together.

    A request may have half of what the others leave, so that they never leave nothing, and a small
    one always finds its place.

    Attributes:
        limit: the bytes.
        on_much: told when the requests begin, or cease, to hold a megabyte.
        ways: of making way for a request that has no place; each ends another that holds its own
            for no good reason, and says whether there was one.
    """

    def __init__(self, limit: int) -> None:
        """At most `limit` bytes."""
        self.limit = limit
        self.on_much: Callable[[bool], None] = lambda is_much: None
        self.ways: list[Callable[[], bool]] = []
        self._always = int(limit * _ALWAYS)
        self._held = 0
        self._lock = threading.Lock()

    @property
    def largest(self) -> int:
        """The bytes of the largest request, where there is no other."""
        return self.limit // 2

    def reserve(self, size: int = 0) -> Reservation:
        """Take `size` bytes until the `with` block ends; a reservation can grow meanwhile.

        Raises:
            errors.ResourceExhaustedError: the request is larger than any may be.
            errors.UnavailableError: it is not, but others hold too much.
        """
        reservation = Reservation(self)
        reservation.grow(size)
        return reservation

    def hold(self, size: int) -> Reservation:
        """Take `size` bytes that are held in any case, beyond the limit too."""
        with self._lock:
            self._change(size)
        return Reservation(self, size)

    def make_room(self) -> None:
        """End others, where more is held than the limit."""
        while self.is_over and any(make_way() for make_way in self.ways):
            pass

    @property
    def is_over(self) -> bool:
        """Whether more is held than the limit."""
        return self._held > self.limit

    def take(self, size: int, already: int) -> None:
        """Take more for a request that holds `already`; see `reserve`."""
        wanted = size + already
        if wanted > self.largest:
            raise errors.ResourceExhaustedError(
                f"The request is larger than the {self.largest} bytes that this server takes."
            )
        while not self._fits(size, already):
            if not any(make_way() for make_way in self.ways):
                raise errors.UnavailableError(
                    f"The other requests in flight hold {self._held - already} bytes, of at most "
                    f"{self.limit}: try again later."
                )

    def _fits(self, size: int, already: int) -> bool:
        """Take more if it fits; whether it did."""
        with self._lock:
            left = self.limit - (self._held - already)
            fits = size + already <= max(left // 2, self._always)
            if fits:
                self._change(size)
            return fits

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._change(-size)

    def _change(self, size: int) -> None:
        before, self._held = self._held, self._held + size
        if (before >= _MUCH) != (self._held >= _MUCH):
            self.on_much(self._held >= _MUCH)


class Reservation:
    """One request's part of a budget."""

    def __init__(self, budget: ByteBudget, size: int = 0) -> None:
        self._budget = budget
        self._size = size

    @property
    def size(self) -> int:
        """The bytes that it has."""
        return self._size

    def grow(self, size: int) -> None:
        """Take more; see `ByteBudget.reserve`. What it has stays its own, whoever comes."""
        if size:
            self._budget.take(size, self._size)
        self._size += size

    def release(self) -> None:
        """Give everything back."""
        self._budget.give_back(self._size)
        self._size = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def claim_answer(claim: Callable[[int], None] | None, size: int) -> None:
    """Take what an answer needs to be written, before it is, for the request that it answers.

    Args:
        claim: takes more bytes for the request, or raises; see `Reservation.grow`.
        size: of the outputs, and of what is written of them, at most.

    Raises:
        errors.ResourceExhaustedError: no request may have so much.
        errors.UnavailableError: others hold too much.
    """
    if claim is None or size <= _SMALL_ANSWER:
        return
    try:
        claim(size)
    except errors.ResourceExhaustedError as error:
        raise errors.ResourceExhaustedError(
            f"The answer takes about {size} bytes to write, more than a request may have: send "
            "fewer rows, ask for fewer outputs (output_filter), or start the server with a larger "
            "--max_bytes_in_flight."
        ) from error


class Workspace:
    """The memory that runs take at a time, by what is known of them before they begin.

    Large runs have a half of it, but one less at a time than there are processors, and others wait:
    a decoder that works on a huge image for a second would otherwise have every thread that runs
    small ones. Small ones share the rest. Of that, those that take what a photo does have a quarter
    of the whole for themselves, and those that take next to nothing a sixteenth, whatever else
    there is. Within each part they begin in the order in which they came. Not all wait: each that
    does has a thread.
    """

    def __init__(self, limit: int) -> None:
        """At most `limit` bytes."""
        self._lock = threading.Lock()
        self._largest = limit - limit // 2
        little, photos, waiting = limit // 16, limit // 4, limit * _MOST_WAITING
        processors = os.cpu_count() or 1
        # By the largest run that each is for.
        self._rooms = {
            little // 32: _Room(little, waiting),
            photos // 8: _Room(photos, waiting),
            limit // 8: _Room(limit // 2 - little - photos, waiting),
            self._largest: _Room(self._largest, waiting, places=max(1, processors - 1)),
        }

    @contextmanager
    def take(self, size: int, *, deadline: float | None, turn: Turn | None) -> Iterator[None]:
        """Wait until there is room for a run, and have it until the block ends.

        Args:
            deadline: a time of `time.monotonic()` after which nobody wants the answer.
            turn: that others may have while this thread waits.

        Raises:
            errors.ResourceExhaustedError: the run is larger than any may be, or too many wait.
            errors.DeadlineExceededError: the deadline passed first.
            errors.UnavailableError: see `Turn.lend`.
        """
        if size > self._largest:
            raise errors.ResourceExhaustedError(
                f"The request takes about {size} bytes of memory to run, of at most "
                f"{self._largest} (--max_bytes_in_work)."
            )
        room = next(room for most, room in self._rooms.items() if size <= most)
        with self._lock:
            mine = room.join(size)
        with ExitStack() as had:
            if mine.acquire(blocking=False):
                had.callback(self._leave, room, size)
            else:
                with nullcontext() if turn is None else turn.lend():
                    self._wait(room, size, mine, deadline)
                    had.callback(self._leave, room, size)  # also where no turn is given again
            yield

    def _leave(self, room: _Room, size: int) -> None:
        with self._lock:
            room.leave(size)

    def _wait(self, room: _Room, size: int, mine: threading.Lock, deadline: float | None) -> None:
        left = threading.TIMEOUT_MAX if deadline is None else deadline - time.monotonic()
        if mine.acquire(timeout=max(0.0, left)):
            return
        with self._lock:
            if room.give_up(size, mine):
                raise errors.DeadlineExceededError("Deadline exceeded before the work began")


class _Room:
    """A part of a workspace, that runs enter in the order in which they came."""

    def __init__(self, limit: int, most_waiting: int, *, places: int | None = None) -> None:
        self._left = limit
        self._places = places
        self._inside = 0
        self._most_waiting = most_waiting
        # What each takes, and a lock that it waits for.
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def join(self, size: int) -> threading.Lock:
        """Come in, or wait; a lock that is free when the run may begin."""
        waiting = sum(each for each, _ in self._waiting)
        is_next = not self._waiting and self._fits(size)
        if not is_next and waiting + size > self._most_waiting:
            raise errors.ResourceExhaustedError(
                f"Requests that take about {waiting} bytes of memory to run wait for their turn: "
                "try again later."
            )
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append((size, mine))
        self._admit()
        return mine

    def leave(self, size: int) -> None:
        """Make room for the next."""
        self._left += size
        self._inside -= 1
        self._admit()

    def give_up(self, size: int, mine: threading.Lock) -> bool:
        """Wait no longer; False where the run may begin after all."""
        if (size, mine) not in self._waiting:
            return False
        self._waiting.remove((size, mine))
        self._admit()
        return True

    def _fits(self, size: int) -> bool:
        return size <= self._left and (self._places is None or self._inside < self._places)

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, lock = self._waiting.popleft()
            self._left -= size
            self._inside += 1
            lock.release()
