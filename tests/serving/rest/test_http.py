"""HTTP as libevent 2.1.12 speaks it (http.c), which TF Serving listens with."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from inception_serving import ModelServer
from inception_serving.server.budget import ByteBudget
from inception_serving.server.rest import http_request
from inception_serving.server.rest.http import Connection, Response, Rounds, page
from inception_serving.server.rest.http_request import Request
from tests.serving.versions.test_lifecycle import wait_until

PREDICT = "/v1/models/arithmetic:predict"
BODY = b'{"instances": [1]}'
ANSWER = b'{\n    "predictions": [2.5\n    ]\n}'


def talk(server: ModelServer, *parts: bytes, until_closed: bool = False) -> bytes:
    """What comes back, without dates, within a moment; or until the connection ends."""
    with socket.create_connection(("127.0.0.1", server.rest_port or 0), timeout=5) as client:
        received = b""
        for part in parts:
            client.sendall(part)
            client.settimeout(10 if until_closed else 0.5)
            try:
                while data := client.recv(65536):
                    received += data
            except TimeoutError:
                assert not until_closed
    return re.sub(rb"Date: [^\r]*\r\n", b"", received)


def post(*headers: str, body: bytes = BODY, version: str = "1.1") -> bytes:
    lines = [f"POST {PREDICT} HTTP/{version}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def statuses(received: bytes) -> list[str]:
    return re.findall(r"HTTP/1\.[01] (\d+)", received.decode())


class TestConnections:
    def test_http_1_0_is_kept_alive_on_request(self, server: ModelServer) -> None:
        request = post("Connection: keep-alive", version="1.0")

        received = talk(server, request, request)

        assert received == 2 * (
            b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
            b"Content-Length: 33\r\n\r\n" + ANSWER
        )

    def test_and_closed_without(self, server: ModelServer) -> None:
        received = talk(server, post(version="1.0"), until_closed=True)

        assert received == b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + ANSWER

    def test_close(self, server: ModelServer) -> None:
        received = talk(server, post("Connection: Close"), until_closed=True)

        assert b"\r\nConnection: close\r\n\r\n" in received

    def test_requests_that_do_not_wait_for_answers(self, server: ModelServer) -> None:
        received = talk(server, post() * 5)

        assert statuses(received) == ["200"] * 5

    def test_a_request_byte_by_byte(self, server: ModelServer) -> None:
        with socket.create_connection(("127.0.0.1", server.rest_port or 0), timeout=5) as client:
            for byte in post("Transfer-Encoding: identity"):
                client.sendall(bytes([byte]))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")

    def test_chunks(self, server: ModelServer) -> None:
        head = f"POST {PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

        received = talk(server, head, b"5\r\n{" + b'"ins\r\n', b'D\r\ntances": [1]}\r\n0\r\n\r\n')

        assert statuses(received) == ["200"]
        assert ANSWER in received

    def test_a_hundred_continue(self, server: ModelServer) -> None:
        request = post("Expect: 100-continue")
        head, body = request[: -len(BODY)], request[-len(BODY) :]

        received = talk(server, head, body)

        assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /v1/models/arithmetic HTTP/2.0\r\n\r\n", 400),
        (b"GET /v1/models/a%zz HTTP/1.1\r\n\r\n", 400),
        (b"GET nonsense\r\n\r\n", 400),
        (b"GET http://h:65536/v1/models/keras HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n goes on with nothing\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000 + b"\r\n\r\n", 400),
        (post("Content-Length: 5"), 400),
        (post("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400),
        (post(*["a:"] * 1100), 400),
        (b"POST /v1/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 413),
        (post("Expect: wonders"), 417),
        (b"TRACE / HTTP/1.1\r\n\r\n", 501),
        (b"get / HTTP/1.1\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", 501),
    ],
)
def test_what_is_refused(server: ModelServer, request_: bytes, status: int) -> None:
    """libevent's own page, and the end of the connection."""
    received = talk(server, request_, until_closed=True)

    phrase = {400: "Bad Request", 413: "Request Entity Too Large", 417: "Expectation Failed"}
    words = phrase.get(status, "Not Implemented")
    page = (
        f"<HTML><HEAD>\n<TITLE>{status} {words}</TITLE>\n</HEAD><BODY>\n<H1>{words}</H1>\n"
        "</BODY></HTML>\n"
    )
    assert received.decode() == (
        f"HTTP/1.1 {status} {words}\r\nContent-Type: text/html\r\nConnection: close\r\n"
        f"Content-Length: {len(page)}\r\n\r\n{page}"
    )


@pytest.mark.parametrize(
    "headers", [["Transfer-Encoding: chunked"], ["Transfer-Encoding: gzip, chunked"]]
)
def test_a_body_that_may_end_elsewhere_is_the_last(server: ModelServer, headers: list[str]) -> None:
    body = b"12\r\n" + BODY + b"\r\n0\r\n\r\n"

    received = talk(server, post(*headers, body=body) + post(), until_closed=True)

    assert len(statuses(received)) == 1


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
@pytest.mark.parametrize("port", ["", ":", ":00065535"])
def test_no_host_and_an_absolute_uri(server: ModelServer, method: str, port: str) -> None:
    request = post().replace(b"POST /v1", f"{method} http://127.0.0.1{port}/v1".encode())

    received = talk(server, request)

    assert statuses(received) == ["200" if method == "POST" else "400"]


