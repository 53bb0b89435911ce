"""A network's weights out of a file and into one, which network it is read off its layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.models.catalogue import Entry, find, recognize
from keras_inception.weights.loading import (
    Weights,
    assign_weights,
    check_variant,
    match,
    open_weights,
)
from keras_inception.weights.writing import write_weights


def open_for(
    entry: Entry,
    weights: str | os.PathLike[str],
    *,
    include_top: bool = True,
    ema: bool = False,
) -> Weights:
    """Open weights for a network, downloaded first if they are published ones.

    Args:
        weights: a file, ``"imagenet"``, or ``"imagenet:SOURCE/NAME"``.
        include_top: ``False`` takes the smaller file without classifier, where one is published.
        ema: take the moving averages of the weights that training kept beside them.

    Raises:
        ValueError: there is no such file, it can't be read, or it is of another network.
        DownloadError: a download failed.
    """
    path = entry.locate(weights, include_top=include_top, check=partial(check_file, entry))
    opened = open_weights(path, entry.name, recognize, ema=ema)
    notes = dict(opened.file.notes)
    if notes.get("variant") in entry.former_variants:
        notes["variant"] = entry.former_variants[notes["variant"]]
        return replace(opened, file=replace(opened.file, notes=notes))
    return opened


def check_file(entry: Entry, path: Path) -> None:
    """Read all of a file of a network's weights: names, shapes, and that its values can be weights.

    Raises:
        ValueError: it is of another network, incomplete, damaged, or holds values that no training
            leaves: some that are no number, a variance below zero.
    """
    opened = open_weights(path, entry.name, recognize)
    with keras.StatelessScope(initialize_variables=False):  # its shapes are enough
        model = build_for(entry, opened)
    shapes = {
        f"{layer.name}/{variable.name}": tuple(variable.shape)
        for layer in model.layers
        for variable in layer.weights
    }
    for ours in match(opened, shapes).taken:
        value = opened.read(ours)
        if not np.isfinite(value).all() or ("variance" in ours and (value < 0).any()):
            raise ValueError(f"{path} is damaged: {opened.source.places[ours].name} is no weight.")


def build_for(entry: Entry, opened: Weights) -> Any:
    """The network that a file holds, heads and all, without its values."""
    embedding, include_top = opened.embedding, opened.classes is not None
    return entry.builder()(
        include_top=include_top,
        pooling="avg" if embedding and not include_top else None,
        embedding=embedding,
        classes=opened.classes or 1000,
        aux=opened.has_aux,
        variant=opened.variant,
        classifier_activation=None,
        scale=opened.has_gamma,
    )


def load_weights(
    model: keras.Model,
    weights: str | os.PathLike[str],
    *,
    ema: bool = False,
    skip: str | Iterable[str] = (),
    fold_gamma: bool = False,
) -> list[str]:
    """Load a file of weights into a network of this family.

    Read are TF-Slim's and facenet's checkpoints, of both formats, and frozen graphs;
    keras.applications's files; Keras's of our own networks; PyTorch state dicts with timm's,
    torchvision's or facenet-pytorch's names. Which it is, is seen from the content. Batch norm's
    gamma goes to a network that has it (``scale=True``); into one without it may be folded, which
    is the same function in inference only: training and `recalibrate` divide it out again.

    Where the network has 1000 classes and the file 1001, the first, background, is dropped. Where
    it has another number, the classifiers keep the values they have, which a line on standard
    error says. A network built without its top, its bottleneck or its auxiliary heads leaves these
    in the file.

    Args:
        model: built by this package.
        weights: the file; for a TensorFlow checkpoint its prefix or its ``.index``; or a folder
            with a checkpoint, or a run's; or ``"imagenet"`` or ``"imagenet:SOURCE/NAME"``,
            published weights, downloaded into Keras's cache.
        ema: take the moving averages of the weights that training kept beside them.
        skip: names, ours or the file's, that are not loaded and need not fit; ``*`` stands for
            anything, as in ``"aux*"``.
        fold_gamma: where the network has no gamma and the weights have it, multiply it into the
            kernels.

    Returns:
        The names that were skipped, sorted.

    Raises:
        WeightsError: names are missing, left over, or of another shape; it lists them.
        ValueError: there is no such file, it can't be read, it is of another network or variant,
            or it has gamma and the network has none.
        DownloadError: a download failed.
    """
    entry, variant = _recognized(model)
    include_top = any(layer.name == "logits" for layer in model.layers)
    opened = open_for(entry, weights, include_top=include_top, ema=ema)
    check_variant(opened, variant)
    return assign_weights(opened, model.layers, skip, fold_gamma=fold_gamma)


def save_weights(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    skip: str | Iterable[str] = (),
    notes: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Write a network's weights to a file for others.

    Args:
        model: built by this package.
        path: its end decides the form: ``.weights.h5`` is Keras's; ``.safetensors`` is PyTorch's
            with timm's names (torchvision's for v1), with gammas of one for a network without, as
            their batch norms ask for them; anything else is the prefix of a TensorFlow checkpoint
            with TF-Slim's names, gamma folded into the kernels, since TF-Slim's networks have none.
        skip: our names that are left out; ``*`` stands for anything, as in ``"aux*"``.
        notes: kept in the file, where its form can: JSON values.
        log: takes a line about what others would make of the file.

    Raises:
        ValueError: the others have no name for a weight, or no such network; it lists the names.
    """
    entry, variant = _recognized(model)
    write_weights(model, Path(path), entry.name, variant, skip=skip, notes=notes, log=log)


def _recognized(model: keras.Model) -> tuple[Entry, str]:
    found = recognize({layer.name for layer in model.layers})
    if found is None:
        raise ValueError(
            "`model` must be a network of this family, whose layers have kept their names."
            f" Received: model={model.name!r}"
        )
    return find(found[0]), found[1]
