"""Subcommands as they are declared, and the kinds of their arguments."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_inception.runs.fields import choices_of, nearest
from keras_inception.runs.named_recipes import RECIPES, load_recipe
from keras_inception.runs.recipe import GROUPS, Recipe

USING = "RUN|SAVEDMODEL|HOST:PORT/NAME|imagenet:NETWORK"


PICTURES = (".png", ".svg", ".pdf", ".jpg")


class Command(argparse.ArgumentParser):
    """A subcommand's parser, which refuses an unknown option itself, with the nearest it knows.

    argparse's own leaves that to the main parser, which knows no option.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = re.findall(r"--[\w-]+", self.format_usage())
            hint = nearest(unknown[0].split("=")[0], known)
            self.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")
        return parsed, unknown


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


def add_recipe_options(command: argparse.ArgumentParser) -> None:
    """Let a subcommand take a recipe, and every setting of it as an option."""
    command.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"one of {', '.join(RECIPES)} (`keras-inception recipes` says what for), or a YAML"
        " file of differences from the default",
    )
    settings: Any = command
    hints = typing.get_type_hints(Recipe)
    for setting in dataclasses.fields(Recipe):
        if setting.name in GROUPS:
            settings = command.add_argument_group(
                f"recipe: {GROUPS[setting.name]}", "each overrides the recipe's setting"
            )
        flag = "--" + setting.name.replace("_", "-")
        about = setting.metadata["doc"]
        hint = hints[setting.name]
        if bool in choices_of(hint):
            settings.add_argument(
                flag, action=argparse.BooleanOptionalAction, help=about, default=None
            )
        elif typing.get_origin(choices_of(hint)[0]) is typing.Literal:
            words = typing.get_args(choices_of(hint)[0])
            settings.add_argument(flag, choices=words, help=about)
        else:
            settings.add_argument(flag, metavar="X", help=about)


def given_recipe(options: argparse.Namespace) -> Recipe | None:
    """The recipe with the settings that were given; ``None`` if nothing of it was.

    Raises:
        RecipeError: there is no such recipe, or a setting breaks its rule.
    """
    given = {
        setting.name: getattr(options, setting.name)
        for setting in dataclasses.fields(Recipe)
        if getattr(options, setting.name) is not None
    }
    if not given and options.recipe is None:
        return None
    return load_recipe(options.recipe or "default").with_changes(given)


def add_connection(command: argparse.ArgumentParser) -> None:
    """Let a subcommand that calls a server take the options of the connection."""
    group = command.add_argument_group("connection")
    group.add_argument(
        "--timeout",
        dest="timeout_s",
        type=seconds,
        default=60.0,
        metavar="S",
        help="how long a request may take, in seconds (%(default)g)",
    )
    group.add_argument("--tls", action="store_true", help="encrypt, with the system's authorities")
    for name, about in (
        ("--root-certificates", "encrypt, with these authorities instead: a PEM file"),
        ("--client-key", "the client's own key, for a server that asks for one: a PEM file"),
        ("--client-certificate", "and its certificate"),
    ):
        group.add_argument(name, metavar="FILE", help=about)


def connection(options: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`add_connection`, as ``inception_serving.Client`` takes them."""
    names = ("timeout_s", "tls", "root_certificates", "client_key", "client_certificate")
    return {name: getattr(options, name) for name in names}


def seconds(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time above 0, in seconds")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, at least 0 and below 1")
    return value


def output_file(text: str) -> str:
    """A file that can be written, tried before the work whose result goes there."""
    path = Path(text)
    try:
        if not text or path.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is no file")
        if not path.exists():
            path.touch()
            path.unlink()
        elif not os.access(path, os.W_OK):
            raise PermissionError(0, "no right to write it")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(
            f"{text!r} can't be written: {why}; is its folder there, and may you write to it?"
        ) from error
    return text


def picture_file(text: str) -> str:
    """A file that can be written, with the end of a format that pictures are drawn in."""
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no picture's name, which ends in {', '.join(PICTURES)}"
        )
    return output_file(text)


def shape(text: str) -> tuple[int | None, int | None, int]:
    """HxWxC, a side left open as ``?``."""
    sides = [None if side == "?" else positive(side) for side in text.lower().split("x")]
    if len(sides) != 3 or sides[2] is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no HxWxC, such as 299x299x3 or ?x?x3")
    return sides[0], sides[1], sides[2]
