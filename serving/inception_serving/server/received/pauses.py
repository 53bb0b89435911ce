"""Pauses in long Python work, during which other threads have Python's lock, and the turn.

Where Python walks what a client has sent, it holds that lock, which each request wants dozens of
times; and a request that takes long has a turn that others wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

_PAUSE_S = 1e-5  # without one, whoever lets go of the lock has it back before another wakes
_MANY = 2000  # parts, of which a few hundred take so long
_EACH_PART_S, _EACH_BYTE_S = 1e-6, 1e-9  # about
# A part takes a third of it. The rest is Python's search for cycles, say, which takes many times as
# long for what others hold.
_MOST_PART_S = 1e-3

# Bytes that are read or copied in one go: in more than a part's time, and in a good deal more.
_LARGE, _VERY_LARGE = 1 << 17, 1 << 22
_MOST_PAUSE_S = 0.1


class Turn(Protocol):
    """What a request has while it is worked on; see `turns.Turn`."""

    def lend(self) -> AbstractContextManager[object]:
        """Let others have it until the block ends."""

    def pause(self, worked_s: float) -> None:
        """Let others run, after so much work."""

    def work_long(self, expected_s: float = ...) -> None:
        """Be one of those that work for long, and for how long, about."""

    def worked(self, worked_s: float) -> None:
        """Count so much work."""


class _Mine(threading.local):
    turn: Turn | None = None
    worked_s = 0.0  # processor time of this thread when it last went on


class _VeryLarge:
    last = 0  # the thread that was last at work
    next_at = 0.0  # when another may be, a time of `time.monotonic()`


_mine = _Mine()
_very_large = _VeryLarge()


def have_turn(turn: Turn | None) -> None:
    """Say which turn this thread has, until it says that it has none."""
    _mine.turn = turn
    if turn is not None:
        _mine.worked_s = time.thread_time()


def work_on(parts: int) -> None:
    """Say of how many parts it is what is to be worked on next: many take long, pauses or not."""
    if parts > _MANY and _mine.turn is not None:
        _mine.turn.work_long(parts * _EACH_PART_S)


@contextmanager
def one_at_a_time(size: int) -> Iterator[None]:
    """Around what has Python's lock in one go, and for longer the more bytes it is of.

    What is large is work that takes long, of which one is at work at a time; after what is very
    large another begins when the rest have had as long.

    Raises:
        errors.StatusError: nobody wants the answer any more, or too many wait.
    """
    turn = _mine.turn
    if size < _LARGE or turn is None:
        yield
        return
    turn.work_long(size * _EACH_BYTE_S)
    if size >= _VERY_LARGE and _very_large.last != threading.get_ident():
        while (wait_s := _very_large.next_at - time.monotonic()) > 0:
            with turn.lend():
                time.sleep(wait_s)
    began_s = time.thread_time()
    try:
        yield
    finally:
        worked_s = time.thread_time() - began_s
        turn.worked(worked_s)
        if size >= _VERY_LARGE:
            _very_large.last = threading.get_ident()
            _very_large.next_at = time.monotonic() + min(worked_s, _MOST_PAUSE_S)
        _mine.worked_s = time.thread_time()


@contextmanager
def outside_python() -> Iterator[None]:
    """Around what is worked on without Python's lock, such as a run of a model: it does not count.

    Processor time is all that is known of a thread, whatever it spends it on.
    """
    try:
        yield
    finally:
        _mine.worked_s = time.thread_time()


def let_others_run() -> None:
    """Leave Python's lock to who waits for it, between two parts of something long.

    Raises:
        errors.StatusError: nobody wants the answer any more.
    """
    if _mine.turn is None:
        time.sleep(_PAUSE_S)
    else:
        _mine.turn.pause(min(time.thread_time() - _mine.worked_s, _MOST_PART_S))
    _mine.worked_s = time.thread_time()
