"""Protocol-buffer bytes, walked without anything being made of them.

Two bytes on the wire can become an object of dozens in memory, and a message is parsed in one go
during which no other thread runs. So what comes from a client is walked before it is parsed where
it is large, and where a parser would keep less than TensorFlow's own reads
(protobuf's encoding: https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from inception_serving import errors
from inception_serving.server.received.pauses import let_others_run, work_on

# In one message, those of the messages within it too. An image or an example is a few of them,
# a tensor's content or its packed numbers are one.
MAX_FIELDS = 1 << 17
# What is smaller has no more parts than can be borne.
_SMALL = 1 << 11
_MAX_VARINT_BYTES = 10
# Nobody waits longer for Python's lock than this many fields take, some 0.4 ms.
_FIELDS_AT_ONCE = 256
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_DEEPEST = 100  # groups in each other; protobuf's parsers read no deeper
# Bytes of a number in memory, of the types that take less on the wire; and the bytes of a number
# but for its last (google/protobuf/descriptor.proto, FieldDescriptorProto.Type).
_WIDTHS = {3: 8, 4: 8, 18: 8, 5: 4, 13: 4, 14: 4, 17: 4, 8: 1}
# Texts are names; as Python's text each byte may take four, each time it is asked for.
_TEXT, _MOST_TEXT = 9, 1 << 16
_CONTINUED = bytes(range(0x80, 0x100))
_COUNTED_AT_ONCE = 1 << 20
_LOWER_BITS, _NEGATIVE = 2**32 - 1, 2**31


class Malformed(ValueError):
    """The bytes are no message."""


class Negative(ValueError):
    """A size that is negative to TensorFlow."""


class Steps:
    """How many fields may still be walked."""

    def __init__(self, most: int = MAX_FIELDS) -> None:
        self._most = most
        self.taken = 0  # how many were

    def take(self) -> None:
        """One more.

        Raises:
            errors.InvalidArgumentError: they are too many.
        """
        self.taken += 1
        if self.taken % _FIELDS_AT_ONCE == 0:
            let_others_run()
        if self.taken > self._most:
            raise errors.InvalidArgumentError(
                f"A message of more than {MAX_FIELDS} fields is not read by this server."
            )


def check_message(data: bytes, descriptor: Any) -> int:
    """Refuse a message that would be large in memory by the number of its parts.

    Args:
        descriptor: protobuf's, of the message.

    Returns:
        The bytes by which its packed numbers are larger in memory, which is up to 8 times.

    Raises:
        errors.InvalidArgumentError: it has too many parts, or a long name; bytes that are no
            message pass, as the parser has words for them.
    """
    if len(data) <= _SMALL:
        return 0
    more = 0
    steps = Steps()
    left = [(descriptor, 0, len(data))]
    while left:
        descriptor, begin, end = left.pop()
        try:
            for number, start, stop in _fields(data, begin, end, steps):
                field = descriptor.fields_by_number.get(number)
                if field is None or start == stop:
                    continue
                if field.message_type is not None:
                    left.append((field.message_type, start, stop))
                elif field.type == _TEXT and stop - start > _MOST_TEXT:
                    raise errors.InvalidArgumentError(
                        f"A name of {stop - start} bytes is longer than the {_MOST_TEXT} that "
                        "this server reads."
                    )
                elif width := _WIDTHS.get(field.type, 0):
                    more += max(0, width * _count_numbers(data, start, stop) - (stop - start))
        except Malformed:
            pass  # what came before is parsed, also that of the messages beside it
    work_on(steps.taken)
    return more


def _count_numbers(data: bytes, begin: int, end: int) -> int:
    """How many varints there are, counted in parts, between which others have their turn."""
    return sum(
        len(data[place : min(place + _COUNTED_AT_ONCE, end)].translate(None, _CONTINUED))
        for place in range(begin, end, _COUNTED_AT_ONCE)
    )


def find_bytes(data: bytes, path: Sequence[Collection[int]], steps: Steps) -> Iterator[bytes]:
    """The values of fields of bytes, however often they, or one on the way to them, occur.

    All are found that TensorFlow finds, which reads what is no message to other parsers
    (core/util/example_proto_fast_parsing.cc and protobuf's CodedInputStream): what can be read
    before a place where it is none; fields that go beyond the end, up to there; of tags and lengths
    the lower 32 bits; and what follows a length that is negative to it, as if that were none.

    Args:
        path: the numbers of the fields that lead there, from the outermost message.

    Raises:
        Negative: one says that it has so many bytes that TensorFlow takes them for less than none,
            and reads, or writes, what is not its own.
        errors.InvalidArgumentError: there are too many fields to be walked.
    """
    for begin, end in _find(data, path, 0, len(data), steps):
        yield data[begin:end]


def _find(
    data: bytes, path: Sequence[Collection[int]], begin: int, end: int, steps: Steps
) -> Iterator[tuple[int, int]]:
    if not path:
        yield begin, end
        return
    try:
        for number, start, stop in _fields(data, begin, end, steps, as_tensorflow=True):
            if number in path[0]:
                if len(path) == 1 and stop - start >= _NEGATIVE:
                    raise Negative
                yield from _find(data, path[1:], start, min(stop, end), steps)
    except Malformed:
        return


def _fields(
    data: bytes, place: int, end: int, steps: Steps, *, as_tensorflow: bool = False
) -> Iterator[tuple[int, int, int]]:
    """The number and the place of each field that is bytes, text or a message.

    No message here has groups. Parsers skip those that come, and so are they here.

    Args:
        as_tensorflow: see `find_bytes`; the last may end beyond the end.
    """
    groups: list[int] = []  # that are open
    while place < end:
        steps.take()
        tag, place = _varint(data, place, end)
        if as_tensorflow:
            tag &= _LOWER_BITS
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            size, place = _varint(data, place, end)
            if as_tensorflow:
                size &= _LOWER_BITS
            elif size > end - place:
                raise Malformed
            if not groups:
                yield number, place, place + size
            place += size if size < _NEGATIVE else 0  # which TensorFlow does not skip
        elif kind == _VARINT:
            _, place = _varint(data, place, end)
        elif kind == _FIXED64:
            place += 8
        elif kind == _FIXED32:
            place += 4
        elif kind == _GROUP and len(groups) < _DEEPEST:
            groups.append(number)
        elif kind != _GROUP_END or not groups or groups.pop() != number:
            raise Malformed


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        if place >= end:
            raise Malformed
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise Malformed
