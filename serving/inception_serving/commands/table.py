"""A table as lines of text, as wide as a terminal is or, elsewhere, as its cells are."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence

from inception_serving.text import one_line

_BETWEEN = "  "
_LEAST = 8  # of a column that is folded


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Print a table with every word whole: on a narrow terminal folded, elsewhere on one line.

    Args:
        right: the headings of the columns that are aligned to the right.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines(headings, rows, right, width):
        print(line)


def lines(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[str] = (),
    width: int | None = None,
) -> list[str]:
    """The lines of a table: its headings, a rule, and one for each row, or several where folded.

    Args:
        width: the most columns of a terminal that a line may take; None for any number.
    """
    cells = [[one_line(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    while width is not None and sum(widths) + len(_BETWEEN) * (len(widths) - 1) > width:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    found = []
    for number, row in enumerate(cells):
        parts = [_fold(cell, size) for cell, size in zip(row, widths, strict=True)]
        for place in range(max(map(len, parts))):
            line = _BETWEEN.join(
                _pad(part[place] if place < len(part) else "", size, heading in right)
                for part, size, heading in zip(parts, widths, headings, strict=True)
            )
            found.append(line.rstrip())
        if number == 0:
            found.append(_BETWEEN.join("-" * size for size in widths))
    return found


def _fold(cell: str, size: int) -> list[str]:
    """A cell's text in pieces of so many columns at most."""
    pieces, piece, left = [], "", size
    for sign in cell:
        columns = _columns(sign)
        if columns > left:
            pieces.append(piece)
            piece, left = "", size
        piece += sign
        left -= columns
    return [*pieces, piece]


def _pad(cell: str, size: int, right: bool) -> str:
    blank = " " * (size - _width(cell))
    return blank + cell if right else cell + blank


def _width(text: str) -> int:
    return sum(map(_columns, text))


def _columns(sign: str) -> int:
    """How many columns a terminal gives a sign (Unicode Standard Annex 11; 0 for marks above)."""
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
