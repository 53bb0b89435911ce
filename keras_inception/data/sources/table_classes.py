"""Classes of a table's rows: by the label in a cell, or by a column of 0 and 1 for each class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import listed
from keras_inception.data.sources.split_names import names_a_split
from keras_inception.data.text import one_form, one_line, printable

COLUMNS = (
    "path, label (or labels, where an image can be of several classes, a|b, or of none; or a"
    " column of 0 and 1 for each class) and, if needed, group and split"
)
KNOWN = ("path", "label", "labels", "group", "split")
_YES, _NO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})
_CHOOSE = "--label-columns NAME,NAME says which columns are classes"

Classes = tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]
"""The class names, the targets, and notes for the user."""


class Rows(NamedTuple):
    """The cells of a table's rows that are not empty.

    Args:
        lines: of each row, from 1.
        columns: by its name all cells of each column; of the known ones in small letters.
    """

    lines: list[int]
    columns: dict[str, list[str]]


def read_classes(
    path: Path, rows: Rows, chosen: Sequence[str], labels: Sequence[str] | None
) -> Classes:
    """The classes of the rows.

    Args:
        path: the table, for messages.
        chosen: the columns of the classes, if someone said so.
        labels: the classes of a model that exists; a column of another name is then no class.

    Raises:
        DataError: a cell breaks its rule, or no column tells a class.
    """
    if chosen or not rows.columns.keys() & {"label", "labels"}:
        return _columns_of_classes(path, rows, chosen, labels)
    cells = rows.columns["labels" if "labels" in rows.columns else "label"]
    many = "labels" in rows.columns or any("|" in cell for cell in cells)
    if not many and "" in cells:
        raise DataError(
            f"{path}, line {rows.lines[cells.index('')]}: the label is empty. If an image may be of"
            " no class, name the column `labels`."
        )
    names, targets = _multi_targets(cells) if many else _targets(cells)
    return names, targets, _several_in_one(names)


def _several_in_one(names: Sequence[str]) -> tuple[str, ...]:
    """A note if names are made of others, parted by another sign than it takes."""
    parts = {name: {part.strip() for part in re.split("[,;]", name)} for name in names}
    counts = Counter(part for each in parts.values() for part in each)
    made = [
        name
        for name, each in parts.items()
        if len(each) > 1 and all(part and counts[part] > 1 for part in each)
    ]
    if not made:
        return ()
    return (
        f"Classes that look like several: {printable(listed([*map(repr, made)], 3))}. Several"
        " labels of an image are parted by |, as in cat|dog.",
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


def _columns_of_classes(
    path: Path, rows: Rows, chosen: Sequence[str], labels: Sequence[str] | None
) -> Classes:
    """A class for each column of 0 and 1: those chosen, or all that have both and are no split."""
    names = [name for name in rows.columns if name not in KNOWN or name in chosen]
    wanted: Collection[str] | None = chosen or None
    if labels is not None and not chosen:
        known = {one_form(label) for label in labels}
        wanted = [name for name in names if one_form(name) in known]
    columns, others = {}, []
    for name in names if wanted is None else wanted:
        flags = _flags(path, rows, name, wanted is not None)
        if flags is None:
            others.append(name)
        else:
            columns[name] = flags
    constant, splits = [], []
    if wanted is None:
        constant = [name for name, flags in columns.items() if flags.all() or not flags.any()]
        if not all(name.lower().startswith("is") for name in columns):
            splits = [name for name in columns if names_a_split(name)]
    elif chosen:
        _refuse_constant(path, columns)
    taken = [name for name in columns if name not in {*constant, *splits}]
    if not taken:
        raise DataError(_no_classes(path, rows, constant))
    targets = np.stack([columns[name] for name in taken], axis=1)
    notes = []
    if wanted is None:
        notes = _notes(taken, targets, {"one value only": constant, "a split": splits})
    if others:
        notes.append(
            f"Columns that are no classes, since they hold more than 0 and 1: {listed(others)}"
        )
    order = sorted(range(len(taken)), key=taken.__getitem__)
    targets = targets[:, order]
    if (targets.sum(axis=1) == 1).all():
        targets = targets.argmax(axis=1).astype(np.int64)
    return tuple(taken[place] for place in order), targets, tuple(map(one_line, notes))


def _flags(path: Path, rows: Rows, name: str, is_wanted: bool) -> np.ndarray | None:
    """A column of 0 and 1 as bool [rows]; ``None`` if it is one of other things.

    Raises:
        DataError: it holds something else besides, as if by mistake.
    """
    cells = [cell.lower() for cell in rows.columns[name]]
    if odd := set(cells) - _YES - _NO:
        fit = sum(cell not in odd for cell in cells)
        if not is_wanted and (not fit or (2 * fit < len(cells) and odd != {""})):
            return None
        place = next(place for place, cell in enumerate(cells) if cell in odd)
        hint = "" if is_wanted else f" If this one is no class: {_CHOOSE}."
        raise DataError(
            f"{path}, line {rows.lines[place]}: the column of a class must hold 0 or 1 in every"
            f" row. Received: {rows.columns[name][place]!r} in column {printable(name)!r}.{hint}"
        )
    return np.fromiter((cell in _YES for cell in cells), bool, len(cells))


def _refuse_constant(path: Path, columns: dict[str, np.ndarray]) -> None:
    for name, flags in columns.items():
        if flags.all() or not flags.any():
            raise DataError(
                f"{path}: the column of a class must hold both 0 and 1. Received:"
                f" {int(flags[0])} in every row of column {printable(name)!r}."
            )


def _no_classes(path: Path, rows: Rows, constant: Sequence[str]) -> str:
    one_value = f" One value only is in: {listed(constant)}." if constant else ""
    return (
        f"{path} has no column label in its first line, and none of 0 and 1 for a class:"
        f" {printable(listed(list(rows.columns)))!r}.{printable(one_value)} The columns are:"
        f" {COLUMNS}."
    )


def _notes(taken: list[str], targets: np.ndarray, left: dict[str, list[str]]) -> list[str]:
    """What was taken for classes, what was not, and whether others may be meant."""
    notes = [f"Classes are the columns of 0 and 1: {listed(taken)}. {_CHOOSE}."]
    notes += [
        f"Columns that are no classes, since they hold {what}: {listed(names)}"
        for what, names in left.items()
        if names
    ]
    # Columns side by side of which every row has exactly one are often all the classes there are.
    begins = np.pad(np.cumsum(targets.sum(axis=0)), (1, 0))
    runs = [
        (begin, end)
        for begin in range(len(taken))
        for end in range(begin + 2, len(taken) + 1)
        if begins[end] - begins[begin] == len(targets)
        and (targets[:, begin:end].sum(axis=1) == 1).all()
    ]
    if runs:
        begin, end = max(runs, key=lambda run: run[1] - run[0])
        others = taken[:begin] + taken[end:]
        if others:
            notes.append(
                f"Every image is of exactly one of {listed(taken[begin:end])}. If these are the"
                f" classes, and {listed(others)} none: --label-columns {','.join(taken[begin:end])}"
            )
    return notes
