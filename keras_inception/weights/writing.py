"""Weights of a network into files for others: TF-Slim's checkpoints, timm's safetensors, Keras's.

What is written comes back bit for bit, but for gamma in TF-Slim's, which has no place for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.weights import slim, torch
from keras_inception.weights.file import NOTES
from keras_inception.weights.names import GAMMA, Array, Layout, Source, written_as_theirs

Log = Callable[[str], None]


def write_weights(
    model: keras.Model,
    path: Path,
    network: str,
    variant: str,
    *,
    skip: str | Iterable[str] = (),
    notes: Mapping[str, Any] | None = None,
    log: Log = print,
) -> None:
    """Write a network's weights; see :func:`keras_inception.save_weights`.

    Args:
        network: what the model is, ``"inception_v3"``, and
        variant: which of its kind.
    """
    notes = {"variant": variant, **(notes or {})}
    if path.name.endswith(".weights.h5"):
        return _write_keras(path, model, notes)
    others = torch if path.suffix == ".safetensors" else slim
    if network not in others.NETWORKS:
        raise ValueError(
            f"{network} is not among the networks that a {path.suffix or 'TensorFlow'} file has"
            f" names for: {', '.join(others.NETWORKS)}. A .weights.h5 file takes it."
        )
    source = others.source(network)
    if others is slim:
        if variant != source.variant:
            raise ValueError(
                f"TF-Slim's {network} is our variant {source.variant!r}: the same weights mean"
                f" another function there. This one is {variant!r}. A .weights.h5 file takes it."
            )
        if any(variable.name == "gamma" for layer in model.layers for variable in layer.weights):
            log(
                f"{path}: for inference only. TF-Slim's networks have no gamma of batch norm, so it"
                " is multiplied into the kernels; training divides it out again."
            )
        return _write_checkpoint(path, _values(model, source, skip, fold_gamma=True))
    if variant != source.variant:
        log(
            f"{path}: PyTorch's {network} is our variant {source.variant!r}, this is {variant!r}:"
            " read back here it is the same; there, borders are treated otherwise."
        )
    return _write_safetensors(path, _values(model, source, skip), source, notes)


def _values(
    model: keras.Model, source: Source, skip: str | Iterable[str], *, fold_gamma: bool = False
) -> dict[str, Callable[[], Array]]:
    """Each of their names with a function that gives its value, so that one is held at a time."""
    patterns = [skip] if isinstance(skip, str) else list(skip)
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
    }
    gammas = {
        source.places[ours].name: variable
        for ours, variable in variables.items()
        if ours.endswith(GAMMA) and ours in source.places
    }
    values: dict[str, Callable[[], Array]] = {}
    nameless = []
    for ours, variable in variables.items():
        place = source.places.get(ours)
        if any(fnmatchcase(ours, pattern) for pattern in patterns):
            continue
        if place is None:
            nameless.append(ours)
        elif not fold_gamma:
            values[place.name] = partial(_value, variable, place.layout)
        elif place.name not in gammas:
            gamma = gammas.get(place.gamma or "")
            values[place.name] = partial(_value, variable, place.layout, gamma)
    if nameless:
        raise ValueError(
            f"There is no name in that form for: {', '.join(nameless)}. To write the others, say"
            " what to leave out: `skip=`."
        )
    return values


def _value(variable: Any, layout: Layout, gamma: Any = None) -> Array:
    value = keras.ops.convert_to_numpy(variable)
    if gamma is not None:
        value = value * keras.ops.convert_to_numpy(gamma)
    return written_as_theirs(layout, value)


def _write_keras(path: Path, model: keras.Model, notes: Mapping[str, Any]) -> None:
    import h5py

    part = path.with_name(f".{path.name}")
    model.save_weights(part)
    with h5py.File(part, "r+") as handle:
        handle.attrs[NOTES] = json.dumps(notes)
    os.replace(part, path)


def _write_checkpoint(path: Path, values: Mapping[str, Callable[[], Array]]) -> None:
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value()) for value in values.values()],
    )


def _write_safetensors(
    path: Path,
    values: Mapping[str, Callable[[], Array]],
    source: Source,
    notes: Mapping[str, Any],
) -> None:
    from safetensors.numpy import save_file

    everything = dict(values)
    for place in source.places.values():
        if place.gamma and place.gamma not in everything and place.name in values:
            norm = place.gamma.removesuffix(".weight")
            shape = values[f"{norm}.bias"]().shape
            everything[place.gamma] = partial(np.ones, shape, np.float32)
            everything[f"{norm}.num_batches_tracked"] = partial(np.zeros, (), np.int64)
    part = path.with_name(f".{path.name}")
    arrays = {name: np.asarray(value(), order="C") for name, value in everything.items()}
    part.touch()
    mode = part.stat().st_mode  # safetensors would keep the file from everybody else
    save_file(arrays, part, {"format": "pt", NOTES: json.dumps(notes)})
    part.chmod(mode)
    os.replace(part, path)
