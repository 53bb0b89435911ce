"""Requests that a real TF Serving was asked, and the answers that it gave; see `recording`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from inception_serving import ModelServer
from tests.serving import recording

GRPC, REST = recording.rows("grpc"), recording.rows("rest")
DIFFERING = recording.differing_rows()


@pytest.fixture(scope="module")
def recorded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of the recorded models: ours, or the one that TFS_ADDRESS names."""
    if address := os.environ.get("TFS_ADDRESS"):
        port = int(os.environ["TFS_REST_ADDRESS"].rpartition(":")[2])
        yield SimpleNamespace(address=address, rest_port=port)
        return
    base = recording.publish_models(tmp_path_factory.mktemp("recorded"))
    with ModelServer(base, rest_port=0, num_versions=2, health_service=True) as server:
        yield server


@pytest.fixture(scope="module")
def channel(recorded_server: Any) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(recorded_server.address, options) as channel:
        yield channel


def is_as_listed(row: dict[str, Any], difference: Any) -> bool:
    """Whether a request is answered alike, or is on the list of those that are not."""
    if "TFS_ADDRESS" in os.environ:
        return difference is None
    return (difference is not None) == (row["id"] in DIFFERING)


@pytest.mark.parametrize("row", GRPC, ids=[f"{row['id']} {row['name']}" for row in GRPC])
def test_grpc(row: dict[str, Any], channel: grpc.Channel) -> None:
    difference = recording.difference_grpc(row, channel)
    assert is_as_listed(row, difference), difference


@pytest.mark.parametrize("row", REST, ids=[f"{row['id']} {row['name']}" for row in REST])
def test_rest(row: dict[str, Any], recorded_server: Any) -> None:
    difference = recording.difference_rest(row, recorded_server.rest_port)
    assert is_as_listed(row, difference), difference


def test_the_list_is_short() -> None:
    assert {row["id"] for row in GRPC + REST} >= DIFFERING
    assert sum(row["id"] not in DIFFERING for row in GRPC) >= 233
    assert sum(row["id"] not in DIFFERING for row in REST) >= 465
