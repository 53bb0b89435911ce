"""The range of pixels that a Keras model wants, as far as the model tells.

Many bring their own scaling: ``Rescaling``, ``Normalization``, or the arithmetic of Keras's
``preprocess_input``, right behind the input. Such a model is fed pixels in [0, 255]. What a model
without any was trained on can't be known from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.export import ExportError
from keras_inception.data.preprocessing import Preprocessing, scale
from keras_inception.models.catalogue import recognize
from keras_inception.models.graph import producers, readers
from keras_inception.models.nested import flatten

_SCALING = ("Rescaling", "Normalization")
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
# What leaves the range as it is, in inference.
_NEUTRAL = ("Resizing", "CenterCrop", "ZeroPadding2D", "Dropout", "Identity", "GetItem", "Flip")
# Of all pixels' values, and of the difference that white makes to black. ImageNet's deviation
# makes 4.4 of it, networks that subtract a mean alone 255.
_LARGEST, _SMALLEST_SPAN = 300.0, 0.1


def find_scaling(model: keras.Model) -> keras.Model | None:
    """What scales pixels right behind a model's input, as a model; ``None`` if nothing does.

    Augmentation, resizing and cropping before it are passed.

    Args:
        model: with one input.
    """
    flat = flatten(model)
    calls, read_by = producers(flat), readers(flat)
    operations = {operation.name: operation for operation in flat.operations}
    name, last, scales = flat.operations[0].name, None, False
    while len(read_by[name]) == 1:
        name = read_by[name][0]
        operation: Any = operations.get(name)
        if operation is None or len(calls[name]) != 1 or len(calls[name][0]) != 1:
            break
        kind = type(operation).__name__
        if kind in _SCALING + _ARITHMETIC:
            scales = True
        elif kind not in _NEUTRAL and not kind.startswith("Random"):
            break
        last = operation
    return keras.Model(flat.input, last.output) if scales and last is not None else None


def known_network(model: keras.Model) -> str | None:
    """The network of this family that a model is built on, where it says the range: [-1, 1].

    torchvision's variants do not: weights of theirs want ImageNet's mean and deviation.
    """
    found = recognize({layer.name for layer in flatten(model).layers})
    return found[0] if found is not None and found[1] != "torchvision" else None


def range_within(scaling: keras.Model, preprocessing: Preprocessing) -> tuple[float, float, float]:
    """What a model's own scaling makes of black and white images.

    Args:
        scaling: see :func:`find_scaling`.
        preprocessing: what comes before it.

    Returns:
        The least and the largest value, and the smallest difference of a channel's between white
        and black.
    """
    size = preprocessing.size
    both = np.broadcast_to(np.array([0, 255], np.float32)[:, None, None, None], (2, size, size, 3))
    black, white = scaling.predict(scale(tf.constant(both), preprocessing), verbose=0)
    span = np.abs(white.astype(np.float64) - black).min()
    return float(min(black.min(), white.min())), float(max(black.max(), white.max())), float(span)


def check_range(model: keras.Model, preprocessing: Preprocessing) -> None:
    """Refuse a preprocessing that a model's own scaling does not go with.

    Raises:
        ExportError: both together make next to one value of all pixels, as where they are scaled
            twice, or values beyond all sense, as where the model wants pixels in [0, 1].
    """
    scaling = find_scaling(model)
    if scaling is None:
        return
    low, high, span = range_within(scaling, preprocessing)
    if span < _SMALLEST_SPAN or max(abs(low), abs(high)) > _LARGEST:
        black, white = scale(tf.constant([[0.0] * 3, [255.0] * 3]), preprocessing).numpy()
        raise ExportError(
            f"{model.name} scales pixels itself, and makes {low:.4g} to {high:.4g} of"
            f" {black.min():.4g} to {white.max():.4g}, which no network was trained on. Say what"
            " pixels it takes: --input-range LOW HIGH, or --mean and --std (0 255 is pixels as"
            " they are)."
        )


def input_range(low: float, high: float) -> dict[str, tuple[float, float, float]]:
    """``mean`` and ``std`` of a :class:`Preprocessing` that maps [0, 255] to [low, high].

    Raises:
        ExportError: ``high`` is not above ``low``.
    """
    if not low < high:
        raise ExportError(f"--input-range is LOW and HIGH, LOW first. Received: {low:g} {high:g}")
    std = 255 / (high - low)
    return {"mean": (-low * std,) * 3, "std": (std,) * 3}


def mean_and_std(
    mean: Sequence[float], std: Sequence[float]
) -> dict[str, tuple[float, float, float]]:
    """The same from what is subtracted of pixels / 255 and what they are divided by, per channel.

    Raises:
        ExportError: a number is not in units of pixels / 255.
    """
    if not all(0 <= each <= 1 for each in mean) or not all(0 < each <= 1 for each in std):
        received = " ".join(f"{each:g}" for each in (*mean, *std))
        raise ExportError(
            "--mean is from 0 to 1 and --std above 0 and at most 1, in units of pixels / 255, such"
            f" as --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225. Received: {received}"
        )
    return {"mean": _three(mean), "std": _three(std)}


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (value * 255 for value in values)
    return red, green, blue


def raw(preprocessing: Preprocessing) -> Preprocessing:
    """The same with pixels left in [0, 255]."""
    return dataclasses.replace(preprocessing, mean=(0.0,) * 3, std=(1.0,) * 3)
