"""Examples written down, so that the same ones can be had again: a run's validation images.

A CSV with ``path`` and ``label``; where images are of any number of classes, ``labels``, as
``cat|dog``; ``group`` where there are groups. Images that are no files of their own are listed by
``number`` in the source that they are from.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files, Images
from keras_inception.data.sources.source import open_source


def write_list(path: Path, examples: Examples, indices: np.ndarray) -> None:
    """Write which examples they are.

    Args:
        indices: int64 [examples], their places in their source.
    """
    files = examples.images.root is not None
    labels = examples.labels
    columns = ["path" if files else "number", "labels" if examples.multi_label else "label"]
    if examples.groups is not None:
        columns.append("group")
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for index, target in enumerate(examples.targets):
            image = os.path.abspath(examples.images.name(index)) if files else indices[index]
            several = np.flatnonzero(target) if examples.multi_label else [target]
            row = [image, "|".join(labels[each] for each in several)]
            if examples.groups is not None:
                row.append(examples.groups[index])
            writer.writerow(row)


def read_list(path: Path, labels: tuple[str, ...], source: str | None) -> Examples:
    """The examples that :func:`write_list` wrote.

    Args:
        labels: the classes and their order.
        source: what the images are numbered in, if they are no files of their own.

    Raises:
        DataError: they were in arrays in memory, or the source has changed.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
        return _listed(header, rows, labels, source)
    except (LookupError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not as training wrote it: {error}") from error


def _listed(
    header: list[str], rows: list[list[str]], labels: tuple[str, ...], source: str | None
) -> Examples:
    index = {label: target for target, label in enumerate(labels)}
    if header[1] == "labels":
        targets = np.zeros((len(rows), len(labels)), bool)
        for row, cells in enumerate(rows):
            targets[row, [index[name] for name in cells[1].split("|") if name]] = True
    else:
        targets = np.array([index[row[1]] for row in rows], np.int64)
    groups = np.array([row[2] for row in rows], np.int64) if "group" in header else None
    images: Images = Files.of("", [row[0] for row in rows])
    if header[0] == "number":
        images = _taken(np.array([row[0] for row in rows], np.int64), labels, source)
    return Examples(labels, images, targets, groups)


def _taken(indices: np.ndarray, labels: tuple[str, ...], source: str | None) -> Images:
    if source is None:
        raise DataError(
            "The validation images were arrays in memory, which a run does not keep. Name the data."
        )
    images = open_source(source, labels).images
    if len(indices) and indices.max() >= len(images):
        raise DataError(f"{source} has {len(images)} images now, fewer than there were.")
    return images.take(indices)
