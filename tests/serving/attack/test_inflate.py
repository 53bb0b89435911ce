"""What was compressed by zlib's own compressor, whole, cut, and with more behind it."""

from __future__ import annotations

import itertools
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

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


def test_a_part_at_a_time_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a part made waits for those of all others; a first part waits for nobody."""
    monkeypatch.setattr(module, "_PARTS", module._Queue(1))
    made: list[int] = []
    together = threading.Barrier(3)
    sent = compressed(np.random.default_rng(0).bytes(2_000_000), 6)

    def work(number: int) -> None:
        def lend() -> AbstractContextManager[object]:
            together.wait()
            return nullcontext()

        def grow(size: int) -> None:
            time.sleep(1e-4)
            made.append(number)

        inflate(sent, GZIP, grow, lend=lend)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    middle = made[20:-20]
    longest = max(len(list(run)) for _, run in itertools.groupby(middle))
    assert {middle.count(number) for number in range(3)} != {0}
    assert longest <= 3
