"""A table of images and their classes in a text file: CSV, or as spreadsheets write it."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.images import Files
from keras_inception.data.sources.split_names import SPLIT_NAMES
from keras_inception.data.sources.table_classes import COLUMNS, KNOWN, Rows, read_classes
from keras_inception.data.text import (
    encoding_of,
    like_gbk,
    no_text,
    no_text_but,
    printable,
    readings,
    unmarked_encoding,
)

# What a table's name ends in; a spreadsheet's "Unicode text" is .txt.
TABLES = (".csv", ".tsv", ".txt")

# What pandas calls a column of row numbers that it has written and read again.
_INDEX = re.compile(r"Unnamed: \d+")
# What Kaggle, Roboflow, Label Studio and others call these columns.
_CALLED = {
    "path": (
        "filename",
        "file_name",
        "file",
        "filepath",
        "image",
        "image_path",
        "image_name",
        "img",
    ),
    "label": ("class", "class_name", "category", "choice", "target"),
}


@dataclass(frozen=True)
class Table:
    """A table as a source of images, with what can't be seen from it.

    Args:
        path: the file, with ``/SPLIT`` after it for a split.
        encoding: as Python calls it, such as ``"gbk"`` or ``"cp1252"``, if it is neither UTF-8 nor
            UTF-16.
        label_columns: the columns of 0 and 1 that are classes, if not all of them are.
    """

    path: str
    encoding: str | None = None
    label_columns: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return self.path

    __str__ = __fspath__


def read_table(
    path: Path,
    split: str | None = None,
    encoding: str | None = None,
    label_columns: Sequence[str] = (),
    labels: Sequence[str] | None = None,
) -> Examples:
    """Read a table with a line for each image and these columns; any others are left alone.

    - ``path``: of the image, absolute or from the table's folder, with slashes or backslashes.
    - ``label``: its class. Where a cell has several, ``cat|dog``, an image can be of any number
      of classes, and an empty cell means none. The column is named ``labels`` to say so where no
      cell shows it.
    - without such a column: a column for each class, of 0 and 1. Where every row has one 1, it is
      the class; else an image can be of any number of classes. Those that have one value only, and
      ``is_valid`` and its like, are none.
    - ``group``, optional: images of one group, such as a patient, are never split. One whose cell
      is empty stands for itself.
    - ``split``, optional: ``train``, ``validation`` or ``test``.

    Columns are parted by commas, semicolons or tabs. Lines of empty cells don't count.

    Args:
        split: which one to take; by default ``"train"`` where there is such a column.
        encoding: of the file; by default UTF-8, or UTF-16 with a byte order mark.
        label_columns: the columns of 0 and 1 that are classes, if not all of them are.
        labels: the classes of a model that exists; other columns are then left alone.

    Raises:
        DataError: the text is in another encoding, a column or a cell is missing or wrong, or
            there is no image.
    """
    content = path.read_bytes()
    if other := no_text_but(content):
        raise DataError(f"{path} is {other}.")
    unmarked = unmarked_encoding(content) if encoding is None else ""
    if unmarked:
        raise DataError(
            f"{path} is {unmarked} without the byte order mark that says so. To read it:"
            f" --encoding {unmarked.lower()}; or save it as UTF-8."
        )
    text = _decoded(path, content, encoding)
    if "\0" in text:
        raise _encoding_asked(path, content, f"is no text: {no_text(content) or 'a zero byte'}.")
    rows = _parse(path, text, label_columns)
    if not rows.lines:
        raise DataError(f"{path} lists no images.")
    if encoding is None:
        _check_encoding(path, content, rows)
    names = rows.columns["path"]
    paths = _existing(path.parent, names, encoding)
    _check_paths(path, rows, paths)
    labels, targets, notes = read_classes(path, rows, label_columns, labels)
    groups = _groups(rows.columns["group"]) if "group" in rows.columns else None
    root = str(path.parent)
    if any(map(os.path.isabs, paths)):
        root, paths = "", [os.path.abspath(path.parent / name) for name in paths]
    examples = Examples(labels, Files.of(root, paths), targets, groups, notes=notes)
    return _taken(path, examples, rows, split)


def _groups(cells: list[str]) -> np.ndarray:
    """int64 [rows], equal where the cells are; an empty one is like no other."""
    numbers = np.unique(np.array(cells), return_inverse=True)[1].astype(np.int64)
    alone = np.array([not cell for cell in cells])
    numbers[alone] = numbers.max() + 1 + np.arange(alone.sum())
    return numbers


def _taken(path: Path, examples: Examples, rows: Rows, split: str | None) -> Examples:
    """The examples of one split."""
    splits = rows.columns.get("split")
    if splits is None:
        if split is not None:
            raise DataError(f"{path} has no column `split` and so no split {split!r}.")
        return examples
    for line, name in zip(rows.lines, splits, strict=True):
        if name.lower() not in SPLIT_NAMES:
            raise DataError(
                f"{path}, line {line}: `split` must be train, validation or test."
                f" Received: {name!r}"
            )
    named = np.array([SPLIT_NAMES[name.lower()] for name in splits])
    wanted = split or "train"
    chosen = np.flatnonzero(named == wanted)
    if not len(chosen):
        raise DataError(f"{path} has no images whose `split` is {wanted}.")
    others = tuple(sorted(set(named.tolist()) - {wanted}))
    return dataclasses.replace(examples.take(chosen), splits=others)


def _decoded(path: Path, content: bytes, encoding: str | None) -> str:
    """The text; of what is no UTF-8 as Python has file names, for they may be of any bytes."""
    errors = "strict"
    if encoding is None:
        encoding, errors = encoding_of(content), "surrogateescape"
    try:
        return content.decode(encoding, errors).removeprefix("\ufeff")
    except LookupError:
        raise DataError(
            "The encoding must be one that Python knows, such as utf-8, cp1252, gbk, big5,"
            f" shift_jis or euc_kr. Received: {encoding!r}"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: this is not {encoding}.") from None


def _check_encoding(path: Path, content: bytes, rows: Rows) -> None:
    """Refuse names of classes that are in no Unicode, and of files that are not there."""
    texts = [*rows.columns, *_cells(rows, all_but="path")]
    if any(map(_escaped, texts)) or any(
        _escaped(name) and not os.path.lexists(path.parent / name) for name in rows.columns["path"]
    ):
        reason = no_text(content)
        raise _encoding_asked(path, content, f"is neither UTF-8 nor UTF-16: {reason}.")
    if encoding_of(content) == "utf-8" and like_gbk(dict.fromkeys(texts)):
        raise _encoding_asked(path, content, "is hardly UTF-8, though it could be.")


def _encoding_asked(path: Path, content: bytes, said: str) -> DataError:
    def names_in(text: str) -> Iterable[str]:
        try:
            rows = _parse(path, text, ())
        except DataError:
            return []  # it is none in this encoding
        return [*rows.columns, *_cells(rows, all_but="path"), *rows.columns["path"]]

    return DataError(
        f"{path} {said}{readings(content, names_in)} Say which encoding it is, --encoding NAME, or"
        " save it as UTF-8."
    )


def _escaped(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)


def _cells(rows: Rows, all_but: str) -> list[str]:
    return [cell for name, cells in rows.columns.items() if name != all_but for cell in cells]


def _parse(path: Path, text: str, chosen: Sequence[str]) -> Rows:
    """The cells of the columns that matter: the known ones, those chosen for classes, and where
    neither tells the class, all."""
    # A spreadsheet may say first what parts its columns.
    said = re.match(r"sep=(.)\r?\n", text)
    text = text[said.end() :] if said else text
    first = text.partition("\n")[0]
    delimiter = said[1] if said else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = ["" if _INDEX.fullmatch(name) else name.strip() for name in next(reader, [])]
        header = [name.lower() if name.lower() in KNOWN else name for name in header]
        labelled = bool(chosen) or "label" in header or "labels" in header
        taken = [name for name in header if name and (name in (*KNOWN, *chosen) or not labelled)]
        if "path" not in header or not (labelled or set(taken) - set(KNOWN)):
            missing = [*["path"] * ("path" not in header), *["label"] * (not labelled)]
            raise DataError(
                f"{path} has no column {' and no column '.join(missing)} in its first line,"
                f" {printable(listed(header))!r}. The columns are: {COLUMNS}.{_meant(header)}"
            )
        missing = [name for name in chosen if name not in header]
        if missing:
            raise DataError(
                f"{path} has no column {printable(listed(missing))}. Its columns are:"
                f" {printable(listed(header))}."
            )
        twice = [name for name in taken if header.count(name) > 1]
        if twice:
            raise DataError(f"{path} must have one column {twice[0]!r}. It has several.")
        places = [header.index(name) for name in taken]
        cells: list[list[str]] = [[] for _ in taken]
        lines = []
        for row in reader:
            if not any(map(str.strip, row)):
                continue  # spreadsheets write lines of empty cells behind the last
            lines.append(reader.line_num + bool(said))
            if len(row) <= max(places) or any(map(str.strip, row[len(header) :])):
                raise DataError(
                    f"{path}, line {lines[-1]}: {len(row)} cells where the first line has"
                    f" {len(header)}."
                )
            for column, place in zip(cells, places, strict=True):
                column.append(row[place].strip())
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    return Rows(lines, dict(zip(taken, cells, strict=True)))


def _meant(header: list[str]) -> str:
    """Which columns others call otherwise, if there is one such only."""
    found = {
        ours: [name for name in header if name.lower() in theirs]
        for ours, theirs in _CALLED.items()
    }
    return "".join(
        f" If {names[0]!r} is the {ours}, call it so."
        for ours, names in found.items()
        if len(names) == 1 and ours not in header
    )


def _existing(folder: Path, names: list[str], encoding: str | None) -> list[str]:
    """Paths as the file system has them, where the table says them otherwise."""

    def found(name: str) -> str:
        choices = [name, name.replace("\\", "/")]
        if encoding is not None:  # an archive's names may be in it, too
            choices += [
                os.fsdecode(choice.encode(encoding, "surrogateescape")) for choice in choices
            ]
        return next((each for each in choices if os.path.lexists(folder / each)), choices[1])

    odd = encoding is not None
    return [found(name) if "\\" in name or (odd and not name.isascii()) else name for name in names]


def _check_paths(path: Path, rows: Rows, paths: list[str]) -> None:
    if len(set(paths)) < len(paths):
        seen: dict[str, int] = {}
        for line, name in zip(rows.lines, paths, strict=True):
            if seen.setdefault(name, line) != line:
                raise DataError(
                    f"{path}: {printable(name)} stands in line {seen[name]} and in line {line}."
                    " Several classes of one image go into one cell, such as cat|dog."
                )
    if "" in paths:
        raise DataError(f"{path}, line {rows.lines[paths.index('')]}: the path is empty.")
    # One is missing now and then; all are when they are relative to another folder.
    if not any(os.path.exists(path.parent / name) for name in paths[:100]):
        raise DataError(
            f"{path} names {printable(rows.columns['path'][0])}, and there is no file"
            f" {printable(str(path.parent / paths[0]))}. Paths are absolute or from the table's own"
            " folder."
        )
