"""The report's template, filled: values become cells, tables and pictures, and these HTML.

The HTML itself stands in ``report.html`` and ``pieces.html``. What is put into it is escaped, save
what is marked as HTML already, as the figures are.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(**values: Any) -> str:
    """The whole page; its values are those that ``report.html`` names."""
    return ENVIRONMENT.get_template("report.html").render(values)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and its element's attributes."""

    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Args:
        about: what it holds, above it; ``""`` for nothing.
        head: the columns' names; empty for a table without.
        rows: of as many cells each.
        kind: a class of the style sheet.
    """

    about: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    kind: str | None = None

    @property
    def attributes(self) -> dict[str, str | None]:
        return {"class": self.kind, "aria-label": self.about or None}


def table(
    about: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    digits: int | None = None,
    shares: Sequence[float] | None = None,
) -> Table:
    """A table of values, numbers to the right.

    Args:
        about: what it holds, above it.
        digits: after the point, of all fractions; by default as few as show four of them.
        shares: from 0 to 1, of each row, shown as a bar in the last column.
    """
    rows = [list(each) for each in rows]
    numeric = [
        {"class": "number"}
        if all(isinstance(value, int | float | None) for value in column)
        else {}
        for column in (zip(*rows, strict=True) if rows else [[]] * len(head))
    ]

    def text(value: Any) -> str:
        exactly = digits is not None and isinstance(value, float)
        return f"{value:.{digits}f}" if exactly else show(value)

    cells = [list(map(Cell, map(text, values), numeric)) for values in rows]
    for row, share in zip(cells, shares or [], strict=False):
        bar = {"class": "number share", "style": f"--share:{100 * share:.1f}%"}
        row[-1] = Cell(row[-1].text, bar)
    return Table(about, list(map(Cell, head, numeric)), cells)


def pairs(values: Mapping[str, Any], about: str = "") -> Table:
    """A table of names and values."""
    return Table(about, [], [[Cell(name), Cell(show(value))] for name, value in values.items()])


def confusion_table(labels: Sequence[str], confusion: np.ndarray) -> Table:
    """A confusion matrix; the stronger a cell's colour, the larger its share of the row.

    Args:
        labels: the class names.
        confusion: int64 [classes, classes], a row for each true class.
    """
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    head = {"class": "long"} if max(map(len, labels)) > 3 else {}
    return Table(
        "Numbers of images. Rows: true classes; columns: predicted classes. Blue: right; orange:"
        " mistakes; the stronger, the larger the share of the class's images.",
        [Cell(""), *(Cell(label, head) for label in labels)],
        [
            [
                Cell(label),
                *(
                    Cell(str(count or ""), _coloured(count, share, right=row == column))
                    for column, (count, share) in enumerate(
                        zip(confusion[row].tolist(), confusion[row] / totals[row], strict=True)
                    )
                ),
            ]
            for row, label in enumerate(labels)
        ],
        kind="confusion",
    )


def _coloured(count: int, share: float, *, right: bool) -> dict[str, str]:
    if not count:
        return {}
    # A root, so that rare mistakes show too.
    rgb, depth = ("47,111,200", share) if right else ("200,95,15", share**0.5)
    ink = ";color:#fff" if depth > 0.55 else ""
    return {"style": f"background:rgba({rgb},{depth:.2f}){ink}"}


@dataclass(frozen=True)
class Picture:
    """A picture with its pixels in it: the attributes of its element."""

    attributes: Mapping[str, str | None]


def picture(image: np.ndarray, about: str, side: int = 360) -> Picture:
    """A picture of an image.

    Args:
        image: uint8 [height, width, 3]; made smaller if a side is longer than ``side`` pixels.
        about: what it shows, for people who can't see it.
    """
    from PIL import Image

    drawn = Image.fromarray(image)
    small = max(drawn.size) <= 96
    drawn.thumbnail((side, side))
    kind = "png" if small else "jpeg"
    file = io.BytesIO()
    drawn.save(file, kind, quality=85)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(
        {
            "class": "small" if small else None,
            "alt": about,
            "src": f"data:image/{kind};base64,{data}",
        }
    )


def show(value: Any) -> str:
    """A value as people write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(show, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {show(each)}" for name, each in value.items()) or "none"
    return str(value)
