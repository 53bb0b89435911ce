"""A published network, ready to answer: its weights, the preprocessing they ask for, its labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_inception.data.preprocessing import Preprocessing, named
from keras_inception.models.catalogue import Entry, find, find_published
from keras_inception.models.weight_files import open_for
from keras_inception.published.classes import imagenet_labels
from keras_inception.published.conversion import sha256
from keras_inception.published.imagenet import preprocessing_of
from keras_inception.weights.download import is_published
from keras_inception.weights.loading import WITH_BACKGROUND, Weights, assign_weights


@dataclass(frozen=True)
class Network:
    """A classifier with all that it takes to answer.

    Args:
        model: from float32 [batch, size, size, 3] to probabilities, float32 [batch, classes].
        labels: the class names, in the order of the outputs.
        preprocessing: how images become its input.
        about: where the weights are from, and the hash of each file.
    """

    model: keras.Model
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    about: dict[str, Any]


def open_network(
    weights: str | os.PathLike[str],
    network: str | None = None,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: str | None = None,
    ema: bool = False,
) -> Network:
    """Build a network with weights that others published, or with a file of weights.

    Args:
        weights: ``"imagenet:InceptionV4"`` for the network's usual published weights,
            ``"imagenet:SOURCE/NAME"`` for others (downloaded once), or a file, of all the kinds
            that :func:`keras_inception.load_weights` reads.
        network: ``"InceptionV4"``; only a file needs it.
        labels: the class names in the order of the weights' classes. By default ImageNet's where
            there are 1000; of TF-Slim's 1001 the first, background, is dropped.
        preprocessing: ``"default"``, ``"slim"``, ``"torchvision"`` or ``"tf-hub"``: how the images
            were made that the weights were trained on. Only a file that does not tell needs it.
        ema: take the moving averages of the weights that training kept beside them.

    Raises:
        ValueError: there is no such network or file, the weights are of another network or have no
            classifier, their labels or preprocessing are not known and not given, or the labels
            are not as many as the classes.
        DownloadError: a download failed.
    """
    entry, weights = _resolve(weights, network)
    opened = open_for(entry, weights, ema=ema)
    file = opened.file.path
    if opened.classes is None:
        raise ValueError(f"{weights} has no classifier.")
    names = _labels(weights, opened.classes, labels)
    protocol = _protocol(entry, str(weights), opened, preprocessing)
    model = entry.builder()(classes=len(names), variant=opened.variant, scale=opened.has_gamma)
    assign_weights(opened, model.layers)
    about = {"name": str(weights), "network": entry.title, "file": file.name}
    return Network(model, names, protocol, about | {"sha256": sha256(file)})


def _resolve(
    weights: str | os.PathLike[str], network: str | None
) -> tuple[Entry, str | os.PathLike[str]]:
    """The network, and its weights by their whole name."""
    if str(weights).partition(":")[0] != "imagenet":
        if network is None:
            raise ValueError(
                f"`network` (--model) must say which network the file {weights} is of, such as"
                " InceptionV4. Received: None"
            )
        return find(network), weights
    if str(weights) == "imagenet" and network is not None:
        weights = f"imagenet:{network}"
    entry, name = find_published(str(weights))
    if network is not None and find(network) is not entry:
        raise ValueError(
            f"{weights} is of {entry.title}: leave `network` (--model) out. Received: {network!r}"
        )
    return entry, f"imagenet:{name}"


def _labels(
    weights: str | os.PathLike[str], classes: int, labels: Sequence[str] | None
) -> tuple[str, ...]:
    imagenet = imagenet_labels()
    if labels is None and classes in (len(imagenet), WITH_BACKGROUND):
        return imagenet
    if labels is None:
        raise ValueError(
            f"{weights} has {classes} classes, which it does not name: give their names, `labels`"
            " (--labels FILE)."
        )
    dropped = (classes, len(labels)) == (WITH_BACKGROUND, len(imagenet))
    if len(labels) != classes and not dropped:
        raise ValueError(f"{weights} has {classes} classes. Received: {len(labels)} labels")
    return tuple(labels)


def _protocol(entry: Entry, weights: str, opened: Weights, name: str | None) -> Preprocessing:
    """As given, or as is known of the weights: by their name, their hash, or who wrote the file."""
    if name is not None:
        return named(name, entry.size)
    if weights.startswith("imagenet:"):
        return preprocessing_of(weights, entry.size)
    told = told_by_file(entry, opened, entry.size)
    if told is not None:
        return told
    raise ValueError(
        f"{weights} ({opened.file.format}) does not tell the range of pixels that it was trained"
        " on, and a wrong one gives wrong answers: say `preprocessing` (--preprocessing): default"
        " (Keras's, [-1, 1]), slim, torchvision (ImageNet's mean and deviation) or tf-hub ([0, 1])."
    )


def told_by_file(entry: Entry, opened: Weights, size: int) -> Preprocessing | None:
    """The preprocessing that a file of weights tells: it is a published one, or of TF-Slim's.

    Args:
        opened: the file, opened for the network ``entry``.
        size: of the network's input in pixels.

    Returns:
        ``None`` if it tells none.
    """
    path = opened.file.path
    for known, row in entry.weights.items():
        if path.is_file() and is_published(path, row):
            return preprocessing_of(f"imagenet:{known}", size)
    # TF-Slim's trainer has but one; facenet's has two, which its files do not tell.
    slims = opened.source.name == "slim" and entry.name != "inception_resnet_v1"
    return named("slim", size) if slims else None
