"""Arguments' old names, which go on working for a while with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def renamed(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function take an argument by its old name too: ``@renamed(say="log")``.

    Args:
        names: what each argument was called, and what it is called now.

    Returns:
        The decorator. A call by an old name gives a ``DeprecationWarning``; one by both names
        raises ``TypeError``.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*arguments: P.args, **named: P.kwargs) -> T:
            for old, new in names.items():
                if old not in named:
                    continue
                if new in named:
                    raise TypeError(f"{function.__name__}() was given `{new}` and its old name")
                warnings.warn(
                    f"{function.__name__}(): `{old}` is now called `{new}`",
                    DeprecationWarning,
                    stacklevel=2,
                )
                named[new] = named.pop(old)
            return function(*arguments, **named)

        return call

    return decorate
