"""The tables of names, proved by numbers: what each network said with known values in it.

A value for every variable follows from its name in the source, so two that change places change
the network's answer. The other implementation was filled with them under its own names, was shown
one image, and its first logits are written down beside the table; ours, filled through the table,
must say the same. ``make parity`` asks the other implementations again.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import keras
import numpy as np

from keras_inception.weights import keras_applications, slim, torch
from keras_inception.weights.file import File
from keras_inception.weights.loading import Weights, assign_weights
from keras_inception.weights.names import Array, Shape, Source, written_as_theirs

_SOURCES = {"slim": slim, "keras": keras_applications, "torch": torch}
PROVED = {
    (name, network): table.proof
    for name, tables in _SOURCES.items()
    for network, table in tables.NETWORKS.items()
}
TOLERANCE = 1e-3  # of the logits' standard deviation: another implementation


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
        model: of the source's variant, with the proof's classes, bottleneck and auxiliary heads.
            Its weights are overwritten.
        source: the tables to prove.
        network: ``"inception_v3"``.
    """
    proof = PROVED[source.name, network]
    weights = Weights(network, _file(model, source), source)
    assign_weights(weights, model.layers, fold_gamma=True)  # inference, where it is the same
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
    return _SOURCES[name].source(network)


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
