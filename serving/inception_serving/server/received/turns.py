"""Turns, of which each request that is worked on has one, and what works for long in its turn."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from inception_serving import errors
from inception_serving.server.received.pauses import have_turn

# What a request may work on what it holds before it is one of those that work for long, and of
# these how long each before the next. Of most requests all is done by then, and of one of so few
# bytes.
_SHORT_S, SMALL_BYTES = 2e-3, 1 << 14
_PAUSE_S = 1e-5  # without one, whoever lets go of the lock has it back before another wakes
# A second of waiting weighs as much as so many that others have worked less.
_PATIENCE = 0.001
# Each that waits has a thread, and some memory. What takes less is done before it is in the way.
_MOST_WAITING, _IN_THE_WAY_S = 256, 0.01
# Requests come that have come within this time of each other. What is credited for standing still
# meanwhile is a part of all time, up to so much; of few that wait nobody does.
_COMING_S, _CREDITED, _MOST_CREDIT_S, _FEW_WAITING = 5e-3, 1 / 3, 1.0, 16


class Turns:
    """How many requests are worked on at a time; more wait.

    The next is one of the connection that has waited longest for one of its own, so that a
    connection with many calls is not before one with a single call.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        # By connection, the next one first; of each the locks that its requests wait for.
        self._waiting: dict[str, deque[threading.Lock]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def take(
        self,
        deadline: float | None,
        *,
        connection: str = "",
        is_small: bool = True,
        refuse: bool = False,
        check: Callable[[], object] = lambda: None,
    ) -> Iterator[Turn]:
        """Wait for a turn, and have it until the block ends.

        Args:
            deadline: a time of `time.monotonic()`.
            connection: that the request came over, if that counts.
            is_small: it is of so few bytes that it can't take long to read; any other is one of
                those that work for long as soon as there are some.
            refuse: do not wait.
            check: raises where nobody wants the answer any more; asked between the parts of what
                takes long.

        Raises:
            errors.DeadlineExceededError: it has passed before there was one.
            errors.ResourceExhaustedError: there is none, and nobody waits.
            errors.UnavailableError: too many wait that work for long.
        """
        turn = Turn(self, connection, check, is_small=is_small)
        have_turn(turn)
        try:
            if is_small or refuse:
                turn.begin(deadline, refuse=refuse)
            elif LONG_WORK.is_used or not turn.begin_at_once():
                turn.work_long()
            yield turn
        finally:
            have_turn(None)
            turn.end()

    def acquire(self, connection: str, timeout_s: float | None) -> bool:
        """Wait for a turn; whether there was one in time."""
        mine = threading.Lock()
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            if timeout_s is not None and timeout_s <= 0:
                return False
            mine.acquire()
            self._waiting.setdefault(connection, deque()).append(mine)
        longest = threading.TIMEOUT_MAX if timeout_s is None else timeout_s
        if mine.acquire(timeout=longest):  # when it is handed over
            return True
        with self._lock:
            waiting = self._waiting.get(connection, ())
            if mine not in waiting:
                return True  # it was handed over meanwhile
            self._waiting[connection].remove(mine)
            if not self._waiting[connection]:
                del self._waiting[connection]
            return False

    def release(self) -> None:
        """Hand a turn over, to who is next."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            connection = next(iter(self._waiting))
            waiting = self._waiting.pop(connection)
            waiting.popleft().release()
            if waiting:
                self._waiting[connection] = waiting  # behind the others


@dataclass(order=True)
class _Waiting:
    """A request that waits to work for long.

    Attributes:
        place: the least comes first.
        work_s: see `LongWork.acquire`.
        turn: is released when the request has its turn, or will have none.
    """

    place: float
    work_s: float = field(compare=False)
    turn: threading.Lock = field(compare=False)
    is_refused: bool = field(default=False, compare=False)


class LongWork:
    """Python's work on requests that takes long, one of them at a time, by turns of their own.

    It has Python's lock, and whoever has it makes those wait who want it for a moment, dozens of
    times for each request: one that works for long can be borne, eight can't. The next is who has
    worked least and is to work least, as far as that is known, so that what takes a millisecond
    does not wait for what takes many. What has waited long comes before others in the end, and of
    too many those that work for longest have no turn.

    Attributes:
        on_use: told when some begin to work for long, and when none does.
        came_at_s: when a request has last come, a time of `time.monotonic()`.
    """

    def __init__(self) -> None:
        self.on_use: Callable[[bool], None] = lambda is_used: None
        self.came_at_s = 0.0
        self._credit_s = self._credited_at_s = 0.0
        self._is_free = True
        self._waiting: list[_Waiting] = []  # in their order
        self._count = 0
        self._lock = threading.Lock()

    @property
    def is_used(self) -> bool:
        """Whether any work for long, or wait to."""
        return self._count > 0

    def let_come(self) -> None:
        """Stand still while requests come, where many wait that work for long; who has the turn.

        All connections go through one thread, which wants Python's lock some times for each
        request: it has that much sooner where nobody works meanwhile. A burst is let in at once,
        and of a stream that does not end a third of the time is given to it.
        """
        if len(self._waiting) <= _FEW_WAITING:
            return
        began_s = now_s = time.monotonic()
        self._credit_s += _CREDITED * (began_s - self._credited_at_s)
        self._credit_s = min(_MOST_CREDIT_S, self._credit_s)
        while now_s - self.came_at_s < _COMING_S and now_s - began_s < self._credit_s:
            time.sleep(_COMING_S / 5)
            now_s = time.monotonic()
        self._credit_s -= now_s - began_s
        self._credited_at_s = now_s

    def count(self, change: int) -> None:
        """Count those that work for long, or wait to."""
        with self._lock:
            before, self._count = self._count, self._count + change
            if (before == 0) != (self._count == 0):
                self.on_use(self._count > 0)

    def acquire(self, work_s: float) -> None:
        """Wait for the turn.

        Args:
            work_s: how long the request has worked, or is to work if that is known to be longer.

        Raises:
            errors.UnavailableError: too many wait whose work is less.
        """
        with self._lock:
            if self._is_free:
                self._is_free = False
                return
            mine = _Waiting(work_s + _PATIENCE * time.monotonic(), work_s, threading.Lock())
            mine.turn.acquire()
            insort(self._waiting, mine)
            last = self._waiting[-1]
            if len(self._waiting) > _MOST_WAITING and last.work_s > _IN_THE_WAY_S:
                self._waiting.pop()
                last.is_refused = True
                last.turn.release()
        mine.turn.acquire()  # when it is handed over
        if mine.is_refused:
            raise errors.UnavailableError(
                f"{_MOST_WAITING} requests wait that take long to read or to answer: try again "
                "later."
            )

    def release(self) -> None:
        """Hand the turn over, to who is next."""
        with self._lock:
            if self._waiting:
                self._waiting.pop(0).turn.release()
            else:
                self._is_free = True


# As many as there are locks.
LONG_WORK = LongWork()


class Turn:
    """A turn that a request has: one of many or, while it works for long, the one of those."""

    def __init__(
        self, turns: Turns, connection: str, check: Callable[[], object], *, is_small: bool
    ) -> None:
        """See `Turns.take`; it is not had before `begin`, or `work_long`."""
        self._turns = turns
        self._connection = connection
        self._check = check
        self._is_small = is_small
        self._worked_s = 0.0
        self._worked_before_s = 0.0  # and before it had this turn
        self._expected_s = 0.0
        self._is_long = False
        self._is_had = False

    def begin_at_once(self) -> bool:
        """Have it if there is one; whether it is had."""
        self._is_had = self._turns.acquire(self._connection, 0)
        return self._is_had

    def begin(self, deadline: float | None, *, refuse: bool) -> None:
        """Wait for it; see `Turns.take`."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        self._is_had = self._turns.acquire(self._connection, 0 if refuse else left)
        if not self._is_had and refuse:
            raise errors.ResourceExhaustedError("Server Threadpool Exhausted")
        if not self._is_had:
            raise errors.DeadlineExceededError("Deadline exceeded before the work began")

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Let others have it while this thread waits for something.

        Raises:
            errors.UnavailableError: it works for long, and is not given a turn again.
        """
        self._hand_over()
        try:
            yield
        finally:
            self._take_back()

    @contextmanager
    def lend_long(self) -> Iterator[None]:
        """Work for long, as the others that do, at something that Python's lock is not had for.

        Raises:
            errors.StatusError: see `work_long`.
        """
        self.work_long()
        with self.lend():
            yield

    def work_long(self, expected_s: float = 0.0) -> None:
        """Be one of those that work for long; until `end_long`.

        Args:
            expected_s: how long, if that is known.

        Raises:
            errors.StatusError: nobody wants the answer any more, or too many wait.
        """
        self._expected_s = max(self._expected_s, expected_s)
        if not self._is_long:
            LONG_WORK.count(1)
            self._hand_over()
            self._is_long = True
            self._take_back()
            LONG_WORK.let_come()
            self._check()

    def end_long(self) -> None:
        """Be none of those that work for long, or none yet."""
        self._worked_before_s = self._worked_s
        if self._is_long:
            self.end()
            self._take_back()

    def end(self) -> None:
        """Have none any more."""
        self._hand_over()
        if self._is_long:
            self._is_long = False
            LONG_WORK.count(-1)

    def worked(self, worked_s: float) -> None:
        """Count what the request has worked: the more, the later its next turn comes."""
        self._worked_s += worked_s

    def pause(self, worked_s: float) -> None:
        """Let others run, between two parts of something that takes long.

        Args:
            worked_s: how long the part took.

        Raises:
            errors.StatusError: nobody wants the answer any more, or too many wait.
        """
        self.worked(worked_s)
        is_over = self._worked_s - self._worked_before_s > _SHORT_S
        if not self._is_long and (is_over or (LONG_WORK.is_used and not self._is_small)):
            self.work_long()
        elif not is_over:
            time.sleep(_PAUSE_S)
            self._check()
        else:
            LONG_WORK.let_come()
            with self.lend():
                time.sleep(_PAUSE_S)
            self._check()

    def _hand_over(self) -> None:
        if self._is_had:
            self._is_had = False
            if self._is_long:
                LONG_WORK.release()
            else:
                self._turns.release()

    def _take_back(self) -> None:
        if self._is_had:
            return
        if self._is_long:
            LONG_WORK.acquire(max(self._worked_s, self._expected_s))
            self._worked_before_s = self._worked_s
        else:
            self._turns.acquire(self._connection, None)
        self._is_had = True
