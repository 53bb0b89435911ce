"""The tables of names, proved by numbers: what each network said with known values in it.

A value for every variable follows from its name in the source, so two that change places change
the network's answer. The other implementation was filled with them under its own names, was shown
one image, and its first logits are written down here; ours, filled through the tables, must say
the same. ``make parity`` asks the other implementations again.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_inception.weights import keras_applications, slim, torch
from keras_inception.weights.files import File
from keras_inception.weights.loading import Weights, assign_weights
from keras_inception.weights.names import Array, Shape, Source, written_as_theirs

TOLERANCE = 1e-3  # of the logits' standard deviation: another implementation


@dataclass(frozen=True)
class Proof:
    """What a network says to :func:`image` with :func:`value` in every variable.

    Args:
        by: who said so.
        classes: of its classifier.
        spread: the standard deviation of all its logits.
        logits: the first of them.
        aux: the first of each auxiliary head's.
    """

    by: str
    classes: int
    spread: float
    logits: tuple[float, ...]
    aux: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


# By whom "this package" stands, there is no other implementation to ask: the layers of these tables
# are compared with the released graphs', kernel by kernel, by the tests.
# fmt: off
PROVED = {
    ("slim", "inception_v1"): Proof(
        "tf-slim 1.1.0", 1001, 8.280322,
        (2.452111, 7.608459, 6.832752, -5.500482, -0.7382215, 6.840129),
    ),
    ("slim", "inception_v2"): Proof(
        "tf-slim 1.1.0", 1001, 4.04353,
        (-7.3555, -2.092601, -0.6119316, 2.829391, 5.718885, 1.52189),
    ),
    ("slim", "inception_v3"): Proof(
        "tf-slim 1.1.0", 1001, 3.973872,
        (0.2985315, 2.45584, -3.805069, 5.926398, 6.435004, 0.5574518),
        {"aux": (-0.9569143, 4.667287, -1.304391, -6.915899, -3.856291, -2.454314)}),
    ("slim", "inception_v4"): Proof(
        "this package", 1001, 5.567485,
        (2.990017, -10.58983, 0.8872979, -5.016665, 3.8514, 2.409971),
        {"aux": (-2.975294, 3.764612, 2.618417, -0.846817, 7.259055, -8.740731)}),
    ("slim", "inception_resnet_v2"): Proof(
        "this package", 1001, 7.922248,
        (-3.224922, 1.846107, 0.7786267, 7.601256, 8.487473, 12.79486),
        {"aux": (3.21587, 2.215389, 1.713345, 2.251488, -3.59786, 1.066933)}),
    ("keras", "inception_v3"): Proof(
        "keras.applications 3.15.1", 1000, 4.255869,
        (2.884563, 1.423494, -0.6030685, -5.792231, -9.370459, 6.060537),
    ),
    ("keras", "inception_resnet_v2"): Proof(
        "keras.applications 3.15.1", 1000, 9.82906,
        (6.674423, -5.868015, -8.299547, -7.671151, -16.55045, -0.1802213),
    ),
    ("torch", "inception_v1"): Proof(
        "PyTorch 2.13.0", 1000, 11.56686,
        (-4.509397, 4.16779, 13.25683, -1.095777, -4.533524, -8.362905),
    ),
    ("torch", "inception_v3"): Proof(
        "timm 1.0.31", 1000, 17.74958,
        (9.740236, 18.16846, 2.610859, -18.07566, -28.37615, -0.605822),
        {"aux": (-4.16557, 8.911497, 10.80471, -6.882475, 5.031228, -4.289306)}),
    ("torch", "inception_v4"): Proof(
        "timm 1.0.31", 1000, 28.45247,
        (-75.7054, 1.862108, -22.44857, -47.06184, 13.90085, 4.404147),
    ),
    ("torch", "inception_resnet_v2"): Proof(
        "timm 1.0.31", 1000, 17.88099,
        (45.27603, -7.716617, -25.87627, -4.777235, -9.282256, -15.78565),
    ),
}
# fmt: on


def image(size: int) -> Array:
    """One image: float32 [1, size, size, 3] in [-1, 1], noise over patches of colour."""
    random = np.random.RandomState(7)  # frozen by NumPy's promise, unlike its newer generators
    patches = random.uniform(-0.7, 0.7, (8, 8, 3)).repeat(size // 8 + 1, 0)
    patches = patches.repeat(size // 8 + 1, 1)[:size, :size]
    noise = random.uniform(-0.3, 0.3, (size, size, 3))
    return (patches + noise).astype(np.float32)[np.newaxis]


def value(name: str, shape: Shape, *, out_first: bool = False) -> Array:
    """The value of a variable of this name: float32.

    Args:
        out_first: whether kernels have their output channels first, as PyTorch's.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith(("moving_variance", "running_var", "gamma", "bn.weight")):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    bound = 0.3
    if len(shape) > 1:
        bound = float(np.sqrt(6 / np.prod(shape[1:] if out_first else shape[:-1])))
    return random.uniform(-bound, bound, shape).astype(np.float32)


def difference(model: keras.Model, source: Source, network: str) -> float:
    """How far a network is from the proof, in standard deviations of the logits.

    Args:
        model: of the source's variant, with the proof's classes and auxiliary heads. Its weights
            are overwritten.
        source: the tables to prove.
        network: ``"inception_v3"``.
    """
    proof = PROVED[source.name, network]
    assign_weights(Weights(network, _file(model, source), source), model.layers)
    answer = first_logits(model, len(proof.logits))
    expected = {"predictions": proof.logits, **proof.aux}
    worst = max(np.abs(answer[output] - expected[output]).max() for output in expected)
    return float(worst / proof.spread)


def first_logits(model: keras.Model, count: int) -> dict[str, Array]:
    """What the classifiers say to :func:`image`, before their activations.

    Returns:
        By output, ``"predictions"`` first: float32 [count].
    """
    heads = [layer for layer in model.layers if layer.name.endswith("logits")]
    inner = keras.Model(model.input, [head.output for head in heads])
    answers = inner(image(model.input.shape[1]), training=False)
    answers = answers if isinstance(answers, list | tuple) else [answers]
    found = {
        head.name.removesuffix("_logits").replace("logits", "predictions"): (
            keras.ops.convert_to_numpy(answer)[0, :count]
        )
        for head, answer in zip(heads, answers, strict=True)
    }
    return dict(sorted(found.items(), key=lambda item: item[0] != "predictions"))


def source_of(name: str, network: str) -> Source:
    """The tables of a source, as for a file that has every name of its own."""
    if name == "slim":
        return slim.source(network)
    if name == "torch":
        return torch.source(network)
    return keras_applications.source(network)


def _file(model: keras.Model, source: Source) -> File:
    """What a file would hold that had every value under the source's name."""
    pytorch = source.name == "torch"
    shapes: dict[str, Shape] = {}
    for layer in model.layers:
        for variable in layer.weights:
            place = source.places[f"{layer.name}/{variable.name}"]
            ours = np.broadcast_to(np.float32(0), tuple(variable.shape))
            shapes[place.name] = written_as_theirs(place.layout, ours).shape
            if pytorch and place.gamma:
                shapes[place.gamma] = tuple(variable.shape)[-1:]
    return File(
        Path("proof"),
        "proof",
        "pytorch" if pytorch else "tensorflow",
        shapes,
        lambda name: value(name, shapes[name], out_first=pytorch),
    )
