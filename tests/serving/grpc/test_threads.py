"""Calls that send no message, over the transport alone: a core that says a model's status."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.attack_http2 import Connection
from inception_serving import messages
from inception_serving.server.budget import ByteBudget
from inception_serving.server.grpc.arrivals import Arrivals
from inception_serving.server.grpc.service import GrpcServer
from inception_serving.server.grpc.threads import MessageThreads

STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CHECK, WATCH = (f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch"))
_SETTINGS, _MAX_CONCURRENT_STREAMS = 4, 3


class Server:
    """A transport without models; `go_on` lets its answers go."""

    def __init__(self, *channel_arguments: tuple[str, int | str]) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.grpc = GrpcServer(
            SimpleNamespace(status=self._status),  # type: ignore[arg-type]
            threads=2,
            budget=ByteBudget(1 << 20),
            health_service=True,
            reflection=False,
            typed=False,
            tls=None,
            channel_arguments=channel_arguments,
            reload_config=False,
            refuse_when_busy=False,
        )
        self.address = f"127.0.0.1:{self.grpc.bind('127.0.0.1:0')}"
        self.grpc.start()
        self.channel = grpc.insecure_channel(self.address)

    def ask(self) -> int:
        """The version that the answer to a good request names."""
        stub = messages.ModelServiceStub(self.channel)
        request = messages.GetModelStatusRequest()
        request.model_spec.name = "m"
        return int(stub.GetModelStatus(request, timeout=10).model_version_status[0].version)

    def stop(self) -> None:
        self.channel.close()
        self.grpc.stop(0)

    def _status(self, spec: Any) -> Any:
        self.asked.append(spec.name)
        self.go_on.wait(10)
        response = messages.GetModelStatusResponse()
        response.model_version_status.add(version=7)
        return response


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    assert is_so()


@pytest.mark.parametrize("path", [STATUS, CHECK, WATCH])
def test_a_call_without_a_message_takes_no_thread(server: Server, path: str) -> None:
    assert server.ask() == 7
    before = threading.active_count()
    connections = [Connection(server.address) for _ in range(4)]
    for connection in connections:
        for _ in range(30):
            connection.begin(path)
    wait_until(lambda: server.grpc._arrivals._count == 4 * 30)

    assert server.ask() == 7
    stub = health_pb2_grpc.HealthStub(server.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
    watched = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
    assert next(watched).status == 1
    watched.cancel()
    # Of this process: one reads of each connection, and the good client has some.
    assert threading.active_count() - before < len(connections) + 10

    for connection in connections:
        connection._socket.shutdown(2)
        connection.close()
    wait_until(lambda: server.grpc._arrivals._count == 0)


def test_health_does_not_wait_behind_other_methods(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
    begin = server.grpc._arrivals.begin

    def begin_slowly(call: Any, connection: bytes, *, is_small: bool) -> bool:
        time.sleep(0.01)
        return begin(call, connection, is_small=is_small)

    monkeypatch.setattr(server.grpc._arrivals, "begin", begin_slowly)
    connections = [Connection(server.address) for _ in range(6)]
    for connection in connections:
        for _ in range(30):
            connection.begin(STATUS)
    wait_until(lambda: server.grpc._arrivals._count > 5)

    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
    assert server.grpc._arrivals._count < 120  # of 180, in 1.8 s
    for connection in connections:
        connection.close()


def test_a_message_may_come_in_pieces(server: Server) -> None:
    request = messages.GetModelStatusRequest()
    request.model_spec.name = "m"
    data = request.SerializeToString()
    connection = Connection(server.address)
    stream = connection.begin(STATUS)
    wait_until(lambda: server.grpc._arrivals._count == 1)
    *first, last = b"\0" + struct.pack(">I", len(data)) + data
    for byte in first:
        connection.send(stream, bytes([byte]))
    time.sleep(0.05)
    assert (server.asked, server.grpc._arrivals._count) == ([], 1)
    connection.send(stream, bytes([last]))
    wait_until(lambda: server.asked == ["m"])
    assert server.grpc._arrivals._count == 0
    connection.close()


@pytest.mark.parametrize("path", [STATUS, CHECK, WATCH])
def test_a_client_that_says_nothing_to_the_end(server: Server, path: str) -> None:
    call = server.channel.stream_unary(path)
    with pytest.raises(grpc.RpcError) as raised:
        call(iter(()), timeout=10)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.details() == "The call needs exactly one message."


def ask_three_that_wait(server: Server) -> list[grpc.Future]:
    """Three calls that are under way until the server may go on."""
    server.go_on.clear()
    stub = messages.ModelServiceStub(server.channel)
    request = messages.GetModelStatusRequest()
    request.model_spec.name = "m"
    answers = [stub.GetModelStatus.future(request, timeout=10) for _ in range(3)]
    wait_until(lambda: server.grpc._threads._under_way == 3)
    return answers


def test_more_than_may_be_under_way(server: Server) -> None:
    server.grpc._threads._most = 3
    answers = ask_three_that_wait(server)
    with pytest.raises(grpc.RpcError) as raised:
        server.ask()
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert raised.value.details() == "More than 3 calls are under way: try again later."
    server.go_on.set()
    assert [len(each.result().model_version_status) for each in answers] == [1, 1, 1]
    wait_until(lambda: server.grpc._threads._under_way == 0)
    assert server.ask() == 7


def test_threads_that_are_not_to_be_had(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container limits them: calls wait for those that there are."""
    assert server.ask() == 7
    start = threading.Thread.start

    def start_others(thread: threading.Thread) -> None:
        if thread.name.startswith("grpc_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_others)
    answers = ask_three_that_wait(server)
    server.go_on.set()
    assert [len(each.result().model_version_status) for each in answers] == [1, 1, 1]


def test_more_than_may_wait_for_their_message(server: Server) -> None:
    server.grpc._arrivals._most = 5
    connection = Connection(server.address)
    for _ in range(8):
        connection.begin(STATUS)
    wait_until(lambda: server.grpc._arrivals._count == 5)

    assert server.ask() == 7
    assert server.grpc._arrivals._count == 5
    connection.close()


def test_a_method_that_nobody_knows(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.channel.unary_unary("/a.B/C")(b"", timeout=10)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.details() == ""


def test_calls_that_wait_end_with_the_server(server: Server) -> None:
    connection = Connection(server.address)
    for _ in range(3):
        connection.begin(STATUS)
    wait_until(lambda: server.grpc._arrivals._count == 3)
    began = time.monotonic()
    server.grpc.stop(20)
    assert time.monotonic() - began < 5
    connection.close()


@pytest.mark.parametrize(("arguments", "streams"), [((), 32), ((16,), 16), ((128,), 128)])
def test_calls_of_one_connection(arguments: tuple[int, ...], streams: int) -> None:
    """The server's first SETTINGS say how many a connection may have."""

    class Told(Connection):
        streams = 0

        def _take(self, kind: int, flags: int, stream: int, data: bytes) -> None:
            if kind == _SETTINGS and not flags & 1:
                told = dict(struct.iter_unpack(">HI", data))
                self.streams = told.get(_MAX_CONCURRENT_STREAMS, self.streams)
            super()._take(kind, flags, stream, data)

    server = Server(*(("grpc.max_concurrent_streams", each) for each in arguments))
    connection = Told(server.address)
    wait_until(lambda: connection.streams > 0)
    assert connection.streams == streams
    connection.close()
    server.stop()


def test_a_connection_whose_calls_wait_at_the_client_has_all_answered() -> None:
    """GRPC refuses some where it counts those that have ended, but whose memory it has yet."""
    server = Server(("grpc.max_concurrent_streams", 4))
    with ThreadPoolExecutor(24) as clients:
        assert list(clients.map(lambda _: server.ask(), range(600))) == [7] * 600
    server.stop()


def test_what_is_no_call_is_run() -> None:
    arrivals = Arrivals(most=1, memory_limit=1)
    with MessageThreads(1, arrivals) as threads:
        assert isinstance(threads, ThreadPoolExecutor)
        assert threads.submit(divmod, 7, 2).result(10) == (3, 1)
        assert threads.submit(max, 1, 2, 3, 4, 5).result(10) == 5