class TestBodies:
    def test_gzip(self, server: ModelServer) -> None:
        received = talk(server, post("Content-Encoding: gzip", body=gzip.compress(BODY)))

        assert ANSWER in received

    def test_gzip_that_inflates_beyond_what_may_be_held(self, base: Path) -> None:
        with ModelServer(base, rest_port=0, max_bytes_in_flight=1 << 20) as small:
            body = gzip.compress(b" " * (50 << 20))
            received = talk(small, post("Content-Encoding: gzip", body=body))
            after = talk(small, post())

        assert statuses(received)[0] in ("413", "429", "503")
        assert statuses(after) == ["200"]


class TestCors:
    """model_servers/http_server.cc."""

    @pytest.mark.parametrize(
        ("origin", "status"),
        [
            ("http://a.example", 200),
            ("https://b", 200),
            ("null", 400),
            ("file://", 400),
            (None, 400),
        ],
    )
    @pytest.mark.parametrize("cors", [False, True])
    def test_preflight(self, base: Path, cors: bool, origin: str | None, status: int) -> None:
        headers = {} if origin is None else {"Origin": origin}
        with ModelServer(base / "keras", rest_port=0, cors=cors) as server:
            response = httpx.options(f"{server.rest_address}{PREDICT}", headers=headers, timeout=20)

        assert (response.status_code, response.content) == (status, b"")
        assert ("access-control-allow-origin" in response.headers) == cors


def test_a_connection_that_comes_as_the_server_stops_is_closed(base: Path) -> None:
    """The loop finds both at once: what it is to stop, and the connection, which it accepts."""
    with ModelServer(base / "arithmetic", rest_port=0) as server, ThreadPoolExecutor(1) as pool:
        assert server._rest is not None and server._rest._loop is not None
        held, go = threading.Event(), threading.Event()
        server._rest._loop.call_soon_threadsafe(lambda: (held.set(), go.wait(20)))
        assert held.wait(20)
        with socket.create_connection(("127.0.0.1", server.rest_port or 0)) as client:
            stopped = pool.submit(server._rest.stop, 5.0)
            time.sleep(0.1)  # until it has asked the loop
            go.set()
            stopped.result(20)
            client.settimeout(5)
            assert client.recv(1) == b""


