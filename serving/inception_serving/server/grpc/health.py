"""grpc.health.v1.Health, which answers whatever else the server has to do.

Its calls have threads of their own, and are not counted among those that others wait behind.

grpcio-health-checking's own servicer is not used: it waits, with its lock held, until a client has
taken what it watches for, and keeps every name that was ever watched.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2

from inception_serving import errors
from inception_serving.server.grpc.arrivals import Arrivals
from inception_serving.server.grpc.compressed import small_message
from inception_serving.server.grpc.threads import MessageThreads
from inception_serving.server.grpc.untaken import Untaken

# model_servers/server.cc names its services without their package; "" is the server as a whole.
_SERVICES = ("", "ModelService", "PredictionService")
_THREADS = 32
_MANY_WATCHES = 4096
_STOPPING = "The server is about to stop."

_Status = health_pb2.HealthCheckResponse


class Health:
    """The service's methods, over what it is told of the server."""

    def __init__(self, arrivals: Arrivals, untaken: Untaken) -> None:
        self._untaken = untaken
        self._status = _Status.SERVING
        # By context, also those of services that there are not: each ends with the server.
        self._watches: dict[Any, _Watch] = {}
        self._of_peers: Counter[str] = Counter()  # all watches, by connection
        self._lock = threading.Lock()
        # A call of Watch has its thread for as long as it takes to be noted.
        self._threads = MessageThreads(_THREADS, arrivals, are_small=True)

    def handlers(self) -> dict[str, Any]:
        """Each method's handler, by its name."""

        def check(data: bytes | errors.StatusError, context: Any) -> bytes:
            return self._check(data, context)

        def watch(data: bytes | errors.StatusError, context: Any, send: Any) -> None:
            self._watch(data, context, send)

        behaviours: Any = (check, watch)
        for behaviour in behaviours:
            behaviour.experimental_thread_pool = self._threads
        behaviours[1].experimental_non_blocking = True
        return {
            "Check": grpc.unary_unary_rpc_method_handler(check),
            "Watch": grpc.unary_stream_rpc_method_handler(watch),
        }

    def stop(self) -> None:
        """Say that the server is about to stop."""
        with self._lock:
            self._status = _Status.NOT_SERVING
            for watch in self._watches.values():
                watch.end(self._status)
            self._watches.clear()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False)

    def _check(self, data: bytes | errors.StatusError, context: Any) -> bytes:
        self._untaken.add(0, context)
        if _request(data, context).service not in _SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return _answer(self._status)

    def _watch(self, data: bytes | errors.StatusError, context: Any, send: Any) -> None:
        service = _request(data, context).service
        self._count(context)
        watch = _Watch(context, send)
        with self._lock:
            if self._status == _Status.NOT_SERVING:
                context.abort(grpc.StatusCode.UNAVAILABLE, _STOPPING)
            watch.say(self._status if service in _SERVICES else _Status.SERVICE_UNKNOWN)
            self._watches[context] = watch
        if not context.add_callback(lambda: self._forget(context)):
            self._forget(context)

    def _count(self, context: Any) -> None:
        """Count a watch until it ends. Where there are many, a connection may have one."""
        peer = context.peer()
        with self._lock:
            is_one_too_many = self._of_peers.total() >= _MANY_WATCHES and peer in self._of_peers
            self._of_peers[peer] += 1

        def forget() -> None:
            with self._lock:
                self._of_peers[peer] -= 1
                if not self._of_peers[peer]:
                    del self._of_peers[peer]

        if not context.add_callback(forget):
            forget()
        if is_one_too_many:
            text = f"{_MANY_WATCHES} watch, others of this connection among them."
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def _forget(self, context: Any) -> None:
        with self._lock:
            self._watches.pop(context, None)


class _Watch:
    """A call that is told of a status, without waiting until its client takes it.

    gRPC's own way of sending waits; a client that lets nothing through would have a thread.
    """

    def __init__(self, context: Any, send: Callable[[bytes | None], None]) -> None:
        self._context = context
        self._send = send
        self._is_taken = True
        context.send_initial_metadata(())

    def say(self, status: int) -> None:
        """Send a status; the one before has been taken."""
        self._is_taken = False
        message = cygrpc.SendMessageOperation(_answer(status), 0)
        self._context._rpc_event.call.start_server_batch((message,), self._taken)

    def end(self, status: int) -> None:
        """Send a last status, if the one before has been taken."""
        if not self._is_taken:
            self._context.cancel()
            return
        self.say(status)
        self._context.set_code(grpc.StatusCode.UNAVAILABLE)
        self._context.set_details(_STOPPING)
        self._send(None)

    def _taken(self, event: Any) -> tuple[None, tuple[()]]:
        self._is_taken = True
        return None, ()


def _answer(status: int) -> bytes:
    return bytes(_Status(status=status).SerializeToString())


def _request(data: bytes | errors.StatusError, context: Any) -> Any:
    """The message, where there is one and it is one; else the call is aborted."""
    try:
        if isinstance(data, errors.StatusError):
            raise data
        return health_pb2.HealthCheckRequest.FromString(small_message(data))
    except errors.StatusError as error:
        context.abort(grpc.StatusCode[errors.code_name(error)], str(error))
    except DecodeError:
        context.abort(grpc.StatusCode.INTERNAL, "")
