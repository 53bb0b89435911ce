"""Checks of what a user passes; a mistake is answered with the rule, then the value received."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real


def check(holds: bool, rule: str, **received: object) -> None:
    """Raise ValueError with the rule and the one value received, unless the rule holds."""
    if not holds:
        ((name, value),) = received.items()
        raise ValueError(f"{rule}. Received: {name}={value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise ValueError with the choices, unless the value is one of them."""
    choices = list(choices)
    check(
        value in choices,
        f"`{name}` must be one of {', '.join(map(repr, choices))}",
        **{name: value},
    )


def is_whole(value: object) -> bool:
    """Whether the value is a whole number, Python's or NumPy's; a bool is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether the value is a real number, Python's or NumPy's; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool)
