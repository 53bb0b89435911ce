"""JSON read by RapidJSON's rules: what it takes that nobody else does, and its errors.

The words, the offsets, the limits of numbers, and the digits that it loses are RapidJSON's, as TF
Serving calls it: iteratively, with NaN and Infinity, and to the end of the first value.
python-rapidjson cannot be made to stop there, and its RapidJSON is a later one with other rules.

Sources: rapidjson 1.1.0, reader.h, error/en.h and internal/strtod.h; tensorflow_serving/util/
json_tensor.cc, ParseJson.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from inception_serving import errors
from inception_serving.server.received.pauses import let_others_run

_EMPTY = "The document is empty."
_INVALID = "Invalid value."
_MISS_NAME = "Missing a name for object member."
_MISS_COLON = "Missing a colon after a name of object member."
_MISS_COMMA_OR_BRACE = "Missing a comma or '}' after an object member."
_MISS_COMMA_OR_BRACKET = "Missing a comma or ']' after an array element."
_BAD_HEX = "Incorrect hex digit after \\u escape in string."
_BAD_SURROGATE = "The surrogate pair in string is invalid."
_BAD_ESCAPE = "Invalid escape character in string."
_MISS_QUOTE = "Missing a closing quotation mark in string."
_TOO_BIG = "Number too big to be stored in double."
_MISS_FRACTION = "Miss fraction part in number."
_MISS_EXPONENT = "Miss exponent in number."

_BLANKS = re.compile(rb"[ \n\r\t]*")
_RUN = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_DIGITS = re.compile(rb"[0-9]*")
_NUMBER = re.compile(rb"0|[1-9][0-9]*")
_ESCAPES = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_LITERALS = {ord("n"): (b"null", None), ord("t"): (b"true", True), ord("f"): (b"false", False)}

_SMALLEST_NORMAL = 2.2250738585072014e-308
_MOST_DIGITS = 17
_VALUES_AT_ONCE = 128  # some 0.5 ms


class Repeated(dict[str, Any]):
    """An object that has a key twice; the values are the first ones, which count."""

    __slots__ = ("_keys", "_values")

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self._keys, self._values = zip(*pairs, strict=True)  # which take less than the pairs

    @property
    def pairs(self) -> list[tuple[str, Any]]:
        """All that was written."""
        return list(zip(self._keys, self._values, strict=True))


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of its keys and values."""
    value = dict(pairs)
    return value if len(value) == len(pairs) else Repeated(pairs)


def parse(data: bytes) -> Any:
    """The first value of a text.

    Numbers are integers of 64 bits, or doubles. Strings hold what is not UTF-8 as `bytes.decode`
    does with "surrogateescape".

    Raises:
        errors.InvalidArgumentError: the text does not begin with a value.
    """
    return _Parser(data).parse()


