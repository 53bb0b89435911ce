"""A folder with one folder of images for each class."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from inception_serving.walk import Walk
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.images import Files
from keras_inception.data.sources.split_names import parts_of
from keras_inception.data.text import one_form, one_line, printable

_LAYOUT = (
    "Expected one folder for each class with its images in it, such as"
    " FOLDER/cat/1.jpg and FOLDER/dog/2.png."
)


def read_folder(root: Path) -> Examples:
    """List ``root/CLASS/**/FILE``: every folder in ``root`` that holds an image is a class.

    What is no image before it is looked at is left out (see
    :class:`~inception_serving.walk.Walk`), and so are files in ``root`` itself. Whether
    a file is an image shows when it is decoded; a folder where no file has the name of one, or
    begins as one, is no class. The classes stand in the order of their code points; two folders
    whose names are the same in Unicode's form NFC are one class.

    Raises:
        DataError: there is no file in any class, the folders are parts of a data set, not
            classes, or one of them is a copy of the data set.
    """
    walk = Walk(root)
    folders, loose = walk.children()
    folders.sort(key=_label)
    _refuse_parts(root, folders)
    counts: list[int] = []
    foreign: list[bytes] = []
    within: dict[bytes, set[bytes]] = {}

    def names() -> Iterator[bytes]:
        for folder in folders:
            found = walk.files(folder)
            if 0 < len(found) <= _FEW and not any(map(walk.may_be_image, found)):
                foreign.append(folder)
                found = []
            counts.append(len(found))
            within[folder] = {name.split(b"/", 2)[1] for name in found if name.count(b"/") > 1}
            yield from found

    files = Files.of(root, names())
    if not len(files):
        raise DataError(" ".join(filter(None, [_no_classes(walk, loose), walk.note(), _LAYOUT])))
    full = [folder for folder, count in zip(folders, counts, strict=True) if count]
    mixed = _refuse_parts(root, full)
    _refuse_copies(root, full, within)
    labels = tuple(dict.fromkeys(map(_label, full)))
    place = {label: target for target, label in enumerate(labels)}
    targets = np.array([place[_label(folder)] for folder in full], np.int64)
    notes = [walk.note()]
    if loose:
        notes.append(
            f"{len(loose)} files lie in {root} itself, in no class's folder, and are left out:"
            f" {listed([*map(os.fsdecode, loose)], 3)}"
        )
    empty = [os.fsdecode(folder) for folder in folders if folder not in {*full, *foreign}]
    if empty:
        notes.append(f"Folders without an image, which are no classes: {listed(empty)}")
    if foreign:
        notes.append(
            "Folders where no file is an image by its name or its first bytes, which are no"
            f" classes: {listed([*map(os.fsdecode, foreign)])}"
        )
    doubtful = [label for label in labels if label in mixed or _NO_LABEL.fullmatch(label)]
    if doubtful:
        notes.append(
            f"Taken for classes as the other folders are: {listed(doubtful)}. If they are parts of"
            " a data set, or images that nobody has sorted yet, move them elsewhere."
        )
    return Examples(
        labels,
        files,
        np.repeat(targets, [count for count in counts if count]),
        notes=tuple(one_line(note) for note in notes if note),
    )


# More files than these are not opened to see whether a folder is a class.
_FEW = 1000
# What labelling tools call the folder of what has none.
_NO_LABEL = re.compile("_?(no[ _-]?label|unlabell?ed|unsorted|untagged)", re.IGNORECASE)


def _no_classes(walk: Walk, loose: Sequence[bytes]) -> str:
    images = [os.fsdecode(name) for name in loose if walk.may_be_image(name)]
    root = os.fsdecode(walk.root)
    if not images:
        return one_line(f"{root} holds no images.")
    number = "1 image" if len(images) == 1 else f"{len(images)} images"
    return one_line(f"{root} holds {number} ({listed(images, 3)}), but no folder for each class.")


def _label(folder: bytes) -> str:
    """What a class is called by its folder's name."""
    return printable(one_form(os.fsdecode(folder)))


def _refuse_copies(root: Path, folders: Sequence[bytes], within: dict[bytes, set[bytes]]) -> None:
    """Refuse a folder that holds all the others once more, as archives of Kaggle's do."""
    for folder in folders:
        others = {*folders} - {folder}
        if len(others) > 1 and others <= within[folder]:
            name = os.fsdecode(folder)
            raise DataError(
                f"{root / name} holds folders of the same names as those beside it"
                f" ({listed(sorted(map(os.fsdecode, others)), 3)}), and so the data set once more."
                f" Name it, or move it elsewhere."
            )


def _refuse_parts(root: Path, folders: Sequence[bytes]) -> list[str]:
    """Refuse folders that are all parts of a data set; return those that some of them are."""
    names = [os.fsdecode(folder) for folder in folders]
    parts = parts_of(names)
    if len(parts) < len(names) or not names:
        return [*parts]

    def first(*kinds: str) -> str:
        return next((name for kind in kinds for name in names if parts[name] == kind), "")

    training = first("train", "images", "validation", "test") or names[0]
    other = first("validation", "test")
    message = (
        f"{root} holds parts of a data set ({listed(names)}), not classes. Name one of them, such"
        f" as {root / training}"
    )
    if other and parts[training] == "train":
        message += f"; to validate on another: --validation-data {root / other}"
    flat = [name for name in names if not Walk(root / name).children()[0]]
    if flat:
        message += (
            f". In {listed(flat)} there is no folder for each class: sort the images into such"
            " folders, or list them in a CSV of path and label"
        )
    raise DataError(f"{message}.")
