"""Health's watchers, over the transport alone, some of whom take nothing of what they are told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.attack_http2 import Connection
from inception_serving.server.grpc import health as health_module
from tests.serving.grpc.test_threads import WATCH, Server, wait_until

_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3  # grpc/health/v1/health.proto
_HEADERS = 1  # RFC 9113, 6.2


class Untaking(Connection):
    """A connection that lets the server send no message."""

    def __init__(self, address: str) -> None:
        self.headers = 0
        super().__init__(address, takes_messages=False)

    def watch(self) -> None:
        self.send(self.begin(WATCH), b"\0" + bytes(4))

    def _take(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        self.headers += kind == _HEADERS
        super()._take(kind, flags, stream, data)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def check(server: Server) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)


def watch(server: Server, service: str = "") -> grpc.Call:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=30)


def test_watchers_that_take_nothing_hold_nobody_up(server: Server) -> None:
    connections = [Untaking(server.address) for _ in range(2)]
    for connection in connections:
        for _ in range(20):  # which are more than health has threads
            connection.watch()
    wait_until(lambda: sum(connection.headers for connection in connections) > 0)
    assert check(server) == _SERVING
    assert next(watch(server)).status == _SERVING
    began = time.monotonic()
    server.grpc.stop(20)
    assert time.monotonic() - began < 5
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("service", "status"), [("ModelService", _SERVING), ("unknown", _SERVICE_UNKNOWN)]
)
def test_a_watcher_is_told_of_the_end_and_does_not_put_it_off(
    server: Server, service: str, status: int
) -> None:
    watched = watch(server, service)
    assert next(watched).status == status
    health = server.grpc._health
    assert health is not None
    wait_until(lambda: [each._is_taken for each in health._watches.values()] == [True])
    began = time.monotonic()
    server.grpc.stop(20)
    assert time.monotonic() - began < 5
    assert next(watched).status == _NOT_SERVING
    with pytest.raises(grpc.RpcError) as raised:
        next(watched)
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


def test_nothing_is_kept_of_what_was_watched(server: Server) -> None:
    health = server.grpc._health
    assert health is not None
    unknown = [watch(server, f"{place}" * 1000) for place in range(8)]
    assert [next(each).status for each in unknown] == [_SERVICE_UNKNOWN] * 8
    known = [watch(server) for _ in range(8)]
    assert [next(each).status for each in known] == [_SERVING] * 8
    wait_until(lambda: len(health._watches) == 16)
    for each in (*unknown, *known):
        each.cancel()
    wait_until(lambda: len(health._watches) == 0)


def test_where_many_watch_a_connection_has_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_MANY_WATCHES", 3)
    watches = [watch(server) for _ in range(3)]
    assert [next(each).status for each in watches] == [_SERVING] * 3
    for service in ("", "unknown"):
        with pytest.raises(grpc.RpcError) as refused:
            next(watch(server, service))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    own = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.address, own) as another:
        stub = health_pb2_grpc.HealthStub(another)
        assert next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)).status == _SERVING
    assert check(server) == _SERVING
    for each in watches[:2]:
        each.cancel()
    wait_until(lambda: server.grpc._health._of_peers.total() == 1)
    assert next(watch(server)).status == _SERVING