class _Parser:
    """A text, and how far it has been read."""

    def __init__(self, data: bytes) -> None:
        self._data = data + b"\0"  # the end, as a zero further up is
        self._at = 0

    def parse(self) -> Any:
        """See `parse`, which is iterative as nobody says how deep a text may go."""
        for byte in b"\xef\xbb\xbf":
            self._at += self._peek() == byte
        stack: list[Any] = []  # arrays, and of objects their pairs, last a key without value
        self._skip_blanks()
        if self._peek() in b"]},:\0":
            raise self._error(_EMPTY)
        for count in itertools.count(1):
            if count % _VALUES_AT_ONCE == 0:
                let_others_run()
            opened = self._peek()
            if opened == ord("["):
                value: Any = []
            elif opened == ord("{"):
                value = {}
            else:
                value = self._scalar()
                opened = 0
            if opened:
                self._at += 1
                self._skip_blanks()
                if self._peek() != opened + 2:  # "[" and "]", "{" and "}"
                    stack.append([])
                    if opened == ord("{"):
                        stack.append(self._key())
                    elif self._peek() in b"},:\0":
                        raise self._error(_INVALID)
                    continue
                self._at += 1
            while True:
                if not stack:
                    return value
                value, is_closed = self._add(stack, value)
                if not is_closed:
                    break
        raise AssertionError("there is an end")

    def _add(self, stack: list[Any], value: Any) -> tuple[Any, bool]:
        """Put a value into what it is in; that, if it is closed then."""
        is_object = isinstance(stack[-1], str)
        if is_object:
            key = stack.pop()
            stack[-1].append((key, value))
        else:
            stack[-1].append(value)
        self._skip_blanks()
        following = self._peek()
        if following == ord("}" if is_object else "]"):
            self._at += 1
            return (make_object(stack.pop()) if is_object else stack.pop()), True
        if following != ord(","):
            raise self._error(_MISS_COMMA_OR_BRACE if is_object else _MISS_COMMA_OR_BRACKET)
        self._at += 1
        self._skip_blanks()
        if is_object:
            stack.append(self._key())
        elif self._peek() in b"]},:\0":
            raise self._error(_INVALID)
        return None, False

    def _key(self) -> str:
        """A key and its colon, up to its value."""
        if self._peek() != ord('"'):
            raise self._error(_MISS_NAME)
        key = self._string()
        self._skip_blanks()
        if self._peek() != ord(":"):
            raise self._error(_MISS_COLON)
        self._at += 1
        self._skip_blanks()
        if self._peek() in b"]},:\0":
            raise self._error(_INVALID)
        return key

    def _scalar(self) -> Any:
        first = self._peek()
        if first == ord('"'):
            return self._string()
        if first not in _LITERALS:
            return self._number()
        word, value = _LITERALS[first]
        if not self._consume(word):
            raise self._error(_INVALID)
        return value

    # ---- strings ----

    def _string(self) -> str:
        self._at += 1
        parts = []
        for count in itertools.count(1):
            if count % _VALUES_AT_ONCE == 0:
                let_others_run()
            run = _RUN.match(self._data, self._at)
            assert run is not None
            parts.append(run[0])
            self._at = run.end()
            byte = self._peek()
            if byte == ord('"'):
                self._at += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if byte == 0:
                raise self._error(_MISS_QUOTE)
            if byte != ord("\\"):
                raise self._error(_BAD_ESCAPE)
            parts.append(self._escape())
        raise AssertionError("there is an end")

    def _escape(self) -> bytes:
        start = self._at
        kind = self._data[start + 1]
        if kind in _ESCAPES:
            self._at += 2
            return bytes([_ESCAPES[kind]])
        if kind != ord("u"):
            raise self._error(_BAD_ESCAPE)
        code = self._code(start, start + 2)
        if 0xD800 <= code <= 0xDBFF:
            if self._data[self._at : self._at + 2] != b"\\u":
                raise self._error(_BAD_SURROGATE, start)
            low = self._code(start, self._at + 2)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self._error(_BAD_SURROGATE, start)
            code = ((code - 0xD800) << 10 | (low - 0xDC00)) + 0x10000
        return chr(code).encode("utf-8", "surrogatepass")  # a low one alone is taken

    def _code(self, start: int, at: int) -> int:
        digits = _HEX.match(self._data, at)
        if digits is None:
            raise self._error(_BAD_HEX, start)
        self._at = digits.end()
        return int(digits[0], 16)

    # ---- numbers ----

    def _number(self) -> int | float:
        start = self._at
        is_minus = self._consume(b"-")
        digits = _NUMBER.match(self._data, self._at)
        # What stands for a number may have a fraction and an exponent too, and is 0 then.
        named = self._named(is_minus) if digits is None else None
        whole = b"0" if digits is None else digits[0]
        self._at = self._at if digits is None else digits.end()
        value, rest = _integer(whole, 2**63 if is_minus else 2**64 - 1)
        for digit in rest:
            if value >= 1.7976931348623157e307:
                raise self._error(_TOO_BIG, start)
            value = value * 10.0 + (digit - ord("0"))
        exponent = 0
        if self._consume(b"."):
            fraction = self._digits(_MISS_FRACTION)
            value, exponent = _add_fraction(value, fraction, len(whole) - 1)
        if self._consume(b"e") or self._consume(b"E"):
            value = float(value)
            exponent += self._exponent(start, exponent)
        if isinstance(value, int):
            return named if named is not None else -value if is_minus else value
        value = _scale(value, exponent)
        return -value if is_minus else value

    def _named(self, is_minus: bool) -> float:
        """NaN or infinity."""
        if self._consume(b"NaN"):
            return float("nan")
        if not self._consume(b"Inf"):
            raise self._error(_INVALID)
        if self._peek() == ord("i") and not self._consume(b"inity"):
            raise self._error(_INVALID)
        return float("-inf" if is_minus else "inf")

    def _exponent(self, start: int, of_fraction: int) -> int:
        is_minus = self._data[self._at] == ord("-")
        self._at += self._data[self._at] in b"+-"
        digits = self._digits(_MISS_EXPONENT)
        exponent = int(digits[0:1])
        for digit in digits[1:]:
            exponent = min(exponent * 10 + digit - ord("0"), 10**9)
            if not is_minus and exponent > 308 - of_fraction:
                raise self._error(_TOO_BIG, start)
        return -exponent if is_minus else exponent

    def _digits(self, missing: str) -> bytes:
        digits = _DIGITS.match(self._data, self._at)
        assert digits is not None
        if not digits[0]:
            raise self._error(missing)
        self._at = digits.end()
        return digits[0]

    # ---- what is common to all ----

    def _peek(self) -> int:
        return self._data[self._at]

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._data, self._at)
        assert blanks is not None
        self._at = blanks.end()

    def _consume(self, word: bytes) -> bool:
        """Go past a word, or past as much of it as is there."""
        for byte in word:
            if self._peek() != byte:
                return False
            self._at += 1
        return True

    def _error(self, text: str, at: int | None = None) -> errors.InvalidArgumentError:
        offset = self._at if at is None else at
        return errors.InvalidArgumentError(f"JSON Parse error: {text} at offset: {offset}")


