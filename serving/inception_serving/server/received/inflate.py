"""Bytes that were compressed, inflated only as far as the server may hold them."""

from __future__ import annotations

import zlib
from collections.abc import Callable

GZIP = 16 + zlib.MAX_WBITS  # zlib's names for the formats, zlib.h, inflateInit2
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_AT_ONCE = 1 << 20


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
    parts, size = [], 0
    try:
        while not inflater.eof:
            part = inflater.decompress(data, _AT_ONCE)
            if not part and not inflater.unconsumed_tail and not inflater.eof:
                raise CannotInflate("data error")  # cut short
            size += len(part)
            if most is not None and size > most:
                raise CannotInflate(f"more than {most} bytes")
            grow(len(part))
            parts.append(part)
            data = inflater.unconsumed_tail
    except zlib.error:
        raise CannotInflate("zlib error") from None
    if inflater.unused_data:
        raise CannotInflate("not all input consumed")
    return b"".join(parts)
