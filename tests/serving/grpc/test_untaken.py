"""Answers that their clients let nothing of through."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import attack_bombs as bombs
from benchmarks.attack_http2 import Connection
from inception_serving import ModelServer, messages
from inception_serving.server.budget import ByteBudget
from inception_serving.server.grpc import untaken as untaken_module
from inception_serving.server.grpc.untaken import Untaken
from tests.serving.caller import Caller
from tests.serving.versions.test_lifecycle import wait_until

COUNT = 100_000
ANSWER = 4 * COUNT


def begin(connection: Connection) -> None:
    """Ask for an answer of 400 KB, of which 64 KB are let through."""
    tensor = bombs.tensor(1, [COUNT], bombs.part(4, bytes(4 * COUNT)))
    data = bombs.predict(b"arithmetic", b"", bombs.tensor_input(b"x", tensor))
    stream = connection.begin("/tensorflow.serving.PredictionService/Predict")
    message = b"\0" + struct.pack(">I", len(data)) + data
    assert connection.send(stream, message, wait_s=10) == len(message)
    connection._socket.sendall(b"\0\0\0\0\1" + struct.pack(">I", stream))  # no more


def test_they_count_and_the_oldest_make_way(base: Path) -> None:
    with ModelServer(base / "arithmetic", max_bytes_in_flight=4 << 20) as server:
        connection = Connection(server.address)
        caller = Caller(server.address)
        for count in (1, 2, 3, 4):
            begin(connection)
            wait_until(lambda given=count: len(server._grpc._untaken._held) == given)
        time.sleep(1.1)
        held = server.budget._held

        caller.predict({"x": np.zeros(COUNT * 3 // 2, np.float32)})
        wait_until(lambda: server.budget._held < 4 * ANSWER)
        connection._socket.shutdown(socket.SHUT_RDWR)  # or it stayed open while a thread reads
        connection.close()
        wait_until(lambda: server.budget._held == 0)
        caller.channel.close()

    assert 4 * ANSWER <= held < 4.1 * ANSWER


class Context:
    """A call, as gRPC hands it to a handler."""

    def __init__(self, *, has_ended: bool = False) -> None:
        self.has_ended = has_ended
        self.is_cancelled = False
        self.on_end: Callable[[], None] = lambda: None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self.on_end = callback
        return not self.has_ended

    def cancel(self) -> None:
        self.is_cancelled = True


def test_beyond_the_limit_the_oldest_end_at_once() -> None:
    """An answer may be larger than its request, which had its place."""
    budget = ByteBudget(1 << 20)
    untaken = Untaken(budget)
    first, second, third, ended = Context(), Context(), Context(), Context(has_ended=True)

    for context in (first, second):
        untaken.add(600_000, context)
    untaken.add(1_000, third)  # is too little to count
    untaken.add(600_000, ended)

    assert [each.is_cancelled for each in (first, second, third, ended)] == [True] + [False] * 3
    assert budget._held == 600_000
    first.on_end()
    assert budget._held == 600_000
    second.on_end()
    assert budget._held == 0
    untaken.add(2_000_000, second)  # the largest has itself alone to make way for it
    assert not second.is_cancelled


def test_many_calls_with_little_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untaken_module, "_MOST_LITTLE", 3)
    untaken = Untaken(ByteBudget(1 << 20))
    calls = [Context() for _ in range(5)]
    taken, ended = Context(), Context(has_ended=True)
    for context in (taken, *calls[:3]):
        untaken.add(0, context)
        if context is taken:
            taken.on_end()
    untaken.add(100, ended)
    assert not any(each.is_cancelled for each in calls)

    for context in calls[3:]:
        untaken.add(0, context)
    assert [each.is_cancelled for each in calls] == [True, True, False, False, False]
    assert not taken.is_cancelled and not ended.is_cancelled


def test_small_answers_count_until_they_are_taken(base: Path) -> None:
    request = messages.GetModelStatusRequest()
    request.model_spec.name = "arithmetic"
    asked = {
        "/tensorflow.serving.ModelService/GetModelStatus": request.SerializeToString(),
        "/grpc.health.v1.Health/Check": b"",
    }
    with ModelServer(base / "arithmetic", health_service=True) as server:
        little = server._grpc._untaken._little
        connection = Connection(server.address, takes_messages=False)
        for method, data in asked.items():
            connection.send(connection.begin(method), b"\0" + struct.pack(">I", len(data)) + data)
        wait_until(lambda: len(little) == 2)
        connection.close()
        wait_until(lambda: not little)
