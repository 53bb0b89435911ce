"""A CSV file of images and their classes."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.images import Files
from keras_inception.data.sources.split_names import SPLIT_NAMES

_COLUMNS = (
    "path, label (or labels, where an image can be of several classes, a|b, or of none) and, if"
    " needed, group and split"
)


class _Rows(NamedTuple):
    paths: list[str]
    labels: list[str]
    groups: list[str]
    splits: list[str]


def read_table(path: Path, split: str | None = None) -> Examples:
    """Read a CSV with a line for each image and these columns; any others are left alone.

    - ``path``: of the image, absolute or from the CSV's folder.
    - ``label``: its class. Where a cell has several, ``cat|dog``, an image can be of any number
      of classes, and an empty cell means none. The column is named ``labels`` to say so where no
      cell shows it.
    - ``group``, optional: images of one group, such as a patient, are never split.
    - ``split``, optional: ``train``, ``validation`` or ``test``.

    Args:
        split: which one to take; by default ``"train"`` where there is such a column.

    Raises:
        DataError: a column or a cell is missing or wrong, or there is no image.
    """
    rows, many = _read(path)
    if not rows.paths:
        raise DataError(f"{path} lists no images.")
    _check_paths(path, rows.paths)
    many = many or any("|" in cell for cell in rows.labels)
    if not many and "" in rows.labels:
        line = rows.labels.index("") + 2
        raise DataError(
            f"{path}, line {line}: the label is empty. If an image may be of no class, name the"
            " column `labels`."
        )
    labels, targets = _multi_targets(rows.labels) if many else _targets(rows.labels)
    groups = None
    if rows.groups:
        groups = np.unique(np.array(rows.groups), return_inverse=True)[1].astype(np.int64)
    root, paths = str(path.parent), rows.paths
    if any(map(os.path.isabs, paths)):
        root, paths = "", [os.path.abspath(path.parent / name) for name in paths]
    examples = Examples(labels, Files.of(root, paths), targets, groups)
    return _taken(path, examples, rows.splits, split)


def _taken(path: Path, examples: Examples, splits: list[str], split: str | None) -> Examples:
    """The examples of one split."""
    if not splits:
        if split is not None:
            raise DataError(f"{path} has no column `split` and so no split {split!r}.")
        return examples
    unknown = sorted({name for name in splits if name.lower() not in SPLIT_NAMES})
    if unknown:
        line = splits.index(unknown[0]) + 2
        raise DataError(
            f"{path}, line {line}: `split` must be train, validation or test."
            f" Received: {unknown[0]!r}"
        )
    named = np.array([SPLIT_NAMES[name.lower()] for name in splits])
    wanted = split or "train"
    chosen = np.flatnonzero(named == wanted)
    if not len(chosen):
        raise DataError(f"{path} has no images whose `split` is {wanted}.")
    others = tuple(sorted(set(named.tolist()) - {wanted}))
    return dataclasses.replace(examples.take(chosen), splits=others)


def _read(path: Path) -> tuple[_Rows, bool]:
    """The columns' cells, and whether the labels' column is named for several."""
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        first = file.readline()
        delimiter = max(",;\t", key=first.count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            header = [name.strip().lower() for name in next(reader, [])]
            many = "labels" in header
            columns = ["path", "labels" if many else "label", "group", "split"]
            missing = [name for name in columns[:2] if name not in header]
            if missing:
                raise DataError(
                    f"{path} has no column {' and no column '.join(missing)} in its first line,"
                    f" {listed(header)!r}. The columns are: {_COLUMNS}."
                )
            places = [header.index(name) if name in header else None for name in columns]
            cells: list[list[str]] = [[], [], [], []]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} cells where the first line"
                        f" has {len(header)}."
                    )
                for column, place in zip(cells, places, strict=True):
                    if place is not None:
                        column.append(row[place].strip())
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    return _Rows(*cells), many


def _check_paths(path: Path, paths: list[str]) -> None:
    if len(set(paths)) < len(paths):
        seen: dict[str, int] = {}
        for line, name in enumerate(paths, 2):
            if seen.setdefault(name, line) != line:
                raise DataError(
                    f"{path}: {name} stands in line {seen[name]} and in line {line}. Several"
                    " classes of one image go into one cell, such as cat|dog."
                )
    if "" in paths:
        raise DataError(f"{path}, line {paths.index('') + 2}: the path is empty.")
    # One is missing now and then; all are when they are relative to another folder.
    if not any(os.path.exists(path.parent / name) for name in paths[:100]):
        raise DataError(
            f"{path} names {paths[0]}, and there is no file {path.parent / paths[0]}. Paths are"
            " absolute or from the CSV's own folder."
        )


def _targets(cells: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    labels = sorted(set(cells))
    index = {label: target for target, label in enumerate(labels)}
    return tuple(labels), np.fromiter((index[cell] for cell in cells), np.int64, len(cells))


def _multi_targets(cells: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    parted = [[name.strip() for name in cell.split("|") if name.strip()] for cell in cells]
    labels = sorted({name for names in parted for name in names})
    index = {label: target for target, label in enumerate(labels)}
    targets = np.zeros((len(cells), len(labels)), bool)
    for row, names in enumerate(parted):
        targets[row, [index[name] for name in names]] = True
    return tuple(labels), targets
