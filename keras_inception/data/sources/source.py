"""Sources of images: folders, CSV files, arrays, TFRecords, and data sets by name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inception_serving.walk import Walk
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.sources import shards
from keras_inception.data.sources.arrays import is_idx, read_arrays, read_idx, read_npz
from keras_inception.data.sources.datasets import read_keras, read_tfds
from keras_inception.data.sources.folder import read_folder
from keras_inception.data.sources.records import read_records
from keras_inception.data.sources.split_names import SPLIT_NAMES
from keras_inception.data.sources.table import TABLES, Table, read_table
from keras_inception.data.text import printable

Source = str | Path | Table | Examples | tuple[Any, Any]

_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
# Data sets by name, and who reads them.
PREFIXES = {"keras:": read_keras, "tfds:": read_tfds}


def open_source(source: Source, labels: Sequence[str] | None = None) -> Examples:
    """The examples in a source, whatever it keeps them in.

    =============================  ================================================================
    ``FOLDER``                     one folder of images for each class
    ``FILE.csv``                   a line for each image: ``path``, ``label``, ``group``, ``split``
    ``Table(FILE, ...)``           the same in another encoding than UTF-8 and UTF-16, or with
                                   columns that are classes and others that are none
    ``FOLDER``, ``train-*``        TFRecords: ``image/encoded``, ``image/class/label``
    ``FILE.npz``                   arrays ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test`` …
    ``train-images-idx3-ubyte``    IDX, as MNIST has it, compressed or not; its labels beside it
    ``keras:NAME``                 of ``keras.datasets``
    ``tfds:NAME``                  of TensorFlow Datasets, if it is installed
    ``(images, labels)``           arrays in Python
    =============================  ================================================================

    Where a source has splits, it stands for ``train``, and ``SOURCE/test`` for the split ``test``.

    Args:
        labels: the classes and their order, of a model that exists. By default those of the
            source: folders' names and words in the order of their code points, numbers in theirs.

    Raises:
        DataError: the source does not exist or breaks a rule of its kind; it has classes that are
            not in ``labels``; or without ``labels``, there is one class only, or one without an
            image.
    """
    if isinstance(source, Examples):
        return source if labels is None else source.with_labels(labels)
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError(f"Arrays must be a pair, images and labels. Received: {len(source)}")
        examples = read_arrays(*source, labels)
    else:
        table = source if isinstance(source, Table) else Table(os.fspath(source))
        examples = _read(table, labels)
    examples = examples.in_one_form()
    if labels is not None:
        return examples.with_labels(labels)
    for label in examples.labels:
        if not label or not label.isprintable() or (examples.multi_label and "|" in label):
            raise DataError(f"A class's name must be text in one line. Received: {label!r}")
    alike: dict[str, list[str]] = {}
    for label in examples.labels:
        alike.setdefault(" ".join(label.casefold().split()), []).append(label)
    if several := [", ".join(map(repr, names)) for names in alike.values() if len(names) > 1]:
        note = f"Classes whose names differ in capitals or spaces only: {listed(several)}."
        examples = dataclasses.replace(examples, notes=(*examples.notes, note))
    empty = [
        label for label, count in zip(examples.labels, examples.counts(), strict=True) if not count
    ]
    if empty:
        raise DataError(f"Every class needs images; without any: {listed(empty)} in {source}.")
    if len(examples.labels) == 1 and not examples.multi_label:
        within = _within(source, examples.labels[0])
        raise DataError(
            f"A classifier needs at least two classes; there is one: {examples.labels[0]}.{within}"
        )
    return examples


def split_of(source: Source, split: str) -> Source:
    """Another split of a source that is kept in files."""
    if isinstance(source, Table):
        return dataclasses.replace(source, path=f"{source}/{split}")
    return f"{source}/{split}"


def _within(source: Source, label: str) -> str:
    """Where the classes are if someone packed their folders into one, or that into another."""
    if isinstance(source, (str, Path)) and (inner := Path(source) / label).is_dir():
        folders, files = Walk(inner).children()
        while len(folders) == 1 and not files:
            inner /= os.fsdecode(folders[0])
            folders, files = Walk(inner).children()
        if len(folders) > 1:
            names = listed([printable(os.fsdecode(name)) for name in folders], 3)
            return f" If its folders are the classes ({names}), name {inner}."
    return ""


def _read(table: Table, labels: Sequence[str] | None) -> Examples:
    for prefix, read in PREFIXES.items():
        if table.path.startswith(prefix):
            return read(table.path.removeprefix(prefix))
    source, split = with_split(table.path)
    if not source:
        raise DataError("The images need a source, such as a folder. Received: ''")
    path = Path(source)
    suffix = path.suffix.lower()
    if (table.encoding is not None or table.label_columns) and suffix not in TABLES:
        what = "An encoding is" if table.encoding is not None else "Columns of labels are"
        raise DataError(f"{what} for tables ({', '.join(TABLES)}). Received: {source}")
    if path.is_dir():
        if _has_shards(path):
            return read_records(*shards.find_shards(source, split))
        if split is not None:
            raise DataError(f"{source} has no splits, so not {split!r}.")
        return read_folder(path)
    if _is_pattern(source):
        return read_records(*shards.find_shards(source, split))
    if not path.exists():
        raise DataError(f"{source} does not exist.")
    if suffix in TABLES:
        return read_table(path, split, table.encoding, table.label_columns, labels)
    if suffix == ".npz":
        return read_npz(path, split, labels)
    if split is not None:
        raise DataError(f"{source} has no splits, so not {split!r}.")
    if shards.is_shard(source):
        return read_records([source])
    if is_idx(path):
        return read_idx(path, labels)
    if suffix in _WORKBOOKS:
        raise DataError(f"{source} is a workbook. Save its sheet as CSV, UTF-8, and name that.")
    if suffix in _ARCHIVES:
        raise DataError(f"{source} is an archive. Unpack it, and name what was in it.")
    raise DataError(
        f"{source} is none of what images come from: a folder with a folder for each class, a"
        " .csv file (or .tsv, .txt), an .npz file, TFRecords (.tfrecord or such as"
        " train-00000-of-00010), or an IDX file."
    )


def with_split(source: str) -> tuple[str, str | None]:
    """``photos.csv/test`` is the split ``test`` of photos.csv."""
    base, slash, last = source.rpartition("/")
    known = os.path.exists(base) or _is_pattern(base)
    if slash and last in SPLIT_NAMES.values() and known and not os.path.exists(source):
        return base, last
    return source, None


def _is_pattern(source: str) -> bool:
    return any(sign in source for sign in "*?[") and not os.path.exists(source)


def _has_shards(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(shards.is_shard(entry.name) and entry.is_file() for entry in entries)
