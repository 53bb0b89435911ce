"""What was compressed by zlib's own compressor, whole, cut, and with more behind it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from inception_serving.server.received import inflate as module
from inception_serving.server.received.inflate import GZIP, CannotInflate, inflate


def compressed(data: bytes, level: int) -> bytes:
    deflater = zlib.compressobj(level, wbits=GZIP)
    return deflater.compress(data) + deflater.flush()


def ignore(size: int) -> None:
    pass


@pytest.mark.parametrize("size", [0, 1, 65536, 1 << 20, 1_100_000])
@pytest.mark.parametrize("kind", ["zeros", "noise", "pattern"])
@pytest.mark.parametrize("level", [0, 6])
def test_all_of_it_and_nothing_else(size: int, kind: str, level: int) -> None:
    noise = np.random.default_rng(0).bytes(size if kind == "noise" else 300)
    data = bytes(size) if kind == "zeros" else (noise * (size // len(noise or b" ") + 1))[:size]
    sent = compressed(data, level)
    told: list[int] = []

    assert inflate(sent, GZIP, told.append) == data
    assert sum(told) == size and max(told) <= 1 << 20
    with pytest.raises(CannotInflate, match="data error"):
        inflate(sent[:-1], GZIP, ignore)
    for more in (b"x", sent):
        with pytest.raises(CannotInflate, match="not all input consumed"):
            inflate(sent + more, GZIP, ignore)


def test_no_more_is_made_than_may_be() -> None:
    made: list[int] = []
    with pytest.raises(CannotInflate, match="more than 5000000 bytes"):
        inflate(compressed(bytes(64 << 20), 6), GZIP, made.append, most=5_000_000)
    assert sum(made) <= 5_000_000


def test_blocks_of_nothing_are_nothing() -> None:
    """Stored blocks of no bytes (RFC 1951, 3.2.4), of which a message may be full."""
    head, tail = compressed(b"", 0)[:10], compressed(b"", 0)[10:]
    sent = head + b"\0\0\0\xff\xff" * 200_000 + tail
    told: list[int] = []
    assert inflate(sent, GZIP, told.append) == b"" and not sum(told)


def test_the_next_is_who_has_waited_longest() -> None:
    queue = module._Queue(1)
    turns: list[int] = []

    def wait_for_waiting(others: int) -> None:
        while len(queue._waiting) < others:
            time.sleep(1e-3)

    def work(number: int) -> None:
        for _ in range(3):
            with queue:
                turns.append(number)
                # Who comes back must be there again, to show that it is behind the others.
                wait_for_waiting(min(2, 9 - len(turns)))

    with ThreadPoolExecutor(3) as threads:
        with queue:
            works = []
            for number in range(3):
                works.append(threads.submit(work, number))
                wait_for_waiting(number + 1)
        for each in works:
            each.result(timeout=60)
    assert turns == [0, 1, 2] * 3


def test_every_part_but_the_first_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[None] = []
    lent: list[None] = []

    @contextmanager
    def lend() -> Iterator[None]:
        assert not turns
        lent.append(None)
        yield

    class Parts:
        def __enter__(self) -> None:
            turns.append(None)

        def __exit__(self, *raised: object) -> None:
            pass

    monkeypatch.setattr(module, "_PARTS", Parts())
    made: list[int] = []
    sent = compressed(np.random.default_rng(0).bytes(2_000_000), 6)
    inflate(sent, GZIP, made.append, lend=lend)
    assert len(made) > 100
    assert len(turns) == len(made) - 1
    assert len(lent) == 1
