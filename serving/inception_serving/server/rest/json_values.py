"""JSON as TF Serving reads it: bodies, single values, and the words of its errors.

Sources, below tensorflow_serving/: util/json_tensor.cc; and absl/strings/escaping.cc for base64.
"""

from __future__ import annotations

import binascii
import codecs
import contextlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inception_serving import errors
from inception_serving.server.received import in_parts
from inception_serving.server.received.pauses import let_others_run, one_at_a_time
from inception_serving.server.rest import json_parser, json_pieces
from inception_serving.server.rest.json_layout import MOST_TOLD, encode, show
from inception_serving.server.rest.json_parser import Repeated

_DECODER = json.JSONDecoder(object_pairs_hook=json_parser.make_object)
# What Python's reader takes, and RapidJSON refuses or reads as something else.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIRS = re.compile(rb"(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}){1,1000}")
_PREFIX_BYTES = 4  # of a surrogate
_LARGE_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")
_LONG_DECIMAL = re.compile(rb"[0-9]\.?[0-9]*[eE][+-]?[0-9]{2}|(?:[0-9]\.?){16}")
_LONG_INTEGER = re.compile(rb"(?<![0-9])[0-9]{309}")

# `json_parser` takes some microseconds a byte; beyond these, nobody's time is spent on the last
# digits of numbers, or on where an error is.
_MOST_READ_SLOWLY, _MOST_READ_EXACTLY = 1 << 18, 1 << 16
_LITTLE = 1 << 12
# Python's reader takes some milliseconds for these, in which nothing else runs.
_MOST_READ_AT_ONCE = 1 << 18
_SCANNED_AT_ONCE = 1 << 17  # bytes, in half a millisecond or so

_BASE64_BLANKS = str.maketrans("", "", " \t\n\v\f\r")
# Some tenths of a millisecond, in which nothing else runs; by four, as base64 is.
_DECODED_AT_ONCE = 1 << 18


def parse(body: bytes) -> dict[str, Any]:
    """A request's body as a JSON object; what follows it does not count.

    Python's reader takes most bodies, and is fast. What it refuses, or reads in another way than
    RapidJSON, is left to `json_parser`.

    Raises:
        errors.InvalidArgumentError: it is not one.
    """
    if not body:
        raise errors.InvalidArgumentError("JSON Parse error: The document is empty")
    document = _parse_usual(body)
    if document is None:
        document = _parse_slowly(body)
    if not isinstance(document, dict):
        if may_be_read_exactly(body):
            document = json_parser.parse(body)  # Python's reader does not look behind "1" of "1e"
        try:
            shown = show(document)
        except OverflowError:
            shown = show(parse_large_integers(body))
        raise errors.InvalidArgumentError(f"JSON Value: {shown} Is not object")
    return document


_reading_slowly = threading.Lock()


def _parse_slowly(body: bytes) -> Any:
    """A body's value by RapidJSON's own rules, of one body at a time.

    Raises:
        errors.InvalidArgumentError: it has none; or it is long, or others are looked through.
    """
    if len(body) <= _LITTLE:
        return json_parser.parse(body)
    if len(body) > _MOST_READ_SLOWLY or not _reading_slowly.acquire(blocking=False):
        raise errors.InvalidArgumentError(
            f"JSON Parse error: Invalid value. It is somewhere in {len(body)} bytes; the place is "
            f"looked for in {_MOST_READ_SLOWLY} at most, of one request at a time."
        )
    try:
        return json_parser.parse(body)
    finally:
        _reading_slowly.release()


def _parse_usual(body: bytes) -> Any:
    """A body's value; None where it is to be read by RapidJSON's own rules."""
    if _has_surrogates_alone(body):
        return None
    try:
        text = _decode(body)
        start = in_parts.after_blanks(text, 0)
        if len(body) > _MOST_READ_AT_ONCE:
            return json_pieces.parse(text, start)
        return _DECODER.raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _decode(body: bytes) -> str:
    """UTF-8 as text.

    Raises:
        UnicodeDecodeError: it is none.
    """
    if len(body) <= _SCANNED_AT_ONCE:
        return body.decode()
    decoder = codecs.getincrementaldecoder("utf-8")()
    parts = []
    for place in range(0, len(body), _SCANNED_AT_ONCE):
        parts.append(decoder.decode(body[place : place + _SCANNED_AT_ONCE]))
        let_others_run()
    parts.append(decoder.decode(b"", final=True))
    with one_at_a_time(len(body)):
        return "".join(parts)


def _has_surrogates_alone(body: bytes) -> bool:
    """Whether there is a half of a pair, such as \\ud83d; or what looks like one."""
    place = 0
    while place < len(body):
        end = place + _SCANNED_AT_ONCE
        if body.find(b"\\u", place, end + 1) >= 0:  # which is much faster than the search
            while found := _SURROGATE.search(body, place, end + _PREFIX_BYTES - 1):
                pairs = _PAIRS.match(body, found.start())
                if pairs is None:
                    return True
                place = pairs.end()
        place = max(end, place)
        if place < len(body):
            let_others_run()
    return False


