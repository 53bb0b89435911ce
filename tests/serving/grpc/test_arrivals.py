"""Who may wait, and who is ended, where calls without a message keep others from theirs."""

from __future__ import annotations

import time

import pytest

from inception_serving.server.grpc import arrivals as arrivals_module
from inception_serving.server.grpc.arrivals import Arrivals

GOOD, BAD = b"ipv4:10.0.0.1:1000", b"ipv4:10.0.0.2:1000"
MUCH = 1 << 40


class Waiting:
    """A call whose message does not come."""

    def __init__(self, arrivals: Arrivals, connection: bytes, is_small: bool = False) -> None:
        self._arrivals = arrivals
        self._connection = connection
        self.is_ended = False
        self.may_wait = arrivals.begin(self, connection, is_small=is_small)

    def cancel(self) -> None:
        self.is_ended = True
        self.end()

    def end(self) -> None:
        self._arrivals.end(self, self._connection)


def test_a_connection_has_its_share() -> None:
    arrivals = Arrivals(most=6, memory_limit=MUCH)
    bad = [Waiting(arrivals, BAD) for _ in range(8)]
    assert [each.may_wait for each in bad] == [True] * 6 + [False] * 2

    good = [Waiting(arrivals, GOOD) for _ in range(5)]
    assert [each.may_wait for each in good] == [True] * 3 + [False] * 2
    assert not Waiting(arrivals, BAD).may_wait
    assert Waiting(arrivals, b"unix:").may_wait

    for each in bad:
        each.end()
    assert Waiting(arrivals, BAD).may_wait
    assert not any(each.is_ended for each in (*bad, *good))


def test_a_connection_alone_with_its_call_may_always_wait() -> None:
    arrivals = Arrivals(most=2, memory_limit=MUCH)
    assert all(Waiting(arrivals, b"ipv4:10.0.0.%d:1" % number).may_wait for number in range(9))


def test_where_there_are_too_many_the_good_one_stays() -> None:
    arrivals = Arrivals(most=4, memory_limit=MUCH)
    good = Waiting(arrivals, GOOD)  # the one that has waited longest
    others = [Waiting(arrivals, BAD) for _ in range(2)]
    others.append(Waiting(arrivals, b"ipv4:10.0.0.3:1000"))
    arrivals._most = 2
    arrivals.start()
    end = time.monotonic() + 5
    while not all(each.is_ended for each in others[:2]) and time.monotonic() < end:
        time.sleep(0.02)
    assert [each.is_ended for each in others] == [True, True, False]
    assert not good.is_ended
    late = Waiting(arrivals, BAD)
    arrivals.stop()
    assert good.is_ended
    assert late.is_ended
    assert Waiting(arrivals, BAD).is_ended


def test_who_has_just_come_is_not_ended() -> None:
    arrivals = Arrivals(most=0, memory_limit=MUCH)
    good = Waiting(arrivals, GOOD)
    arrivals.start()
    time.sleep(0.5)  # twice as long as one of several may wait
    assert not good.is_ended
    arrivals.stop()


@pytest.mark.parametrize("count", [8, 9])
def test_where_memory_grows_many_small_ones_that_do_not_come_are_ended(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    memory = [0]
    monkeypatch.setattr("inception_serving.server.grpc.arrivals._memory", lambda: memory[0])
    arrivals = Arrivals(most=100, memory_limit=1000)
    arrivals.start()
    time.sleep(0.2)
    small = [Waiting(arrivals, b"ipv4:10.0.0.%d:1" % number, True) for number in range(count)]
    others = [Waiting(arrivals, b"ipv4:10.0.1.%d:1" % number) for number in range(count)]
    memory[0] = 300
    end = time.monotonic() + (10 if count > 8 else 0.6)
    while not all(each.is_ended for each in small) and time.monotonic() < end:
        time.sleep(0.02)
    assert {each.is_ended for each in small} == {count > 8}
    assert not any(each.is_ended for each in others)
    arrivals.stop()


def test_memory_that_nobody_uses_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "inception_serving.server.grpc.arrivals"
    memory, given_back = [500], []
    monkeypatch.setattr(f"{module}._memory", lambda: memory[0])

    def give_back() -> None:
        given_back.append(memory[0])
        memory[0] = 700

    monkeypatch.setattr(f"{module}._give_back", give_back)
    arrivals = Arrivals(most=100, memory_limit=1000)
    for size in (500, 1400, 1600, 1650, 1900):  # the last again too much, but too soon
        memory[0] = size
        arrivals._look_at_kept()
    assert given_back == [1600]


def test_memory_that_is_let_go_of_later_is_given_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "inception_serving.server.grpc.arrivals"
    times = iter([0.0, 1.0, 5.9, 6.1, 15.9, 16.2, 36.1, 36.3, 76.5, 200.0, 300.0])
    monkeypatch.setattr(f"{module}._memory", lambda: memory[0])
    monkeypatch.setattr(f"{module}._MUCH", 100)
    given_back = []
    monkeypatch.setattr(f"{module}._give_back", lambda: given_back.append(now[0]))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    arrivals = Arrivals(most=100, memory_limit=1000)
    memory, now = [500], [0.0]
    for now[0] in times:
        arrivals._look_at_kept()
        memory[0] = 1600
    assert given_back == [1.0, 6.1, 16.2, 36.3, 76.5]


def test_what_the_c_library_keeps_is_told_to_go() -> None:
    arrivals_module._give_back()
