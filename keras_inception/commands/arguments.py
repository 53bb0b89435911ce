"""How subcommands are declared, and the kinds of their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

USING = "RUN|SAVEDMODEL|HOST:PORT/NAME"


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    more: str = "",
) -> argparse.ArgumentParser:
    """Declare a subcommand that ``run`` does; ``about`` is its line in the list of commands."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}. {more}".strip()
    )
    command.add_argument("--traceback", action="store_true", help="show where an error comes from")
    command.set_defaults(run=run)
    return command


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def shape(text: str) -> tuple[int | None, int | None, int]:
    """HxWxC, a side left open as ``?``."""
    sides = [None if side == "?" else positive(side) for side in text.lower().split("x")]
    if len(sides) != 3 or sides[2] is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no HxWxC, such as 299x299x3 or ?x?x3")
    return sides[0], sides[1], sides[2]
