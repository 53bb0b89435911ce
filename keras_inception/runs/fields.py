"""Settings of a recipe: documented, typed, and read from text as well as from Python.

By hand, since neither pydantic nor jsonargparse would answer with the rule, the value, the choices
and the nearest name in one line, nor spare the rules between settings; the rest is these 100 lines.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal


class RecipeError(ValueError):
    """A recipe breaks a rule; the message names the setting, the rule and the value received."""


@dataclass(frozen=True)
class Range:
    """What a number may be, in words and as a test."""

    rule: str
    holds: Callable[[float], bool]


POSITIVE = Range("above 0", lambda value: 0 < value < math.inf)
AT_LEAST_0 = Range("at least 0", lambda value: 0 <= value < math.inf)
AT_LEAST_1 = Range("at least 1", lambda value: 1 <= value < math.inf)
AT_LEAST_2 = Range("at least 2", lambda value: 2 <= value < math.inf)
BELOW_1 = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
UP_TO_1 = Range("at least 0 and at most 1", lambda value: 0 <= value <= 1)
POSITIVE_UP_TO_1 = Range("above 0 and at most 1", lambda value: 0 < value <= 1)
UP_TO_180 = Range("at least 0 and at most 180", lambda value: 0 <= value <= 180)
SEED = Range("at least 0 and below 2 ** 32", lambda value: 0 <= value < 2**32)
UP_TO_HALF = Range("at least 0 and at most 0.5", lambda value: 0 <= value <= 0.5)


def setting(default: Any, doc: str, within: Range | None = None) -> Any:
    """A field of a recipe with the meaning that ``--help`` prints, and what it may be."""
    return field(default=default, metadata={"doc": doc, "within": within})


def choices_of(hint: Any) -> tuple[Any, ...]:
    """The types that a setting's type allows: ``float | None`` is of two."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type of its setting; numbers, switches and none may come as text.

    Raises:
        RecipeError: it is not of the setting's type.
    """
    choices = choices_of(hint)
    if types.NoneType in choices and (value is None or value == "none"):
        return None
    words: list[str] = []
    for choice in choices:
        if typing.get_origin(choice) is Literal:
            if value in typing.get_args(choice):
                return value
            words += typing.get_args(choice)
        elif choice is not types.NoneType:
            try:
                return _as(choice, value)
            except (ValueError, TypeError, KeyError, OverflowError):
                words.append(_WORDS[choice])
    rule = f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    raise RecipeError(f"`{name}` must be {rule}. Received: {name}={value!r}")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _as(kind: Any, value: Any) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[str(value).lower()]
    if isinstance(value, bool) or (kind is int and int(value) != float(value)):
        raise ValueError
    return kind(value)


def check_within(name: str, value: Any, within: Range | None) -> None:
    """Refuse a number outside its range; what is no number, ``None`` or a word, passes.

    Raises:
        RecipeError: it is outside.
    """
    if within and isinstance(value, int | float) and not within.holds(value):
        rule = within.rule if math.isfinite(value) else f"finite and {within.rule}"
        raise RecipeError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def check_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse what is no setting, with the nearest that is.

    Raises:
        RecipeError: one of ``names`` is not among the known.
    """
    known = list(known)
    unknown = [str(name) for name in names if name not in known]  # a YAML file's may be numbers
    if unknown:
        hint = nearest(unknown[0], known) or f" The settings are: {', '.join(known)}."
        raise RecipeError(f"There is no setting {', '.join(map(repr, unknown))}.{hint}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint that one of ``known`` may be meant, a blank before it; or nothing."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f" Did you mean {found[0]!r}?" if found else ""
