"""The memory that JSON takes, told before it does: a body's once it is read, an answer's text."""

from __future__ import annotations

import math
from collections.abc import Mapping

from inception_serving import tensors
from inception_serving.server.received.in_parts import parts
from inception_serving.server.received.pauses import let_others_run
from inception_serving.tensors import Tensor

# In CPython: a list with room for four, an object of some keys, a key's place in it, an empty
# string, a number with its place in a list. A key that comes twice is in `Repeated` twice.
_LIST, _OBJECT, _KEY, _STRING, _VALUE = 88, 136, 48, 52, 32
_WIDE_STRING = 76
_COUNTED_AT_ONCE = 1 << 17  # bytes, in half a millisecond or so

_INDENT = 4
# The longest value of a type, in letters.
_LETTERS = {
    "bool": 5,
    "float": 16,
    "double": 25,
    "int8": 4,
    "int16": 6,
    "int32": 11,
    "int64": 20,
    "uint8": 3,
    "uint32": 10,
    "uint64": 20,
}
# A string's quotes, or what base64 has around it; a letter that is escaped, as \\u001F; and what is
# between values, and around lists.
_AROUND, _ESCAPED, _BETWEEN, _BRACKETS = 64, 6, 2, 6


def parsed_bytes(body: bytes) -> int:
    """The memory that a body takes as text and as Python's values, at most, or nearly."""
    text_width = string_width = 1
    size = quotes = 0
    for place in range(0, len(body), _COUNTED_AT_ONCE):
        if place:
            let_others_run()
        part = body[place : place + _COUNTED_AT_ONCE]
        size += _LIST * part.count(b"[") + _OBJECT * part.count(b"{") + _KEY * part.count(b":")
        size += _VALUE * part.count(b",")
        quotes += part.count(b'"')
        text_width = max(text_width, _width(part))
        seam = body[place + _COUNTED_AT_ONCE - 2 : place + _COUNTED_AT_ONCE + 2]
        string_width = max(string_width, text_width, _escaped_width(part), _escaped_width(seam))
    string = _STRING if string_width == 1 else _WIDE_STRING
    return size + (text_width + string_width) * len(body) + string * quotes // 2


def _width(part: bytes) -> int:
    """The bytes that each character takes in a text, which is that of the widest."""
    if part.isascii():
        return 1
    return 4 if any(first in part for first in b"\xf0\xf1\xf2\xf3\xf4") else 2


def _escaped_width(part: bytes) -> int:
    """The same of those that are written as \\u20ac."""
    if b"\\u" not in part:
        return 1
    return 4 if b"\\ud" in part or b"\\uD" in part else 2


def text_size(outputs: Mapping[str, Tensor], *, row_format: bool) -> int:
    """The bytes of outputs and of their text as `tensor_json.write_outputs` makes it, at most.

    Raises:
        ValueError: a dtype is none of TensorFlow's.
    """
    level = 1 if len(outputs) == 1 else 2
    total = 0
    for name, tensor in outputs.items():
        rank = tensor.ndim
        # In the row format a row's lists are in one line; else each value and bracket has its own.
        indents = [0 if row_format else _INDENT * (level + depth) for depth in range(rank + 1)]
        lists = sum(
            math.prod(tensor.shape[:depth]) * (_BRACKETS + 2 * indents[depth])
            for depth in range(rank)
        )
        total += tensor.nbytes + lists + tensor.size * (_BETWEEN + indents[rank])
        total += _values_size(name, tensor)
        if row_format and level == 2 and rank:  # a row is an object, of the outputs' names
            total += len(tensor) * (len(name) + 2 * _BRACKETS + 2 * _INDENT * (level + 1))
    return total


def _values_size(name: str, tensor: Tensor) -> int:
    kind = tensors.type_name(tensors.data_type(tensor))
    if kind != "string":
        return _LETTERS.get(kind, 0) * tensor.size  # 0 of what JSON has no values for
    each = 2 if name.endswith("_bytes") else _ESCAPED  # in base64, four letters for three bytes
    return each * tensors.text_bytes(tensor, parts(0)) + _AROUND * tensor.size
