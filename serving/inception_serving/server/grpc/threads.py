"""Threads for calls whose message is there.

gRPC gives a call a thread as soon as it has begun, which waits for the message: a thousand calls
that send none would take a thousand threads. Here a call waits for its message without one, and
what is refused takes none either: gRPC's own thread, which all calls go through, says so at once.

This knows what gRPC hands to a pool of threads, which gRPC does not promise: checked on grpcio
1.85. What it does not know is run as in any pool.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from grpc._cython import cygrpc

from inception_serving import errors
from inception_serving.server.grpc.arrivals import Arrivals
from inception_serving.server.received.turns import LONG_WORK
from inception_serving.server.received.workers import Workers

_DONE: Future[Any] = Future()  # gRPC asks nothing of it but whether the call still has its thread
_DONE.set_result(None)


class MessageThreads(ThreadPoolExecutor):
    """Threads for the methods of one message, whose handler gets its bytes.

    Or the error, where there is none: the handler then raises it, at once, since it has no thread.

    Of its class it is since gRPC takes no other; the threads are `Workers`.
    """

    def __init__(
        self,
        threads: int,
        arrivals: Arrivals,
        *,
        most: int | None = None,
        are_small: bool = False,
    ) -> None:
        """None of them is made before it is needed.

        Args:
            threads: at most.
            arrivals: knows the calls that wait for their message.
            most: calls that have a thread, or wait for one; of more those are refused whose
                connection has more than its share of them.
            are_small: nobody sends these methods a large message.
        """
        super().__init__(1)
        self._workers = Workers(threads)
        self._arrivals = arrivals
        self._most = most
        self._are_small = are_small
        self._under_way = 0
        self._of_connection: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`; gRPC asks for this on its own thread."""
        if len(args) < 5 or not hasattr(args[1], "call"):
            return self._workers.submit(fn, *args, **kwargs)
        LONG_WORK.came_at_s = time.monotonic()
        target, event, state, behaviour, _, *rest = args
        call = event.call
        connection = call.peer()  # such as b"ipv4:127.0.0.1:50000"

        def run(message: bytes | errors.StatusError) -> None:
            fn(target, event, state, behaviour, lambda: message, *rest)

        def work(message: bytes) -> None:
            try:
                run(message)
            finally:
                self._end(connection)

        def arrived(arrival: Any) -> tuple[None, tuple[()]]:
            LONG_WORK.came_at_s = time.monotonic()
            self._arrivals.end(call, connection)
            message = arrival.batch_operations[0].message()
            if message is None:
                if arrival.success:  # rather than a call that has ended
                    run(errors.UnimplementedError("The call needs exactly one message."))
            elif self._begin(connection):
                self._workers.submit(work, message)
            else:
                text = f"More than {self._most} calls are under way: try again later."
                run(errors.ResourceExhaustedError(text))
            return None, ()

        if self._arrivals.begin(call, connection, is_small=self._are_small):
            call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), arrived)
        else:
            text = "Too many calls wait for their message, most of them of a few connections."
            run(errors.ResourceExhaustedError(text))
        return _DONE

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        self._workers.shutdown(wait, cancel_futures=cancel_futures)

    def join(self, timeout_s: float | None = None) -> bool:
        """See `Workers.join`."""
        return self._workers.join(timeout_s)

    def _begin(self, connection: bytes) -> bool:
        """Count a call, if it may be under way."""
        with self._lock:
            if self._most is not None and self._under_way >= self._most:
                share = max(1, self._most // max(1, len(self._of_connection)))
                is_more = self._of_connection[connection] >= share
                if is_more or self._under_way >= 2 * self._most:
                    return False
            self._under_way += 1
            self._of_connection[connection] += 1
            return True

    def _end(self, connection: bytes) -> None:
        with self._lock:
            self._under_way -= 1
            self._of_connection[connection] -= 1
            if not self._of_connection[connection]:
                del self._of_connection[connection]


class NoThreads(ThreadPoolExecutor):
    """What is refused, which takes as long as it takes to say so."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`."""
        fn(*args, **kwargs)
        return _DONE
