"""What is large works for long as soon as any does, and stands still while requests come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from inception_serving import errors
from inception_serving.server.received import turns as module
from inception_serving.server.received.pauses import let_others_run, outside_python
from inception_serving.server.received.turns import LONG_WORK, LongWork, Turns


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert LONG_WORK._is_free and not LONG_WORK.is_used


def _work(seconds: float) -> None:
    """Use so much of a processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def _enter(turns: Turns, entered: threading.Event, *, is_small: bool) -> None:
    with turns.take(None, is_small=is_small):
        entered.set()


def test_what_is_large_waits_for_what_works_for_long() -> None:
    turns, small, large = Turns(8), threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        with turns.take(None) as turn:
            turn.work_long()
            waiting = pool.submit(_enter, turns, large, is_small=False)
            pool.submit(_enter, turns, small, is_small=True).result(20)
            assert small.is_set() and not large.wait(0.1)
        waiting.result(20)
    assert large.is_set() and turns._free == 8


def test_what_is_large_and_finds_no_turn_works_for_long() -> None:
    turns, large = Turns(1), threading.Event()
    with ThreadPoolExecutor(1) as pool, turns.take(None):
        pool.submit(_enter, turns, large, is_small=False).result(20)
    assert large.is_set() and turns._free == 1


def test_what_is_large_is_refused_where_all_are_that_find_no_turn() -> None:
    turns = Turns(1)
    exhausted = pytest.raises(errors.ResourceExhaustedError, match="Exhausted")
    with turns.take(None), exhausted, turns.take(None, is_small=False, refuse=True):
        pass
    with turns.take(None, is_small=False, refuse=True):
        assert turns._free == 0
    assert turns._free == 1


def test_what_is_small_does_not_wait_between_its_parts() -> None:
    """A digit's answer is written in parts of next to nothing."""
    turns = Turns(8)
    with ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            with turns.take(None):
                let_others_run()

        with turns.take(None) as turn:
            turn.work_long()
            pool.submit(answer).result(20)


def test_a_run_is_no_work_of_this_kind() -> None:
    """Of a model, on this thread, but without Python's lock."""
    with Turns(1).take(None) as turn:
        with outside_python():
            _work(0.01)
        let_others_run()
        assert not LONG_WORK.is_used and turn._worked_s < 1e-3


def test_a_part_that_something_else_came_into_counts_as_a_part() -> None:
    """Python's search for cycles goes on in any thread, for what all hold."""
    with Turns(1).take(None):
        _work(0.01)
        let_others_run()
        assert not LONG_WORK.is_used
        for _ in range(3):
            _work(0.002)
            let_others_run()
        assert LONG_WORK.is_used


def test_others_come_while_it_inflates() -> None:
    turns = Turns(1)
    with turns.take(None) as turn, turn.lend_long(), Turns(1).take(None) as other:
        other.work_long()


class TestLetCome:
    """A burst of requests is let in, a stream of them has its part of the time."""

    @pytest.fixture
    def work(self, monkeypatch: pytest.MonkeyPatch) -> LongWork:
        monkeypatch.setattr(module, "_FEW_WAITING", -1)
        return LongWork()

    def test_nobody_comes(self, work: LongWork) -> None:
        began = time.monotonic()
        work.let_come()
        assert time.monotonic() - began < 0.5

    def test_a_burst(self, work: LongWork) -> None:
        work.came_at_s = time.monotonic() + 0.2  # the last of them
        work.let_come()
        assert time.monotonic() > work.came_at_s

    def test_a_stream_without_end(self, work: LongWork) -> None:
        work.came_at_s = time.monotonic() + 3600
        began = time.monotonic()
        work.let_come()
        first = time.monotonic() - began
        assert first >= module._MOST_CREDIT_S
        stood, began = 0.0, time.monotonic()
        while time.monotonic() - began < 0.5:
            before = time.monotonic()
            work.let_come()
            stood += time.monotonic() - before
            time.sleep(1e-3)
        assert stood < 0.7 * (time.monotonic() - began)

    def test_few_wait(self) -> None:
        work = LongWork()
        work.came_at_s = time.monotonic() + 3600
        began = time.monotonic()
        work.let_come()
        assert time.monotonic() - began < 0.5
