"""Pauses in long Python work, during which other threads have Python's lock, and the turn.

Where Python walks what a client has sent, it holds that lock, which each request wants dozens of
times; and a request that takes long has a turn that others wait for.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from typing import Protocol

_PAUSE_S = 1e-5  # without one, whoever lets go of the lock has it back before another wakes
# What is worked between two pauses, at most. Of many who work for long, about one has the lock.
_PART_S = 5e-4
_RECENT_S, _MOST_OTHERS = 0.1, 200


class Lendable(Protocol):
    """A turn that others may have meanwhile."""

    def lend(self) -> AbstractContextManager[object]:
        """Until the block ends."""


class _Mine(threading.local):
    turn: Lendable | None = None
    worked_s = 0.0  # processor time of this thread when it last went on


_mine = _Mine()
_paused: dict[int, float] = {}  # when each thread last did


def lend_in_pauses(turn: Lendable | None) -> None:
    """Say which turn this thread has, until it says that it has none."""
    _mine.turn = turn


def let_others_run() -> None:
    """Leave Python's lock to who waits for it, between two parts of something long."""
    now = time.monotonic()
    _paused[threading.get_ident()] = now
    recent = [thread for thread, since in list(_paused.items()) if now - since < _RECENT_S]
    if len(recent) < len(_paused) // 2:
        for thread in list(_paused.keys() - set(recent)):
            _paused.pop(thread, None)
    worked_s = min(time.thread_time() - _mine.worked_s, _PART_S)
    pause_s = _PAUSE_S + worked_s * min(len(recent) - 1, _MOST_OTHERS)
    if _mine.turn is None:
        time.sleep(pause_s)
    else:
        with _mine.turn.lend():
            time.sleep(pause_s)
    _mine.worked_s = time.thread_time()
