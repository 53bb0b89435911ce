"""When memory that the C library keeps is given back to the system."""

from __future__ import annotations

import pytest

from inception_serving.server.grpc import memory
from inception_serving.server.grpc.memory import KeptMemory

MODULE = "inception_serving.server.grpc.memory"


def test_memory_that_nobody_uses_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, given_back = [500], []
    monkeypatch.setattr(f"{MODULE}.memory_in_use", lambda: memory[0])

    def give_back() -> None:
        given_back.append(memory[0])
        memory[0] = 700

    monkeypatch.setattr(f"{MODULE}._give_back", give_back)
    kept = KeptMemory(1000)
    for size in (500, 1400, 1600, 1650, 1900):  # the last again too much, but too soon
        memory[0] = size
        kept.look()
    assert given_back == [1600]


def test_memory_that_is_let_go_of_later_is_given_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 5.9, 6.1, 15.9, 16.2, 36.1, 36.3, 76.5, 200.0, 300.0])
    monkeypatch.setattr(f"{MODULE}.memory_in_use", lambda: memory[0])
    monkeypatch.setattr(f"{MODULE}._MUCH", 100)
    given_back = []
    monkeypatch.setattr(f"{MODULE}._give_back", lambda: given_back.append(now[0]))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    kept = KeptMemory(1000)
    memory, now = [500], [0.0]
    for now[0] in times:
        kept.look()
        memory[0] = 1600
    assert given_back == [1.0, 6.1, 16.2, 36.3, 76.5]


def test_what_the_c_library_keeps_is_told_to_go() -> None:
    memory._give_back()
