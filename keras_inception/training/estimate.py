"""Estimate of what a training will take, from some of its steps: ``train --dry-run``."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_inception.data.preparation.prepare import CheckImages
from keras_inception.data.sources.source import Source
from keras_inception.renamed import renamed
from keras_inception.runs.machine import leave_gpus_to_keras
from keras_inception.runs.recipe import Recipe, check_recipe
from keras_inception.training.callbacks import duration
from keras_inception.training.devices.precision import choose_precision
from keras_inception.training.fit import TrainingJob
from keras_inception.training.metrics import ConfusionAccuracy
from keras_inception.training.network import inference
from keras_inception.training.optimization.averages import Averages
from keras_inception.training.optimization.finetune import Phase
from keras_inception.training.optimization.schedule import Schedule
from keras_inception.training.tensorboard import draw_confusion
from keras_inception.training.train import (
    build_job,
    disk_space_needed,
    keras_settings,
    prepare_for,
)

_SECONDS = 6.0  # how long steps are timed, of each kind
_DISK_SPEED = 200e6  # bytes a second, of checkpoints


@dataclass(frozen=True)
class Estimate:
    """What a training will take on this machine.

    Args:
        seconds: from the start of the command to its end, all epochs run.
        first_step_seconds: from the start to the end of the first step.
        images_per_second: in the steps after it.
        memory_bytes: of the process, at its largest.
        disk_bytes: of the run's folder, at its largest.
        parameters: of the network.
        trained_parameters: those that change.
        steps: of the whole run.
    """

    seconds: float
    first_step_seconds: float
    images_per_second: float
    memory_bytes: int
    disk_bytes: int
    parameters: int
    trained_parameters: int
    steps: int


@renamed(say="log")
def estimate(
    data: Source,
    recipe: Recipe | None = None,
    *,
    validation_data: Source | None = None,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    check_images: CheckImages = "auto",
    already: float = 0.0,
    fast: bool = True,
    log: Callable[[str], None] = print,
) -> Estimate:
    """Train for some seconds, on the real data, and tell what all of it will take.

    Nothing is written, and one device is measured. The arguments are
    :func:`~keras_inception.training.train.train`'s.

    Args:
        already: seconds that a run, too, will have spent before, such as on imports.
        fast: as :func:`~keras_inception.training.train.train` takes it.
        log: takes each line of the plan.

    Raises:
        DataError: the images can't be used.
        ValueError: there is no such network, or it refuses a setting of the recipe.
    """
    check_recipe(recipe)
    start = time.monotonic() - already
    leave_gpus_to_keras()
    recipe = choose_precision(recipe or Recipe(), log)
    if recipe.folds is not None and recipe.fold is None:
        recipe = recipe.with_changes({"fold": 1})
        log(f"The first of {recipe.folds} folds; all of them take {recipe.folds} times as long.")
    prepared = prepare_for(
        recipe,
        data,
        validation_data,
        on_bad_image=on_bad_image,
        check_images=check_images,
        log=log,
    )
    if recipe.image_size_start is not None:
        log("Measured at the full size of the images; the smaller ones before take less.")
        recipe = recipe.with_changes({"image_size_start": None, "image_size_stages": None})
    with keras_settings(recipe):
        job = build_job(recipe, prepared, log, fast=fast)
        seconds = time.monotonic() - start
        first_step, a_step = 0.0, 1.0
        for phase, epochs in _phases(recipe):
            job.compile(phase)
            first, early, a_step = _time_steps(job, epochs)
            first_step = first_step or seconds + first
            seconds += first + early * (job.steps - 1) + a_step * job.steps * (epochs - 1)
        after_first, each_epoch = _time_epoch_end(job)
        seconds += after_first + each_epoch * recipe.epochs
        trained = sum(math.prod(each.shape) for each in job.model.trainable_variables)
        result = Estimate(
            seconds=seconds,
            first_step_seconds=first_step,
            images_per_second=job.batch_size / a_step,
            memory_bytes=_peak_memory(),
            disk_bytes=disk_space_needed(job),
            parameters=job.model.count_params(),
            trained_parameters=trained,
            steps=job.steps * recipe.epochs,
        )
        for line in _plan(job, result):
            log(line)
    return result


def _phases(recipe: Recipe) -> Iterator[tuple[Phase, int]]:
    """Each phase with its epochs."""
    if recipe.head_epochs:
        yield "head", recipe.head_epochs
    if recipe.epochs > recipe.head_epochs:
        yield "all", recipe.epochs - recipe.head_epochs


class _Clock(keras.callbacks.Callback):
    """End a ``fit`` when enough steps have been timed."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append(time.monotonic())
        if len(self.ends) >= 4 and self.ends[-1] - self.ends[0] > _SECONDS:
            self.model.stop_training = True


