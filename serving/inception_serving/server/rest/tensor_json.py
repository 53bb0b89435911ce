"""TF Serving's JSON for tensors: Predict's bodies, in and out.

Source: tensorflow_serving/util/json_tensor.cc, for the format, the checks, their order and words.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inception_serving import errors, tensors
from inception_serving.server.received.pauses import let_others_run, one_at_a_time, work_on
from inception_serving.server.rest import json_layout, json_values
from inception_serving.server.rest.json_layout import show
from inception_serving.server.rest.json_numbers import flush_denormals, write_decimals
from inception_serving.server.rest.json_parser import Repeated
from inception_serving.tensors import Tensor

# What a JSON integer must be to fit; those that are narrower than 32 bits wrap around.
_INT32 = range(-(2**31), 2**31)
_INTEGERS = {
    "int8": _INT32,
    "int16": _INT32,
    "int32": _INT32,
    "uint8": _INT32,
    "int64": range(-(2**63), 2**63),
    "uint32": range(2**32),
    "uint64": range(2**64),
}
_DECIMALS = {"float", "double"}
_WRITTEN_AT_ONCE = 1 << 9  # numbers or strings, in half a millisecond
# Each in a millisecond at most: numbers made an array, values looked at, and those looked
# at one by one for what is wrong with them.
_CONVERTED_AT_ONCE, _CHECKED_AT_ONCE, _READ_AT_ONCE = 1 << 14, 1 << 13, 1 << 7


def is_row_format(document: Mapping[str, Any]) -> bool:
    """Whether the answer is in the row format, as the request was."""
    return "instances" in document


def has_more(document: Mapping[str, Any]) -> bool:
    """Whether a body that was read has something that does not count."""
    read = {"signature_name", "instances", "inputs"}
    return isinstance(document, Repeated) or not document.keys() <= read


def is_delicate(inputs: Mapping[str, Tensor], body: bytes) -> bool:
    """Whether inputs hold numbers that RapidJSON may read, or refuse, in its own way."""
    return json_values.may_be_read_exactly(body) and any(
        not np.isfinite(tensor.ravel()).all()
        or (tensor.dtype == np.float64 and json_values.has_long_decimals(body))
        for tensor in inputs.values()
        if tensor.dtype in (np.float32, np.float64)
    )


def read_inputs(document: Mapping[str, Any], signature: Any) -> dict[str, Tensor]:
    """The inputs of a Predict request.

    Raises:
        errors.InvalidArgumentError: a body that does not fit the signature.
        errors.UnimplementedError: an input of a type that JSON cannot carry.
    """
    types = {name: int(signature.inputs[name].dtype) for name in sorted(signature.inputs)}
    if "instances" in document and "inputs" in document:
        raise errors.InvalidArgumentError(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise errors.InvalidArgumentError(
                f"JSON Value: {show(document)} Expecting 'instances' to be an list/array"
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
    work_on(sum(tensor.size for tensor in outputs.values()))
    text = _rows_text(outputs) if row_format else _columns_text(outputs)
    name = "predictions" if row_format else "outputs"
    with one_at_a_time(len(text)):
        text = json_layout.write_object({name: text}, 0)
    return json_layout.encode(text)


# ---- in ----


def _read_rows(rows: list[Any], types: Mapping[str, int]) -> dict[str, Tensor]:
    if len(types) > 1 and not isinstance(rows[0], dict):
        raise errors.InvalidArgumentError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    # Most requests are right, and are then read as a whole.
    usual = _usual_rows(rows, types)
    return _Rows(types).read(rows) if usual is None else usual


def _usual_rows(rows: list[Any], types: Mapping[str, int]) -> dict[str, Tensor] | None:
    if not _is_named(rows[0]):
        name = next(iter(types))
        is_mixed = any(any(map(_is_named, part)) for part in _parts(rows))
        tensor = None if is_mixed else _usual_tensor(rows, types[name])
        return None if tensor is None else {name: tensor}
    for part in _parts(rows, len(types)):
        if not all(type(row) is dict and row.keys() == types.keys() for row in part):
            return None
    columns: dict[str, Tensor] = {}
    for name, dtype in types.items():
        column = _usual_tensor([row[name] for row in rows], dtype)
        if column is None:
            return None
        columns[name] = column
    return columns


class _Rows:
    """The tensors of rows that are read one by one, up to the first that is wrong."""

    def __init__(self, types: Mapping[str, int]) -> None:
        self._types = types
        self._values: dict[str, list[Any]] = {}
        self._shapes: dict[str, list[int]] = {}
        self._sizes: dict[str, int] = {}

    def read(self, rows: list[Any]) -> dict[str, Tensor]:
        """The inputs; see `read_inputs`."""
        is_named = _is_named(rows[0])
        for index, row in enumerate(rows):
            if index % _READ_AT_ONCE == _READ_AT_ONCE - 1:
                let_others_run()
            if _is_named(row) != is_named:
                raise errors.InvalidArgumentError(
                    f"Expecting object but got list at item {index} of input list"
                    if is_named
                    else f"Expecting value/list but got object at item {index} of input list"
                )
            if not is_named:
                self._add(next(iter(self._types)), row, f"element: {index}")
                continue
            for key, value in json_values.members(row):
                name = json_values.c_string(key)
                self._add(name, value, f"element: {index} key: {name}")
            if set(map(json_values.c_string, row)) != self._types.keys():
                raise errors.InvalidArgumentError(
                    f"Failed to process element: {index} of 'instances' list. JSON object: "
                    f"{show(row)} keys must be equal to: {','.join(self._types)}"
                )
        return {
            name: _make_tensor(name, values, self._types[name], [len(rows), *self._shapes[name]])
            for name, values in self._values.items()
        }

    def _add(self, name: str, value: Any, where: str) -> None:
        try:
            self._add_item(name, value)
        except errors.StatusError as error:
            raise errors.InvalidArgumentError(
                f"Failed to process {where} of 'instances' list. Error: "
                f"{errors.code_name(error)}: {error}"
            ) from error

    def _add_item(self, name: str, value: Any) -> None:
        if name not in self._types:
            raise errors.InvalidArgumentError(f"JSON object: does not have named input: {name}")
        shape = _shape(value)
        values = list(_leaves(value, shape, self._types[name]))
        self._values.setdefault(name, []).extend(values)
        size = self._sizes.setdefault(name, len(values))
        first = self._shapes.setdefault(name, shape)
        if len(values) != size:
            raise errors.InvalidArgumentError(
                f"Expecting tensor size: {size} but got: {len(values)}"
            )
        if shape != first:
            raise errors.InvalidArgumentError(
                f"Expecting shape {_show_shape(first)} but got: {_show_shape(shape)}"
            )


def _read_columns(value: Any, types: Mapping[str, int]) -> dict[str, Tensor]:
    if not _is_named(value):
        if len(types) > 1:
            raise errors.InvalidArgumentError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name = next(iter(types))
        return {name: _read_tensor(name, value, types[name])}
    columns = {}
    for name, dtype in types.items():
        if name not in value:
            raise errors.InvalidArgumentError(f"Missing named input: {name} in 'inputs' object.")
        columns[name] = _read_tensor(name, value[name], dtype)
    return columns


def _read_tensor(name: str, value: Any, dtype: int) -> Tensor:
    tensor = _usual_tensor(value, dtype)
    if tensor is not None:
        return tensor
    shape = _shape(value)
    return _make_tensor(name, list(_leaves(value, shape, dtype)), dtype, shape)


def _usual_tensor(value: Any, dtype: int) -> Tensor | None:
    """Nested lists as a tensor, level by level, so that the work is list comprehensions.

    None where something is wrong, which only a look at each value in turn can name.
    """
    shape = _shape(value)
    if len(shape) > tensors.MAX_DIMENSIONS:
        return None
    values = [value]
    for size in shape:
        below: list[Any] = []
        for part in _parts(values, size):
            if not all(type(item) is list and len(item) == size for item in part):
                return None
            below += itertools.chain.from_iterable(part)
        values = below
    check = _CHECKS.get(tensors.type_name(dtype), _never)
    if not all(all(map(check, part)) for part in _parts(values)):
        return None
    try:
        return _convert(values, dtype, shape)
    except errors.InvalidArgumentError:
        return None


def _parts(values: list[Any], size: int = 1) -> Iterator[list[Any]]:
    """Values of so many others each, in parts between which other requests have their turn."""
    step = max(1, _CHECKED_AT_ONCE // max(1, size))
    for start in range(0, len(values), step):
        if start:
            let_others_run()
        yield values[start : start + step]


def _shape(value: Any) -> list[int]:
    """The sizes of nested lists, by the first of each."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _leaves(value: Any, shape: Sequence[int], dtype: int) -> Iterator[Any]:
    """The values in nested lists, in order, up to the first thing that is wrong."""
    rank = len(shape)
    waiting = [iter([value])]
    count = 0
    while waiting:
        level = len(waiting) - 1
        for item in waiting[-1]:
            if not isinstance(item, list):
                if level != rank:
                    raise errors.InvalidArgumentError(
                        f"JSON Value: {show(item)} found at incorrect level: {level + 1} in the "
                        f"JSON DOM. Expected at level: {rank}"
                    )
                yield _check(item, dtype)
                count += 1
                if count % _READ_AT_ONCE == 0:
                    let_others_run()
                continue
            if level >= rank:
                raise errors.InvalidArgumentError(
                    f"Encountered list at unexpected level: {level} expected < {rank}"
                )
            if len(item) != shape[level]:
                raise errors.InvalidArgumentError(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} "
                    f"expected size: {shape[level]}"
                )
            waiting.append(iter(item))
            break
        else:
            waiting.pop()


