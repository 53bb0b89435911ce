"""Markdown for what comes from people: names that may hold any character, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from keras_inception.data.text import printable


def cell(value: object) -> str:
    """A value as text of one line that neither ends a cell nor begins HTML or a link."""
    text = re.sub(r"\s+", " ", printable(str(value)))
    return re.sub(r"([\\|<>\[\]*])", r"\\\1", text)


def number(value: float) -> str:
    """A measure, with the digits that say something."""
    return f"{value:.4f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
