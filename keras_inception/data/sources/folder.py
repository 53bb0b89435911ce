"""A folder with one folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.images import Files
from keras_inception.data.sources.split_names import parts_of
from keras_inception.data.sources.walk import Walk
from keras_inception.data.text import one_form, printable

_LAYOUT = (
    "Expected one folder for each class with its images in it, such as"
    " FOLDER/cat/1.jpg and FOLDER/dog/2.png."
)


def read_folder(root: Path) -> Examples:
    """List ``root/CLASS/**/FILE``: every folder in ``root`` with a file is a class, named by it.

    What is no image before it is looked at is left out (see
    :class:`~keras_inception.data.sources.walk.Walk`), and so are files in ``root`` itself. Whether
    a file is an image shows when it is decoded. The classes stand in the order of their code
    points; two folders whose names are the same in Unicode's form NFC are one class.

    Raises:
        DataError: there is no file in any class, or the folders are parts of a data set, not
            classes.
    """
    walk = Walk(root)
    folders, loose = walk.children()
    folders.sort(key=_label)
    _refuse_parts(root, folders)
    counts: list[int] = []

    def names() -> Iterator[bytes]:
        for folder in folders:
            found = walk.files(folder)
            counts.append(len(found))
            yield from found

    files = Files.of(root, names())
    if not len(files):
        raise DataError(" ".join(filter(None, [f"{root} holds no images.", walk.note(), _LAYOUT])))
    full = [folder for folder, count in zip(folders, counts, strict=True) if count]
    _refuse_parts(root, full)
    labels = tuple(dict.fromkeys(map(_label, full)))
    place = {label: target for target, label in enumerate(labels)}
    targets = np.array([place[_label(folder)] for folder in full], np.int64)
    notes = [walk.note()]
    if loose:
        notes.append(
            f"{len(loose)} files lie in {root} itself, in no class's folder, and are left out:"
            f" {listed([printable(os.fsdecode(name)) for name in loose], 3)}"
        )
    empty = [os.fsdecode(folder) for folder in folders if folder not in set(full)]
    if empty:
        notes.append(f"Folders without an image, which are no classes: {listed(empty)}")
    return Examples(
        labels,
        files,
        np.repeat(targets, [count for count in counts if count]),
        notes=tuple(printable(note) for note in notes if note),
    )


def _label(folder: bytes) -> str:
    """What a class is called by its folder's name."""
    return printable(one_form(os.fsdecode(folder)))


def _refuse_parts(root: Path, folders: Sequence[bytes]) -> None:
    names = [os.fsdecode(folder) for folder in folders]
    splits = parts_of(names)
    if not splits:
        return
    training = next((name for name in names if splits[name] == "train"), names[0])
    others = [name for name in names if splits[name] != splits[training]]
    other = next((name for name in others if splits[name] == "validation"), others[0])
    message = (
        f"{root} holds the splits of a data set ({listed(names)}), not classes. Name one of them,"
        f" such as {root / training}; to validate on another: --validation-data {root / other}."
    )
    flat = [name for name in names if not Walk(root / name).children()[0]]
    if flat:
        message += (
            f" In {listed(flat)} there is no folder for each class: sort the images into such"
            " folders, or list them in a CSV of path and label."
        )
    raise DataError(message)