def _time_steps(job: TrainingJob, epochs: int) -> tuple[float, float, float]:
    """Seconds to the end of the first step, of a step in the first epoch, and of a later one.

    Later epochs may find decoded images in memory. They count as the first, if that is too long to
    see its end here.
    """
    clock = _Clock()
    callbacks: list[Any] = [clock]
    if job.recipe.ema is not None:
        callbacks.insert(0, Averages(job.model, job.recipe.ema))
    start = time.monotonic()
    job.model.fit(
        job.batches(epochs),
        epochs=epochs,
        steps_per_epoch=job.steps,
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    )
    first = clock.ends[0] - start
    seconds = np.diff(clock.ends)
    if not len(seconds):
        return first, 0.0, first
    early, late = seconds[: job.steps - 1], seconds[job.steps - 1 :]
    if not len(early):
        return first, 0.0, float(np.mean(late))
    # The second finds batches that were made while the first was traced.
    early_mean = float(np.mean(early[1:] if len(early) > 1 else early))
    return first, early_mean, float(np.mean(late)) if len(late) >= 4 else early_mean


def _time_epoch_end(job: TrainingJob) -> tuple[float, float]:
    """Seconds once a run, and after every epoch: validation, pictures, checkpoints, the result."""
    written = disk_space_needed(job) / 2 / _DISK_SPEED
    held_out = job.held_out()
    if held_out is None:
        return 1.0 + written, written
    start = time.monotonic()
    job.model.evaluate(held_out.take(1), verbose=0)
    pictures = 0.0
    if any(isinstance(each, ConfusionAccuracy) for each in job.metrics):
        labels = job.data.training.labels
        for _ in range(2):  # the first time loads what draws it
            begun = time.monotonic()
            draw_confusion(np.eye(len(labels)), labels)
            pictures = time.monotonic() - begun
        job.pictures()
    inference(job.model).predict(held_out.take(1), verbose=0)
    once = time.monotonic() - start
    batches = math.ceil(len(job.data.validation) / job.batch_size)
    some = min(batches, 10)
    start = time.monotonic()
    job.model.evaluate(held_out.take(some), verbose=0)
    validation = (time.monotonic() - start) * batches / some
    return once + validation + written + 1.0, validation + pictures + written


def _peak_memory() -> int:
    """Bytes: the largest that this process has been."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _plan(job: TrainingJob, result: Estimate) -> Iterator[str]:
    recipe = job.recipe
    yield f"Parameters: {result.parameters:,}, of which {result.trained_parameters:,} are trained"
    yield (
        f"Steps: {job.steps} of {job.batch_size} images an epoch, {recipe.epochs} epochs:"
        f" {result.steps:,}"
    )
    if recipe.head_epochs:
        rate = job.learning_rate("head")
        yield f"Learning rate: {rate:g} in {recipe.head_epochs} epochs of the classifier alone"
    if recipe.epochs > recipe.head_epochs:
        schedule: Schedule = job.learning_rate("all")
        yield f"Learning rate: {schedule.describe()}, by {recipe.optimizer}"
    yield f"Memory: {result.memory_bytes / 1e9:.2g} GB; disk: {result.disk_bytes / 1e9:.2g} GB"
    yield (
        f"Time: {duration(result.seconds)} in all, the first step after"
        f" {duration(result.first_step_seconds)}, then {result.images_per_second:.3g} images/s"
    )
