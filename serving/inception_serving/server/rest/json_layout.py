"""JSON laid out as RapidJSON's PrettyWriter does: answers, and values that an error's text quotes.

Text here holds what is not UTF-8 as `bytes.decode` does with "surrogateescape", and goes out as it
came. Sources: rapidjson 1.1.0, prettywriter.h and writer.h; tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from typing import Any

from inception_serving.server.received.pauses import let_others_run
from inception_serving.server.rest.json_numbers import show_double
from inception_serving.server.rest.json_parser import Repeated

_INDENT = "    "
_MOST_SHOWN = 256  # bytes, after which nothing more is begun
MOST_TOLD = 1 << 16  # letters of an error's text, and so of a string in it
_WRITTEN_AT_ONCE = 1 << 16  # characters, in a millisecond or two
_ENCODED_AT_ONCE = 1 << 17  # in half a one
_SPECIAL = re.compile(r'[\x00-\x1f"\\]')
# The backslash first, since the others are written with one.
_ESCAPES = {
    **dict(zip('\\"\b\f\n\r\t', map("\\{}".format, '\\"bfnrt'), strict=True)),
    **{chr(code): f"\\u{code:04X}" for code in range(32) if chr(code) not in "\b\f\n\r\t"},
}


def encode(text: str) -> bytes:
    """A text, as bytes."""
    if len(text) <= _ENCODED_AT_ONCE:
        return text.encode("utf-8", "surrogateescape")
    parts = []
    for place in range(0, len(text), _ENCODED_AT_ONCE):
        parts.append(text[place : place + _ENCODED_AT_ONCE].encode("utf-8", "surrogateescape"))
        let_others_run()
    return b"".join(parts)


def write_string(text: str) -> str:
    """A string in quotes."""
    if len(text) <= _WRITTEN_AT_ONCE:
        return f'"{_escaped(text)}"'
    parts = []
    for place in range(0, len(text), _WRITTEN_AT_ONCE):
        parts.append(_escaped(text[place : place + _WRITTEN_AT_ONCE]))
        let_others_run()
    return f'"{"".join(parts)}"'


def _escaped(text: str) -> str:
    if _SPECIAL.search(text) is None:
        return text
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def write_text(value: bytes) -> str:
    """Bytes as a string in quotes, whatever they are."""
    return write_string(value.decode("utf-8", "surrogateescape"))


def write_base64(value: bytes, level: int) -> str:
    """Bytes as `{"b64": ...}`, which stands `level` deep."""
    return write_object({"b64": f'"{base64.b64encode(value).decode()}"'}, level)


def write_object(members: dict[str, str], level: int) -> str:
    """An object of values that are written already, each on lines of its own."""
    if not members:
        return "{}"
    start = "\n" + _INDENT * (level + 1)
    lines = f",{start}".join(f"{write_string(name)}: {text}" for name, text in members.items())
    return f"{{{start}{lines}\n{_INDENT * level}}}"


def write_lines(texts: Sequence[str], level: int) -> str:
    """A list that stands `level` deep, a value a line."""
    if not texts:
        return "[]"
    start = "\n" + _INDENT * (level + 1)
    return f"[{start}{f',{start}'.join(texts)}\n{_INDENT * level}]"


def write_line(texts: Sequence[str]) -> str:
    """A list in one line."""
    return f"[{', '.join(texts)}]"


def separator(level: int | None) -> str:
    """What is between the items of a list that stands `level` deep; None for one in one line."""
    return ", " if level is None else ",\n" + _INDENT * (level + 1)


def enclose(items: str, level: int | None) -> str:
    """A list of what is written of its items already."""
    if not items:
        return "[]"
    if level is None:
        return f"[{items}]"
    return f"[\n{_INDENT * (level + 1)}{items}\n{_INDENT * level}]"


def nest(texts: Sequence[str], shape: Sequence[int], level: int | None) -> list[str]:
    """Values in lists of lists, one text in the end for each of the first `shape`'s dimension.

    Args:
        texts: the values, in order.
        shape: how many of the lists there are, and the sizes below.
        level: how deep they stand, to write a value a line; None for all in one line.
    """
    lists = list(texts)
    for depth in range(len(shape) - 1, 0, -1):
        size, count = shape[depth], math.prod(shape[:depth])
        rows = [lists[place * size : (place + 1) * size] for place in range(count)]
        if level is None:
            lists = [write_line(row) for row in rows]
        else:
            lists = [write_lines(row, level + depth - 1) for row in rows]
    return lists


# ---- an error's text ----


def show(value: Any) -> str:
    """A value as an error's text quotes it: lists in one line, and no more than its beginning."""
    return _Display().show(value)


class _Display:
    """What has been written of a value."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0

    def show(self, value: Any) -> str:
        """See `show`. What is still to be written waits on a stack, as nobody knows how deep."""
        waiting: list[tuple[str, Any, int]] = [("", value, 0)]  # what is before it, and how deep
        while waiting and self._size < _MOST_SHOWN:
            before, item, level = waiting.pop()
            if isinstance(item, _Closing):
                self._write(before + item.text)
            elif isinstance(item, _Name):
                self._write(before + _show_string(item.text))
            elif isinstance(item, dict):
                self._write(before + "{")
                pairs = item.pairs if isinstance(item, Repeated) else list(item.items())
                waiting += _members(pairs, level)
            elif isinstance(item, list):
                self._write(before + "[")
                waiting.append(("", _Closing("]"), level))
                # No more than can be shown: an item is a byte at least, and a comma.
                first = item[: _MOST_SHOWN - self._size]
                waiting += [
                    (", " if place else "", first[place], level + 1)
                    for place in reversed(range(len(first)))
                ]
            else:
                text = _show_scalar(item)
                self._write(before + (text or ""))
                if text is None:
                    break
        return "".join(self._parts)

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(encode(text))


class _Closing:
    """The end of a list or an object."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Name:
    """A member's name."""

    def __init__(self, text: str) -> None:
        self.text = text


def _members(pairs: list[tuple[str, Any]], level: int) -> list[tuple[str, Any, int]]:
    """What is to be written of an object, last first."""
    start = "\n" + _INDENT * (level + 1)
    end = f"\n{_INDENT * level}" if pairs else ""
    waiting: list[tuple[str, Any, int]] = [(end, _Closing("}"), level)]
    for place, (name, value) in reversed(list(enumerate(pairs[:_MOST_SHOWN]))):
        waiting.append((": ", value, level + 1))
        waiting.append((("," if place else "") + start, _Name(name), level))
    return waiting


def _show_string(text: str) -> str:
    return write_string(text[:MOST_TOLD])


def _show_scalar(value: Any) -> str | None:
    """None for what RapidJSON does not write, and after which it writes nothing."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _show_string(value)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return str(value)
    value = float(value)
    return show_double(value) if math.isfinite(value) else None
