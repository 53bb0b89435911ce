"""Threads that work on requests, made as they are needed and kept.

`ThreadPoolExecutor` waits for each thread that it makes until it has run for a moment, under a lock
that all executors of the process share. On a busy server that is some milliseconds, and whoever
asks for a thread here is the one thread that all connections go through: a thousand calls at a
moment would hold everybody up for seconds.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

_LOOK_S = 0.01

_Task = tuple[Future[Any], Callable[[], Any]]


class Workers(Executor):
    """Threads that do what is asked for in the order of asking; an `Executor` that never waits.

    They do not keep Python from ending: see `join`.
    """

    def __init__(self, most: int) -> None:
        """None of them is made before it is needed.

        Args:
            most: how many there are at a time, if there may be so many: a container can limit them.
        """
        self._most = most
        self._count = 0
        # A thread that waits here has what it is to do as soon as it runs: of threads that waited
        # each for a lock of its own a tenth fewer small requests were answered. None ends one.
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._idle = 0  # threads that wait, but for those that something has been put there for
        self._left = 0  # of what is there, what no thread has been found for yet
        self._is_shut_down = False
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`; after `shutdown` what is asked for is cancelled."""
        task: _Task = Future(), lambda: fn(*args, **kwargs)
        with self._lock:
            is_over = self._is_shut_down
            is_new = not is_over and not self._idle and self._count < self._most
            if is_new:
                self._count += 1
            elif not is_over:
                self._put(task)
        if is_over:
            _cancel(task[0])
        elif is_new:
            self._start(task)
        return task[0]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        dropped: list[_Task | None] = []
        with self._lock:
            self._is_shut_down = True
            ending = self._idle
            self._idle = 0
            if cancel_futures:
                dropped = list(self._taken_back())
                ending += max(0, len(dropped) - self._left)  # who would have done them
                self._left = 0
            for _ in range(ending):
                self._tasks.put(None)
        for task in dropped:
            if task is not None:
                _cancel(task[0])
        if wait:
            self.join()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the threads have ended, after `shutdown`; whether they have in time."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self._count:
            if end is not None and time.monotonic() > end:
                return False
            time.sleep(_LOOK_S)
        return True

    def _taken_back(self) -> Iterator[_Task | None]:
        with suppress(Empty):
            while True:
                yield self._tasks.get_nowait()

    def _put(self, task: _Task) -> None:
        if self._idle:
            self._idle -= 1
        else:
            self._left += 1
        self._tasks.put(task)

    def _start(self, task: _Task) -> None:
        try:
            # threading.Thread's start waits as well. What a thread is given it keeps to its end.
            _thread.start_new_thread(self._work, ([task],))
        except RuntimeError:  # there are no more to be had: one that there is does it next
            with self._lock:
                self._count -= 1
                self._put(task)

    def _work(self, first: list[_Task]) -> None:
        task: _Task | None = first.pop()
        while task is not None:
            _do(*task)
            task = None  # and with it what was asked, while there is nothing else to do
            with self._lock:
                if self._left:
                    self._left -= 1
                elif self._is_shut_down:
                    break
                else:
                    self._idle += 1
            task = self._tasks.get()
        with self._lock:
            self._count -= 1


def _cancel(future: Future[Any]) -> None:
    future.cancel()
    future.set_running_or_notify_cancel()  # or whoever waits for it waits on


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
        del future  # which the error's traceback would keep alive, and be kept by
    else:
        future.set_result(result)
