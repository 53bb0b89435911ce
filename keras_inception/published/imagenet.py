"""Images in and class names out for published weights, as in keras.applications."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_inception.data.preprocessing import Preprocessing, named, scale
from keras_inception.models.catalogue import find, published_row
from keras_inception.published.classes import imagenet_classes

_BACKGROUND = ("background", "background")


def preprocessing_of(
    weights: str | os.PathLike[str], size: int, network: str | None = None
) -> Preprocessing:
    """How the images were made that published weights were trained and measured on.

    Args:
        weights: as given to the builder; for a file, the default.
        size: of the network's input in pixels.
        network: whose ``"imagenet"`` is meant, such as ``"InceptionV4"``: that of some is Keras's,
            of others TF-Slim's. Without it, it is Keras's protocol.

    Raises:
        ValueError: there is no such network, or no published weights of it.
    """
    if str(weights) == "imagenet" and network is not None:
        weights = f"imagenet:{find(network).published('imagenet')}"
    row = published_row(str(weights))
    if row is None:
        return named("default", size)
    return dataclasses.replace(named(row.preprocessing, size), **row.protocol)


def preprocess_input(images: Any, weights: str | os.PathLike[str] = "imagenet") -> Any:
    """Pixels to the range that a network was trained in; the images keep their size.

    Args:
        images: [..., height, width, 3], red, green, blue in [0, 255]: an array or a TensorFlow
            tensor. It is left as it is.
        weights: as given to the builder: it decides the range, [-1, 1] for nearly all.

    Returns:
        float32 of the same shape, an array for an array.

    Raises:
        ValueError: the images do not have 3 channels last.
    """
    if not np.shape(images)[-1:] == (3,):
        raise ValueError(
            "`images` must have 3 channels, last: [..., height, width, 3]."
            f" Received: shape {tuple(np.shape(images))}"
        )
    scaled = scale(images, preprocessing_of(weights, size=1))
    return scaled if tf.is_tensor(images) else scaled.numpy()


def decode_predictions(
    predictions: Any, top: int = 5, labels: Sequence[str] | None = None
) -> list[list[tuple[str, str, float]]]:
    """The best classes of each row, with their names.

    Args:
        predictions: [batch, classes], probabilities or logits.
        top: classes a row, at most.
        labels: the classes' names, in order. Without them 1000 classes are ImageNet's, 1001
            ImageNet's behind a background.

    Returns:
        For each row (identifier, name, score), the best first. The identifier is the WordNet one,
        such as ``"n01440764"``; with your own labels, the name itself.

    Raises:
        ValueError: there are not as many names as classes.
    """
    rows = np.asarray(predictions)
    classes = rows.shape[-1] if rows.ndim == 2 else 0
    if labels is not None:
        names = [(label, label) for label in labels]
        rule = f"[batch, {len(names)}], a column for each of the labels"
    else:
        names = [*imagenet_classes()] if classes in (1000, 1001) else []
        names = [_BACKGROUND] * (classes == 1001) + names
        rule = "[batch, 1000] or [batch, 1001], ImageNet's, or come with their `labels`"
    if classes == 0 or classes != len(names):
        raise ValueError(f"`predictions` must be {rule}. Received: shape {rows.shape}")
    order = (-rows).argsort(axis=1, kind="stable")[:, :top]
    return [
        [(*names[index], float(row[index])) for index in best]
        for row, best in zip(rows, order, strict=True)
    ]
