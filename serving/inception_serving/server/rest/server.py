"""The REST transport: connections in a thread of its own, and threads that work on requests."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

from inception_serving import errors
from inception_serving.server.budget import (
    ByteBudget,
    Reservation,
    Workspace,
    default_work_limit,
)
from inception_serving.server.core import Call, Core
from inception_serving.server.metrics import Metrics
from inception_serving.server.received.inflate import GZIP, CannotInflate, inflate
from inception_serving.server.received.pauses import work_on
from inception_serving.server.received.turns import LONG_WORK, SMALL_BYTES, Turn, Turns
from inception_serving.server.received.workers import Workers
from inception_serving.server.rest import http, page
from inception_serving.server.rest.api import RestApi, error_response
from inception_serving.server.rest.http import Connection, Response
from inception_serving.server.rest.http_request import Request
from inception_serving.server.rest.origin import Origins
from inception_serving.server.rest.sizes import parsed_bytes

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}

# Beyond these, the ones that have been slow for longest make way.
_MAX_CONNECTIONS = 1024
# Connections that wait to be accepted, and those accepted before others have their turn.
_BACKLOG, _ACCEPTED_AT_ONCE = 2048, 32
_LAST_ROUNDS = 3  # of the loop, in which connections come that were being accepted
# A client may be slow, but in this time something must come, or go.
_IDLE_S = 30
# One that has been at its request for so long makes way where there are too many.
_YOUNG_S = 0.25
_MAKE_WAY_S = 0.5  # that a request over gRPC waits for a slow one over REST to end
# Requests that are worked on, or wait for their turn or for memory: of each connection one, also of
# those that came in one moment.
_MAX_REQUESTS = 2 * _MAX_CONNECTIONS
# What a value of JSON takes more than its text, at least.
_PART_BYTES = 32
# util/net_http/compression/gzip_zlib.h
_MOST_INFLATED = 100 << 20


class RestServer:
    """An HTTP server over a core."""

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
        origins: Origins,
    ) -> None:
        """Nothing listens before `start`.

        Args:
            threads: how many requests are worked on at a time; more wait.
            timeout_s: after this long a request is answered with 504.
            budget: what the requests in flight may hold.
            cors: let pages of other origins call the API.
            metrics_path: where Prometheus finds `metrics`; None for nowhere.
            show_page: show people a page at `/`.
            origins: whose requests are answered.
        """
        self._core = core
        self._api = RestApi(core)
        self._turns = Turns(threads)
        # Not that of runs, of which a request would then wait for a second part.
        self._parsing = Workspace(default_work_limit())
        self._pool = Workers(max(threads, _MAX_REQUESTS))
        self._timeout_s = timeout_s
        self._budget = budget
        budget.ways.append(self._make_way_for_bytes)
        self._cors = cors
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._show_page = show_page
        self._origins = origins
        self._grpc_address = ""
        self._connections: set[Connection] = set()
        self._rounds = http.Rounds()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Future[float] | None = None
        self._thread: threading.Thread | None = None
        self._has_stopped = False

    def start(self, listener: socket.socket, *, grpc_address: str) -> None:
        """Serve on a bound socket, which is closed at the end.

        Args:
            grpc_address: gRPC's, which the page shows.
        """
        self._grpc_address = grpc_address
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listener, started)), name="rest", daemon=True
        )
        self._thread.start()
        while not started.wait(0.05) and self._thread.is_alive():
            pass

    def _end_slow_body(self) -> bool:
        """End the request whose body has come most slowly, if one comes slowly; whether one was."""
        slow = [each for each in self._connections if not each.is_steady]
        if slow:
            min(slow, key=lambda each: each.steady_since).make_way()
        return bool(slow)

    def _make_way_for_bytes(self) -> bool:
        """See `ByteBudget`; from any thread."""
        if threading.current_thread() is self._thread:
            return self._end_slow_body()
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return False
        answer: Future[bool] = Future()

        def end_slow_body() -> None:
            was_one = False
            try:
                was_one = self._end_slow_body()
            finally:  # or a request would wait in vain
                answer.set_result(was_one)

        with suppress(RuntimeError, TimeoutError):  # the loop has just ended, or is busy
            self._loop.call_soon_threadsafe(end_slow_body)
            return answer.result(_MAKE_WAY_S)
        return False

    def stop(self, grace_s: float) -> None:
        """Refuse new requests, and give those in flight `grace_s` seconds to finish."""
        if self._thread is not None:
            if self._loop is not None and self._stopping is not None and self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stopping.set_result, grace_s)
            self._thread.join()
            self._thread = None
        self._has_stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self, timeout_s: float) -> bool:
        """Wait, after `stop`, for what was left to itself; whether all has ended in time."""
        return self._pool.join(timeout_s)

    async def _run(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = self._loop.create_future()
        # asyncio accepts as many in one go as may wait, so those that may are told behind its back.
        server = await self._loop.create_server(
            self._connect, sock=listener, backlog=_ACCEPTED_AT_ONCE
        )
        listener.listen(_BACKLOG)
        started.set()
        grace_s = await self._stopping
        # First those that have been accepted: of a server that is closed asyncio takes none, and
        # leaves their sockets open.
        self._loop.remove_reader(listener)
        await asyncio.sleep(0)
        server.close()
        end = self._loop.time() + grace_s
        rounds_without = 0
        while rounds_without < _LAST_ROUNDS and self._loop.time() < end:
            for connection in list(self._connections):
                connection.shut_down()
            await asyncio.sleep(0.01)
            rounds_without = 0 if self._connections else rounds_without + 1
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # in which they are told, and close their sockets

    def _connect(self) -> asyncio.Protocol:
        LONG_WORK.came_at_s = time.monotonic()
        while len(self._connections) >= _MAX_CONNECTIONS:
            if not self._make_way():
                if len(self._connections) >= 2 * _MAX_CONNECTIONS:
                    return http.Refusal()
                break  # those that came in one moment; the next one finds them older
        return Connection(
            self._respond, _refuse, self._budget, self._connections, self._rounds, idle_s=_IDLE_S
        )

    def _make_way(self) -> bool:
        """End the connection that has been at its request, or without one, for longest."""
        waiting = [each for each in self._connections if each.waiting_since is not None]
        # Those in the middle of a request first: whoever is slow on purpose looks so.
        oldest = min(
            waiting, key=lambda each: (not each.is_sending, each.waiting_since), default=None
        )
        if oldest is None or self._now() - (oldest.waiting_since or 0) < _YOUNG_S:
            return False
        self._connections.discard(oldest)
        oldest.abort()
        return True

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()

    async def _respond(self, request: Request) -> Response:
        try:
            self._origins.check(request.method, request.headers)
            response = self._respond_at_once(request)
        except errors.StatusError as error:
            response = error_response(error)
        if response is not None:
            request.held.release()
            return response
        LONG_WORK.came_at_s = time.monotonic()
        deadline = LONG_WORK.came_at_s + self._timeout_s
        work: Future[Response] = self._pool.submit(self._work, request, deadline)
        # Whoever waits may give up; what has begun still holds its bytes until it ends.
        work.add_done_callback(lambda _: request.held.release())
        try:
            response = await asyncio.wait_for(asyncio.wrap_future(work), self._timeout_s)
        except TimeoutError:
            text = "Timed out waiting for notification"
            response = error_response(errors.DeadlineExceededError(text))
        return self._with_cors(response)

    def _respond_at_once(self, request: Request) -> Response | None:
        """The answer to what is none of the API's requests, and needs no work."""
        path = request.path.partition("?")[0].partition("#")[0]
        if path == self._metrics_path:
            return self._show_metrics(request.path)
        if self._show_page and request.method in ("GET", "HEAD"):
            if request.path == "/":
                return Response(200, page.html(), "text/html; charset=utf-8", page.SECURITY)
            if request.path == "/models.json":
                return Response(200, page.models_json(self._core, self._grpc_address))
        if not request.path.lower().startswith("/v1/"):
            return http.page(404)
        if request.method == "OPTIONS":
            # What a browser asks before it lets a page of another origin call.
            is_asked = re.search("https?://", request.headers.get("origin", ""))
            return self._with_cors(Response(200 if is_asked else 400, b"", None))
        return None

    def _show_metrics(self, path: str) -> Response:
        if path == self._metrics_path:
            return Response(200, self._metrics.text().encode(), "text/plain")
        text = f"Unexpected path: {path}. Should be {self._metrics_path}"
        return Response(400, text.encode("latin-1"), "text/plain")

    def _with_cors(self, response: Response) -> Response:
        return dataclasses.replace(response, headers=_CORS) if self._cors else response

    def _work(self, request: Request, deadline: float) -> Response:
        try:
            # A connection has one request at a time, so of these the first that came is next.
            turns = self._turns.take(
                deadline,
                connection=f"rest {id(request)}",
                is_small=len(request.body) <= SMALL_BYTES and not _is_gzip(request),
                check=lambda: self._check_wanted(deadline),
            )
            with turns as turn:
                return self._answer(request, deadline, turn)
        except errors.StatusError as error:
            return error_response(error)

    def _answer(self, request: Request, deadline: float, turn: Turn) -> Response:
        body = request.body
        if _is_gzip(request):
            body = self._inflated(body, request.held, deadline, turn)
        call = Call(deadline, request.held.grow, turn)
        taken = parsed_bytes(body)
        work_on((taken - len(body)) // _PART_BYTES + body.count(b"\\"))
        with self._parsing.take(taken, deadline=deadline, turn=turn):
            return self._api.answer(request.method, request.path, body, call)

    def _check_wanted(self, deadline: float) -> None:
        if self._has_stopped or time.monotonic() > deadline:
            raise errors.DeadlineExceededError("Deadline exceeded before the work began")

    def _inflated(self, body: bytes, held: Reservation, deadline: float, turn: Turn) -> bytes:
        """A body that was sent as gzip; nothing where it is not, or inflates to more than 100 MB.

        Raises:
            errors.StatusError: the server may not hold so much, or nobody waits for the answer.
        """

        def grow(size: int) -> None:
            held.grow(size)
            self._check_wanted(deadline)

        try:
            return inflate(body, GZIP, grow, most=_MOST_INFLATED, lend=turn.lend_long)
        except CannotInflate:
            return b""


def _is_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("content-encoding", "")


def _refuse(error: errors.StatusError) -> Response:
    """The answer to a request that may not be held."""
    response = error_response(error)
    is_too_large = isinstance(error, errors.ResourceExhaustedError)
    return dataclasses.replace(
        response,
        status=413 if is_too_large else response.status,
        headers={"Connection": "close"},
    )
