"""One server for all tests of serving that do not change it.

Conformance tests call it as any client does: through `tensorflow-serving-api`'s stubs and plain
HTTP.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from inception_serving import ModelServer
from tests.serving.caller import Caller
from tests.serving.saved_models import publish_all, save_all


class Clock:
    """The clients' time, which only their pauses take: `now` is the sum of them.

    A server's answer takes none of it, however busy the machine is. Pauses are tens of seconds.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for module in ("client", "connection", "remote_model"):
            monkeypatch.setattr(f"inception_serving.client.{module}.time", self)
        on_asyncio = SimpleNamespace(**{**vars(asyncio), "sleep": self.pause})
        monkeypatch.setattr("inception_serving.client.async_client.asyncio", on_asyncio)
        monkeypatch.setattr("inception_serving.client.connection._FIRST_PAUSE_S", 10.0)
        monkeypatch.setattr("inception_serving.client.connection._LONGEST_PAUSE_S", 40.0)
        monkeypatch.setattr(
            "inception_serving.client.connection.random.uniform", lambda low, high: high
        )

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def pause(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def one_at_a_time_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Notes, from when it is called, what some modules do one at a time: the bytes of each."""

    def in_modules(*modules: ModuleType) -> list[int]:
        sizes: list[int] = []

        @contextmanager
        def note(size: int) -> Iterator[None]:
            sizes.append(size)
            yield
            assert sizes[-1] == size  # no other was within it

        for module in modules:
            monkeypatch.setattr(module, "one_at_a_time", note)
        return sizes

    return in_modules


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SavedModel a folder: `arithmetic`, `arithmetic_plus_three`, `colours`, ..."""
    base = tmp_path_factory.mktemp("saved_models")
    save_all(base)
    return base


@pytest.fixture(scope="session")
def base(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BASE of `server`."""
    base = tmp_path_factory.mktemp("base")
    publish_all(saved_models, base)
    return base


@pytest.fixture(scope="session")
def server(base: Path) -> Iterator[Any]:
    """`arithmetic` (version 1 adds three, version 7 two), `colours`, `keras`, ...

    TFS_ADDRESS and TFS_REST_ADDRESS name another server of these models, such as a TF Serving
    (see serving/README.md).
    """
    if address := os.environ.get("TFS_ADDRESS"):
        rest_address = os.environ["TFS_REST_ADDRESS"]
        port, rest_port = (int(one.rpartition(":")[2]) for one in (address, rest_address))
        yield SimpleNamespace(
            address=address, rest_address=rest_address, port=port, rest_port=rest_port
        )
        return
    with ModelServer(base, rest_port=0, num_versions=2, health_service=True) as server:
        yield server


@pytest.fixture(scope="session")
def caller(server: Any) -> Iterator[Caller]:
    caller = Caller(server.address)
    with caller.channel:
        yield caller
