"""Bytes that were compressed, inflated only as far as the server may hold them.

A megabyte can be made to take zlib a fifth of a second, and to come to a gigabyte. So it is done in
parts, of which only so many are worked on at a time that a processor is left for other requests.
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

GZIP = 16 + zlib.MAX_WBITS  # zlib's names for the formats, zlib.h, inflateInit2
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_FED_AT_ONCE, _MADE_AT_ONCE = 1 << 14, 1 << 20
# The first part waits for nobody. It is small, since many messages may begin in one moment.
_FED_FIRST, _MADE_FIRST = 1 << 11, 1 << 16


class CannotInflate(ValueError):
    """The bytes were not compressed so, or are not whole, or more follow; in gRPC's words."""


class _Queue:
    """So many are at work at a time; the next is who has waited longest."""

    def __init__(self, at_a_time: int) -> None:
        self._free = at_a_time
        self._waiting: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # until it is handed over

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


_PARTS = _Queue(max(1, (os.cpu_count() or 1) - 1))


def inflate(
    data: bytes,
    form: int,
    grow: Callable[[int], object],
    *,
    most: int | None = None,
    lend: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> bytes:
    """What was compressed. Other threads run meanwhile.

    Args:
        form: `GZIP` or `GZIP_OR_ZLIB`.
        grow: told of each part how many bytes it is, before the next is made; may raise.
        most: bytes that may come of it.
        lend: entered after the first part, of what takes several.

    Raises:
        CannotInflate: see there; or more comes of it.
    """
    inflater = zlib.decompressobj(form)
    made = io.BytesIO()  # whose bytes are had without a copy
    parts, begin = 0, 0
    try:
        with ExitStack() as lent:
            while begin < len(data) and not inflater.eof:
                # What is left of it is copied each time.
                fed = data[begin : begin + (_FED_AT_ONCE if parts else _FED_FIRST)]
                begin += len(fed)
                may_give_more = True
                while not inflater.eof and (fed or may_give_more):
                    if parts == 1:
                        lent.enter_context(lend())
                    most_made = _MADE_AT_ONCE if parts else _MADE_FIRST
                    with _PARTS if parts else nullcontext():
                        part = inflater.decompress(fed, most_made)
                    fed = inflater.unconsumed_tail
                    may_give_more = len(part) == most_made
                    parts += 1
                    if most is not None and made.tell() + len(part) > most:
                        raise CannotInflate(f"more than {most} bytes")
                    grow(len(part))
                    made.write(part)
    except zlib.error:
        raise CannotInflate("zlib error") from None
    if not inflater.eof:
        raise CannotInflate("data error")  # cut short
    if inflater.unused_data or begin < len(data):
        raise CannotInflate("not all input consumed")
    return made.getvalue()
