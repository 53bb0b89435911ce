"""Who is ended, where calls without a message keep others from theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from inception_serving.server.grpc.arrivals import Arrivals


class Waiting:
    """A call whose message does not come, as gRPC hands it to a handler."""

    def __init__(self, arrivals: Arrivals, connection: str) -> None:
        self._connection = connection
        self._ended = threading.Event()
        self.received: list[bytes | None] = []
        self._thread = threading.Thread(target=self._receive, args=(arrivals,), daemon=True)
        self._thread.start()

    def _receive(self, arrivals: Arrivals) -> None:
        self.received.append(arrivals.receive(self._messages(), self))

    def _messages(self) -> Iterator[bytes]:
        self._ended.wait(10)
        raise RuntimeError("cancelled")  # as gRPC's iterator does
        yield b""

    def peer(self) -> str:
        return self._connection

    def cancel(self) -> None:
        self._ended.set()
        self._thread.join(10)

    @property
    def is_ended(self) -> bool:
        return self._ended.is_set()


def test_the_connection_with_most_calls_makes_way() -> None:
    arrivals = Arrivals(crowded=lambda: 0, memory_limit=1 << 40)
    good = Waiting(arrivals, "ipv4:10.0.0.1:1000")  # the one that has waited longest
    time.sleep(0.02)
    others = []
    for _ in range(3):
        others.append(Waiting(arrivals, "ipv4:10.0.0.2:1000"))
        time.sleep(0.02)
    time.sleep(0.05)

    assert arrivals.make_way()
    assert [each.is_ended for each in others] == [True, False, False]
    assert others[0].received == [None]
    assert arrivals.make_way()
    assert [each.is_ended for each in others] == [True, True, False]
    assert not arrivals.make_way()  # a connection's only call stays
    assert not others[2].is_ended
    assert not good.is_ended

    good.cancel()
    others[2].cancel()
    assert not arrivals.make_way()


def test_nobody_makes_way_at_once() -> None:
    arrivals = Arrivals(crowded=lambda: 0, memory_limit=1 << 40)
    calls = [Waiting(arrivals, "unix:") for _ in range(2)]
    assert not arrivals.make_way()
    for call in calls:
        assert not call.is_ended
        call.cancel()


def test_where_there_are_too_many_the_good_one_stays() -> None:
    others: list[Waiting] = []
    arrivals = Arrivals(
        crowded=lambda: sum(not each.is_ended for each in others), memory_limit=1 << 40
    )
    good = Waiting(arrivals, "ipv4:10.0.0.1:1000")
    others += [Waiting(arrivals, "ipv4:10.0.0.2:1000") for _ in range(3)]
    arrivals.start()
    end = time.monotonic() + 5
    while not all(each.is_ended for each in others) and time.monotonic() < end:
        time.sleep(0.02)
    assert all(each.is_ended for each in others)
    assert not good.is_ended
    arrivals.stop()
    assert good.is_ended
