"""The REST transport: TF Serving's HTTP API (model_servers/http_rest_api_handler.cc)."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inception_serving import errors, messages
from inception_serving.server import json_values, rest_examples, rest_json
from inception_serving.server.core import Core
from inception_serving.server.predict import DEFAULT_SIGNATURE
from inception_serving.server.saved_model import Model
from inception_serving.tensors import Tensor

_log = logging.getLogger(__name__)

# model_servers/http_rest_api_util.cc
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I
)
_STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I)

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MAX_INT64 = 2**63 - 1


class RestServer:
    """An HTTP server over a core, in a thread of its own."""

    def __init__(self, core: Core, *, threads: int, timeout_s: float) -> None:
        """Nothing listens before `start`.

        Args:
            threads: how many requests are worked on at a time; more wait.
            timeout_s: after this long a request is answered with 504.
        """
        self._core = core
        self._threads = threads
        self._limiter: anyio.CapacityLimiter | None = None
        self._timeout_s = timeout_s
        app = Starlette(routes=[Route("/{path:path}", self._handle, methods=_METHODS)])
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket, which is closed at the end."""
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="rest", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.005)

    def stop(self, grace_s: float) -> None:
        """Refuse new requests, and give those in flight `grace_s` seconds to finish."""
        if self._thread is not None:
            self._server.config.timeout_graceful_shutdown = max(1, round(grace_s))
            self._server.should_exit = True
            self._thread.join()

    async def _handle(self, request: Request) -> Response:
        # The path as it was sent: a name may hold an escaped slash.
        path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
        if not path.lower().startswith("/v1/"):
            return _response(404, {"error": f"Not Found: {path} is not below /v1/"})
        body = await request.body()
        if self._limiter is None:  # it belongs to the event loop, so it is made within
            self._limiter = anyio.CapacityLimiter(self._threads)
        try:
            with anyio.fail_after(self._timeout_s):
                return await anyio.to_thread.run_sync(
                    self._answer,
                    request.method,
                    path,
                    body,
                    abandon_on_cancel=True,
                    limiter=self._limiter,
                )
        except TimeoutError:
            error = errors.DeadlineExceededError(
                f"The request did not finish within {self._timeout_s:g} s"
            )
            return _error_response(error)

    def _answer(self, method: str, path: str, body: bytes) -> Response:
        try:
            return self._dispatch(method, path, body)
        except errors.StatusError as error:
            return _error_response(error)
        except Exception as error:
            _log.exception("A request failed.")
            return _error_response(errors.InternalError(f"{type(error).__name__}: {error}"))

    def _dispatch(self, method: str, path: str, body: bytes) -> Response:
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            return self._infer(match["method"].lower(), _spec(match), json_values.parse(body))
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            if match["name"] is None:
                raise errors.InvalidArgumentError("Missing model name in request.")
            if match["metadata"]:
                return self._metadata(_spec(match))
            return _response(200, _to_dict(self._core.status(_spec(match))))
        raise errors.InvalidArgumentError(f"Malformed request: {method} {path}")

    def _infer(self, method: str, spec: Any, document: dict[str, Any]) -> Response:
        spec.signature_name = json_values.signature_name(document)
        if method == "predict":
            content = self._predict(spec, document)
        elif method == "classify":
            response = self._core.classify(spec, rest_examples.read_examples(document))
            content = rest_examples.write_classifications(response.result)
        else:
            response = self._core.regress(spec, rest_examples.read_examples(document))
            content = rest_examples.write_regressions(response.result)
        return Response(content, media_type="application/json")

    def _predict(self, spec: Any, document: dict[str, Any]) -> bytes:

        def read_inputs(model: Model) -> dict[str, Tensor]:
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name not in model.signatures:
                raise errors.InvalidArgumentError(
                    f'Serving signature name: "{name}" not found in signature def'
                )
            if not model.signatures[name].inputs:
                raise errors.InvalidArgumentError(
                    f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}"
                )
            return rest_json.read_inputs(document, model.signatures[name])

        prediction = self._core.predict(spec, read_inputs)
        row_format = rest_json.is_row_format(document)
        return rest_json.write_outputs(prediction.outputs, row_format=row_format)

    def _metadata(self, spec: Any) -> Response:
        response = self._core.metadata(spec, ["signature_def"])
        signatures = messages.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return _response(
            200,
            {
                "model_spec": _to_dict(response.model_spec),
                "metadata": {"signature_def": _to_dict(signatures)},
            },
        )


def _spec(match: re.Match[str]) -> Any:
    spec = messages.ModelSpec(name=unquote(match["name"]))
    if match["version"] is not None:
        if int(match["version"]) > _MAX_INT64:
            raise errors.InvalidArgumentError(
                f"Failed to convert version: {match['version']} to numeric."
            )
        spec.version.value = int(match["version"])
    elif match["label"] is not None:
        spec.version_label = unquote(match["label"])
    return spec


def _to_dict(message: Any) -> dict[str, Any]:
    return dict(
        json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    )


def _error_response(error: errors.StatusError) -> Response:
    return _response(errors.HTTP_STATUSES[type(error)], {"error": str(error)})


def _response(status: int, document: dict[str, Any]) -> Response:
    content = json.dumps(document, ensure_ascii=False, indent=4).encode()
    return Response(content, status, media_type="application/json")