def _check(value: Any, dtype: int) -> Any:
    """A value that a tensor of a type may hold; else the error that says why not."""
    kind = tensors.type_name(dtype)
    if kind not in _CHECKS:
        if isinstance(value, dict):
            raise json_values.type_error(value, kind)
        raise errors.UnimplementedError(f"Conversion of JSON Value: {show(value)} to type: {kind}")
    if kind == "string":
        json_values.read_bytes(value)
    elif not _CHECKS[kind](value):
        raise json_values.type_error(value, kind)
    return value


def _is_integer(allowed: range) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value in allowed


def _is_number(value: Any) -> bool:
    return type(value) is float or type(value) is int


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _is_string(value: Any) -> bool:
    return type(value) is str or json_values.is_base64(value)


def _never(value: Any) -> bool:
    return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **{kind: _is_integer(allowed) for kind, allowed in _INTEGERS.items()},
    **dict.fromkeys(_DECIMALS, _is_number),
    "bool": _is_bool,
    "string": _is_string,
}


def _make_tensor(name: str, values: list[Any], dtype: int, shape: Sequence[int]) -> Tensor:
    """A tensor of values that may be in it; those beyond its shape, of keys given twice, fall away.

    Raises:
        errors.InvalidArgumentError: TensorFlow has no tensors of this shape.
    """
    if len(shape) > tensors.MAX_DIMENSIONS:
        raise errors.InvalidArgumentError(f"tensor parsing error: {name}")
    return _convert(values[: math.prod(shape)], dtype, shape)


