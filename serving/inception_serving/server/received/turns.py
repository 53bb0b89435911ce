"""Turns, of which each request that is worked on has one, and what works for long in its turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inception_serving import errors
from inception_serving.server.received.pauses import have_turn

# What a request may work on what it holds before it is one of those that work for long, and of
# these how long each before the next. Of most requests all is done by then.
_SHORT_S = 2e-3
_PAUSE_S = 1e-5  # without one, whoever lets go of the lock has it back before another wakes


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
        refuse: bool = False,
        check: Callable[[], object] = lambda: None,
    ) -> Iterator[Turn]:
        """Wait for a turn, and have it until the block ends.

        Args:
            deadline: a time of `time.monotonic()`.
            connection: that the request came over, if that counts.
            refuse: do not wait.
            check: raises where nobody wants the answer any more; asked between the parts of what
                takes long.

        Raises:
            errors.DeadlineExceededError: it has passed before there was one.
            errors.ResourceExhaustedError: there is none, and nobody waits.
        """
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self.acquire(connection, 0 if refuse else left):
            if refuse:
                raise errors.ResourceExhaustedError("Server Threadpool Exhausted")
            raise errors.DeadlineExceededError("Deadline exceeded before the work began")
        turn = Turn(self, connection, check)
        have_turn(turn)
        try:
            yield turn
        finally:
            have_turn(None)
            turn.end_long()
            self.release()

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


class LongWork:
    """Python's work on requests that takes long, one of them at a time, by turns of their own.

    It has Python's lock, and whoever has it makes those wait who want it for a moment, dozens of
    times for each request: one that works for long can be borne, eight can't.

    Attributes:
        on_use: told when some begin to work for long, and when none does.
    """

    def __init__(self) -> None:
        self.on_use: Callable[[bool], None] = lambda is_used: None
        self.turns = Turns(1)
        self._count = 0
        self._lock = threading.Lock()

    @property
    def is_used(self) -> bool:
        """Whether any work for long, or wait to."""
        return self._count > 0

    def count(self, change: int) -> None:
        """Count those that work for long, or wait to."""
        with self._lock:
            before, self._count = self._count, self._count + change
            if (before == 0) != (self._count == 0):
                self.on_use(self._count > 0)


# As many as there are locks.
LONG_WORK = LongWork()


class Turn:
    """A turn that a request has."""

    def __init__(self, turns: Turns, connection: str, check: Callable[[], object]) -> None:
        self._turns = turns
        self._connection = connection
        self._check = check
        self._worked_s = 0.0
        self._is_long = False

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Let others have it while this thread waits for something."""
        self._turns.release()
        if self._is_long:
            LONG_WORK.turns.release()
        try:
            yield
        finally:
            self._take_back()

    def work_long(self) -> None:
        """Be one of those that work for long; until `end_long`.

        Raises:
            errors.StatusError: nobody wants the answer any more.
        """
        if not self._is_long:
            LONG_WORK.count(1)
            self._turns.release()  # nobody has one who waits for the others
            self._is_long = True
            self._worked_s = 0.0
            self._take_back()
            self._check()

    def end_long(self) -> None:
        """Be none of those that work for long, or none yet."""
        if self._is_long:
            self._is_long = False
            LONG_WORK.turns.release()
            LONG_WORK.count(-1)
        self._worked_s = 0.0

    def pause(self, worked_s: float) -> None:
        """Let others run, between two parts of something that takes long.

        Args:
            worked_s: how long the part took.

        Raises:
            errors.StatusError: nobody wants the answer any more.
        """
        self._worked_s += worked_s
        if not self._is_long:
            if self._worked_s > _SHORT_S or LONG_WORK.is_used:
                self.work_long()
            else:
                with self.lend():
                    time.sleep(_PAUSE_S)
            return
        self._turns.release()
        time.sleep(_PAUSE_S)
        if self._worked_s > _SHORT_S:
            self._worked_s = 0.0
            LONG_WORK.turns.release()
            LONG_WORK.turns.acquire(self._connection, None)
        self._turns.acquire(self._connection, None)
        self._check()

    def _take_back(self) -> None:
        if self._is_long:
            LONG_WORK.turns.acquire(self._connection, None)
        self._turns.acquire(self._connection, None)
