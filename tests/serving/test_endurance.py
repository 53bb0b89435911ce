"""benchmarks/serving_endurance.py, shortened; its full results are beside it."""

from __future__ import annotations

import pytest

from benchmarks import serving_endurance


@pytest.mark.slow
def test_fuzz() -> None:
    found = serving_endurance.fuzz(300)

    assert found["internal errors, unknown errors, time-outs"] == []
    assert found["server's exit code"] == 0
    assert found["reached the model"] >= found["requests"] * 0.5
    assert found["grown, MB"] < 20


@pytest.mark.slow
def test_soak() -> None:
    found = serving_endurance.soak(4000)

    assert found["wrong answers"] == []
    assert found["grown, MB"] < 20
    assert found["server's exit code"] == 0


@pytest.mark.slow
def test_swaps() -> None:
    found = serving_endurance.swaps(5)

    assert found["failed requests"] == []
    assert found["versions that answered"] == 5
    assert found["grown, MB"] < 20


@pytest.mark.slow
def test_kill() -> None:
    found = serving_endurance.kill(1)

    assert found["requests lost"] == []
    assert found["wrong answers"] == 0
    assert found["requests answered"] > 0
