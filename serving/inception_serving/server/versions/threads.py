"""Threads that load versions, any of which a disk may keep for ever."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

# A read of a disk that has gone, such as a network's, may never return; a large model takes less.
STALLED_S = 60.0


class LoadThreads:
    """Some threads that work at a time; for one that is at its work for long comes another."""

    def __init__(self, count: int) -> None:
        """Start none before there is work.

        Args:
            count: how many work at a time.
        """
        self._count = count
        self._waiting: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._begun: dict[Future[None], float] = {}
        self._replaced: set[Future[None]] = set()
        self._threads = 0  # but for those that have been replaced
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Have work done, in the order of asking."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting.append((work, future))
            self._start_threads()
        return future

    def replace_stalled(self) -> None:
        """Have others do the work that waits behind what has been going on for long."""
        with self._lock:
            oldest = time.monotonic() - STALLED_S
            stalled = {future for future, begun in self._begun.items() if begun <= oldest}
            self._threads -= len(stalled - self._replaced)
            self._replaced |= stalled
            self._start_threads()

    def is_stalled(self, work: Future[None]) -> bool:
        """Whether others have been put in the place of the thread that does this work."""
        with self._lock:
            return work in self._replaced

    def cancel_waiting(self) -> None:
        """Begin nothing more of what has been asked for."""
        with self._lock:
            while self._waiting:
                future = self._waiting.popleft()[1]
                future.cancel()
                future.set_running_or_notify_cancel()  # or whoever waits for it waits on

    def _start_threads(self) -> None:
        for _ in range(min(self._count - self._threads, len(self._waiting))):
            self._threads += 1
            threading.Thread(target=self._work, name="loader_", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                work, future = self._waiting.popleft()
                self._begun[future] = time.monotonic()
            try:
                work()
            finally:
                with self._lock:
                    del self._begun[future]
                    is_replaced = future in self._replaced
                    self._replaced.discard(future)
                future.set_result(None)
            if is_replaced:
                return
