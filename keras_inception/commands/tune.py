"""``keras-inception tune``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import (
    add_command,
    add_recipe_options,
    given_recipe,
    positive,
)
from keras_inception.commands.data import SOURCE, add_data_options, given_source
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.packages import check_installed


def add(commands: Any) -> None:
    """Declare it."""
    tune = add_command(
        commands,
        "tune",
        run,
        "search for the settings of a recipe at which best_epoch_metric is best, by Optuna",
        "Each trial is a run; one that falls behind is ended early. A search that was stopped goes"
        " on by the same command.",
    )
    tune.add_argument("data", metavar="DATA", help=SOURCE)
    tune.add_argument(
        "--output", metavar="FOLDER", required=True, help="the folder of the search and its runs"
    )
    tune.add_argument(
        "--search",
        action="append",
        type=_searched,
        default=[],
        metavar="SETTING=WHAT",
        help="a setting to search: LOW..HIGH, LOW..HIGH:log or VALUE,VALUE,...; once or more",
    )
    tune.add_argument(
        "--trials", type=positive, default=20, help="number of trials in all (%(default)s)"
    )
    tune.add_argument(
        "--hours", type=_hours, metavar="X", help="hours after which no other trial is begun"
    )
    tune.add_argument(
        "--validation-data",
        metavar="DATA",
        help="images of the same classes to validate on, in place of a share of each class",
    )
    add_data_options(tune)
    add_recipe_options(tune)


def run(options: argparse.Namespace) -> int:
    """Search, and say what was best."""
    for name, count in Counter(name for name, _ in options.search).items():
        if count > 1:
            raise RecipeError(f"`search` must name a setting once. Received: {name} {count} times")
    check_installed("optuna", "keras-inception tune")
    recipe = given_recipe(options) or RECIPES["default"]
    load_tensorflow_quietly()
    from keras_inception.runs.run import Terminated
    from keras_inception.training.tune import tune

    try:
        best = tune(
            given_source(options.data, options),
            options.output,
            recipe,
            dict(options.search),
            trials=options.trials,
            hours=options.hours,
            validation_data=options.validation_data,
            on_bad_image=options.on_bad_image,
            check_images=options.check_images,
        )
    except KeyboardInterrupt:
        print("\nStopped. To go on: the same command", file=sys.stderr)
        return 130
    except Terminated as ended:
        print(ended, file=sys.stderr)
        return 143
    print(f"The best run is {best.path}")
    return 0


def _searched(text: str) -> tuple[str, str]:
    name, equals, what = text.partition("=")
    if not (name and equals and what):
        raise argparse.ArgumentTypeError(f"{text!r} is no SETTING=WHAT")
    return name.replace("-", "_"), what


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours above 0")
    return hours
