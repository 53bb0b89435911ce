"""Bytes that were compressed, inflated only as far as the server may hold them."""

from __future__ import annotations

import zlib
from collections.abc import Callable

GZIP = 16 + zlib.MAX_WBITS  # zlib's names for the formats, zlib.h, inflateInit2
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_FED_AT_ONCE, _MADE_AT_ONCE = 1 << 16, 1 << 20


class CannotInflate(ValueError):
    """The bytes were not compressed so, or are not whole, or more follow; in gRPC's words."""


def inflate(
    data: bytes, form: int, grow: Callable[[int], object], *, most: int | None = None
) -> bytes:
    """What was compressed. Other threads run meanwhile.

    Args:
        form: `GZIP` or `GZIP_OR_ZLIB`.
        grow: told how many bytes more there are, before the next are made; may raise.
        most: bytes that may come of it.

    Raises:
        CannotInflate: see there; or more comes of it.
    """
    inflater = zlib.decompressobj(form)
    parts, size, begin = [], 0, 0
    try:
        while begin < len(data) and not inflater.eof:
            fed = data[begin : begin + _FED_AT_ONCE]  # what is left of it is copied each time
            begin += len(fed)
            part = None
            while not inflater.eof and (part is None or fed or len(part) == _MADE_AT_ONCE):
                part = inflater.decompress(fed, _MADE_AT_ONCE)
                fed = inflater.unconsumed_tail
                size += len(part)
                if most is not None and size > most:
                    raise CannotInflate(f"more than {most} bytes")
                grow(len(part))
                parts.append(part)
    except zlib.error:
        raise CannotInflate("zlib error") from None
    if not inflater.eof:
        raise CannotInflate("data error")  # cut short
    if inflater.unused_data or begin < len(data):
        raise CannotInflate("not all input consumed")
    return b"".join(parts)
