"""grpc.reflection.v1alpha, by which grpcurl and its like find out what is served.

grpcio-reflection answers; its streams are known here, so that none that is open puts off the end of
the server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from inception_serving import errors, messages
from inception_serving.server.grpc.arrivals import Arrivals
from inception_serving.server.grpc.compressed import small_message


class Reflection:
    """The service's method."""

    def __init__(self, arrivals: Arrivals, *, health_service: bool) -> None:
        """Of PredictionService, ModelService and itself.

        Args:
            arrivals: knows the streams, which may always wait for something more.

        Raises:
            errors.ServerStartError: grpcio-reflection is not installed.
        """
        try:
            from grpc_reflection.v1alpha import reflection, reflection_pb2
        except ImportError as error:
            raise errors.ServerStartError(
                "Reflection needs the package grpcio-reflection, which is not installed."
            ) from error
        names = ["tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"]
        files = [reflection_pb2.DESCRIPTOR]
        if health_service:
            names.append(health.SERVICE_NAME)
            files.append(health_pb2.DESCRIPTOR)
        for file in files:
            messages.POOL.AddSerializedFile(file.serialized_pb)
        self.service: str = reflection.SERVICE_NAME
        names.append(self.service)
        self._servicer = reflection.ReflectionServicer(names, pool=messages.POOL)
        self._pb2 = reflection_pb2
        self._arrivals = arrivals
        self._streams: set[Any] = set()
        self._lock = threading.Lock()

    def handlers(self) -> dict[str, Any]:
        """The method's handler, by its name."""
        response = self._pb2.ServerReflectionResponse
        return {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                self._answer, self._request, response.SerializeToString
            )
        }

    def stop(self) -> None:
        """End the streams."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.cancel()

    def _answer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        call = context._rpc_event.call
        connection = call.peer()

        def forget() -> None:
            self._arrivals.end(call, connection)
            with self._lock:
                self._streams.discard(context)

        with self._lock:
            self._streams.add(context)
        may_wait = self._arrivals.begin(call, connection)
        if not context.add_callback(forget):
            forget()
        if not may_wait:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many calls wait.")
        answers: Iterator[Any] = self._servicer.ServerReflectionInfo(requests, context)
        return answers

    def _request(self, data: bytes) -> Any:
        """A question; an empty one, which is none, where the bytes are no message."""
        try:
            return self._pb2.ServerReflectionRequest.FromString(small_message(data))
        except (DecodeError, errors.StatusError):  # of which gRPC would write to the log
            return self._pb2.ServerReflectionRequest()
