"""The memory that a JSON body takes once it is read, told from its bytes before it is."""

from __future__ import annotations

from inception_serving.server.received.pauses import let_others_run

# In CPython: a list with room for four, an object of some keys, a key's place in it, an empty
# string, a number with its place in a list. A key that comes twice is in `Repeated` twice.
_LIST, _OBJECT, _KEY, _STRING, _VALUE = 88, 136, 48, 52, 32
_WIDE_STRING = 76
_COUNTED_AT_ONCE = 1 << 20


def parsed_bytes(body: bytes) -> int:
    """The memory that a body takes as text and as Python's values, at most, or nearly."""
    text_width, string_width = _widths(body)
    string = _STRING if string_width == 1 else _WIDE_STRING
    size = (text_width + string_width) * len(body)
    for place in range(0, len(body), _COUNTED_AT_ONCE):
        if place:
            let_others_run()
        part = body[place : place + _COUNTED_AT_ONCE]
        size += _LIST * part.count(b"[") + _OBJECT * part.count(b"{") + _KEY * part.count(b":")
        size += _VALUE * part.count(b",") + string * part.count(b'"') // 2
    return size


def _widths(body: bytes) -> tuple[int, int]:
    """The bytes that a character takes in the text and in strings, which is that of the widest."""
    if body.isascii():
        text = 1
    else:
        text = 4 if any(first in body for first in b"\xf0\xf1\xf2\xf3\xf4") else 2
    if b"\\u" not in body:
        return text, text
    return text, 4 if b"\\ud" in body or b"\\uD" in body else max(text, 2)
