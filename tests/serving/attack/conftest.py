"""One server to be attacked, and a good client that must not notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.attack_list import Target
from inception_serving import ModelServer
from tests.serving.caller import Caller, png
from tests.serving.saved_models import publish


@pytest.fixture(scope="session")
def attacked(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """`colours`, under the name that the attacks expect, and `arithmetic`."""
    base = tmp_path_factory.mktemp("attacked")
    publish(saved_models / "colours", base / "digits" / "1")
    publish(saved_models / "arithmetic", base / "arithmetic" / "1")
    with ModelServer(base, rest_port=0, health_service=True, reload_config=False) as server:
        yield server


@pytest.fixture(scope="session")
def target(attacked: ModelServer) -> Iterator[Target]:
    target = Target(attacked.address, f"127.0.0.1:{attacked.rest_port}", "digits", png(200, 0, 0))
    yield target
    for channel in target.channels.values():
        channel.close()


@pytest.fixture
def good(attacked: ModelServer) -> Iterator[Caller]:
    caller = Caller(attacked.address)
    with caller.channel:
        yield caller
