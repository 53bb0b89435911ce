"""TF Serving's JSON for examples: the bodies of `:classify` and `:regress`, in and out.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inception_serving import errors, messages
from inception_serving.server.received.wire import Steps
from inception_serving.server.rest import json_layout, json_values
from inception_serving.server.rest.json_numbers import flush_denormals, write_decimals

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)


def read_examples(document: Mapping[str, Any]) -> Any:
    """The `Input` of a request.

    Raises:
        errors.InvalidArgumentError: a body that is not in the format.
    """
    examples = messages.Input()
    steps = Steps()
    has_context = "context" in document
    if has_context:
        _fill(examples.example_list_with_context.context, document["context"], steps)
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
        _fill(chosen.examples.add(), item, steps)
    return examples


def write_classifications(result: Any) -> bytes:
    """The body of an answer: for each example, pairs of label and score."""
    scores = iter(_decimals([one.score for row in result.classifications for one in row.classes]))
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
    values = _decimals([entry.value for entry in result.regressions])
    return _write(json_layout.write_line(values))


def _write(results: str) -> bytes:
    return json_layout.encode(json_layout.write_object({"results": results}, 0))


def _decimals(values: list[float]) -> list[str]:
    return write_decimals(np.array(values, np.float32)) if values else []


def _fill(example: Any, value: Any, steps: Steps) -> None:
    steps.take()
    if not isinstance(value, dict):
        raise errors.InvalidArgumentError(
            f"Example must be JSON object but got JSON {json_values.type_name(value)}"
        )
    for name, content in json_values.members(value):
        # A feature without values is one too. A name that is not UTF-8 is that of none.
        feature = example.features.feature[name.encode("utf-8", "backslashreplace").decode()]
        steps.take()
        feature.Clear()  # of one that is given twice, the last counts
        for item in content if isinstance(content, list) else [content]:
            if not isinstance(item, int | float):
                steps.take()
            _add(feature, name, item)


def _add(feature: Any, name: str, value: Any) -> None:
    if isinstance(value, bool):
        _values(feature, name, "int64_list").append(int(value))
    elif isinstance(value, str) or json_values.is_base64(value):
        values = _values(feature, name, "bytes_list")
        values.append(json_values.read_bytes(value))
    elif isinstance(value, int) and value in _INT64:
        _values(feature, name, "int64_list").append(value)
    elif isinstance(value, int) and value in _UINT64:
        _values(feature, name, "int64_list")
        raise errors.InvalidArgumentError(
            f"Feature: {name} has uint64_t element. Only int64_t is supported."
        )
    elif isinstance(value, int | float):  # an integer beyond 64 bits is a decimal in RapidJSON
        with np.errstate(over="ignore"):
            flat = np.array([value], np.float64).astype(np.float32)
        _values(feature, name, "float_list").append(flush_denormals(flat)[0])
    else:
        raise errors.InvalidArgumentError(
            f"Feature: {name} has element with unexpected JSON type: "
            + json_values.type_name(value)
        )


def _values(feature: Any, name: str, kind: str) -> Any:
    """The list for values of one kind; a feature holds one kind only."""
    held = feature.WhichOneof("kind")
    if held not in (None, kind):
        raise errors.InvalidArgumentError(
            f"Unexpected element type in feature: {name} expecting type: "
            + held.removesuffix("_list")
        )
    return getattr(feature, kind).value
