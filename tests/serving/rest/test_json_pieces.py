"""Large JSON, read in pieces: the same values as Python's own reader gives, or its refusals."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest

from inception_serving import errors
from inception_serving.server.received import in_parts
from inception_serving.server.rest import json_pieces
from inception_serving.server.rest.json_parser import Repeated


def make(source: random.Random, depth: int) -> Any:
    kind = source.randrange(9 if depth else 6)
    if kind < 6:
        text = "".join(source.choices('ab\\"[]{},: \n\u00e9', k=source.randrange(9)))
        return [1, -2.5e-7, True, None, text, float("inf")][kind]
    if kind < 8:
        # Longer than one piece where that is not for thousands of long ones.
        long = {1: 600, 2: 300}.get(depth, 5)
        return [make(source, depth - 1) for _ in range(source.choice([0, 1, 3, long]))]
    return {f"k{n}": make(source, depth - 1) for n in range(source.choice([0, 1, 5]))}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("indent", [None, 1])
def test_gives_what_pythons_reader_gives(seed: int, indent: int | None) -> None:
    source = random.Random(seed)
    value = {"instances": [make(source, 3) for _ in range(40)], "b": [[1, 2]] * 700}
    text = json.dumps(value, indent=indent)

    assert json_pieces.parse(text + " rest", 0) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[1,", "[1,]", "[1 2]", "[1,,2]", "[1}", "]", '["a]', "[0.5.5, 1]"),
        *('{"a":1,}', '{"a" 1}', "{1:2}", '{"a":[1,2}'),
        "[" * 100_100 + "]" * 100_100,
        "[0." + "1" * 10_000 + "]",
    ],
)
def test_refuses_what_pythons_reader_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        json_pieces.parse(text, 0)


def test_reads_a_long_string_in_parts() -> None:
    random_ = random.Random(0)
    pieces = [
        "a",
        "\\n",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\u00e9\u20ac",
        '\\"',
        "\\\\",
        "b" * 300,
        "\U0001f600",
    ]
    for pieces_taken in ([*pieces], ["\\ud83d\\ude00"], ["\\n"], ["a"], ["\\ud83d"]):
        text = "".join(random_.choices(pieces_taken, k=5000))
        assert json_pieces.parse(f'["{text}", 1]', 0) == json.loads(f'["{text}", 1]')
        assert json_pieces.parse(f'{{"{text}": 1}}', 0) == json.loads(f'{{"{text}": 1}}')
    for wrong in ('"a', '"a\\', '"\n"', '"\\u12"', '"\\x"', '"' + "a" * 70_000 + "\x01"):
        with pytest.raises(ValueError):
            json_pieces.parse(f"[{wrong}]", 0)


def test_goes_deeper_than_pythons_reader() -> None:
    value = json_pieces.parse('[{"a":' * 40_000 + "0.5" + "}]" * 40_000, 0)
    for _ in range(40_000):
        value = value[0]["a"]
    assert value == 0.5


def test_keeps_a_key_that_comes_twice() -> None:
    value = json_pieces.parse('{"a":1,"b":[3],"a":2}', 0)

    assert isinstance(value, Repeated)
    assert value == {"a": 1, "b": [3]}
    assert value.pairs == [("a", 1), ("b", [3]), ("a", 2)]


@pytest.mark.parametrize("value", ["1", "[[]]"])
def test_refuses_an_object_of_very_many_members(value: str) -> None:
    members = [f'"{number}":{value}' for number in range(65_537)]

    assert len(json_pieces.parse(f"{{{','.join(members[1:])}}}", 0)) == 65_536
    with pytest.raises(errors.InvalidArgumentError, match="65536 members"):
        json_pieces.parse(f"{{{','.join(members)}}}", 0)


def test_refuses_an_object_of_a_very_long_name() -> None:
    assert json_pieces.parse(f'{{"{"a" * 2**20}":1}}', 0)
    with pytest.raises(errors.InvalidArgumentError, match="1048576 letters"):
        json_pieces.parse(f'{{"{"a" * 2**20}b":1}}', 0)


@pytest.mark.parametrize("wanted", ["x", "xy", "xyz"])
def test_finds_what_is_at_a_seam(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_parts, "_AT_ONCE", 10)
    for place in range(50):
        text = "a" * place + wanted + "b" * 30
        for start, end in ((0, len(text)), (5, 40), (20, 20 + place)):
            found = text.find(wanted, start, end)
            assert in_parts.find(text, wanted, start, end) == found
            assert in_parts.find(text.encode(), wanted.encode(), start, end) == found


@pytest.mark.parametrize(
    "text",
    [
        " " * 4_000_000 + "[1]",
        f"[{' ' * 4_000_000}1]",
        f'["{"a" * 4_000_000}\U0001f600"]',
        f'["{"a" * 4_000_000}',
    ],
    ids=["blanks before", "blanks within", "wide", "open"],
)
def test_others_run_while_text_is_looked_through(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    for module in (in_parts, json_pieces):
        monkeypatch.setattr(module, "let_others_run", pause)
    with contextlib.suppress(ValueError):
        json_pieces.parse(text, 0)

    assert pauses >= 30
