"""The memory that a run of a model takes, as far as it can be known before the run.

What a request takes is not what it brings: 350,000 rows of one pixel are a megabyte on the wire,
and 350,000 images of a network's size within the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from inception_serving.server.model.image_size import check_images, resize_bytes
from inception_serving.server.model.operations import functions_of
from inception_serving.tensors import STRING_BYTES, Tensor

# An operation has its largest tensor as input and as output.
_TENSORS_AT_A_TIME = 2
_CHANNELS = (1, 3, 4)
_STRING = np.dtype(object)


def row_bytes(graph: Any, graph_def: Any) -> int:
    """The bytes of the largest tensor of a graph, for one row of a batch; 0 where none is known.

    Args:
        graph: the `tf.Graph`, whose own tensors have shapes.
        graph_def: its message, whose functions' tensors have theirs in `_output_shapes`.
    """
    largest = 0
    for shape, dtype in _tensors(graph, graph_def):
        if len(shape) > 1 and shape[0] < 0 and min(shape[1:]) > 0:
            largest = max(largest, math.prod(shape[1:]) * dtype.size)
    return largest


def _tensors(graph: Any, graph_def: Any) -> Iterator[tuple[Sequence[int], Any]]:
    for operation in graph.get_operations():
        for tensor in operation.outputs:
            if tensor.shape.rank is not None:
                yield [-1 if size is None else size for size in tensor.shape], tensor.dtype
    for function in functions_of(graph_def):
        for node in function.node_def:
            # Of most operations; where the type is a parameter of the function, it says 0.
            dtype = tf.as_dtype((node.attr["T"].type if "T" in node.attr else 0) or tf.float32)
            if "_output_shapes" in node.attr:
                for shape in node.attr["_output_shapes"].list.shape:
                    yield [dim.size for dim in shape.dim], dtype


def run_bytes(
    inputs: Mapping[str, Tensor], signature: Any, row_bytes: int, *, max_image_pixels: int
) -> int:
    """The bytes of memory that a run takes, about.

    Args:
        inputs: those of the run.
        signature: the SignatureDef.
        row_bytes: the function of this name, of the model.
        max_image_pixels: of an image; 0 for no limit, and then images are not looked for.

    Raises:
        errors.InvalidArgumentError: an image has more pixels, or can't be sized.
    """
    rows = max((len(tensor) for tensor in inputs.values() if tensor.ndim), default=1)
    taken = _TENSORS_AT_A_TIME * rows * row_bytes
    for name, tensor in inputs.items():
        if tensor.dtype == _STRING:
            taken += STRING_BYTES * tensor.size
        else:
            taken += tensor.nbytes
            taken += _resized_bytes(tensor, signature.inputs[name], row_bytes)
    if max_image_pixels:
        taken += check_images(inputs, max_image_pixels, row_bytes)
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
