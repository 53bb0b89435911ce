"""``keras-inception train``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import typing
from typing import Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command
from keras_inception.training.recipe import Recipe
from keras_inception.training.recipes import RECIPES, load_recipe


def add(commands: Any) -> None:
    """Declare it: its own arguments, and every setting of the recipe."""
    train = add_command(
        commands,
        "train",
        run,
        "train a network on images of known classes",
        "Every setting of the recipe is an option too.",
    )
    train.add_argument("data", metavar="DATA", help="a folder with a folder for each class")
    train.add_argument("--output", required=True, metavar="RUN", help="the run's folder, made here")
    train.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"one of {', '.join(RECIPES)}, or a YAML file of differences from the default recipe",
    )
    train.add_argument(
        "--validation-data", metavar="DATA", help="validate on these images, same classes"
    )
    train.add_argument(
        "--on-bad-image",
        choices=["skip", "refuse"],
        default="skip",
        help="leave out and name files that can't be decoded (the default), or refuse to train",
    )
    train.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    settings = train.add_argument_group("recipe", "each overrides the recipe's setting")
    hints = typing.get_type_hints(Recipe)
    for setting in dataclasses.fields(Recipe):
        flag = "--" + setting.name.replace("_", "-")
        about = setting.metadata["doc"]
        hint = hints[setting.name]
        if hint is bool:
            settings.add_argument(
                flag, action=argparse.BooleanOptionalAction, help=about, default=None
            )
        elif typing.get_origin(hint) is typing.Literal:
            settings.add_argument(flag, choices=typing.get_args(hint), help=about)
        else:
            settings.add_argument(flag, metavar="X", help=about)


def run(options: argparse.Namespace) -> int:
    """Train, and say where the run is."""
    given = {
        setting.name: getattr(options, setting.name)
        for setting in dataclasses.fields(Recipe)
        if getattr(options, setting.name) is not None
    }
    recipe = None
    if options.recipe or given or not options.resume:
        recipe = load_recipe(options.recipe or "default").with_changes(given)
    load_tensorflow_quietly()
    from keras_inception.training.train import train

    try:
        finished = train(
            options.data,
            options.output,
            recipe,
            validation_data=options.validation_data,
            on_bad_image=options.on_bad_image,
            resume=options.resume,
        )
    except KeyboardInterrupt:
        print(
            "\nStopped. To go on: the same command with --resume, without recipe and settings",
            file=sys.stderr,
        )
        return 130
    print(f"The run is in {finished.path}; its curves in {finished.path / 'curves.png'}")
    return 0
