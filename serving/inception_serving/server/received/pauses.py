"""Pauses in long Python work, during which other threads have Python's lock, and the turn.

Where Python walks what a client has sent, it holds that lock, which each request wants dozens of
times; and a request that takes long has a turn that others wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

_PAUSE_S = 1e-5  # without one, whoever lets go of the lock has it back before another wakes
_PART_S = 5e-4  # what is worked between two pauses, at most
_MANY = 2000  # parts, of which a few hundred take so long

_LARGE = 1 << 17  # bytes that are read or copied in one go, in more than a part's time
_MOST_PAUSE_S = 0.1


class Turn(Protocol):
    """What a request has while it is worked on; see `turns.Turn`."""

    def lend(self) -> AbstractContextManager[object]:
        """Let others have it until the block ends."""

    def pause(self, worked_s: float) -> None:
        """Let others run, after so much work."""

    def work_long(self) -> None:
        """Be one of those that work for long."""


class _Mine(threading.local):
    turn: Turn | None = None
    worked_s = 0.0  # processor time of this thread when it last went on


class _Large:
    lock = threading.Lock()
    last = 0  # the thread that was last at work
    next_at = 0.0  # when another may be, a time of `time.monotonic()`


_mine = _Mine()
_large = _Large()


def have_turn(turn: Turn | None) -> None:
    """Say which turn this thread has, until it says that it has none."""
    _mine.turn = turn


def work_on(parts: int) -> None:
    """Say of how many parts it is what is to be worked on next: many take long, pauses or not."""
    if parts > _MANY and _mine.turn is not None:
        _mine.turn.work_long()


@contextmanager
def one_at_a_time(size: int) -> Iterator[None]:
    """Around what has Python's lock in one go, and for longer the more bytes it is of.

    Of those that are large one is at work at a time, and another begins when the rest have had as
    long. Not to be entered again by who is within.
    """
    if size < _LARGE:
        yield
        return
    with _lent():
        _large.lock.acquire()
        if _large.last != threading.get_ident():
            time.sleep(max(0.0, _large.next_at - time.monotonic()))
    began_s = time.thread_time()
    try:
        yield
    finally:
        worked_s = time.thread_time() - began_s
        _large.last = threading.get_ident()
        _large.next_at = time.monotonic() + min(worked_s, _MOST_PAUSE_S)
        _large.lock.release()
        _mine.worked_s = time.thread_time()


def _lent() -> AbstractContextManager[object]:
    return nullcontext() if _mine.turn is None else _mine.turn.lend()


def let_others_run() -> None:
    """Leave Python's lock to who waits for it, between two parts of something long.

    Raises:
        errors.StatusError: nobody wants the answer any more.
    """
    worked_s = min(time.thread_time() - _mine.worked_s, _PART_S)
    if _mine.turn is None:
        time.sleep(_PAUSE_S)
    else:
        _mine.turn.pause(worked_s)
    _mine.worked_s = time.thread_time()
