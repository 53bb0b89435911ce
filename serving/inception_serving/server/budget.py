"""Bounds on what the server holds at a time: the bytes of requests, and the memory of runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    Small runs share a half of it. Large ones have the other, but one less at a time than there are
    processors, and others wait: a decoder that works on a huge image for a second would
    otherwise have every thread that runs small ones. Not all wait: each that does has a thread.
    """

    def __init__(self, limit: int) -> None:
        """At most `limit` bytes."""
        self._most_waiting = limit * _MOST_WAITING
        self._waiting = 0
        self._most_small = limit // 2
        self._most_large = limit - self._most_small
        self._large_at_a_time = max(1, (os.cpu_count() or 1) - 1)
        self._small = 0
        self._large = 0
        self._large_count = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, size: int, *, deadline: float | None, turn: Turn | None) -> Iterator[None]:
        """Wait until there is room for a run, and have it until the block ends.

        Args:
            deadline: a time of `time.monotonic()` after which nobody wants the answer.
            turn: that others may have while this thread waits.

        Raises:
            errors.ResourceExhaustedError: the run is larger than any may be, or too many wait.
            errors.DeadlineExceededError: the deadline passed first.
        """
        if size > self._most_large:
            raise errors.ResourceExhaustedError(
                f"The request takes about {size} bytes of memory to run, of at most "
                f"{self._most_large} (--max_bytes_in_work)."
            )
        is_large = size > self._most_small // 4
        enter = self._enter_large if is_large else self._enter_small
        if not enter(size):
            if turn is None:
                self._wait(enter, size, deadline)
            else:
                with turn.lend():
                    self._wait(enter, size, deadline)
        try:
            yield
        finally:
            with self._changed:
                if is_large:
                    self._large -= size
                    self._large_count -= 1
                else:
                    self._small -= size
                self._changed.notify_all()

    def _wait(self, enter: Callable[[int], bool], size: int, deadline: float | None) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        with self._changed:
            if self._waiting + size > self._most_waiting:
                raise errors.ResourceExhaustedError(
                    f"Requests that take about {self._waiting} bytes of memory to run wait for "
                    "their turn: try again later."
                )
            self._waiting += size
            try:
                if not self._changed.wait_for(lambda: enter(size), left):
                    raise errors.DeadlineExceededError("Deadline exceeded before the work began")
            finally:
                self._waiting -= size

    def _enter_small(self, size: int) -> bool:
        with self._changed:
            fits = self._small + size <= self._most_small
            self._small += size if fits else 0
            return fits

    def _enter_large(self, size: int) -> bool:
        with self._changed:
            fits = (
                self._large_count < self._large_at_a_time and self._large + size <= self._most_large
            )
            if fits:
                self._large += size
                self._large_count += 1
            return fits
