"""Files of weights as other programs write them, with random values that try every part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Values = dict[str, np.ndarray]
STATISTICS = ("beta", "moving_mean", "moving_variance")
RELEASED = {
    "inception_v1": "InceptionV1",
    "inception_v2": "InceptionV2",
    "inception_v3": "InceptionV3",
    "inception_v4": "InceptionV4",
    "inception_resnet_v2": "InceptionResnetV2",
}
BUILDERS = {
    "inception_v1": ("InceptionV1", {"variant": "slim"}),
    "inception_v2": ("InceptionV2", {"variant": "slim"}),
    "inception_v3": ("InceptionV3", {"aux": True}),
    "inception_v4": ("InceptionV4", {"aux": True}),
    "inception_resnet_v2": ("InceptionResNetV2", {"aux": True}),
}
_VARIABLES: dict[str, dict[str, list[int]]] = json.loads(
    Path(__file__).with_name("released_variables.json").read_text()
)


def released(network: str) -> dict[str, tuple[int, ...]]:
    """Every variable of the network that TF-Slim released, as its graph has it: name and shape.

    ``.../BatchNorm/*`` in the file stands for batch norm's three.
    """
    shapes = {}
    for name, shape in _VARIABLES[RELEASED[network]].items():
        for each in [name.replace("*", part) for part in STATISTICS] if "*" in name else [name]:
            shapes[f"{RELEASED[network]}/{each}"] = tuple(shape)
    return shapes


def random_values(shapes: Mapping[str, Iterable[int]], seed: int = 0) -> Values:
    """Random values: variances above zero, gammas of both signs, kernels that keep the scale."""
    random = np.random.default_rng(seed)
    values = {}
    for name, shape in shapes.items():
        shape = tuple(shape)
        if name.endswith(("variance", "running_var")):
            value = random.uniform(0.5, 1.5, shape)
        elif name.removesuffix("/ExponentialMovingAverage").endswith(("gamma", "bn.weight")):
            value = random.uniform(0.5, 1.5, shape) * random.choice([-1, 1], shape)
        elif len(shape) > 1:
            value = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        else:
            value = random.normal(0, 0.2, shape)
        values[name] = value.astype(np.float32)
    return values


def write_v2(path: Path, values: Mapping[str, Any]) -> Path:
    """A TensorFlow checkpoint of today: PATH.index and PATH.data-00000-of-00001."""
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    return path


def write_v1(path: Path, values: Mapping[str, Any]) -> Path:
    """A TensorFlow checkpoint of 2016: one file."""
    tf.raw_ops.Save(
        filename=str(path),
        tensor_names=list(values),
        data=[tf.constant(value) for value in values.values()],
    )
    return path


def write_frozen(path: Path, values: Mapping[str, Any]) -> Path:
    """A frozen graph: the variables as constants, each read by an Identity, and other constants."""
    graph = tf.Graph()
    with graph.as_default():
        tf.compat.v1.placeholder(tf.float32, [None, 224, 224, 3], name="input")
        for name, value in values.items():
            tf.identity(tf.constant(value, name=name), name=f"{name}/read")
        tf.constant(0.001, name="InceptionV1/InceptionV1/Conv2d_1a_7x7/BatchNorm/batchnorm/add/y")
        tf.constant([-1, 1001], name="InceptionV1/Logits/Predictions/Reshape/shape")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path
