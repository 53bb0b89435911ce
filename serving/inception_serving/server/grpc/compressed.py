"""Messages that clients have compressed.

gRPC would inflate each on the one thread that all calls go through, for as long as it takes: a
hundred kilobytes become a hundred megabytes. So it is told to leave messages as they come, and they
are inflated where others do not wait for it. It does not tell by what a message was compressed; but
no message begins as gzip does, with a field of wire type 7, and none of these services' as zlib
does, with a field 15.
"""

from __future__ import annotations

from collections.abc import Callable

from inception_serving import errors
from inception_serving.server.received.inflate import GZIP_OR_ZLIB, CannotInflate, inflate

LEAVE_COMPRESSED = ("grpc.per_message_decompression", 0)
_GZIP, _ZLIB = b"\x1f\x8b", b"\x78"
# zlib's most (deflate.c, "compression ratio"): a byte for 1032.
_MOST_RATIO = 1032
_MOST_SMALL = 1 << 16


def is_compressed(data: bytes) -> bool:
    """Whether a message was compressed, by gzip or by zlib, which gRPC calls deflate."""
    return data.startswith(_GZIP) or (
        data.startswith(_ZLIB) and int.from_bytes(data[:2], "big") % 31 == 0
    )


def most_inflated(data: bytes) -> int:
    """The bytes that a compressed message may come to."""
    return len(data) * _MOST_RATIO


def inflated(data: bytes, grow: Callable[[int], object], *, most: int | None = None) -> bytes:
    """A message as it was before it was compressed; see `inflate`.

    Raises:
        errors.InternalError: it can't be inflated; in the words of gRPC 1.85.
    """
    try:
        return inflate(data, GZIP_OR_ZLIB, grow, most=most)
    except CannotInflate as error:
        raise errors.InternalError(f"Decompression failed due to {error}") from None


def small_message(data: bytes) -> bytes:
    """A message of which nobody sends a large one, as it was before it was compressed."""
    if not is_compressed(data):
        return data
    return inflated(data, lambda size: None, most=_MOST_SMALL)
