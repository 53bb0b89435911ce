"""TensorFlow's files of weights: checkpoints of both formats, and frozen graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_inception.weights.file import File, FileError
from keras_inception.weights.slim import VARIABLES

_LARGEST_MESSAGE = (1 << 31) - 1  # bytes, of any protocol buffer


def open_checkpoint(path: Path) -> File:
    """Open a checkpoint by its index, or by the one file of the old format."""
    import tensorflow as tf

    prefix = path
    if path.suffix == ".index" and any(path.parent.glob(f"{path.stem}.data-*")):
        prefix = path.with_suffix("")
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    if not shapes:  # an index by itself reads as an empty file of the old format
        raise FileError(f"{path} is a checkpoint's index; its {path.stem}.data-* is missing.")
    version = "V1" if prefix == path else "V2"
    return File(prefix, f"TensorFlow checkpoint {version}", "tensorflow", shapes, reader.get_tensor)


def open_frozen_graph(path: Path) -> File:
    """Open a graph whose variables have become constants."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    if path.stat().st_size > _LARGEST_MESSAGE:
        raise FileError(f"{path} is no frozen graph: it is larger than any can be.")
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise FileError(f"{path} is no frozen graph, or is damaged: {error}") from error
    # They stand among other constants, and have kept their names.
    constants: dict[str, Any] = {
        node.name: node.attr["value"].tensor
        for node in graph.node
        if node.op == "Const" and VARIABLES.fullmatch(node.name)
    }
    if not constants:
        raise FileError(f"{path} is a graph without frozen weights")
    shapes = {
        name: tuple(side.size for side in tensor.tensor_shape.dim)
        for name, tensor in constants.items()
    }
    return File(
        path, "frozen graph", "tensorflow", shapes, lambda name: tf.make_ndarray(constants[name])
    )
