"""Answers on their way out, which gRPC keeps for as long as their clients do not take them.

A client may let nothing through and still answer every ping. So what is kept counts among the
bytes that the server may hold, and where others need the place, those go first that were given
longest ago.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from inception_serving.server.budget import ByteBudget, Reservation

_LITTLE = 1 << 12
_MOST_LITTLE = 2048  # calls with little or nothing to take, 14 KB each; they may end together
_YOUNG_S = 1.0  # in which nobody has to have taken an answer


class Untaken:
    """The answers that have been given, and not been taken whole."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held: dict[Any, tuple[float, Reservation]] = {}  # by context, oldest first
        self._little: dict[Any, None] = {}  # those with less, which are counted alone; oldest first
        self._lock = threading.Lock()

    def add(self, size: int, context: Any) -> None:
        """Count an answer until its call has ended; for which others may have to end now."""
        if size < _LITTLE:
            self._add_little(context)
            return
        with self._lock:
            self._held[context] = time.monotonic(), self._budget.hold(size)
        if not context.add_callback(lambda: self._forget(context)):
            self._forget(context)
        while self._budget.is_over and self._end_oldest(0, but=context):
            pass

    def _add_little(self, context: Any) -> None:
        with self._lock:
            self._little[context] = None
        if not context.add_callback(lambda: self._forget_little(context)):
            self._forget_little(context)
        with self._lock:
            oldest = next(iter(self._little)) if len(self._little) > _MOST_LITTLE else None
        if oldest is not None:
            oldest.cancel()
            self._forget_little(oldest)

    def _forget_little(self, context: Any) -> None:
        with self._lock:
            self._little.pop(context, None)

    def make_way(self) -> bool:
        """End the call whose answer was given longest ago, if that is long; whether one was."""
        return self._end_oldest(_YOUNG_S)

    def _end_oldest(self, young_s: float, *, but: Any = None) -> bool:
        with self._lock:
            context, (since, _) = next(iter(self._held.items()), (None, (0.0, None)))
        if context is None or context is but or time.monotonic() - since < young_s:
            return False
        context.cancel()
        self._forget(context)
        return True

    def _forget(self, context: Any) -> None:
        with self._lock:
            _, reservation = self._held.pop(context, (0.0, None))
        if reservation is not None:
            reservation.release()
