"""TF Serving's JSON for examples: the bodies of `:classify` and `:regress`, in and out.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from inception_serving import errors, messages
from inception_serving.server.received.pauses import let_others_run
from inception_serving.server.received.wire import Steps
from inception_serving.server.rest import json_layout, json_values
from inception_serving.server.rest.json_numbers import flush_denormals, write_decimals

_INT64 = range(-(2**63), 2**63)
_64_BITS = range(-(2**63), 2**64)
_WIDTHS = {"int64_list": 8, "float_list": 4}  # bytes of a number
# The first in less than a millisecond, of which the second are a part that is worth a pause.
_CONVERTED_AT_ONCE, _MANY = 1 << 12, 1 << 8
_WRITTEN_AT_ONCE = 1 << 8  # classes or values, in half a millisecond

Claim = Callable[[int], None]


def read_examples(document: Mapping[str, Any], claim: Claim | None = None) -> Any:
    """The `Input` of a request.

    Args:
        claim: told of the bytes that numbers take in it, before they do; may raise.

    Raises:
        errors.InvalidArgumentError: a body that is not in the format.
    """
    examples = messages.Input()
    steps = Steps()
    has_context = "context" in document
    if has_context:
        _fill(examples.example_list_with_context.context, document["context"], steps, claim)
    if "examples" not in document:
        raise errors.InvalidArgumentError(
            f"JSON Value: {json_layout.show(document)} When method is classify, key 'examples' is "
            "expected and was not found"
        )
    items = document["examples"]
    if not isinstance(items, list):
        raise errors.InvalidArgumentError(
            f"JSON Value: {json_layout.show(document)} Expecting 'examples' value to be an "
            "list/array"
        )
    if not items:
        raise errors.InvalidArgumentError(
            f"JSON Value: {json_layout.show(document)} 'examples' value is an empty array"
        )
    chosen = examples.example_list_with_context if has_context else examples.example_list
    for item in items:
        _fill(chosen.examples.add(), item, steps, claim)
    return examples


def write_classifications(result: Any) -> bytes:
    """The body of an answer: for each example, pairs of label and score."""
    scores = _decimals(one.score for row in result.classifications for one in row.classes)
    rows = [
        json_layout.write_line(
            [
                json_layout.write_line([json_layout.write_string(one.label), next(scores)])
                for one in row.classes
            ]
        )
        for row in result.classifications
    ]
    return _write(f"[{', '.join(rows)}\n    ]")


def write_regressions(result: Any) -> bytes:
    """The body of an answer: for each example, a value."""
    values = list(_decimals(entry.value for entry in result.regressions))
    return _write(json_layout.write_line(values))


def _write(results: str) -> bytes:
    return json_layout.encode(json_layout.write_object({"results": results}, 0))


def _decimals(values: Iterator[float]) -> Iterator[str]:
    """Numbers as text, and with them what is made of each, in parts between which others run."""
    while part := list(itertools.islice(values, _WRITTEN_AT_ONCE)):
        yield from write_decimals(np.array(part, np.float32))
        if len(part) == _WRITTEN_AT_ONCE:
            let_others_run()


def _fill(example: Any, value: Any, steps: Steps, claim: Claim | None) -> None:
    steps.take()
    if not isinstance(value, dict):
        raise errors.InvalidArgumentError(
            f"Example must be JSON object but got JSON {json_values.type_name(value)}"
        )
    for key, content in json_values.members(value):
        steps.take()
        name = json_values.c_string(key)
        # A feature without values is one too. A name that is not UTF-8 is that of none.
        feature = example.features.feature[name.encode("utf-8", "backslashreplace").decode()]
        feature.Clear()  # of one that is given twice, the last counts
        values = content if isinstance(content, list) else [content]
        for start in range(0, len(values), _CONVERTED_AT_ONCE):
            part = values[start : start + _CONVERTED_AT_ONCE]
            _add(feature, name, part, steps, claim)
            if len(part) >= _MANY:
                let_others_run()


def _add(feature: Any, name: str, values: list[Any], steps: Steps, claim: Claim | None) -> None:
    """Add values to a feature, up to the first that is wrong."""
    numbers, kind = _numbers(values)
    if numbers:
        if claim is not None:
            claim(_WIDTHS[kind] * len(numbers))
        _values(feature, name, kind).extend(numbers)
        return
    if len(values) > 1:
        for place, value in enumerate(values, 1):
            _add(feature, name, [value], steps, claim)
            if place % _MANY == 0:
                let_others_run()
        return
    (value,) = values
    if isinstance(value, int):
        _values(feature, name, "int64_list")
        raise errors.InvalidArgumentError(
            f"Feature: {name} has uint64_t element. Only int64_t is supported."
        )
    steps.take()
    if not isinstance(value, str) and not json_values.is_base64(value):
        raise errors.InvalidArgumentError(
            f"Feature: {name} has element with unexpected JSON type: "
            + json_values.type_name(value)
        )
    held = _values(feature, name, "bytes_list")
    held.append(json_values.read_bytes(value))


def _numbers(values: list[Any]) -> tuple[list[Any], str]:
    """Values as numbers of one kind, and the kind; none where not all of them are.

    An integer beyond 64 bits is a decimal in RapidJSON.
    """
    types = set(map(type, values))
    if types <= {int, bool} and _INT64[0] <= min(values) and max(values) <= _INT64[-1]:
        return list(map(int, values)), "int64_list"
    if types == {float} or (types <= {int, float} and not any(map(_is_integer, values))):
        with np.errstate(over="ignore"):
            flat = np.array(values, np.float64).astype(np.float32)
        return flush_denormals(flat).tolist(), "float_list"
    return [], ""


def _is_integer(value: int | float) -> bool:
    return isinstance(value, int) and value in _64_BITS


def _values(feature: Any, name: str, kind: str) -> Any:
    """The list for values of one kind; a feature holds one kind only."""
    held = feature.WhichOneof("kind")
    if held not in (None, kind):
        raise errors.InvalidArgumentError(
            f"Unexpected element type in feature: {name} expecting type: "
            + held.removesuffix("_list")
        )
    return getattr(feature, kind).value
