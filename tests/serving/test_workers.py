"""Threads that work on requests: what is asked is done, and asking never waits for a thread."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

import pytest

from inception_serving.server.received import workers as module
from inception_serving.server.received.workers import Workers


def test_all_is_done_in_the_order_of_asking() -> None:
    done: list[int] = []
    workers = Workers(1)
    asked = [workers.submit(done.append, number) for number in range(500)]
    for each in asked:
        each.result(timeout=20)
    workers.shutdown()
    assert done == list(range(500))


def test_as_many_at_a_time_as_there_may_be() -> None:
    """Each waits for all the others; a ninth has to wait."""
    together = threading.Barrier(8)
    with Workers(8) as workers:
        asked = [workers.submit(together.wait, 20) for _ in range(7)]
        ninth = [workers.submit(together.wait, 20), workers.submit(threading.get_ident)]
        threads = {workers.submit(threading.get_ident).result(20) for _ in range(20)}
        assert sorted(each.result(20) for each in (*asked, ninth[0])) == list(range(8))
    assert len(threads | {ninth[1].result()}) <= 8


def test_a_thread_that_has_nothing_to_do_is_next() -> None:
    with Workers(8) as workers:
        threads = set()
        for _ in range(20):
            threads.add(workers.submit(threading.get_ident).result(20))
            while not workers._idle:
                time.sleep(1e-3)
        assert len(threads) == 1


def test_asking_does_not_wait_for_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `ThreadPoolExecutor` it does, until the new thread has run for a moment."""
    begun: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module._thread, "start_new_thread", lambda *all: begun.append(all))
    workers = Workers(2000)
    asked = [workers.submit(max, number, 0) for number in range(1000)]
    assert len(begun) == 1000 and not any(each.done() for each in asked)
    for work, arguments in begun:
        threading.Thread(target=work, args=arguments, daemon=True).start()
    assert [each.result(20) for each in asked] == list(range(1000))
    workers.shutdown()


def test_no_more_threads_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is done by a thread that there is; or by the next that can be had."""
    start = module._thread.start_new_thread
    may = [True]

    def limited(*all: Any) -> int:
        if not may.pop():
            raise RuntimeError("can't start new thread")
        return start(*all)

    monkeypatch.setattr(module._thread, "start_new_thread", limited)
    go_on = threading.Event()
    workers = Workers(8)
    first = workers.submit(go_on.wait, 20)
    may.append(False)
    second = workers.submit(max, 1, 2)
    assert not second.done()
    go_on.set()
    assert first.result(20) and second.result(20) == 2
    workers.shutdown()

    workers = Workers(8)
    may[:] = [False]
    third = workers.submit(max, 3, 4)
    may.append(True)
    assert workers.submit(max, 5, 6).result(20) == 6 and third.result(20) == 4
    workers.shutdown()


def test_an_error_is_told() -> None:
    with Workers(1) as workers:
        with pytest.raises(ZeroDivisionError):
            workers.submit(divmod, 1, 0).result(20)
        assert workers.submit(divmod, 7, 2).result(20) == (3, 1)


def test_the_end() -> None:
    go_on = threading.Event()
    workers = Workers(1)
    under_way, waiting = workers.submit(go_on.wait, 20), workers.submit(max, 1, 2)
    while not under_way.running():
        time.sleep(1e-3)
    workers.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled() and workers.submit(max, 1, 2).cancelled()
    assert not workers.join(0.05)
    go_on.set()
    assert under_way.result(20) and workers.join(20)


def test_what_waits_at_the_end_is_done_where_it_is_not_cancelled() -> None:
    workers = Workers(1)
    asked = [workers.submit(max, number, 0) for number in range(50)]
    workers.shutdown()
    assert [each.result(0) for each in asked] == list(range(50))


def test_what_was_asked_is_not_kept() -> None:
    class Large:
        def size(self) -> int:
            return 1

    with Workers(1) as workers:
        large = Large()
        kept = weakref.ref(large)
        assert workers.submit(large.size).result(20) == 1
        del large
        for _ in range(200):
            if kept() is None:
                break
            time.sleep(0.01)
        assert kept() is None
