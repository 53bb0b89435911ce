"""Train a network: from the data to a finished run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import keras

from keras_inception.data.augment import Augmentation
from keras_inception.data.examples import listed
from keras_inception.data.pipeline import training_batches
from keras_inception.data.prepare import CheckImages, Prepared, prepare
from keras_inception.data.sources import Source
from keras_inception.training.checkpoint import restore_best
from keras_inception.training.evaluate import evaluate_model
from keras_inception.training.files import check_room, sync_folder
from keras_inception.training.finetune import momentum
from keras_inception.training.fit import Task, fit
from keras_inception.training.fused import fuse_batch_norm
from keras_inception.training.metrics import metrics_for
from keras_inception.training.network import build, inference, preprocessing_for
from keras_inception.training.recalibrate import BATCHES, recalibrate
from keras_inception.training.recipe import Recipe
from keras_inception.training.report import draw_curves, write_report
from keras_inception.training.run import Run, RunError, create_run, open_run
from keras_inception.training.settings import RecipeError
from keras_inception.training.tensorboard import MOST_CLASSES


def train(
    data: Source,
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    validation_data: Source | None = None,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    check_images: CheckImages = "auto",
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Run:
    """Train a network on images of known classes.

    Args:
        data: the training images, such as a folder ``data/CLASS/IMAGE``; see
            :func:`~keras_inception.data.sources.open_source`.
        output: the run's folder, made here.
        recipe: how; the default recipe if not given, the run's own when resuming.
        validation_data: images to validate on, with the same classes; by default the recipe's
            ``validation_fraction`` of each class is set apart.
        on_bad_image: whether files that can't be decoded are left out and named, or refused.
        check_images: whether each is decoded once before; ``"auto"``, ``"all"`` or ``"none"``, see
            :func:`~keras_inception.data.prepare.prepare`.
        resume: go on with the run in ``output`` from its last checkpoint; where there is none yet
            and a recipe is given, begin it, and one that has finished is left as it is: so one
            command does for every start.
        say: takes each line about the data, the epochs and the result.

    Returns:
        The finished run, whose ``load_model()`` is the network of the epoch with the lowest
        validation loss (the last epoch if nothing is set apart).

    Raises:
        DataError: the images can't be used.
        ValueError: there is no such network, or it refuses a setting of the recipe.
        RunError: ``output`` exists or can't be resumed, or the loss is no longer a number.
        Terminated: on SIGTERM, when the state has been kept.
        OSError: the disk has no room for the checkpoints.
    """
    run, recipe = _open(output, recipe, resume)
    if run is not None and run.finished:
        say(f"The run {output} has finished; there is nothing to resume.")
        return run
    prepared = prepare(
        data,
        validation_data,
        validation_fraction=recipe.validation_fraction,
        seed=recipe.seed,
        on_bad_image=on_bad_image,
        check_images=check_images,
        say=say,
    )
    if run is not None:
        run.check_data(prepared)
    with surroundings(recipe):
        task = begin(recipe, prepared, say)
        if run is None:
            check_room(_existing(Path(output)), room_needed(task))
            run = create_run(output, recipe, prepared, task.how)
        fit(task, run, say)
        if task.unreadable:
            names = [prepared.training.images.name(number) for number in sorted(task.unreadable)]
            say(f"{len(names)} images could not be read and were left out: {listed(names)}")
            run.update_record(left_out_in_training=names)
        finish(task, run, say)
    return run


def _open(output: str | Path, recipe: Recipe | None, resume: bool) -> tuple[Run | None, Recipe]:
    """The run to go on with, if there is one, and the recipe."""
    new = recipe is not None and not (Path(output) / "run.json").exists()
    if not resume or new:
        return None, recipe or Recipe()
    run = open_run(output)
    if recipe is not None and recipe != run.recipe:
        raise RunError(f"A run is resumed with its own recipe, {output}/recipe.yaml.")
    return run, run.recipe


@contextlib.contextmanager
def surroundings(recipe: Recipe) -> Iterator[None]:
    """Keras and TensorFlow as the recipe wants them, and afterwards as they were."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic and keras.config.backend() == "tensorflow":
        import tensorflow as tf

        # For the rest of the process: TensorFlow has no way back.
        tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def begin(recipe: Recipe, data: Prepared, say: Callable[[str], None]) -> Task:
    """Build the network for the data.

    Raises:
        ValueError: there is no such network, or it refuses a setting of the recipe.
    """
    training = data.training
    if recipe.early_stopping_epochs is not None and not len(data.validation):
        raise RecipeError(
            "`early_stopping_epochs` needs validation images."
            f" Received: early_stopping_epochs={recipe.early_stopping_epochs}"
        )
    batch_size = min(recipe.batch_size, len(training))
    if batch_size < recipe.batch_size:
        say(f"A batch is all of the {batch_size} training images.")
    classes = len(training.labels)
    model = build(
        recipe,
        classes,
        momentum(recipe, len(training) // batch_size),
        multi_label=training.multi_label,
    )
    fuse_batch_norm(model)
    how = preprocessing_for(recipe, model.input_shape[1])
    say(f"{model.name}, {how.size} x {how.size} pixels, {model.count_params():,} parameters")
    drawn = len(data.validation) > 0 and classes <= MOST_CLASSES
    metrics = metrics_for(classes, training.multi_label, confusion=drawn)
    return Task(recipe, data, model, how, batch_size, metrics)


def room_needed(task: Task) -> int:
    """Bytes of disk for the best and the last checkpoint, a new one beside it, and the result."""
    copies = {"sgd": 2, "rmsprop": 3}.get(task.recipe.optimizer, 3) + (task.recipe.ema is not None)
    return 4 * task.model.count_params() * (2 * copies + 2)


def finish(task: Task, run: Run, say: Callable[[str], None]) -> None:
    """Keep the best epoch's network, measured; the run is then finished."""
    recipe, validation = task.recipe, task.data.validation
    restore_best(run.path, task.model)
    if recipe.recalibrate:
        # Shuffled, since a batch of one class alone has other statistics; not augmented.
        batches = training_batches(
            task.data.training,
            task.how,
            Augmentation(),
            batch_size=task.batch_size,
            epochs=1,
            seed=recipe.seed,
            cache_megabytes=0,
        )
        recalibrate(task.model, batches.take(BATCHES))
    network = inference(task.model)
    result, metrics = None, {}
    if len(validation):
        result = evaluate_model(
            network, run.labels, task.how, validation, batch_size=task.batch_size
        )
        metrics = {name: value for name, value in result.metrics.items() if value is not None}
        say("Validation: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    run.update_record(validation=metrics)
    draw_curves(run.path / "history.csv", run.path / "curves.png")
    write_report(
        run,
        examples=validation,
        measured_on="the run's validation images",
        model=network,
        result=result,
    )
    # Last, since a run with a model.keras counts as finished.
    beside = run.path / "model.tmp.keras"
    network.save(beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, run.model_path)
    sync_folder(run.path)


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())
