"""The REST transport: HTTP, and what keeps slow and silent clients from holding it up."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from inception_serving import errors
from inception_serving.server.budget import ByteBudget, Reservation
from inception_serving.server.core import Call, Core
from inception_serving.server.metrics import Metrics
from inception_serving.server.rest import page
from inception_serving.server.rest.api import Response, RestApi, error_response, json_response

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}

_MAX_CONNECTIONS = 1024
# A client may be slow, but in this time something must come, or go.
_IDLE_S = 30
_CHUNK = 1 << 18

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


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
        self._api = RestApi(core)
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
            grpc_address: gRPC's, which the page shows.
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
        path = scope["raw_path"].decode("latin-1")
        method = scope["method"]
        if path == self._metrics_path:
            return Response(200, self._metrics.text().encode(), "text/plain")
        if self._show_page and method in ("GET", "HEAD") and path == "/":
            return Response(200, page.html(), "text/html; charset=utf-8", page.SECURITY)
        if self._show_page and method in ("GET", "HEAD") and path == "/models.json":
            return Response(200, page.models_json(self._core, self._grpc_address))
        if not path.lower().startswith("/v1/"):
            return json_response(404, {"error": f"Not Found: {path} is not below /v1/"})
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
            return json_response(status, {"error": str(error)}, {"connection": "close"})
        except BaseException:
            held.release()
            raise
        call = Call("REST", time.monotonic() + self._timeout_s)
        work = self._pool.submit(self._api.answer, method, path, body, call)
        # Whoever waits may give up; what has begun still holds its bytes until it ends.
        work.add_done_callback(lambda _: held.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), self._timeout_s)
        except TimeoutError:
            text = f"The request did not finish within {self._timeout_s:g} s"
            return error_response(errors.DeadlineExceededError(text))


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
        return error_response(errors.FailedPreconditionError(text))
    return Response(200, b"")
