"""``keras-inception train`` and ``keras-inception recipes``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inception_serving.server.startup import load_tensorflow_quietly
from inception_serving.text import one_line
from keras_inception.commands.arguments import (
    add_command,
    add_recipe_options,
    given_recipe,
    picture_file,
)
from keras_inception.commands.data import SOURCE, add_data_options, given_source
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.named_recipes import NOTES, RECIPES, load_recipe
from keras_inception.runs.packages import check_installed
from keras_inception.runs.recipe import Recipe
from keras_inception.training.devices.distribution import check_backend, check_devices
from keras_inception.training.devices.hosts import connected, given_hosts, leave


def add(commands: Any) -> None:
    """Declare both."""
    recipes = add_command(
        commands,
        "recipes",
        run_recipes,
        "list the named recipes, or print one as YAML",
        "What is printed can be changed and given to train --recipe.",
    )
    recipes.add_argument("name", metavar="NAME", nargs="?", choices=RECIPES, help="print this one")
    _add_train(commands)


def _add_train(commands: Any) -> None:
    """Its own arguments and every setting of the recipe."""
    train = add_command(
        commands,
        "train",
        run,
        "train a network on images of known classes",
        "Every setting of the recipe is an option too; without any it is the recipe `default`.",
    )
    train.add_argument("data", metavar="DATA", help=SOURCE)
    train.add_argument("--output", metavar="RUN", help="the run's folder, made here")
    train.add_argument(
        "--validation-data",
        metavar="DATA",
        help="images of the same classes to validate on, in place of a share of each class",
    )
    add_data_options(train)
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was stopped; with a recipe, begin it if there is none yet",
    )
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, and what it will take, from some seconds of training on one device;"
        " write nothing",
    )
    train.add_argument(
        "--find-learning-rate",
        type=picture_file,
        metavar="PNG",
        help="train 100 steps at a rising learning rate, draw their losses to this file and suggest"
        " a rate; write nothing else",
    )
    train.add_argument(
        "--no-fast",
        action="store_false",
        dest="fast",
        help="train by Keras's own operations on TensorFlow: slower, to the same numbers but for"
        " rounding",
    )
    train.add_argument(
        "--log",
        choices=["wandb", "mlflow"],
        help="follow the run in Weights & Biases or MLflow, where that is installed",
    )
    _add_scale_options(train)
    add_recipe_options(train)


def _add_scale_options(train: argparse.ArgumentParser) -> None:
    scale = train.add_argument_group("scale", "several devices, several hosts: docs/scale.md")
    scale.add_argument(
        "--devices",
        metavar="N|all",
        help="number of devices of each host to train on; by default all GPUs, or one CPU where"
        " there is none",
    )
    scale.add_argument(
        "--hosts",
        metavar="HOST:PORT,...",
        help="all hosts that train, the same list on each (KERAS_DISTRIBUTION_JOB_ADDRESSES);"
        " with KERAS_BACKEND=jax",
    )
    scale.add_argument(
        "--host-index",
        metavar="N",
        type=int,
        help="number of this host among --hosts, from 0 (KERAS_DISTRIBUTION_PROCESS_ID,"
        " SLURM_PROCID, JOB_COMPLETION_INDEX)",
    )


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
    start = time.monotonic()
    recipe = given_recipe(options, _recipe_to_resume(options) or RECIPES["default"])
    if recipe is None and not options.resume:
        recipe = RECIPES["default"]
    if not options.output and not (options.dry_run or options.find_learning_rate):
        raise RecipeError("The run needs a folder: --output RUN")
    hosts, index = given_hosts(options.hosts, options.host_index, os.environ)
    if "KERAS_BACKEND" in os.environ:  # before it is loaded, or fails to
        check_backend(os.environ["KERAS_BACKEND"], hosts)
    check_devices(options.devices)
    if options.log:
        check_installed(options.log, f"--log {options.log}")
    # TensorFlow's own choice where the processor has AVX512; a tenth faster elsewhere, too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    load_tensorflow_quietly()
    if options.dry_run:
        return _dry_run(options, recipe, start)
    if options.find_learning_rate:
        return _find_learning_rate(options, recipe)
    try:
        code = _train(options, recipe, hosts, index)
    except Exception as error:
        if not connected():
            raise
        if isinstance(error, (ValueError, OSError)) and not options.traceback:
            print(f"keras-inception train, host {index}: {one_line(str(error))}", file=sys.stderr)
        else:
            traceback.print_exc()
        leave(1)
    if code and connected():
        leave(code)
    return code


def _recipe_to_resume(options: argparse.Namespace) -> Recipe | None:
    """That of the run to go on with, of which settings given again are no change, if it has one."""
    if not (options.resume and options.output and Path(options.output, "run.json").is_file()):
        return None
    with contextlib.suppress(RecipeError):  # told with the run's format, when it is opened
        return load_recipe(str(Path(options.output, "recipe.yaml")))
    return None


def _train(
    options: argparse.Namespace,
    recipe: Recipe | None,
    hosts: Sequence[str],
    host_index: int | None,
) -> int:
    from keras_inception.runs.run import Terminated
    from keras_inception.training.cross_validation import cross_validate
    from keras_inception.training.tracking import Tracking
    from keras_inception.training.train import train

    source = given_source(options.data, options)
    given: dict[str, Any] = {
        "validation_data": options.validation_data,
        "on_bad_image": options.on_bad_image,
        "check_images": options.check_images,
        "resume": options.resume,
        "devices": options.devices,
        "fast": options.fast,
    }
    all_folds = recipe is not None and recipe.folds is not None and recipe.fold is None
    try:
        if recipe is not None and all_folds:
            if hosts or options.log:
                raise RecipeError("--hosts and --log are of one run: give the fold too, --fold N.")
            cross_validate(source, options.output, recipe, **given)
            print(f"The runs are in {options.output}; their measures in folds.json there")
            return 0
        with contextlib.ExitStack() as stack:
            callbacks = []
            if options.log and not host_index:
                callbacks = [stack.enter_context(Tracking(options.log, options.output))]
            finished = train(
                source,
                options.output,
                recipe,
                hosts=hosts,
                host_index=host_index,
                callbacks=callbacks,
                **given,
            )
    except KeyboardInterrupt:
        settings = "" if all_folds else ", without recipe and settings"
        print(f"\nStopped. To go on: the same command with --resume{settings}", file=sys.stderr)
        return 130
    except Terminated as ended:
        print(ended, file=sys.stderr)
        return 143
    print(f"The run is in {finished.path}; its curves in {finished.path / 'curves.png'}")
    return 0


def _find_learning_rate(options: argparse.Namespace, recipe: Recipe | None) -> int:
    from keras_inception.report.figures import losses_by_rate
    from keras_inception.training.rate_finder import find_learning_rate

    found = find_learning_rate(
        given_source(options.data, options),
        recipe,
        validation_data=options.validation_data,
        on_bad_image=options.on_bad_image,
        check_images=options.check_images,
        fast=options.fast,
    )
    chart = losses_by_rate(found.rates, found.losses, found.smoothed, found.suggested)
    chart.savefig(options.find_learning_rate, dpi=120)
    print(f"Drawn: {options.find_learning_rate}")
    return 0


def _dry_run(options: argparse.Namespace, recipe: Recipe | None, start: float) -> int:
    from keras_inception.training.estimate import estimate

    estimate(
        given_source(options.data, options),
        recipe,
        validation_data=options.validation_data,
        on_bad_image=options.on_bad_image,
        check_images=options.check_images,
        already=time.monotonic() - start,
        fast=options.fast,
    )
    print("Nothing was written.")
    return 0
