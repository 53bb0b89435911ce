"""TF Serving's JSON for examples: the bodies of `:classify` and `:regress`, in and out.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inception_serving import errors, messages
from inception_serving.server.rest import json_values

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


def read_examples(document: Mapping[str, Any]) -> Any:
    """The `Input` of a request.

    Raises:
        errors.InvalidArgumentError: a body that is not in the format.
    """
    examples = messages.Input()
    has_context = "context" in document
    if has_context:
        _fill(examples.example_list_with_context.context, document["context"])
    shown = f"JSON Value: {json_values.show(document)}"
    if "examples" not in document:
        raise errors.InvalidArgumentError(
            f"{shown} When method is classify, key 'examples' is expected and was not found"
        )
    items = document["examples"]
    if not isinstance(items, list):
        raise errors.InvalidArgumentError(f"{shown} Expecting 'examples' value to be an list/array")
    if not items:
        raise errors.InvalidArgumentError(f"{shown} 'examples' value is an empty array")
    chosen = examples.example_list_with_context if has_context else examples.example_list
    for item in items:
        _fill(chosen.examples.add(), item)
    return examples


def write_classifications(result: Any) -> bytes:
    """The body of an answer: for each example, pairs of label and score."""
    return json_values.dump(
        {
            "results": [
                [[one.label, _shortest(one.score)] for one in entry.classes]
                for entry in result.classifications
            ]
        }
    )


def write_regressions(result: Any) -> bytes:
    """The body of an answer: for each example, a value."""
    return json_values.dump({"results": [_shortest(entry.value) for entry in result.regressions]})


def _fill(example: Any, value: Any) -> None:
    if not isinstance(value, dict):
        raise errors.InvalidArgumentError(
            f"Example must be JSON object but got JSON {json_values.type_name(value)}"
        )
    for name, content in value.items():
        feature = example.features.feature[name]  # a feature without values is one too
        for item in content if isinstance(content, list) else [content]:
            _add(feature, name, item)


def _add(feature: Any, name: str, value: Any) -> None:
    if isinstance(value, bool):
        _values(feature, name, "int64_list").append(int(value))
    elif isinstance(value, str) or json_values.is_base64(value):
        _values(feature, name, "bytes_list").append(json_values.read_bytes(value))
    elif isinstance(value, int) and value in _INT64:
        _values(feature, name, "int64_list").append(value)
    elif isinstance(value, int) and value in _UINT64:
        _values(feature, name, "int64_list")
        raise errors.InvalidArgumentError(
            f"Feature: {name} has uint64 element. Only int64 is supported."
        )
    elif isinstance(value, int | float):  # an integer beyond 64 bits is a decimal in RapidJSON
        values = _values(feature, name, "float_list")
        if np.isfinite(value) and abs(value) > _LARGEST_FLOAT:
            raise json_values.lossy_error(value, "float")
        values.append(value)
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


def _shortest(value: float) -> float:
    return float(str(np.float32(value)))  # the float32's own digits
