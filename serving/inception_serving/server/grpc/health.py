"""grpc.health.v1.Health, which answers whatever else the server has to do.

Its calls have threads of their own, and are not counted among those that others wait behind.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from inception_serving import errors
from inception_serving.server.grpc.arrivals import Arrivals
from inception_serving.server.grpc.threads import MessageThreads

# model_servers/server.cc names its services without their package; "" is the server as a whole.
_SERVICES = ("", "ModelService", "PredictionService")
_THREADS = 32


class Health:
    """The service's methods, over what it is told of the server."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._servicer = health.HealthServicer()
        # A call of Watch has its thread for as long as it takes to be noted.
        self._threads = MessageThreads(_THREADS, arrivals, name="health")

    def handlers(self) -> dict[str, Any]:
        """Each method's handler, by its name."""

        def check(data: bytes | errors.StatusError, context: Any) -> bytes:
            return self._check(data, context)

        def watch(data: bytes | errors.StatusError, context: Any, send: Any) -> None:
            self._servicer.Watch(_request(data, context), context, send)

        behaviours: Any = (check, watch)
        for behaviour in behaviours:
            behaviour.experimental_thread_pool = self._threads
        behaviours[1].experimental_non_blocking = True
        return {
            "Check": grpc.unary_unary_rpc_method_handler(check),
            "Watch": grpc.unary_stream_rpc_method_handler(
                watch, None, health_pb2.HealthCheckResponse.SerializeToString
            ),
        }

    def start(self) -> None:
        """Say that the server serves."""
        for service in _SERVICES:
            self._servicer.set(service, health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """Say that it is about to stop."""
        self._servicer.enter_graceful_shutdown()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False)

    def _check(self, data: bytes | errors.StatusError, context: Any) -> bytes:
        service = _request(data, context).service
        if service not in _SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return bytes(
            self._servicer.Check(
                health_pb2.HealthCheckRequest(service=service), context
            ).SerializeToString()
        )


def _request(data: bytes | errors.StatusError, context: Any) -> Any:
    """The message, where there is one and it is one; else the call is aborted."""
    if isinstance(data, errors.StatusError):
        context.abort(grpc.StatusCode[errors.code_name(data)], str(data))
    try:
        return health_pb2.HealthCheckRequest.FromString(data)
    except DecodeError:
        context.abort(grpc.StatusCode.INTERNAL, "")
