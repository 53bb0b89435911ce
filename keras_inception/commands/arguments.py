"""Kinds of arguments, those of ``inception-serving`` among them, and recipes as options."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import Any

from inception_serving.commands.arguments import (
    add_command,
    add_connection,
    connection,
    output_file,
    positive,
    score,
    seconds,
)
from keras_inception.runs.fields import RecipeError, choices_of
from keras_inception.runs.named_recipes import RECIPES, load_recipe
from keras_inception.runs.recipe import GROUPS, Recipe

__all__ = [
    "PICTURES",
    "USING",
    "add_command",
    "add_connection",
    "add_recipe_options",
    "connection",
    "given_recipe",
    "output_file",
    "picture_file",
    "positive",
    "score",
    "seconds",
    "seed",
    "shape",
    "share",
]

USING = "RUN|SAVEDMODEL|HOST:PORT/NAME|imagenet:NETWORK"


PICTURES = (".png", ".svg", ".pdf", ".jpg")


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


def given_recipe(
    options: argparse.Namespace, otherwise: Recipe = RECIPES["default"]
) -> Recipe | None:
    """The recipe with the settings that were given; ``None`` if nothing of it was.

    Args:
        otherwise: what the settings change where no recipe was given.

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
    if given.get("folds", "none") != "none" and "validation_fraction" in given:
        raise RecipeError(
            "--validation-fraction must be left out with --folds, which set images apart in its"
            f" place. Received: --folds {given['folds']} --validation-fraction"
            f" {given['validation_fraction']}"
        )
    recipe = otherwise if options.recipe is None else load_recipe(options.recipe)
    return recipe.with_changes(given)


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
