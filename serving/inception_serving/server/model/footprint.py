"""The memory that a run of a model takes, as far as it can be known before the run.

What a request takes is not what it brings: 350,000 rows of one pixel are a megabyte on the wire,
and 350,000 images of a network's size within the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from inception_serving.server.model.image_size import check_images, resize_bytes
from inception_serving.server.model.operations import functions_of
from inception_serving.tensors import STRING_BYTES, Tensor

# An operation has its largest tensor as input and as output.
_TENSORS_AT_A_TIME = 2
_CHANNELS = (1, 3, 4)
# Operations that make images of strings, or that may find some in strings which are messages.
_DECODES = re.compile(r"Decode(AndCrop)?(Bmp|Gif|Image|Jpeg|Jxl|Png|WebP)|ExtractJpegShape")
_PARSES = re.compile(r"Example|Proto")
_STRING = np.dtype(object)


def row_bytes(graph: Any, graph_def: Any, outputs: Iterable[str]) -> int:
    """The bytes of the largest tensor that outputs need, for one row of a batch; 0 where none is
    known.

    Args:
        graph: the `tf.Graph`, whose own tensors have shapes.
        graph_def: its message, whose functions' tensors have theirs in `_output_shapes`.
        outputs: names of tensors of the graph.
    """
    largest = 0
    for shape, dtype in _tensors(graph, graph_def, outputs):
        if len(shape) > 1 and shape[0] < 0 and min(shape[1:]) > 0:
            largest = max(largest, math.prod(shape[1:]) * dtype.size)
    return largest


def reads(graph_def: Any, outputs: Iterable[str]) -> frozenset[str]:
    """What the strings given for some outputs may be read as: "images", "examples", both or none.

    Most long texts are neither, but for their first bytes, or bytes that look like many fields.
    """
    nodes = {node.name: node for node in graph_def.node}
    reached = list(_reached(list(map(_operation, outputs)), nodes, _inputs))
    functions = {function.signature.name: function for function in functions_of(graph_def)}
    called = [name for node in reached for name in _functions(node)]
    for function in _reached(called, functions, _functions_within):
        reached += function.node_def
    operations = {node.op for node in reached}
    kinds = {"images": _DECODES, "examples": _PARSES}
    return frozenset(kind for kind, of in kinds.items() if any(map(of.search, operations)))


def _tensors(
    graph: Any, graph_def: Any, outputs: Iterable[str]
) -> Iterator[tuple[Sequence[int], Any]]:
    """The shape and the dtype of each tensor that is made on the way to some."""
    nodes = {node.name: node for node in graph_def.node}
    called: list[str] = []
    for node in _reached(list(map(_operation, outputs)), nodes, _inputs):
        called += _functions(node)
        for tensor in graph.get_operation_by_name(node.name).outputs:
            if tensor.shape.rank is not None:
                yield [-1 if size is None else size for size in tensor.shape], tensor.dtype
    functions = {function.signature.name: function for function in functions_of(graph_def)}
    for function in _reached(called, functions, _functions_within):
        for node in function.node_def:
            # Of most operations; where the type is a parameter of the function, it says 0.
            dtype = tf.as_dtype((node.attr["T"].type if "T" in node.attr else 0) or tf.float32)
            if "_output_shapes" in node.attr:
                for shape in node.attr["_output_shapes"].list.shape:
                    yield [dim.size for dim in shape.dim], dtype


def _reached(
    names: list[str], every: Mapping[str, Any], following: Callable[[Any], Iterable[str]]
) -> Iterator[Any]:
    """What has these names, and what follows it, each once."""
    left, seen = names, set(names)
    while left:
        found = every.get(left.pop())
        if found is not None:
            yield found
            new = set(following(found)) - seen
            seen |= new
            left += new


def _operation(tensor: str) -> str:
    """The operation that makes a tensor, or that an input waits for."""
    return tensor.removeprefix("^").partition(":")[0]


def _inputs(node: Any) -> Iterable[str]:
    return map(_operation, node.input)


def _functions(node: Any) -> Iterator[str]:
    """The functions that an operation calls: its own, or those among its attributes."""
    yield node.op
    for attribute in node.attr.values():
        yield attribute.func.name
        for function in attribute.list.func:
            yield function.name


def _functions_within(function: Any) -> Iterator[str]:
    for node in function.node_def:
        yield from _functions(node)


def run_bytes(
    inputs: Mapping[str, Tensor], signatures: Sequence[Any], *, max_image_pixels: int
) -> int:
    """The bytes of memory that a run takes, about.

    Args:
        inputs: those of the run.
        signatures: that are run on them, see `saved_model.Signature`.
        max_image_pixels: of an image; 0 for no limit, and then images are not looked for.

    Raises:
        errors.InvalidArgumentError: an image has more pixels, or can't be sized.
    """
    signature = max(signatures, key=lambda each: each.row_bytes)
    rows = max((len(tensor) for tensor in inputs.values() if tensor.ndim), default=1)
    taken = _TENSORS_AT_A_TIME * rows * signature.row_bytes
    # What images are resized to may be in a signature's graph without its size.
    resized = signature.most_row_bytes
    for name, tensor in inputs.items():
        if tensor.dtype == _STRING:
            taken += STRING_BYTES * tensor.size
        else:
            taken += tensor.nbytes
            taken += _resized_bytes(tensor, signature.inputs[name], resized)
    read_as = frozenset[str]().union(*(each.reads for each in signatures))
    if max_image_pixels and read_as:
        in_examples = "examples" in read_as
        taken += check_images(inputs, max_image_pixels, resized, in_examples=in_examples)
    return taken


def _resized_bytes(tensor: Tensor, info: Any, row_bytes: int) -> int:
    """Of decoded images that the model resizes, as it takes any height and width."""
    if tensor.ndim != 4 or tensor.shape[3] not in _CHANNELS:
        return 0
    dims = info.tensor_shape.dim
    if len(dims) == 4 and dims[1].size > 0 and dims[2].size > 0:
        return 0
    rows, height, width = tensor.shape[:3]
    return rows * resize_bytes(width, height, row_bytes)