def _convert(values: list[Any], dtype: int, shape: Sequence[int]) -> Tensor:
    kind = tensors.type_name(dtype)
    try:
        numpy_dtype = tensors.numpy_dtype(dtype)
    except ValueError as error:  # and no value either, or it had been refused
        raise errors.UnimplementedError(str(error)) from error
    if kind == "string":
        flat = np.empty(len(values), dtype=object)
        flat[:] = [json_values.read_bytes(value) for value in values]
    elif kind in _DECIMALS:
        with np.errstate(over="ignore"):
            flat = flush_denormals(_array(values, np.float64).astype(numpy_dtype))
    elif kind in _INTEGERS and _INTEGERS[kind] is _INT32:
        flat = _array(values, np.int32).astype(numpy_dtype)  # which wraps around
    else:
        flat = _array(values, numpy_dtype)
    return tensors.reshape(flat, shape)


def _array(values: list[Any], dtype: Any) -> Tensor:
    """Numbers as an array, made in parts, between which other requests have their turn."""
    flat = np.empty(len(values), dtype)
    for start in range(0, len(values), _CONVERTED_AT_ONCE):
        if start:
            let_others_run()
        flat[start : start + _CONVERTED_AT_ONCE] = values[start : start + _CONVERTED_AT_ONCE]
    return flat


