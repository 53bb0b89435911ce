"""Files of weights, opened: what they hold, told apart by content and not by suffix.

A :class:`File` knows the names and shapes, and reads one variable at a time, so that a network is
loaded without a second copy of its weights in memory.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from keras_inception.weights.names import Array, Shape
from keras_inception.weights.slim import VARIABLES


@dataclass(frozen=True)
class File:
    """An opened file of weights.

    Args:
        path: as given, the suffix of a checkpoint's index left out.
        format: what it is, in words.
        writer: whose names to expect: TensorFlow's, Keras's or PyTorch's.
        shapes: of the variables, by name.
        read: one variable by name; floats are float32.
        layers: in a Keras file, the names of all layers, those without weights too.
        notes: what we noted when we wrote it.
    """

    path: Path
    format: str
    writer: Literal["tensorflow", "keras", "pytorch"]
    shapes: Mapping[str, Shape]
    read: Callable[[str], Array]
    layers: frozenset[str] = frozenset()
    notes: Mapping[str, Any] = field(default_factory=dict)


NOTES = "keras_inception"  # the key of our notes, in Keras's and safetensors files
_TABLE = struct.pack("<Q", 0xDB4775248B80FB57)  # ends a TensorFlow index, and the old format too
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number


def open_file(path: str | os.PathLike[str], *, ema: bool = False) -> File:
    """Open a file of weights.

    Args:
        path: the file; for a TensorFlow checkpoint its prefix or its ``.index``; or a folder with
            a TensorFlow checkpoint, the latest, or with ``model.keras``, as a run's.
        ema: of a PyTorch file with two state dicts, take the averaged one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none that we can read, or is damaged.
    """
    path = _find(Path(path))
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(512)
        stream.seek(max(0, size - len(_TABLE)))
        tail = stream.read()
    try:
        if tail == _TABLE:
            return _tensorflow_checkpoint(path)
        if head.startswith(_HDF5):
            return _hdf5(path, path)
        if head.startswith(_ZIP):
            return _zip(path, ema)
        if head.startswith(_LEGACY_TORCH):
            return _torch(path, ema)
        if size > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - 8:
            return _safetensors(path)
        if head.startswith(b"\n"):
            return _frozen_graph(path)
    except (KeyError, OSError, struct.error, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged, or cut short: {error}") from error
    raise ValueError(
        f"{path} holds no weights that can be read: no TensorFlow checkpoint or frozen graph, no"
        " Keras file, no safetensors and no PyTorch file."
    )


def _find(path: Path) -> Path:
    if path.is_dir():
        import tensorflow as tf

        latest = tf.train.latest_checkpoint(str(path))
        if latest is not None:
            path = Path(latest)
        elif (path / "model.keras").is_file():
            return path / "model.keras"
        else:
            raise ValueError(f"{path} is a folder without a TensorFlow checkpoint or model.keras.")
    if re.search(r"\.data-\d+-of-\d+$", path.name):  # the other half of a checkpoint
        path = path.with_suffix("")
    index = Path(f"{path}.index")
    if not path.is_file() and index.is_file():
        return index
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}, nor a checkpoint {index}.")
    return path


def _tensorflow_checkpoint(path: Path) -> File:
    import tensorflow as tf

    prefix = path
    if path.suffix == ".index" and any(path.parent.glob(f"{path.stem}.data-*")):
        prefix = path.with_suffix("")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ValueError(f"{prefix} is damaged: {error}") from error
    if not shapes:  # an index by itself reads as an empty file of the old format
        raise ValueError(f"{path} is a checkpoint's index; its {path.stem}.data-* is missing.")

    def read(name: str) -> Array:
        try:
            return _floats(reader.get_tensor(name))
        except (tf.errors.OpError, LookupError, RuntimeError) as error:
            raise ValueError(f"{prefix} is damaged at {name}: {error}") from error

    version = "V1" if prefix == path else "V2"
    return File(prefix, f"TensorFlow checkpoint {version}", "tensorflow", shapes, read)


def _frozen_graph(path: Path) -> File:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is no frozen graph, or is damaged: {error}") from error
    # The variables have become constants among others, and have kept their names.
    constants = {
        node.name: node.attr["value"].tensor
        for node in graph.node
        if node.op == "Const" and VARIABLES.fullmatch(node.name)
    }
    if not constants:
        raise ValueError(f"{path} is a graph without frozen weights")
    shapes = {
        name: tuple(side.size for side in tensor.tensor_shape.dim)
        for name, tensor in constants.items()
    }
    return File(
        path,
        "frozen graph",
        "tensorflow",
        shapes,
        lambda name: _floats(tf.make_ndarray(constants[name])),
    )


def _zip(path: Path, ema: bool) -> File:
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if "model.weights.h5" in members:
            return _hdf5(path, io.BytesIO(archive.read("model.weights.h5")))
    if any(member.endswith("/data.pkl") for member in members):
        return _torch(path, ema)
    raise ValueError(f"{path} is a zip file, but neither Keras's nor PyTorch's.")


def _hdf5(path: Path, source: Path | BinaryIO) -> File:
    import h5py

    handle = h5py.File(source, "r")
    model = handle.get("model_weights", handle)
    found: dict[str, Any] = {}
    if "layer_names" in model.attrs:
        about = "Keras HDF5"
        layers = [_text(name) for name in model.attrs["layer_names"]]
        for layer in layers:
            for name in map(_text, model[layer].attrs["weight_names"]):
                # "conv2d_1/kernel:0", or with the layer's name in front once more.
                variable = name.rpartition("/")[2].partition(":")[0]
                found[f"{layer}/{variable}"] = model[layer][name]
    elif "layers" in handle:
        about = "Keras weights" if isinstance(source, Path) else "Keras model"
        layers = []

        def visit(group: str, item: Any) -> None:
            # Groups are numbered; the layer's name stands on its variables.
            if group.rpartition("/")[2] != "vars" or "name" not in item.attrs:
                return
            layer = _text(item.attrs["name"])
            layers.append(layer)
            kind = group.split("/")[-2]
            for variable, dataset in zip(_variables(kind, len(item)), _in_order(item), strict=True):
                found[f"{layer}/{variable}"] = dataset

        handle["layers"].visititems(visit)
    else:
        raise ValueError(f"{path} is an HDF5 file, but holds no Keras weights.")
    return File(
        path,
        about,
        "keras",
        {name: tuple(dataset.shape) for name, dataset in found.items()},
        lambda name: _floats(found[name][()]),
        frozenset(layers),
        json.loads(handle.attrs.get(NOTES, "{}")),
    )


def _in_order(group: Any) -> list[Any]:
    return [group[name] for name in sorted(group, key=int)]


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


def _safetensors(path: Path) -> File:
    import ml_dtypes  # noqa: F401  (gives NumPy the bfloat16 that the reader asks it for)
    from safetensors import SafetensorError, safe_open

    try:
        # The reader refuses a header that is hostile: too long, or offsets that overlap or lie
        # outside the file.
        tensors: Any = safe_open(path, framework="np")
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        size = f"{path.stat().st_size} bytes"
        raise ValueError(f"{path} ({size}) is damaged, or cut short: {reason}") from error
    return File(
        path,
        "safetensors",
        "pytorch",
        {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()},  # noqa: SIM118
        lambda name: _floats(tensors.get_tensor(name)),
        notes=json.loads((tensors.metadata() or {}).get(NOTES, "{}")),
    )


def _torch(path: Path, ema: bool) -> File:
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{path} is a PyTorch pickle, which takes PyTorch to read: pip install torch, or save"
            " its state dict as safetensors, which takes nothing."
        ) from None
    import pickle

    try:
        # Never a pickle that could run code: tensors, numbers, containers, or an error.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} is no state dict, or is damaged: {reason}") from error
    for key in ("state_dict_ema",) if ema else ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    else:
        if ema:
            raise ValueError(f"`ema=True`, but {path} holds no state_dict_ema")
    tensors = {
        str(name).removeprefix("module."): tensor
        for name, tensor in dict(state).items()
        if isinstance(tensor, torch.Tensor)
    }
    if not tensors:
        raise ValueError(f"{path} holds no state dict of tensors")
    return File(
        path,
        "PyTorch state dict",
        "pytorch",
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        lambda name: _floats(tensors[name].float().numpy()),
    )


def _floats(array: Array) -> Array:
    """float32, if they are floats; NumPy counts those of ``ml_dtypes`` among the void types."""
    return array.astype(np.float32, copy=False) if array.dtype.kind in "fV" else array


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
