"""Who may wait, and who is ended, where calls without a message keep others from theirs."""

from __future__ import annotations

import time

import pytest

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
    monkeypatch.setattr("inception_serving.server.grpc.arrivals.memory_in_use", lambda: memory[0])
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
