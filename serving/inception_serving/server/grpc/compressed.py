"""Messages that clients have compressed.

gRPC would inflate each on the one thread that all calls go through, for as long as it takes: a
hundred kilobytes become a hundred megabytes. So it is told to leave messages as they come, and they
are inflated where others do not wait for it. It does not tell by what a message was compressed; but
no message begins as gzip does, with a field of wire type 7, and none of these services' as zlib
does, with a number in a field of 1 to 15: their first field is a message or a text.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from inception_serving import errors
from inception_serving.server.received.inflate import GZIP_OR_ZLIB, CannotInflate, inflate

LEAVE_COMPRESSED = ("grpc.per_message_decompression", 0)
_GZIP = b"\x1f\x8b"
_MOST_SMALL_SENT, _MOST_SMALL = 1 << 14, 1 << 16


def is_compressed(data: bytes) -> bool:
    """Whether a message was compressed, by gzip or by zlib, which gRPC calls deflate."""
    if data.startswith(_GZIP):
        return True
    # RFC 1950, 2.2: deflate, by a window of 256 bytes to 32 KB, and a check.
    is_deflate = len(data) > 1 and data[0] & 0x8F == 8
    return is_deflate and int.from_bytes(data[:2], "big") % 31 == 0


def inflated(
    data: bytes, grow: Callable[[int], object], lend: Callable[[], AbstractContextManager[object]]
) -> bytes:
    """A message as it was before it was compressed; see `inflate`.

    Raises:
        errors.InternalError: it can't be inflated; in the words of gRPC 1.85.
    """
    try:
        return inflate(data, GZIP_OR_ZLIB, grow, lend=lend)
    except CannotInflate as error:
        raise _refusal(error) from None


def small_message(data: bytes) -> bytes:
    """A message of which nobody sends a large one, as it was before it was compressed.

    Raises:
        errors.InternalError: it can't be inflated.
        errors.ResourceExhaustedError: it is large.
    """
    if len(data) > _MOST_SMALL_SENT:
        raise errors.ResourceExhaustedError(
            f"The message is larger than the {_MOST_SMALL_SENT} bytes that this service takes."
        )
    if not is_compressed(data):
        return data
    try:
        return inflate(data, GZIP_OR_ZLIB, lambda size: None, most=_MOST_SMALL)
    except CannotInflate as error:
        raise _refusal(error) from None


def _refusal(error: CannotInflate) -> errors.InternalError:
    return errors.InternalError(f"Decompression failed due to {error}")
