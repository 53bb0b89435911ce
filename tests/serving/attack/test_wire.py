"""Messages that are large in memory by the number of their parts."""

from __future__ import annotations

import pytest

from benchmarks import attack_bombs as bombs
from inception_serving import errors
from inception_serving.messages import ClassificationRequest, PredictRequest
from inception_serving.server.received.wire import MAX_FIELDS, Steps, check_message, find_bytes

MANY = MAX_FIELDS + 1


@pytest.mark.parametrize(
    "data",
    [
        bombs.predict(b"m", b"", b"\x1a\0" * MANY),
        bombs.predict(b"m", b"", bombs.tensor_input(b"x", b"") * MANY),
        bombs.predict(b"m", b"", bombs.tensor_input(b"x", b"\x42\0" * MANY)),
        bombs.predict(b"m", b"", bombs.tensor_input(b"x", bombs.part(2, b"\x12\0" * MANY))),
        bombs.predict(b"m", b"", bombs.tensor_input(b"x", b"\x38\0" * MANY)),
        b"\x7a\0" * MANY,
        b"\x7b\x7c" + b"\x1a\0" * MANY,
        b"\x7b\x13\x1a\0\x14\x7c" + b"\x1a\0" * MANY,
        b"\x7b\x7c" * MANY,
        b"\x7b" + b"\x1a\0" * MANY + b"\x7c",
        bombs.predict(b"m", b"", b"\x1a\0" * MANY) + b"\x12\x01\xff",
        bombs.part(2, bombs.part(2, b"\x7a\0" * MANY)) + b"\x12\x01\xff",
    ],
    ids=[
        *("outputs", "inputs", "strings", "dims", "integers", "unknown"),
        *("behind a group", "behind groups", "groups", "in a group"),
        *("before what is malformed", "in a message before a malformed one"),
    ],
)
def test_too_many_parts(data: bytes) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="fields"):
        check_message(data, PredictRequest.DESCRIPTOR)


@pytest.mark.parametrize(
    "data",
    [
        bombs.part(1, bombs.part(1, b"a" * 70_000)),
        bombs.part(1, bombs.part(3, b"a" * 70_000)),
        bombs.predict(b"m", b"", bombs.tensor_input(b"a" * 70_000, b"")),
        bombs.part(3, b"a" * 70_000),
        bombs.predict(
            b"m",
            b"",
            bombs.tensor_input(b"x", bombs.part(2, bombs.part(2, bombs.part(2, b"a" * 70_000)))),
        ),
    ],
    ids=["model", "signature", "input", "output", "dimension"],
)
def test_long_names(data: bytes) -> None:
    """As Python's text they may take four bytes for each, as often as they are asked for."""
    with pytest.raises(errors.InvalidArgumentError, match=r"A name of 70000 bytes .* 65536"):
        check_message(data, PredictRequest.DESCRIPTOR)


def test_too_many_examples() -> None:
    data = bombs.part(2, bombs.part(1, b"\x0a\0" * MANY))

    with pytest.raises(errors.InvalidArgumentError, match="fields"):
        check_message(data, ClassificationRequest.DESCRIPTOR)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bombs.predict(b"m", b"", bombs.tensor_input(b"x", bombs.part(4, bytes(10_000_000)))),
        bombs.predict(b"m", b"", bombs.tensor_input(b"x", bombs.part(7, bytes(10_000_000)))),
        b"\xff" * 100_000,  # no message, which the parser says
        b"\x0b" * 100_000,
        b"\x7c" + b"\x1a\0" * MANY,
        b"\x7b\x74" + b"\x1a\0" * MANY,
        bombs.part(1, b"")[:-1] * 100_000,
    ],
)
def test_what_passes(data: bytes) -> None:
    check_message(data, PredictRequest.DESCRIPTOR)


@pytest.mark.parametrize(
    ("field", "width"),
    [
        (bombs.part(7, bytes(70_000)), 4),
        (bombs.part(10, bytes(70_000)), 8),
        (bombs.part(10, b"\xff" * 9 + b"\1" + bytes(70_000)), 8),
        (bombs.part(11, bytes(70_000)), 1),
        (bombs.part(17, bytes(70_000)), 8),
        (bombs.part(16, bytes(70_000)), 4),
        (bombs.part(5, bytes(70_000)), 0),
        (bombs.part(4, bytes(70_000)), 0),
    ],
    ids=["int", "int64", "long", "bool", "uint64", "uint32", "float", "content"],
)
def test_packed_numbers_are_larger_in_memory(field: bytes, width: int) -> None:
    data = bombs.predict(b"m", b"", bombs.tensor_input(b"x", field))
    long = field.count(b"\xff") // 9
    expected = width * (70_000 + long) - (70_000 + 10 * long) if width else 0

    assert check_message(data, PredictRequest.DESCRIPTOR) == expected


@pytest.mark.parametrize("before", [b"\x7b\x7c", b"\x0b\x12\0\x0c", b"\x7b" * 99 + b"\x7c" * 99])
def test_what_follows_a_group_counts(before: bytes) -> None:
    """Parsers skip a field of a kind that a message has not; but not beyond what they read."""
    field = bombs.part(10, bytes(70_000))
    data = before + bombs.predict(b"m", b"", bombs.tensor_input(b"x", field))

    PredictRequest.FromString(data)
    assert check_message(data, PredictRequest.DESCRIPTOR) == 7 * 70_000


def test_what_comes_before_a_malformed_message_counts() -> None:
    inputs = bombs.predict(b"m", b"", bombs.tensor_input(b"x", bombs.part(10, bytes(70_000))))

    assert check_message(inputs + b"\x12\x01\xff", PredictRequest.DESCRIPTOR) == 7 * 70_000


def test_a_walk_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    dimensions = bombs.tensor(4, [1] * 25_600, b"")
    data = bombs.predict(b"m", b"s", bombs.tensor_input(b"i", dimensions))
    check_message(data, PredictRequest.DESCRIPTOR)
    assert 100 < len(pauses) < 300  # a dimension is one or two fields
    assert all(0 < pause < 1e-3 for pause in pauses)


def test_a_field_is_found_as_often_as_it_is_there() -> None:
    data = (
        bombs.part(1, b"a") + b"\x10\1" + bombs.part(1, b"b") + bombs.part(3, b"c") + b"\x0a\x7fd"
    )

    assert list(find_bytes(data, ((1,),), Steps())) == [b"a", b"b", b"d"]
    with pytest.raises(errors.InvalidArgumentError):
        list(find_bytes(data, ((1,),), Steps(1)))
