"""Files of weights told apart by their content and not by their suffix.

What is opened knows the names and shapes, and reads one variable at a time, so that a network is
loaded without a second copy of its weights in memory.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
from pathlib import Path

from keras_inception.weights.checkpoints import open_checkpoint, open_frozen_graph
from keras_inception.weights.file import File, FileError, check_unpacked, reading
from keras_inception.weights.hdf5 import open_hdf5
from keras_inception.weights.state_dicts import open_pickle, open_safetensors

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
    with reading(path):
        if tail == _TABLE:
            return open_checkpoint(path)
        if head.startswith(_HDF5):
            return open_hdf5(path, path)
        if head.startswith(_ZIP):
            return _open_zip(path, ema)
        if head.startswith(_LEGACY_TORCH):
            return open_pickle(path, ema)
        if size > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - 8:
            return open_safetensors(path)
        if head.startswith(b"\n"):
            return open_frozen_graph(path)
    about = " It is a web page." if re.match(rb"\s*<(!doctype|html)", head, re.IGNORECASE) else ""
    raise FileError(
        f"{path} holds no weights that can be read: no TensorFlow checkpoint or frozen graph, no"
        f" Keras file, no safetensors and no PyTorch file.{about}"
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


def _open_zip(path: Path, ema: bool) -> File:
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member.file_size for member in archive.infolist()}
        check_unpacked(path, path.stat().st_size, sum(members.values()))
        if "model.weights.h5" in members:
            return open_hdf5(path, io.BytesIO(archive.read("model.weights.h5")))
    if any(member.endswith("/data.pkl") for member in members):
        return open_pickle(path, ema)
    raise FileError(f"{path} is a zip file, but neither Keras's nor PyTorch's.")
