"""The gRPC transport: PredictionService, ModelService and, where asked for, health."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from inception_serving import errors, messages, tensors
from inception_serving.server.core import Core, required_spec
from inception_serving.server.predict import read_protos

_log = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # gRPC's own end is 2 GiB
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # two servers on one port are a mistake, not load balancing
)

# model_servers/grpc_status_util.cc
_MAX_ERROR_BYTES = 1024
_TRUNCATED = "...TRUNCATED"

# model_servers/server.cc names its services without their package; "" is the server as a whole.
_HEALTH_SERVICES = ("", "ModelService", "PredictionService")

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """A gRPC server over a core."""

    def __init__(self, core: Core, *, threads: int, health_service: bool, typed: bool) -> None:
        """Nothing listens before `bind` and `start`.

        Args:
            threads: how many requests are worked on at a time; more wait.
            health_service: also serve grpc.health.v1.Health.
            typed: answer in `float_val` and the like rather than `tensor_content`.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self._server = grpc.server(self._pool, options=_OPTIONS)
        messages.add_PredictionServiceServicer_to_server(
            _PredictionService(core, typed=typed), self._server
        )
        messages.add_ModelServiceServicer_to_server(_ModelService(core), self._server)
        self._health: Any = None
        if health_service:
            self._health = health.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def bind(self, address: str) -> int:
        """Take an address, such as "127.0.0.1:8500" (port 0: any free one); the port it got.

        Raises:
            RuntimeError: the address cannot be had.
        """
        return int(self._server.add_insecure_port(address))

    def start(self) -> None:
        if self._health is not None:
            for service in _HEALTH_SERVICES:
                self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Refuse new requests, and give those in flight `grace_s` seconds to finish."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()
        self._pool.shutdown(wait=True)


class _PredictionService:
    def __init__(self, core: Core, *, typed: bool) -> None:
        self._core = core
        self._typed = typed

    def Predict(self, request: Any, context: Any) -> Any:
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        return _answer(
            context, lambda: self._core.metadata(required_spec(request), request.metadata_field)
        )

    def Classify(self, request: Any, context: Any) -> Any:
        return _answer(context, lambda: self._core.classify(required_spec(request), request.input))

    def Regress(self, request: Any, context: Any) -> Any:
        return _answer(context, lambda: self._core.regress(required_spec(request), request.input))

    def MultiInference(self, request: Any, context: Any) -> Any:
        return _answer(context, lambda: self._core.infer_all(request))

    def _predict(self, request: Any) -> Any:
        prediction = self._core.predict(
            required_spec(request),
            lambda model: read_protos(request.inputs),
            request.output_filter,
        )
        response = messages.PredictResponse()
        response.model_spec.name = prediction.name
        response.model_spec.signature_name = prediction.signature_name
        response.model_spec.version.value = prediction.version
        for name, tensor in prediction.outputs.items():
            tensors.fill_proto(response.outputs[name], tensor, typed=self._typed)
        return response


class _ModelService:
    def __init__(self, core: Core) -> None:
        self._core = core

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        return _answer(context, lambda: self._core.status(required_spec(request)))

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        return _answer(context, lambda: self._core.reload(request, context.is_active))


def _answer(context: Any, work: Callable[[], Any]) -> Any:
    if not context.is_active():  # the caller's deadline passed while the request waited its turn
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded before the work began")
    try:
        return work()
    except errors.StatusError as error:
        code, text = errors.GRPC_CODES[type(error)], str(error)
    except Exception as error:
        _log.exception("A request failed.")
        code, text = errors.GRPC_CODES[errors.InternalError], f"{type(error).__name__}: {error}"
    context.abort(_CODES[code], _truncated(text))


def _truncated(text: str) -> str:
    data = text.encode()
    if len(data) <= _MAX_ERROR_BYTES:
        return text
    return data[:_MAX_ERROR_BYTES].decode(errors="ignore") + _TRUNCATED