def _integer(digits: bytes, limit: int) -> tuple[int | float, bytes]:
    """The number that digits make; where it is beyond the limit, a double and the digits left."""
    if len(digits) < 19:
        return int(digits), b""
    value = 0
    for place, digit in enumerate(digits):
        more = value * 10 + digit - ord("0")
        if more > limit:
            return float(value), digits[place:]
        value = more
    return value, b""


def _add_fraction(value: int | float, digits: bytes, significant: int) -> tuple[float, int]:
    """A number with the digits behind its point, and the power of ten that it is too large by."""
    exponent = 0
    rest = digits
    if isinstance(value, int):
        for place, digit in enumerate(digits):
            if value >= 2**53:
                rest = digits[place:]
                break
            value = value * 10 + digit - ord("0")
            exponent -= 1
            significant += value != 0
        else:
            rest = b""
        value = float(value)
    for digit in rest:
        if significant >= _MOST_DIGITS:
            break
        value = value * 10.0 + (digit - ord("0"))
        exponent -= 1
        significant += value > 0.0
    return value, exponent


def _scale(value: float, exponent: int) -> float:
    """A number times a power of ten; TF Serving's threads have no denormal numbers."""
    if exponent < -308:
        scaled = _scale(value, -308) / float(f"1e{-exponent - 308}") if exponent >= -616 else 0.0
    elif exponent < 0:
        scaled = value / float(f"1e{-exponent}")
    else:
        # An exponent that is too large for the table meets a 0 only.
        scaled = value * float(f"1e{min(exponent, 308)}")
    return scaled if abs(scaled) >= _SMALLEST_NORMAL else 0.0