def parse_exactly(body: bytes) -> dict[str, Any]:
    """A body that `parse` takes, with RapidJSON's own numbers, down to their last digit.

    Raises:
        errors.InvalidArgumentError: a number is too big for a double.
    """
    document: dict[str, Any] = json_parser.parse(body)
    return document


def may_be_read_exactly(body: bytes) -> bool:
    """Whether a body is short enough for `parse_exactly`."""
    return len(body) <= _MOST_READ_EXACTLY


def parse_large_integers(body: bytes) -> dict[str, Any]:
    """A body that `parse` takes, after an OverflowError: to Python an integer is one, however
    large, until it is to be a double. RapidJSON takes some that are a little too large.

    Raises:
        errors.InvalidArgumentError: there is one that is not taken.
    """
    if may_be_read_exactly(body):
        return parse_exactly(body)
    raise errors.InvalidArgumentError(
        "JSON Parse error: Number too big to be stored in double. It is somewhere in "
        f"{len(body)} bytes."
    )


def check_numbers(body: bytes) -> None:
    """Refuse a body that `parse` takes, but for a number that is too large, where nobody reads it.

    Raises:
        errors.InvalidArgumentError: there is one, and the body is short enough to look for it.
    """
    if has_large_exponents(body) or (may_be_read_exactly(body) and _LONG_INTEGER.search(body)):
        parse_exactly(body)


def has_long_decimals(body: bytes) -> bool:
    """Whether RapidJSON may read a number of a body less exactly than Python."""
    return may_be_read_exactly(body) and _LONG_DECIMAL.search(body) is not None


def has_large_exponents(body: bytes) -> bool:
    """Whether RapidJSON may refuse a number of a body that is infinite to Python."""
    return may_be_read_exactly(body) and _LARGE_EXPONENT.search(body) is not None


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names; "" where it names none.

    Of a name that is too long to be that of one, as much as says so.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise errors.InvalidArgumentError(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return name[: MOST_TOLD + 1]


def members(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """An object's keys and values, as often as they were written."""
    return value.pairs if isinstance(value, Repeated) else value.items()


def c_string(key: str) -> str:
    """A key as C reads it, up to its first NUL; TF Serving does, of rows and of examples."""
    return key.partition("\0")[0]


def read_bytes(value: Any) -> bytes:
    """A string, or `{"b64": ...}`, as bytes.

    Raises:
        errors.InvalidArgumentError: it is neither.
    """
    if isinstance(value, str):
        return encode(value)
    if not isinstance(value, dict):
        raise type_error(value, "string")
    if not is_base64(value):
        raise errors.InvalidArgumentError(
            f"JSON Value: {show(value)} not formatted correctly for base64 data"
        )
    return _decode_base64(value["b64"])


def _decode_base64(text: str) -> bytes:
    """Bytes in the standard alphabet; blanks may stand anywhere, padding may be left out.

    Raises:
        errors.InvalidArgumentError: it is something else.
    """
    with contextlib.suppress(ValueError):
        return _decode_digits(text)  # most are, and it is fast
    text = "".join(part.translate(_BASE64_BLANKS) for part in _parts(text))
    digits = text.rstrip("=.")
    padding, missing = len(text) - len(digits), -len(digits) % 4
    if padding in (0, missing):
        with contextlib.suppress(ValueError):
            return _decode_digits(digits + "=" * missing)
    raise errors.InvalidArgumentError("Unable to base64 decode")


def _decode_digits(text: str) -> bytes:
    """The same of digits by four, of which the last may be padded.

    Raises:
        ValueError: it is something else.
    """
    ends = (-1, len(text) - 1, len(text) - 2)
    if len(text) % 4 or in_parts.find(text, "=", 0, len(text)) not in ends:
        raise ValueError
    return b"".join(binascii.a2b_base64(part, strict_mode=True) for part in _parts(text))


def _parts(text: str) -> Iterator[str]:
    """A text in parts, between which others have their turn."""
    for place in range(0, len(text), _DECODED_AT_ONCE):
        if place:
            let_others_run()
        yield text[place : place + _DECODED_AT_ONCE]


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(value.get("b64"), str)
        and not isinstance(value, Repeated)
    )


def type_error(value: Any, kind: str) -> errors.InvalidArgumentError:
    """The error for a value that is not of the type wanted."""
    return errors.InvalidArgumentError(
        f"JSON Value: {show(value)} Type: {type_name(value)} is not of expected type: {kind}"
    )


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return "Object"
    return {type(None): "Null", list: "Array", str: "String"}.get(type(value), "Number")
