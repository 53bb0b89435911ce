"""Keras's files of weights: ``.h5``, ``.weights.h5``, and the latter within a ``.keras``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from keras_inception.weights.file import NOTES, File, FileError, check_unpacked, read_notes


def open_hdf5(path: Path, source: Path | BinaryIO) -> File:
    """Open an HDF5 file of Keras's.

    Args:
        path: for messages.
        source: the same, or what of it is HDF5.

    Raises:
        FileError: it holds no Keras weights, or points to other files.
    """
    import h5py

    handle = h5py.File(source, "r")
    _refuse_links(path, handle)
    model = handle.get("model_weights", handle)
    if "layer_names" in model.attrs:
        about = "Keras HDF5"
        found, layers = _by_layers(model, handle.attrs.get("model_config"))
    elif "layers" in handle:
        about = "Keras weights" if isinstance(source, Path) else "Keras model"
        found, layers = _by_groups(handle["layers"])
    else:
        raise FileError(f"{path} is an HDF5 file, but holds no Keras weights.")
    for name, dataset in found.items():
        _check(path, name, dataset)
    return File(
        path,
        about,
        "keras",
        {name: tuple(dataset.shape) for name, dataset in found.items()},
        lambda name: found[name][()],
        frozenset(layers),
        read_notes(handle.attrs.get(NOTES, "{}")),
    )


def _refuse_links(path: Path, handle: Any) -> None:
    """A link may lead to any file of this machine; Keras writes none."""
    import h5py

    def visit(name: str, link: Any) -> str | None:
        kind = type(link).__name__
        return None if isinstance(link, h5py.HardLink) else f"{name} is of kind {kind}"

    found = handle.visititems_links(visit)
    if found:
        raise FileError(
            f"{path} is not read: {found}, which could lead to another file. Keras writes none."
        )


def _check(path: Path, name: str, dataset: Any) -> None:
    """Refuse what is kept elsewhere, and what is small here and large in memory."""
    if dataset.external or dataset.is_virtual:
        raise FileError(f"{path} is not read: the values of {name} lie in other files.")
    check_unpacked(path, dataset.id.get_storage_size(), dataset.nbytes)


def _by_layers(model: Any, config: str | bytes | None) -> tuple[dict[str, Any], set[str]]:
    """Datasets and layers of the older form: a group for each layer of the model.

    A model within the model is one of these, and has the weights of all its layers.
    """
    found: dict[str, Any] = {}
    layers = set()
    for group in map(_text, model.attrs["layer_names"]):
        names = [_text(name) for name in model[group].attrs["weight_names"]]
        # "conv2d_1/kernel:0", or with the model's or the layer's name in front once more.
        inner = {name.rpartition("/")[0].rpartition("/")[2] for name in names}
        for name in names:
            layer, _, variable = name.rpartition("/")
            layer = layer.rpartition("/")[2] if len(inner) > 1 else group
            layers.add(layer)
            found[f"{layer}/{variable.partition(':')[0]}"] = model[group][name]
        layers.add(group)
    return found, layers.union(_names(json.loads(config)) if config else ())


def _names(config: Any) -> Iterator[str]:
    """The names of all layers of a model's configuration, those of models within it too."""
    inside = config.get("config") if isinstance(config, dict) else None
    for layer in inside.get("layers", ()) if isinstance(inside, dict) else ():
        yield str(layer["config"].get("name"))
        yield from _names(layer)


def _by_groups(root: Any) -> tuple[dict[str, Any], set[str]]:
    """Datasets and layers of Keras 3's form, models within the model included."""
    found: dict[str, Any] = {}
    layers = set()

    def visit(group: str, item: Any) -> None:
        # Groups are numbered; the layer's name stands on its variables.
        if group.rpartition("/")[2] != "vars" or "name" not in item.attrs:
            return
        layer = _text(item.attrs["name"])
        layers.add(layer)
        datasets = [item[name] for name in sorted(item, key=int)]
        names = _variables(group.split("/")[-2], len(datasets))
        for variable, dataset in zip(names, datasets, strict=True):
            found[f"{layer}/{variable}"] = dataset

    root.visititems(visit)
    return found, layers


def _variables(kind: str, count: int) -> list[str]:
    """What Keras keeps for a layer, in its order; ``kind`` is the class, in snake case."""
    if kind.startswith("batch_normalization"):
        names = ["gamma", "beta", "moving_mean", "moving_variance"]
        return names if count == 4 else names[1:]
    if kind.startswith("separable_conv2d"):
        return ["depthwise_kernel", "pointwise_kernel", "bias"][:count]
    if kind.startswith(("conv2d", "dense")):
        return ["kernel", "bias"][:count]
    return [str(number) for number in range(count)]


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