class Transport(asyncio.Transport):
    """One that takes answers, and of which nothing is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_reading(self) -> bool:
        return not self.is_paused

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        pass


def make_connection(
    answer: Callable[[Request], Awaitable[Response]], budget: ByteBudget, rounds: Rounds
) -> Connection:
    return Connection(answer, lambda error: page(500), budget, set(), rounds, idle_s=9)


def test_others_have_their_turn_between_small_chunks() -> None:
    """Each takes microseconds, and 256 KB of them come at a time."""

    async def send() -> tuple[int, bool, int, bool]:
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def answer(request: Request) -> Response:
            answered.set_result(len(request.body))
            request.held.release()
            return Response(200, b"")

        budget = ByteBudget(1 << 20)
        connection = make_connection(answer, budget, Rounds())
        transport = Transport()
        connection.connection_made(transport)
        head = b"POST /v1/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.data_received(head + b"1\r\n \r\n" * 10_000 + b"0\r\n\r\n")
        at_once, was_paused = budget._held, transport.is_paused
        size = await asyncio.wait_for(answered, 10)
        await asyncio.sleep(0)
        connection.connection_lost(None)
        return at_once, was_paused, size, transport.is_paused

    at_once, was_paused, size, is_paused = asyncio.run(send())

    assert 0 < at_once < 100
    assert was_paused
    assert size == 10_000
    assert not is_paused


def test_others_have_their_turn_between_the_parts_of_a_large_body() -> None:
    """Of 256 KB, as asyncio reads them."""
    part = 1 << 18

    async def send(count: int) -> list[tuple[bool, bool]]:
        async def answer(request: Request) -> Response:
            assert len(request.body) == count * part
            request.held.release()
            return Response(200, b"")

        budget, rounds = ByteBudget(1 << 24), Rounds()
        connections = [make_connection(answer, budget, rounds) for _ in range(2)]
        transports = [Transport(), Transport()]
        seen = []
        for connection, transport in zip(connections, transports, strict=True):
            connection.connection_made(transport)
            connection.data_received(
                b"POST /v1/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (count * part)
            )
            connection.data_received(bytes(part))
            seen.append((transport.is_paused, connection.is_steady))
        for _ in range(2):
            await asyncio.sleep(0)
            seen.append((transports[0].is_paused, transports[1].is_paused))
        for connection in connections:
            for _ in range(count - 1):
                connection.data_received(bytes(part))
        await asyncio.sleep(0.01)
        assert [each.is_paused for each in transports] == [False] * 2
        for connection in connections:
            connection.connection_lost(None)
        assert budget._held == 0
        return seen

    seen = asyncio.run(send(3))

    assert seen == [(True, True), (True, True), (False, True), (False, False)]


class TestManyWhoSendMuch:
    """Someone with a single request waits for a few parts of theirs, however many they are."""

    MANY = 50

    def work_before_the_other(self, data: bytes, count: Callable[[], int]) -> int:
        """What is counted from when the other's request comes until it is answered, while the
        connections of `MANY` clients have that much data each."""

        async def send() -> int:
            answered = asyncio.Event()

            async def answer(request: Request) -> Response:
                request.held.release()
                if request.path == "/other":
                    answered.set()
                else:
                    answers.append(request.path)
                return Response(200, b"")

            budget, rounds = ByteBudget(1 << 20), Rounds()
            connections = [make_connection(answer, budget, rounds) for _ in range(self.MANY + 1)]
            for connection in connections:
                connection.connection_made(Transport())
            for connection in connections[1:]:
                connection.data_received(data)
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # in which their first requests, being new, are answered
            before = count()
            connections[0].data_received(b"GET /other HTTP/1.1\r\n\r\n")
            await asyncio.wait_for(answered.wait(), 10)
            work = count() - before
            for connection in connections:
                connection.connection_lost(None)
            return work

        answers: list[str] = []
        self.answers = answers
        return asyncio.run(send())

    def test_requests_one_behind_the_other(self) -> None:
        data = b"GET /many HTTP/1.1\r\n\r\n" * 100

        work = self.work_before_the_other(data, lambda: len(self.answers))

        assert 0 < work < 10

    def test_heads_of_many_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = []
        add_header = http_request.add_header

        def count_and_add(headers: dict[str, str], last: str | None, line: bytes) -> str:
            lines.append(line)
            return add_header(headers, last, line)

        monkeypatch.setattr(http_request, "add_header", count_and_add)
        data = (b"GET /many HTTP/1.1\r\n" + b"a:\r\n" * 950 + b"\r\n") * 8

        work = self.work_before_the_other(data, lambda: len(lines))

        assert len(lines) < 100 * self.MANY  # 64 of each as they came
        assert 0 < work < 500


class GoneTransport(Transport):
    """One whose client goes in the moment in which it is answered."""

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


def test_a_slow_client_that_goes_just_then_makes_way() -> None:
    async def answer(request: Request) -> Response:
        raise AssertionError

    async def send() -> tuple[int, int]:
        budget = ByteBudget(1 << 20)
        connection = make_connection(answer, budget, Rounds())
        connection.connection_made(GoneTransport())
        connection.data_received(b"POST /v1/ HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + bytes(500))
        before = budget._held
        connection.make_way()
        after = budget._held
        connection.connection_lost(None)
        return before, after

    assert asyncio.run(send()) == (500, 0)


def test_nobody_waits_for_a_loop_that_failed_to_make_way(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bool:
        raise OSError

    with ModelServer(base / "arithmetic", rest_port=0) as server:
        assert server._rest is not None
        monkeypatch.setattr(server._rest, "_end_slow_body", fail)
        monkeypatch.setattr("inception_serving.server.rest.server._MAKE_WAY_S", 60)
        started = time.monotonic()
        assert not server._rest._make_way_for_bytes()

    assert time.monotonic() - started < 30


def test_an_answer_that_is_not_taken_counts_and_makes_way(base: Path) -> None:
    """Of some megabytes, of which the system's own buffers hold the beginning."""
    limit = 100 << 20
    request = post(body=b'{"instances": [' + b"0.5," * 1_200_000 + b"1]}")
    answer = len(request) * 6 // 4  # "2.25, " for each "0.5,"
    with (
        ModelServer(base / "arithmetic", rest_port=0, max_bytes_in_flight=limit) as server,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.connect(("127.0.0.1", server.rest_port))
        client.sendall(request)
        wait_until(lambda: client.recv(20, socket.MSG_PEEK) != b"")
        time.sleep(1.2)
        held = server.budget._held
        first = server.budget.reserve((limit - held) // 2)
        second = server.budget.reserve((limit - first.size) // 2)  # more than half of what is left
        is_ended = server.budget._held == first.size + second.size

    assert 1 << 20 < held < answer
    assert is_ended


def test_answers_that_are_taken_late_all_come() -> None:
    """Also where but a little of one is left when the system's buffers are full."""
    count, size = 200, 50_000

    async def answer(request: Request) -> Response:
        request.held.release()
        return Response(200, b"x" * size)

    def take(port: int) -> int:
        taken = 0
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            client.settimeout(5)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /v1/ HTTP/1.1\r\n\r\n" * count)
            time.sleep(0.5)
            with contextlib.suppress(TimeoutError):
                while taken < count * size:
                    taken += len(client.recv(1 << 20))
        return taken

    async def serve() -> int:
        budget, rounds = ByteBudget(1 << 20), Rounds()
        server = await asyncio.get_running_loop().create_server(
            lambda: make_connection(answer, budget, rounds),
            "127.0.0.1",
            0,
        )
        async with server:
            return await asyncio.to_thread(take, server.sockets[0].getsockname()[1])

    assert asyncio.run(serve()) >= count * size
