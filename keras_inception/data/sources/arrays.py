"""Images in arrays: NumPy's, those in an .npz file, and IDX files as MNIST has them."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from inception_serving.formats import unread_format
from keras_inception.data.class_names import read_class_names
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels


def read_arrays(
    images: Any, targets: Any, labels: Sequence[str] | None = None, splits: tuple[str, ...] = ()
) -> Examples:
    """Examples of two arrays.

    Args:
        images: uint8 or uint16 (see ``Pixels.of``) [images, height, width], or [..., 1] or
            [..., 3].
        targets: whole numbers [images] or [images, 1], indices into ``labels``; or class names;
            or [images, classes] of 0 and 1: where every row has one 1, the class, else (and
            always if bool) any number of classes an image.
        labels: the names; the numbers themselves by default.
        splits: the names of the source's other splits.

    Raises:
        DataError: an array has another type or shape, or they don't fit each other.
    """
    pixels = Pixels.of(np.asarray(images))
    targets = np.asarray(targets)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim not in (1, 2) or len(targets) != len(pixels):
        raise DataError(
            f"There must be a label for each of the {len(pixels)} images."
            f" Received: labels of shape {list(targets.shape)}"
        )
    if not len(pixels):
        raise DataError("There are no images in the arrays.")
    if targets.ndim == 1 and targets.dtype.kind in "USO":
        names, targets = np.unique(targets.astype(str), return_inverse=True)
        return Examples(tuple(map(str, names)), pixels, targets.astype(np.int64), splits=splits)
    if targets.ndim == 2:
        many = targets.dtype == bool
        if not np.isin(targets, (0, 1)).all():
            raise DataError("A matrix of labels must hold 0 and 1 only, a column for each class.")
        targets = targets.astype(bool)
        classes = targets.shape[1]
        if not many and (targets.sum(axis=1) == 1).all():
            targets = targets.argmax(axis=1)
    else:
        with np.errstate(invalid="ignore"):  # not a number; refused below
            whole = targets.astype(np.int64) if targets.dtype.kind in "iufb" else None
        if whole is None or (whole != targets).any() or whole.min() < 0:
            raise DataError(f"Labels must be whole numbers from 0. Received: {targets[:5]} ...")
        targets, classes = whole, int(whole.max()) + 1
    if labels is None:
        labels = [str(number) for number in range(classes)]
    elif len(labels) < classes:
        raise DataError(f"There are {classes} classes in the labels, but {len(labels)} names.")
    elif targets.ndim == 2 and len(labels) > classes:
        targets = np.pad(targets, ((0, 0), (0, len(labels) - classes)))
    return Examples(tuple(labels), pixels, targets, splits=splits)


def read_npz(path: Path, split: str | None, labels: Sequence[str] | None) -> Examples:
    """Read ``x`` and ``y`` of an .npz file, or ``x_train`` and ``y_train``, ``x_test`` ...

    An array ``labels`` in it names the classes.

    Raises:
        DataError: the file can't be read, or has no such arrays.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.startswith(b"PK"):
        reason = unread_format(start)
        if not reason or "nor another format" in reason:
            reason = "it is no ZIP archive, as such a file is"
        raise DataError(f"{path} is no .npz file that can be read: {reason}.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = set(arrays.files)
            found = {
                name.removeprefix("x_")
                for name in names
                if name.startswith("x_") and name.replace("x_", "y_", 1) in names
            }
            wanted = split or ("train" if found else None)
            suffix = f"_{wanted}" if wanted else ""
            if wanted == "validation" and wanted not in found and "val" in found:
                suffix = "_val"
            x, y = f"x{suffix}", f"y{suffix}"
            if not {x, y} <= names:
                raise DataError(
                    f"{path} must hold the arrays {x} and {y}."
                    f" It holds: {', '.join(sorted(names)) or 'nothing'}"
                )
            if "labels" in names:
                labels = [str(label) for label in arrays["labels"]]
            others = {"validation" if name == "val" else name for name in found} - {wanted}
            return read_arrays(arrays[x], arrays[y], labels, tuple(sorted(filter(None, others))))
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no .npz file that can be read: {error}") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} can't be read as arrays of numbers: {error}") from None


def is_idx(path: Path) -> bool:
    """Whether a file holds an array of bytes in the IDX format, compressed or not."""
    try:
        with _open(path) as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:3] == b"\0\0\x08" and 1 <= start[3] <= 4


def read_idx(path: Path, labels: Sequence[str] | None) -> Examples:
    """Read a file of images, ``train-images-idx3-ubyte.gz``, and the file of labels beside it.

    A labels.txt beside them names the classes; without it, they are called by their numbers.

    Raises:
        DataError: the file of labels isn't there, or one of the two is damaged.
    """
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    choices = [beside, beside.with_suffix("") if beside.suffix == ".gz" else Path(f"{beside}.gz")]
    found = [choice for choice in choices if choice.is_file() and choice != path]
    if not found:
        raise DataError(f"{path} needs its labels beside it, in {beside}; there is no such file.")
    names = path.with_name("labels.txt")
    if names.is_file():
        labels = read_class_names(names)
    return read_arrays(_idx(path), _idx(found[0]), labels)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")  # type: ignore[return-value]


def _idx(path: Path) -> np.ndarray:
    try:
        with _open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path} is no IDX file of unsigned bytes.")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).astype(int)
    expected = 4 + 4 * dimensions + int(np.prod(shape))
    if len(content) != expected:
        raise DataError(
            f"{path} is damaged: it has {len(content)} bytes, and by its header {expected}."
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
