"""What JSON takes in memory is known before it is read."""

from __future__ import annotations

import tracemalloc

import pytest

from inception_serving.server.rest import json_values
from inception_serving.server.rest.sizes import parsed_bytes

KEYS = ",".join(f'"k{number}": 0.5' for number in range(20))
ITEMS = [
    *('{"":0,"":0}', '{"":0,"":0,"":0}', '{"a":[],"b":{},"a":0.5}', '{"":{"":0,"":0},"":0}'),
    *("[]", "[[]]", "[[[]]]", "[1]", "[0.5,0.5,0.5]", "[1,2,3,4,5]", f"[{'300,' * 8}300]"),
    *("{}", '{"a":1}', '{"a":1,"b":2}', '{"a":{"a":{}}}', f"{{{KEYS}}}", f'{{{KEYS},"k0":1}}'),
    *("0", "0.5", "12345678901234567890", "null", '{"b64":"QQ=="}'),
    *('"ab"', '"\u00e9"', '"\u20ac"', '"\U0001f600"', '"\\u20ac"', '"\\ud83d\\ude00"'),
]
BODIES = {
    **{item[:40]: f'{{"instances":[{",".join([item] * 10_000)}]}}' for item in ITEMS},
    "keys": ",".join(f'{{"key{number}":{number},"key{number}":0}}' for number in range(10_000)),
    "lists": "[" * 90_000 + "]" * 90_000,
    "objects": '{"":' * 90_000 + "1" + "}" * 90_000,
    "text": f'"{"a" * 1_000_000}"',
    "wide": f'"{"a" * 1_000_000}\u20ac"',
    "widest": f'"{"a" * 1_000_000}\U0001f600"',
}


@pytest.mark.parametrize("name", BODIES)
def test_reckons_all_that_it_takes(name: str) -> None:
    body = BODIES[name].encode()
    body = body if body.startswith(b'{"instances') else b'{"instances":[' + body + b"]}"
    json_values.parse(b"{}")

    tracemalloc.start()
    json_values.parse(body)
    _, real = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert parsed_bytes(body) >= 0.9 * real


def test_reckons_little_more_for_numbers() -> None:
    pixels = b"[0.123456789,0.123456789,0.123456789],"

    assert parsed_bytes(pixels * 1_000_000) < 300_000_000


def test_counts_in_parts() -> None:
    body = b'[{"a":1},' * 300_000

    assert parsed_bytes(body) == 300_000 * parsed_bytes(body[:9])


@pytest.mark.parametrize(
    ("wide", "widths"),
    [("\u00e9", 2 + 2), ("\U0001f600", 4 + 4), ("\\u20ac", 1 + 2), ("\\ud83d\\ude00", 1 + 4)],
)
def test_sees_wide_characters_at_a_seam(wide: str, widths: int) -> None:
    for before in range(2**17 - 12, 2**17 + 1):
        text = f'"{"a" * before}{wide}"'.encode()

        assert parsed_bytes(text) == widths * len(text) + 76
