"""A whole Keras model out of its file, and what is wrong where there is none in it."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK"
_PAGE = re.compile(rb"\s*<(!doctype html|html|head|\?xml)", re.IGNORECASE)


class ModelFileError(ValueError):
    """A file holds no Keras model that can be opened; the message says what it is instead."""


def open_model(path: str | os.PathLike[str]) -> Any:
    """The ``keras.Model`` in a ``.keras`` file, or in an HDF5 file of a whole model.

    Raises:
        ModelFileError: there is no such file, it is damaged or something else, or the model holds
            layers or functions that are not Keras's own, whose code no file has.
    """
    path = Path(path)
    config, version = _read_config(path)
    foreign = list(dict.fromkeys(_foreign(config)))
    if foreign:
        raise ModelFileError(
            f"{path} holds what is not Keras's own, and whose code is not in the file:"
            f" {'; '.join(foreign[:5])}{' and more' * (len(foreign) > 5)}. Build the model of"
            " Keras's own layers (Rescaling in place of a Lambda that scales); or, in the program"
            ' that has the code, write a SavedModel without labels: model.export("MODELS/NAME/1"),'
            " which `keras-inception serve MODELS` and TF Serving serve."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # of any kind, and of many lines
        said = str(error).rpartition("Exception encountered: ")[2]
        line = next((line for line in said.splitlines() if line.strip()), type(error).__name__)
        raise ModelFileError(
            f"{path}, written by Keras {version}, can't be opened by Keras {keras.__version__}:"
            f" {line.strip()[:300]}"
        ) from error


def _read_config(path: Path) -> tuple[Any, str]:
    """A model's architecture as the file has it, and the version of Keras that wrote it."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}.") from error
    if head.startswith(_HDF5):
        return _config_of_hdf5(path)
    if not head.startswith(_ZIP):
        what = f"it begins with {head[:8]!r}"
        if not head:
            what = "it is empty"
        elif _PAGE.match(head):
            what = (
                "it is a web page, such as a login or an error, saved in place of the file:"
                " download it again"
            )
        raise ModelFileError(f"{path} is no Keras model, which is a zip or an HDF5 file: {what}.")
    try:
        with zipfile.ZipFile(path) as archive:
            if "config.json" not in archive.namelist():
                raise ModelFileError(f"{path} is a zip file, but no Keras model: no config.json.")
            about = json.loads(archive.read("metadata.json"))
            return json.loads(archive.read("config.json")), str(about.get("keras_version"))
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelFileError(
            f"{path} is cut off or damaged: it has {path.stat().st_size:,} bytes, and the end of a"
            " .keras file, its zip directory, can't be read. Copy or download it again."
        ) from error
    except (KeyError, ValueError, AttributeError) as error:
        raise (
            error if isinstance(error, ModelFileError)
            else ModelFileError(f"{path} is damaged: its JSON can't be read: {error}")
        ) from error  # fmt: skip


def _config_of_hdf5(path: Path) -> tuple[Any, str]:
    import h5py

    if path.suffix == ".keras":
        raise ModelFileError(
            f"{path} is an HDF5 file, whose name has to end in .h5 for Keras: rename it."
        )
    try:
        with h5py.File(path) as file:
            config, version = (file.attrs.get(name) for name in ("model_config", "keras_version"))
    except OSError as error:
        raise ModelFileError(f"{path} is cut off or damaged: {error}.") from error
    if config is None:
        raise ModelFileError(
            f"{path} holds weights alone. Say of which network: --model NETWORK; of a model of your"
            ' own, save it whole: model.save("MODEL.keras").'
        )
    return json.loads(config), str(version)


def _foreign(config: Any, layer: str = "") -> Iterator[str]:
    """What Keras can't make again by itself, in words, wherever it is in a model's config."""
    if isinstance(config, list):
        for each in config:
            yield from _foreign(each, layer)
    if not isinstance(config, dict):
        return
    kind, registered = config.get("class_name"), config.get("registered_name")
    inner = config.get("config")
    name = config.get("name") or (inner.get("name") if isinstance(inner, dict) else "")
    layer = f"the layer {name!r}" if name else layer
    if kind == "__lambda__":
        yield f"{layer} (a lambda)"
    elif "module" in config and not str(config["module"]).startswith("keras"):
        known = keras.saving.get_registered_object(registered or kind)
        if kind == "function" and keras.saving.get_registered_object(str(inner)) is None:
            yield f"{layer} (the function {inner})"
        elif kind != "function" and known is None:
            yield f"{layer or 'the model'} ({kind})"
            return
    for each in config.values():
        yield from _foreign(each, layer)
