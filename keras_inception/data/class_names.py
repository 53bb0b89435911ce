"""Class names in a text file, one a line: the one reader and the one writer of such files.

A name that is lost or joined to another shifts all that follow, and nothing shows it: a model
then calls every class by its neighbour's name. So a file that can be understood in two ways is
refused, and how many names there should be is checked wherever it is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from keras_inception.data.errors import DataError
from keras_inception.data.text import (
    encoding_of,
    like_gbk,
    no_text,
    no_text_but,
    one_form,
    readings,
    unmarked_encoding,
)

# A name after its place, as TF-Slim (`0:cat`) and Teachable Machine (`0 cat`) write them.
_NUMBERED = re.compile(r"(\d+)(?::|\s+)(.*)")
_NUMBERED_NAME = re.compile(r"\d+:\s*\D.*")
_BACKGROUND = {"background", "unused background", "dummy"}


def read_class_names(
    path: str | Path, classes: int | None = None, *, verbatim: bool = False
) -> tuple[str, ...]:
    """The class names in a text file, in the order of a network's outputs.

    The file is UTF-8 with or without a byte order mark, or UTF-16 with one; lines end as on any
    system, the last one too or not. Spaces around a name and empty lines at the end don't count,
    and no empty line does where there are ``classes`` names without them. Where every line begins
    with its own place, counted from 0, ``0:cat`` or ``0 cat``, the names are what comes after.
    Names are in Unicode's form NFC.

    Args:
        path: the file.
        classes: how many there must be; any number by default.
        verbatim: the file is one that :func:`write_class_names` wrote, as those of runs and
            exports are. A line is then a name as it stands, so that a folder called ``0 cat``
            keeps its name; and whoever wrote the file answers for names that are there twice.

    Raises:
        DataError: the file is no such text, has an empty line or a name twice, has more or fewer
            names than ``classes``, or its lines are numbered, but not by their places.
        OSError: it can't be read.
    """
    lines = re.split(r"\r\n|\n|\r", _decoded(path, verbatim))
    while lines and not lines[-1].strip():
        del lines[-1]
    names = lines if verbatim else _read(path, lines, classes)
    if not names:
        raise DataError(f"{path} must have class names, one a line. It has none.")
    if classes is not None and len(names) != classes:
        hint = (
            f" Its first, {names[0]!r}, is no class of the model, it seems: remove that line."
            if len(names) == classes + 1 and names[0].lower() in _BACKGROUND
            else ""
        )
        raise DataError(
            f"{path} must name each of the model's {classes} classes once, one name a line, in"
            f" the order of its outputs. Received: {len(names)} names, from {names[0]!r} to"
            f" {names[-1]!r}.{hint}"
        )
    seen: dict[str, int] = {}
    for line, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{path} must have a class name in every line. Line {line} has none.")
        first = seen.setdefault(name, line)
        if first != line and not verbatim:
            raise DataError(
                f"{path} must name every class once. Lines {first} and {line} both say {name!r}."
            )
    return tuple(names)


def write_class_names(path: str | Path, names: Sequence[str]) -> None:
    """Write class names, one a line, for :func:`read_class_names` with ``verbatim``."""
    Path(path).write_text("".join(f"{name}\n" for name in names), "utf-8", newline="")


def _decoded(path: str | Path, verbatim: bool) -> str:
    content = Path(path).read_bytes()
    if other := no_text_but(content):
        raise DataError(f"{path} is {other}.")
    if unmarked := unmarked_encoding(content):
        raise DataError(
            f"{path} is {unmarked} without the byte order mark that says so. Save it as UTF-8."
        )
    reason = no_text(content)
    if reason:
        raise DataError(
            f"{path} must be text: UTF-8, or UTF-16 that begins with a byte order mark. It is"
            f" neither: {reason}.{readings(content, str.split)}"
        )
    text = content.decode(encoding_of(content))
    if not verbatim and encoding_of(content) == "utf-8" and like_gbk([text]):
        raise DataError(
            f"{path} has names that are hardly UTF-8.{readings(content, str.split)} Save it as"
            " UTF-8 with a byte order mark, which says that it is."
        )
    return text


def _read(path: str | Path, lines: list[str], classes: int | None) -> list[str]:
    """The names that lines written by anybody stand for."""
    lines = [one_form(line.strip()) for line in lines]
    full = [line for line in lines if line]
    if len(full) == classes:
        lines = full
    if lines and "" in lines:
        raise DataError(
            f"{path} must have a class name in every line. Line {lines.index('') + 1} has none."
        )
    matches = [match for line in lines if (match := _NUMBERED.fullmatch(line))]
    if len(matches) < len(lines):
        return lines
    numbers = [int(match[1]) for match in matches]
    if numbers == [*range(len(lines))]:
        return [match[2].strip() for match in matches]
    # `10 euro`, `20 euro` are names, and so are `12:30` and `12:45`.
    are_places = sorted(numbers) in ([*range(len(lines))], [*range(1, len(lines) + 1)])
    if are_places or all(_NUMBERED_NAME.fullmatch(line) for line in lines):
        wrong = next(place for place, number in enumerate(numbers) if number != place)
        raise DataError(
            f"{path} numbers its lines, and the numbers must then be the places of the model's"
            f" outputs, from 0 in order. Line {wrong + 1} is {lines[wrong]!r}: sort the lines, or"
            " write the names alone."
        )
    return lines
