"""``keras-inception train`` and ``keras-inception recipes``."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
import typing
from typing import Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command
from keras_inception.training.recipe import Recipe
from keras_inception.training.recipes import NOTES, RECIPES, load_recipe
from keras_inception.training.settings import RecipeError, choices_of, nearest


def add(commands: Any) -> None:
    """Declare both; ``train`` with its own arguments and every setting of the recipe."""
    recipes = add_command(
        commands,
        "recipes",
        run_recipes,
        "list the named recipes, or print one as YAML",
        "What is printed can be changed and given to train --recipe.",
    )
    recipes.add_argument("name", metavar="NAME", nargs="?", choices=RECIPES, help="print this one")

    train = add_command(
        commands,
        "train",
        run,
        "train a network on images of known classes",
        "Every setting of the recipe is an option too; without any it is the recipe `default`.",
    )
    train.parse_known_args = functools.partial(_parse, train)  # type: ignore
    train.add_argument("data", metavar="DATA", help="a folder with a folder for each class")
    train.add_argument("--output", metavar="RUN", help="the run's folder, made here")
    train.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"one of {', '.join(RECIPES)} (`keras-inception recipes` says what for), or a YAML"
        " file of differences from the default",
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
    train.add_argument(
        "--check-images",
        choices=["auto", "all", "none"],
        default="auto",
        help="decode every image once before; auto: up to 20,000 images. Of others, those that"
        " can't be decoded are left out as they come",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was stopped; with a recipe, begin it if there is none yet",
    )
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, and what it will take, from some seconds of training; write nothing",
    )
    settings = train.add_argument_group("recipe", "each overrides the recipe's setting")
    hints = typing.get_type_hints(Recipe)
    for setting in dataclasses.fields(Recipe):
        flag = "--" + setting.name.replace("_", "-")
        about = setting.metadata["doc"]
        hint = hints[setting.name]
        if bool in choices_of(hint):
            settings.add_argument(
                flag, action=argparse.BooleanOptionalAction, help=about, default=None
            )
        elif typing.get_origin(hint) is typing.Literal:
            settings.add_argument(flag, choices=typing.get_args(hint), help=about)
        else:
            settings.add_argument(flag, metavar="X", help=about)


def run_recipes(options: argparse.Namespace) -> int:
    """List the recipes, or print one with its note."""
    if options.name is None:
        width = max(map(len, RECIPES))
        for name, note in NOTES.items():
            print(f"{name:{width}}  {note.splitlines()[0]}")
        return 0
    print("".join(f"# {line}".rstrip() + "\n" for line in NOTES[options.name].splitlines()), end="")
    print(RECIPES[options.name].to_yaml(), end="")
    return 0


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
    if options.output is None and not options.dry_run:
        raise RecipeError("The run needs a folder: --output RUN")
    load_tensorflow_quietly()
    from keras_inception.training.run import Terminated
    from keras_inception.training.train import train

    if options.dry_run:
        return _dry_run(options, recipe)
    try:
        finished = train(
            options.data,
            options.output,
            recipe,
            validation_data=options.validation_data,
            on_bad_image=options.on_bad_image,
            check_images=options.check_images,
            resume=options.resume,
        )
    except KeyboardInterrupt:
        print(
            "\nStopped. To go on: the same command with --resume, without recipe and settings",
            file=sys.stderr,
        )
        return 130
    except Terminated as ended:
        print(ended, file=sys.stderr)
        return 143
    print(f"The run is in {finished.path}; its curves in {finished.path / 'curves.png'}")
    return 0


def _dry_run(options: argparse.Namespace, recipe: Recipe | None) -> int:
    from keras_inception.training.estimate import estimate

    estimate(
        options.data,
        recipe,
        validation_data=options.validation_data,
        on_bad_image=options.on_bad_image,
        check_images=options.check_images,
    )
    print("Nothing was written.")
    return 0


def _parse(
    train: argparse.ArgumentParser, arguments: Any = None, namespace: Any = None
) -> tuple[argparse.Namespace, list[str]]:
    """argparse's, which leaves what is unknown to the main parser: refused here, with a hint."""
    parsed, unknown = argparse.ArgumentParser.parse_known_args(train, arguments, namespace)
    if unknown:
        known = [option for action in train._actions for option in action.option_strings]
        hint = nearest(unknown[0].split("=")[0], known)
        train.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")
    return parsed, unknown
