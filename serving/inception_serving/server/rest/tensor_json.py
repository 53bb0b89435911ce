"""TF Serving's JSON for tensors: Predict's bodies, in and out.

Source: tensorflow_serving/util/json_tensor.cc, for the format, the checks and their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inception_serving import errors, tensors
from inception_serving.server.rest import json_values
from inception_serving.server.rest.json_values import dump, show
from inception_serving.tensors import Tensor

# Integer types and the range that a JSON number must lie in.
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"}
# The largest integer that is exact in each.
_LARGEST_EXACT = {"float": 2**24 - 1, "double": 2**53 - 1}


def is_row_format(document: Mapping[str, Any]) -> bool:
    """Whether the answer is in the row format, as the request was."""
    return "instances" in document


def read_inputs(document: Mapping[str, Any], signature: Any) -> dict[str, Tensor]:
    """The inputs of a Predict request.

    Raises:
        errors.InvalidArgumentError: a body that does not fit the signature.
        errors.UnimplementedError: an input of a type that JSON cannot carry.
    """
    types = {name: int(info.dtype) for name, info in signature.inputs.items()}
    if "instances" in document and "inputs" in document:
        raise errors.InvalidArgumentError(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise errors.InvalidArgumentError(
                f"JSON Value: {show(document)} Excepting 'instances' to be an list/array"
            )
        if not rows:
            raise errors.InvalidArgumentError(
                f"JSON Value: {show(document)} No values in 'instances' array"
            )
        return _read_rows(rows, types)
    if "inputs" in document:
        return _read_columns(document["inputs"], types)
    raise errors.InvalidArgumentError("Missing 'inputs' or 'instances' key")


def write_outputs(outputs: Mapping[str, Tensor], *, row_format: bool) -> bytes:
    """The body of an answer: `predictions` in the row format, else `outputs`.

    Raises:
        errors.InvalidArgumentError: an output that the format, or JSON, cannot carry.
    """
    if not outputs:
        raise errors.InvalidArgumentError("Cannot convert empty tensor map to JSON")
    if not row_format:
        columns = {name: _to_json(name, tensor) for name, tensor in outputs.items()}
        return dump({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    batch_size: int | None = None
    for name, tensor in outputs.items():
        if tensor.ndim == 0:
            raise errors.InvalidArgumentError(f"Tensor name: {name} has no shape information ")
        if batch_size is not None and len(tensor) != batch_size:
            raise errors.InvalidArgumentError(
                f"Tensor name: {name} has inconsistent batch size: {len(tensor)} "
                f"expecting: {batch_size}"
            )
        batch_size = len(tensor)
    columns = {name: _to_json(name, tensor) for name, tensor in outputs.items()}
    if len(columns) == 1:
        return dump({"predictions": next(iter(columns.values()))})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return dump({"predictions": rows})


# ---- in ----


def _read_rows(rows: list[Any], types: Mapping[str, int]) -> dict[str, Tensor]:
    if len(types) > 1 and not isinstance(rows[0], dict):
        raise errors.InvalidArgumentError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if not _is_named(rows[0]):
        for index, row in enumerate(rows):
            if _is_named(row):
                raise errors.InvalidArgumentError(
                    f"Expecting value/list but got object at item {index} of input list"
                )
        name = next(iter(types))
        return {name: _read_column(rows, types[name], key=None)}
    for index, row in enumerate(rows):
        if not _is_named(row):
            raise errors.InvalidArgumentError(
                f"Expecting object but got list at item {index} of input list"
            )
        for name in row:
            if name not in types:
                raise _element_error(index, name, f"JSON object: does not have named input: {name}")
        if set(row) != set(types):
            raise errors.InvalidArgumentError(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{show(row)} keys must be equal to: {','.join(sorted(types))}"
            )
    return {
        name: _read_column([row[name] for row in rows], dtype, key=name)
        for name, dtype in types.items()
    }


def _read_column(items: list[Any], dtype: int, *, key: str | None) -> Tensor:
    try:
        return _from_json(items, dtype)
    except errors.InvalidArgumentError:
        pass  # somewhere; now find the element, for the message
    first: Tensor | None = None
    for index, item in enumerate(items):
        try:
            tensor = _from_json(item, dtype)
        except errors.InvalidArgumentError as error:
            raise _element_error(index, key, str(error)) from error
        first = tensor if first is None else first
        if tensor.size != first.size:
            text = f"Expecting tensor size: {first.size} but got: {tensor.size}"
            raise _element_error(index, key, text)
        if tensor.shape != first.shape:
            text = f"Expecting shape {_shape(first)} but got: {_shape(tensor)}"
            raise _element_error(index, key, text)
    return _from_json(items, dtype)


def _element_error(index: int, key: str | None, text: str) -> errors.InvalidArgumentError:
    where = f"element: {index}" if key is None else f"element: {index} key: {key}"
    return errors.InvalidArgumentError(
        f"Failed to process {where} of 'instances' list. Error: INVALID_ARGUMENT: {text}"
    )


def _read_columns(value: Any, types: Mapping[str, int]) -> dict[str, Tensor]:
    if not _is_named(value):
        if len(types) > 1:
            raise errors.InvalidArgumentError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name = next(iter(types))
        return {name: _from_json(value, types[name])}
    for name in types:
        if name not in value:
            raise errors.InvalidArgumentError(f"Missing named input: {name} in 'inputs' object.")
    return {name: _from_json(value[name], dtype) for name, dtype in types.items()}


def _from_json(value: Any, dtype: int) -> Tensor:
    """Nested lists as a tensor. Level by level, so that the work is list comprehensions."""
    shape: list[int] = []
    probe = value
    while isinstance(probe, list):
        shape.append(len(probe))
        if not probe:
            break
        probe = probe[0]
    level_values = [value]
    for level, size in enumerate(shape):
        for item in level_values:
            if not isinstance(item, list):
                raise errors.InvalidArgumentError(
                    f"JSON Value: {show(item)} found at incorrect level: {level + 1} in the JSON "
                    f"DOM. Expected at level: {len(shape)}"
                )
            if len(item) != size:
                raise errors.InvalidArgumentError(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} "
                    f"expected size: {size}"
                )
        level_values = [item for items in level_values for item in items]
    if any(isinstance(item, list) for item in level_values):
        raise errors.InvalidArgumentError(
            f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}"
        )
    return _leaves(level_values, dtype).reshape(shape)


def _leaves(values: list[Any], dtype: int) -> Tensor:
    kind = tensors.type_name(dtype)
    if kind == "string":
        strings = np.empty(len(values), dtype=object)
        strings[:] = [json_values.read_bytes(value) for value in values]
        return strings
    if kind in _LARGEST_EXACT:
        return _decimals(values, kind, tensors.numpy_dtype(dtype))
    if kind in _INTEGERS:
        numpy_dtype = tensors.numpy_dtype(dtype)
        limits = np.iinfo(numpy_dtype)
        for value in values:
            if type(value) is not int or not limits.min <= value <= limits.max:
                raise json_values.type_error(value, kind)
        return np.array(values, dtype=numpy_dtype)
    if kind == "bool":
        for value in values:
            if type(value) is not bool:
                raise json_values.type_error(value, kind)
        return np.array(values, dtype=np.bool_)
    shown = show(values[0]) if values else "[]"
    raise errors.UnimplementedError(f"Conversion of JSON Value: {shown} to type: {kind}")


def _decimals(values: list[Any], kind: str, dtype: np.dtype[Any]) -> Tensor:
    for value in values:
        if type(value) is not float and type(value) is not int:
            raise json_values.type_error(value, kind)
        if type(value) is int and abs(value) > _LARGEST_EXACT[kind]:
            raise json_values.lossy_error(value, kind)
    doubles = np.array(values, dtype=np.float64)
    too_large = np.isfinite(doubles) & (np.abs(doubles) > np.finfo(dtype).max)
    if too_large.any():
        raise json_values.lossy_error(values[int(too_large.argmax())], kind)
    return doubles.astype(dtype)


def _is_named(value: Any) -> bool:
    """Whether a value is an object of named inputs, rather than an input."""
    return isinstance(value, dict) and not json_values.is_base64(value)


def _shape(tensor: Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


# ---- out ----


def _to_json(name: str, tensor: Tensor) -> Any:
    kind = tensors.type_name(tensors.data_type(tensor))
    if kind == "float":
        # A float32's shortest decimal, and not the digits of the double next to it.
        return tensor.astype(str).astype(np.float64).tolist()
    if kind == "string":
        write = json_values.write_base64 if name.endswith("_bytes") else json_values.write_text
        flat = np.empty(tensor.size, dtype=object)
        flat[:] = [write(value) for value in tensor.ravel()]
        return flat.reshape(tensor.shape).tolist()
    if kind == "double" or kind == "bool" or kind in _INTEGERS:
        return tensor.tolist()
    raise errors.InvalidArgumentError(f"Failed to write JSON value for tensor type: {kind}")
