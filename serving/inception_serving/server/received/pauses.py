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
# What is worked between two pauses, at most.
_PART_S = 5e-4
# For each of the others who work for long, a pause of so many times what was worked: all of them
# together have about half of the lock. If they had all of it, who needs it for anything else would
# wait behind most of them, each time.
_TIMES = 2
_RECENT_S, _MOST_OTHERS = 0.1, 200

_LARGE = 1 << 17  # bytes that are read or copied in one go, in more than a part's time
_MOST_PAUSE_S = 0.1


class Lendable(Protocol):
    """A turn that others may have meanwhile."""

    def lend(self) -> AbstractContextManager[object]:
        """Until the block ends."""


class _Mine(threading.local):
    turn: Lendable | None = None
    worked_s = 0.0  # processor time of this thread when it last went on


class _Large:
    lock = threading.Lock()
    last = 0  # the thread that was last at work
    next_at = 0.0  # when another may be, a time of `time.monotonic()`


_mine = _Mine()
_large = _Large()
_paused: dict[int, float] = {}  # when each thread last did


def lend_in_pauses(turn: Lendable | None) -> None:
    """Say which turn this thread has, until it says that it has none."""
    _mine.turn = turn


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
    """Leave Python's lock to who waits for it, between two parts of something long."""
    now = time.monotonic()
    _paused[threading.get_ident()] = now
    recent = [thread for thread, since in list(_paused.items()) if now - since < _RECENT_S]
    if len(recent) < len(_paused) // 2:
        for thread in list(_paused.keys() - set(recent)):
            _paused.pop(thread, None)
    worked_s = min(time.thread_time() - _mine.worked_s, _PART_S)
    pause_s = _PAUSE_S + _TIMES * worked_s * min(len(recent) - 1, _MOST_OTHERS)
    with _lent():
        time.sleep(pause_s)
    _mine.worked_s = time.thread_time()
