"""grpc.health.v1.Health, which answers whatever else the server has to do.

Its calls have threads of their own, and are not counted among those that others wait behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from inception_serving import errors
from inception_serving.server.grpc.arrivals import Arrivals

# model_servers/server.cc names its services without their package; "" is the server as a whole.
_SERVICES = ("", "ModelService", "PredictionService")
_THREADS = 32


class Health:
    """The service's methods, over what it is told of the server."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._servicer = health.HealthServicer()
        self._checks = ThreadPoolExecutor(_THREADS, thread_name_prefix="health")
        # A call of Watch that has sent its message needs no thread.
        self._watches = ThreadPoolExecutor(_THREADS, thread_name_prefix="health_watch")

    def handlers(self) -> dict[str, Any]:
        """Each method's handler, by its path."""

        def check(messages: Iterator[bytes], context: Any) -> bytes:
            return self._check(messages, context)

        def watch(request: Any, context: Any, send: Any) -> None:
            self._servicer.Watch(request, context, send)

        behaviours: Any = (check, watch)
        for behaviour, pool in zip(behaviours, (self._checks, self._watches), strict=True):
            behaviour.experimental_thread_pool = pool
        behaviours[1].experimental_non_blocking = True
        return {
            f"/{health.SERVICE_NAME}/Check": grpc.stream_unary_rpc_method_handler(check),
            f"/{health.SERVICE_NAME}/Watch": grpc.unary_stream_rpc_method_handler(
                watch,
                health_pb2.HealthCheckRequest.FromString,
                health_pb2.HealthCheckResponse.SerializeToString,
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
        self._checks.shutdown(wait=False)
        self._watches.shutdown(wait=False)

    def _check(self, messages: Iterator[bytes], context: Any) -> bytes:
        try:
            data = self._arrivals.receive(messages, context)
            if data is None:
                return b""  # to nobody
            service = health_pb2.HealthCheckRequest.FromString(data).service
        except errors.StatusError as error:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
        except DecodeError:
            context.abort(grpc.StatusCode.INTERNAL, "")
        if service not in _SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return bytes(
            self._servicer.Check(
                health_pb2.HealthCheckRequest(service=service), context
            ).SerializeToString()
        )