def _is_named(value: Any) -> bool:
    """Whether a value is an object of named inputs, rather than an input."""
    return isinstance(value, dict) and not json_values.is_base64(value)


def _show_shape(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


# ---- out ----


def _rows_text(outputs: Mapping[str, Tensor]) -> str:
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
    if not batch_size:
        return "[]"
    if len(outputs) == 1:
        name, tensor = next(iter(outputs.items()))
        text = _items_text(name, tensor, None, 1 + tensor.ndim)
        with one_at_a_time(len(text)):
            return f"[{text}\n    ]"
    parts = []
    step = max(1, _WRITTEN_AT_ONCE // sum(2 + _row_size(each) for each in outputs.values()))
    for start in range(0, batch_size, step):
        if start:
            let_others_run()
        columns = [
            _row_texts(name, tensor[start : start + step], None, 2 + tensor.ndim)
            for name, tensor in outputs.items()
        ]
        rows = [
            json_layout.write_object(dict(zip(outputs, row, strict=True)), 2)
            for row in zip(*columns, strict=True)
        ]
        parts.append(json_layout.separator(1).join(rows))
    with one_at_a_time(sum(map(len, parts))):
        return json_layout.write_lines(parts, 1)


def _columns_text(outputs: Mapping[str, Tensor]) -> str:
    level = 1 if len(outputs) == 1 else 2
    columns = {}
    for name, tensor in outputs.items():
        if tensor.ndim == 0:
            columns[name] = _texts(name, tensor, level)[0]
        else:
            text = _items_text(name, tensor, level, level + tensor.ndim)
            with one_at_a_time(len(text)):
                columns[name] = json_layout.enclose(text, level)
    if level == 1:
        return next(iter(columns.values()))
    with one_at_a_time(sum(map(len, columns.values()))):
        return json_layout.write_object(columns, 1)


def _items_text(name: str, tensor: Tensor, level: int | None, value_level: int) -> str:
    """What a tensor's list holds, made in parts, since each value is an object until it is joined.

    Args:
        level: how deep the list stands, to write an item a line; None for all in one line.
        value_level: how deep its values stand.
    """
    separator = json_layout.separator(level)
    step = max(1, _WRITTEN_AT_ONCE // max(1, _row_size(tensor)))
    if isinstance(tensor, tensors.HighRank):
        return separator.join(_row_texts(name, tensor, level, value_level))
    parts = []
    for start in range(0, len(tensor), step):
        if start:
            let_others_run()
        rows = _row_texts(name, tensor[start : start + step], level, value_level)
        parts.append(separator.join(rows))
    with one_at_a_time(sum(map(len, parts))):
        return separator.join(parts)


def _row_texts(name: str, tensor: Tensor, level: int | None, value_level: int) -> list[str]:
    """The items of a list that stands `level` deep, which may be lists themselves."""
    below = None if level is None else level + 1
    if _row_size(tensor) <= _WRITTEN_AT_ONCE or isinstance(tensor, tensors.HighRank):
        return json_layout.nest(_texts(name, tensor, value_level), tensor.shape, below)
    rows = (_items_text(name, row, below, value_level) for row in tensor)
    return [json_layout.enclose(text, below) for text in rows]


def _row_size(tensor: Tensor) -> int:
    return math.prod(tensor.shape[1:])


def _texts(name: str, tensor: Tensor, level: int) -> list[str]:
    """Each value of a tensor as text; objects among them stand `level` deep."""
    kind = tensors.type_name(tensors.data_type(tensor))
    if tensor.size == 0:
        return []
    if kind in _DECIMALS:
        return write_decimals(tensor)
    if kind == "string":
        if name.endswith("_bytes"):
            return [json_layout.write_base64(value, level) for value in tensor.ravel()]
        return [json_layout.write_text(value) for value in tensor.ravel()]
    if kind == "bool":
        return ["true" if value else "false" for value in tensor.ravel().tolist()]
    if kind in _INTEGERS:
        return list(map(str, tensor.ravel().tolist()))
    raise errors.InvalidArgumentError(f"Failed to write JSON value for tensor type: {kind}")
