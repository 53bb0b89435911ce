"""Where images come from: a folder with one folder of images for each class.

What stands here is found, checked and split before anything is trained or written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from keras_inception.data.examples import DataError, Examples, Files, Images
from keras_inception.data.preprocessing import Tensor, decode, decoder_message

# Folders that hold parts of a data set, not classes.
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
# What file managers leave in folders.
_DEBRIS = {"thumbs.db", "desktop.ini", "icon\r"}


def open_source(source: str | Path | Examples, labels: Sequence[str] | None = None) -> Examples:
    """The examples in a source, whatever it keeps them in.

    Args:
        source: a folder with one folder of images for each class, or examples as they are.
        labels: the classes and their order, of a model that exists.

    Raises:
        DataError: the source does not exist or breaks a rule of its kind.
    """
    return source if isinstance(source, Examples) else read_folder(source, labels)


@dataclass(frozen=True)
class BadImage:
    """An image that can't be decoded: its number, what it is called, the decoder's reason."""

    index: int
    name: str
    reason: str


def read_folder(root: str | Path, labels: Sequence[str] | None = None) -> Examples:
    """List ``root/CLASS/**/FILE``: every folder in ``root`` is a class, named by the folder.

    Hidden files and folders are left out; so are files in ``root`` itself. Whether a file is an
    image shows when it is decoded, see :func:`find_bad_images`.

    Args:
        labels: the classes and their order, of a model that exists. By default the folders' names
            in the order of their code points.

    Raises:
        DataError: there is no such folder, no class, or a class without a file; or, with
            ``labels``, a folder that is not among them. Without ``labels`` also: one class only.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(
            f"The images must be in a folder with one folder for each class; {root} {what}."
        )
    folders = sorted(
        child for child in root.iterdir() if child.is_dir() and not child.name.startswith(".")
    )
    files = {folder.name: _files(folder) for folder in folders}
    if not any(files.values()):
        raise DataError(f"{root} holds no images. {_LAYOUT}")
    names = {folder.name.lower() for folder in folders}
    if names <= _SPLITS:
        listed = ", ".join(folder.name for folder in folders)
        raise DataError(
            f"{root} holds parts of a data set ({listed}), not classes."
            f" Name one of them, such as {folders[0]}."
        )
    if labels is None:
        empty = [name for name, found in files.items() if not found]
        if empty:
            raise DataError(f"Every class needs images; without any: {_list(empty)} in {root}.")
        if len(files) == 1:
            raise DataError(
                f"A classifier needs at least two classes; {root} holds one: {folders[0].name}."
            )
        labels = list(files)
    unknown = sorted(files.keys() - set(labels))
    if unknown:
        raise DataError(
            f"{root} holds classes that the model does not know: {_list(unknown)}."
            f" It knows: {_list(labels)}."
        )
    paths: list[str] = []
    targets: list[int] = []
    for target, label in enumerate(labels):
        found = files.get(label, [])
        paths.extend(found)
        targets.extend([target] * len(found))
    relative = [os.path.relpath(path, root) for path in paths]
    return Examples(tuple(labels), Files.of(root, relative), np.array(targets, np.int64))


def find_bad_images(
    images: Images, advance: Callable[[int], None] = lambda images: None
) -> list[BadImage]:
    """Decode every image and return those that fail, in order.

    Args:
        advance: is told, as images turn out good, how many; for a progress bar.
    """
    read = images.reader()

    def look(index: Tensor) -> tuple[Tensor, Tensor]:
        image = read(index)
        # The size is used, so that decoding is not optimized away.
        return index, tf.size(decode(image) if image.dtype == tf.string else image)

    good = (
        tf.data.Dataset.range(len(images))
        .map(look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
        .ignore_errors()
        .map(lambda index, size: index)
        .batch(64)
    )
    decoded = np.zeros(len(images), bool)
    for indices in good:
        decoded[indices.numpy()] = True
        advance(len(indices))
    return [
        BadImage(index, images.name(index), _reason(images, index))
        for index in np.flatnonzero(~decoded).tolist()
    ]


def without(
    examples: Examples, bad: Sequence[BadImage], on_bad: Literal["skip", "refuse"]
) -> Examples:
    """The examples that can be decoded.

    Raises:
        DataError: there are bad ones and ``on_bad`` is ``"refuse"``, or a class has no good one.
    """
    if not bad:
        return examples
    if on_bad == "refuse":
        raise DataError(
            f"{describe_bad(bad)} Remove them, or leave them out with --on-bad-image skip."
        )
    good = examples.take(np.delete(np.arange(len(examples)), [image.index for image in bad]))
    had, have = examples.counts(), good.counts()
    lost = [
        label
        for label, before, now in zip(examples.labels, had, have, strict=True)
        if before and not now
    ]
    if lost:
        raise DataError(f"No file can be decoded of: {_list(lost)}. {describe_bad(bad)}")
    return good


def describe_bad(bad: Sequence[BadImage]) -> str:
    """How many files can't be decoded, and the first of them by name with the reason."""
    lines = [f"\n  {image.name}: {image.reason}" for image in bad[:10]]
    if len(bad) > 10:
        lines.append(f"\n  and {len(bad) - 10} more")
    files = "file is no image" if len(bad) == 1 else "files are no images"
    return f"{len(bad)} {files} that can be decoded:{''.join(lines)}\n"


def split(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Set a fraction of each class apart, at random but the same for the same seed.

    Every class with at least two examples keeps one on each side.

    Args:
        fraction: of each class for the second part, at least 0 and below 1; 0 leaves it empty.

    Returns:
        The larger part and the part set apart.
    """
    random = np.random.default_rng(seed)
    apart = np.zeros(len(examples), bool)
    for target in range(len(examples.labels)):
        indices = random.permutation(np.flatnonzero(examples.targets == target))
        count = round(len(indices) * fraction)
        if fraction and len(indices) >= 2:
            count = min(max(count, 1), len(indices) - 1)
        apart[indices[:count]] = True
    return examples.take(np.flatnonzero(~apart)), examples.take(np.flatnonzero(apart))


_LAYOUT = (
    "Expected one folder for each class with its images in it, such as"
    " FOLDER/cat/1.jpg and FOLDER/dog/2.png."
)


def _files(folder: Path) -> list[str]:
    return sorted(
        str(path)
        for path in folder.rglob("*")
        if path.is_file()
        and path.name.lower() not in _DEBRIS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _reason(images: Images, index: int) -> str:
    encoded = images.encoded(index)
    if not encoded:
        return "the file is empty"
    try:
        decode(encoded)
    except tf.errors.OpError as error:
        return decoder_message(error)
    return "it could not be decoded"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
