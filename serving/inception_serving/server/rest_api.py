"""The REST transport: TF Serving's HTTP API (model_servers/http_rest_api_handler.cc)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import h11
import uvicorn
from google.protobuf import json_format
from uvicorn.protocols.http.h11_impl import H11Protocol

from inception_serving import errors, messages
from inception_serving.server import json_values, page, rest_examples, rest_json
from inception_serving.server.budget import ByteBudget, Reservation
from inception_serving.server.core import Call, Core
from inception_serving.server.metrics import Metrics
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
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}

_MAX_INT64 = 2**63 - 1
_MAX_CONNECTIONS = 1024
# A client may be slow, but in this time something must come, or go.
_IDLE_S = 30
_CHUNK = 1 << 18

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    content: bytes
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class RestServer:
    """An HTTP server over a core, in a thread of its own."""

    def __init__(
        self,
        core: Core,
        *,
        threads: int,
        timeout_s: float,
        budget: ByteBudget,
        cors: bool,
        metrics: Metrics,
        metrics_path: str | None,
        show_page: bool,
    ) -> None:
        """Nothing listens before `start`.

        Args:
            threads: how many requests are worked on at a time; more wait.
            timeout_s: after this long a request is answered with 504.
            budget: what the requests in flight may hold.
            cors: let pages of other origins call the API.
            metrics_path: where Prometheus finds `metrics`; None for nowhere.
            show_page: show people a page at `/`.
        """
        self._core = core
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rest")
        self._timeout_s = timeout_s
        self._budget = budget
        self._cors = cors
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._show_page = show_page
        self._grpc_address = ""
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            proxy_headers=False,
            loop="asyncio",
            http=_ImpatientProtocol,
            log_config=None,
            log_level="critical",  # or a flood of bad requests is a flood of lines
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_IDLE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self, listener: socket.socket, *, grpc_address: str) -> None:
        """Serve on a bound socket, which is closed at the end.

        Args:
            grpc_address: where the page says that gRPC answers.
        """
        self._grpc_address = grpc_address
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
        self._pool.shutdown(wait=True)

    # ---- HTTP ----

    async def _serve(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """The ASGI application."""
        response = await self._respond(scope, receive)
        headers = {
            "content-type": response.media_type,
            "content-length": str(len(response.content)),
            **response.headers,
            **(_CORS if self._cors else {}),
        }
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": response.status, "headers": encoded}
        await send(start)
        for place in range(0, max(1, len(response.content)), _CHUNK):
            end = place + _CHUNK
            body = {
                "type": "http.response.body",
                "body": response.content[place:end],
                "more_body": end < len(response.content),
            }
            async with asyncio.timeout(_IDLE_S):  # a client that does not read is cut off
                await send(body)

    async def _respond(self, scope: _Message, receive: _Receive) -> Response:
        # The path as it was sent: a name may hold an escaped slash.
        path = scope["raw_path"].decode("latin-1")
        method = scope["method"]
        if path == self._metrics_path:
            return Response(200, self._metrics.text().encode(), "text/plain")
        if self._show_page and method in ("GET", "HEAD") and path == "/":
            return Response(200, page.html(), "text/html; charset=utf-8", page.SECURITY)
        if self._show_page and method in ("GET", "HEAD") and path == "/models.json":
            return Response(200, page.models_json(self._core, self._grpc_address))
        if not path.lower().startswith("/v1/"):
            return _response(404, {"error": f"Not Found: {path} is not below /v1/"})
        if method == "OPTIONS" and self._cors:
            return _preflight(dict(scope["headers"]))
        held = self._budget.reserve()
        try:
            body = await _read(receive, held)
        except errors.StatusError as error:
            held.release()
            # What is still to come is not read, so the connection cannot go on.
            too_large = isinstance(error, errors.ResourceExhaustedError)
            status = 413 if too_large else errors.HTTP_STATUSES[type(error)]
            return _response(status, {"error": str(error)}, {"connection": "close"})
        except BaseException:
            held.release()
            raise
        call = Call("REST", time.monotonic() + self._timeout_s)
        work = self._pool.submit(self._answer, method, path, body, call)
        # Whoever waits may give up; what has begun still holds its bytes until it ends.
        work.add_done_callback(lambda _: held.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), self._timeout_s)
        except TimeoutError:
            text = f"The request did not finish within {self._timeout_s:g} s"
            return _error_response(errors.DeadlineExceededError(text))

    # ---- the API ----

    def _answer(self, method: str, path: str, body: bytes, call: Call) -> Response:
        try:
            return self._dispatch(method, path, body, call)
        except errors.StatusError as error:
            return _error_response(error)
        except Exception as error:
            _log.exception("A request failed.")
            return _error_response(errors.InternalError(f"{type(error).__name__}: {error}"))

    def _dispatch(self, method: str, path: str, body: bytes, call: Call) -> Response:
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            document = json_values.parse(body)
            content = self._infer(match["method"].lower(), _spec(match), document, call)
            return Response(200, content)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            if match["name"] is None:
                raise errors.InvalidArgumentError("Missing model name in request.")
            if match["metadata"]:
                return self._metadata(_spec(match))
            return _response(200, _to_dict(self._core.status(_spec(match))))
        raise errors.InvalidArgumentError(f"Malformed request: {method} {path}")

    def _infer(self, method: str, spec: Any, document: dict[str, Any], call: Call) -> bytes:
        spec.signature_name = json_values.signature_name(document)
        if method == "predict":
            return self._predict(spec, document, call)
        examples = rest_examples.read_examples(document)
        if method == "classify":
            response = self._core.classify(spec, examples, call=call)
            return rest_examples.write_classifications(response.result)
        response = self._core.regress(spec, examples, call=call)
        return rest_examples.write_regressions(response.result)

    def _predict(self, spec: Any, document: dict[str, Any], call: Call) -> bytes:
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

        prediction = self._core.predict(spec, read_inputs, call=call)
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


class _ImpatientProtocol(H11Protocol):
    """Uvicorn's, but a connection that takes too long over a request's header is closed.

    Uvicorn's own limit, for idle connections, ends with the first byte of a request.
    """

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._time_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_header()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._header_timer is not None:
            self._header_timer.cancel()

    def _time_header(self) -> None:
        within_header = self.conn.their_state is h11.IDLE
        if within_header and self._header_timer is None:
            self._header_timer = self.loop.call_later(_IDLE_S, self.timeout_keep_alive_handler)
        elif not within_header and self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


async def _read(receive: _Receive, held: Reservation) -> bytes:
    """A request's body.

    Raises:
        errors.StatusError: it is larger than what may be held, or takes too long.
    """
    chunks = []
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                message = await receive()
        except TimeoutError:
            raise errors.DeadlineExceededError(
                f"Nothing more of the request came within {_IDLE_S} s"
            ) from None
        if message["type"] == "http.disconnect":
            raise errors.CancelledError("The client has gone")
        held.grow(len(message["body"]))
        chunks.append(message["body"])
        if not message["more_body"]:
            return b"".join(chunks)


def _preflight(headers: dict[bytes, bytes]) -> Response:
    if b"origin" not in headers:
        text = "Origin header is missing from a CORS/preflight request."
        return _error_response(errors.FailedPreconditionError(text))
    return Response(200, b"")


def _spec(match: re.Match[str]) -> Any:
    spec = messages.ModelSpec(name=unquote(match["name"]))
    if match["version"] is not None:
        # Thousands of digits would take Python long to read.
        if len(match["version"].lstrip("0")) > 19 or int(match["version"]) > _MAX_INT64:
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


def _response(
    status: int, document: dict[str, Any], headers: dict[str, str] | None = None
) -> Response:
    content = json.dumps(document, ensure_ascii=False, indent=4).encode()
    return Response(status, content, headers=headers or {})
