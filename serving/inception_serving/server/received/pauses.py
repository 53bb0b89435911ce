"""Pauses in long Python work, during which other threads have Python's lock.

Where Python walks what a client has sent, it holds that lock, which each request wants dozens of
times.
"""

from __future__ import annotations

import time

_PAUSE_S = 1e-5  # without one, whoever lets go of the lock has it back before another wakes


def let_others_run() -> None:
    """Leave Python's lock to who waits for it, between two parts of something long."""
    time.sleep(_PAUSE_S)
