"""One server for all tests of serving that do not change it.

Conformance tests call it as any client does: through `tensorflow-serving-api`'s stubs and plain
HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inception_serving import ModelServer
from tests.serving.caller import Caller
from tests.serving.saved_models import (
    publish,
    save_arithmetic,
    save_colours,
    save_keras,
    save_scorer,
    save_tf1_with_table,
)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SavedModel a folder: `arithmetic`, `arithmetic_plus_three`, `colours`, ..."""
    base = tmp_path_factory.mktemp("saved_models")
    save_arithmetic(base / "arithmetic")
    save_arithmetic(base / "arithmetic_plus_three", add=3.0)
    save_colours(base / "colours")
    save_keras(base / "keras")
    save_scorer(base / "scorer")
    save_tf1_with_table(base / "tf1")
    return base


@pytest.fixture(scope="session")
def base(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BASE of `server`."""
    base = tmp_path_factory.mktemp("base")
    for name, saved_model, version in (
        ("arithmetic", "arithmetic_plus_three", "1"),
        ("arithmetic", "arithmetic", "00000007"),
        ("colours", "colours", "1"),
        ("keras", "keras", "1"),
        ("scorer", "scorer", "3"),
        ("tf1", "tf1", "1"),
    ):
        publish(saved_models / saved_model, base / name / version)
    return base


@pytest.fixture(scope="session")
def server(base: Path) -> Iterator[ModelServer]:
    """`arithmetic` (version 1 adds three, version 7 two), `colours`, `keras`, ..."""
    with ModelServer(base, rest_port=0, num_versions=2, health_service=True) as server:
        yield server


@pytest.fixture(scope="session")
def caller(server: ModelServer) -> Iterator[Caller]:
    caller = Caller(server.address)
    with caller.channel:
        yield caller
