"""A folder with one folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.images import Files
from keras_inception.data.sources.split_names import SPLIT_NAMES

# What file managers leave in folders.
_DEBRIS = {b"thumbs.db", b"desktop.ini", b"icon\r"}
_LAYOUT = (
    "Expected one folder for each class with its images in it, such as"
    " FOLDER/cat/1.jpg and FOLDER/dog/2.png."
)


def read_folder(root: Path) -> Examples:
    """List ``root/CLASS/**/FILE``: every folder in ``root`` is a class, named by the folder.

    Hidden files and folders are left out; so are files in ``root`` itself. Whether a file is an
    image shows when it is decoded. The classes stand in the order of their code points.

    Raises:
        DataError: there is no file in any class, or the folders are splits, not classes.
    """
    with os.scandir(root) as entries:
        labels = sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )
    counts: list[int] = []

    def names() -> Iterator[bytes]:
        for label in labels:
            found = _files(os.fsencode(root), os.fsencode(label))
            counts.append(len(found))
            yield from found

    files = Files.of(root, names())
    if not len(files):
        raise DataError(f"{root} holds no images. {_LAYOUT}")
    if {label.lower() for label in labels} <= set(SPLIT_NAMES):
        raise DataError(
            f"{root} holds the splits of a data set ({listed(labels)}), not classes."
            f" Name one of them, such as {root / labels[0]}."
        )
    return Examples(tuple(labels), files, np.repeat(np.arange(len(labels)), counts))


def _files(root: bytes, folder: bytes) -> list[bytes]:
    """The files below ``root/folder``, relative to ``root``, in the order of their paths."""
    found: list[bytes] = []
    folders = [folder]
    while folders:
        inner = folders.pop()
        with os.scandir(os.path.join(root, inner)) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(b".") or name.lower() in _DEBRIS:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(inner + b"/" + name)
                elif entry.is_file():
                    found.append(inner + b"/" + name)
    return sorted(found)
