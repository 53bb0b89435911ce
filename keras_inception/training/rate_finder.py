"""The learning rate range test: the loss of some steps in which the learning rate rises.

Smith, arXiv:1506.01186, section 3.3: from a rate at which nothing happens to one at which the loss
grows. A good peak lies where it falls, below the rate of its lowest point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_inception.data.preparation.prepare import CheckImages
from keras_inception.data.sources.source import Source
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.machine import leave_gpus_to_keras
from keras_inception.runs.recipe import Recipe, check_recipe
from keras_inception.training.devices.precision import choose_precision
from keras_inception.training.network import compile_network
from keras_inception.training.train import build_job, keras_settings, prepare_for

_SMOOTHING = 0.9  # of the losses; they are few
_DIVERGED = 4.0  # times the lowest loss


@dataclass(frozen=True)
class RateFinding:
    """What the test saw, a value a step, up to where the loss diverged.

    Args:
        rates: float64 [steps], rising.
        losses: float64 [steps], of each step's batch.
    """

    rates: np.ndarray
    losses: np.ndarray

    @property
    def smoothed(self) -> np.ndarray:
        """Moving averages of the losses, corrected for their start: float64 [steps]."""
        averages, average = [], 0.0
        for step, loss in enumerate(self.losses, 1):
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            averages.append(average / (1 - _SMOOTHING**step))
        return np.array(averages)

    @property
    def suggested(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest, as fastai's, in two digits."""
        return float(f"{self.rates[self.smoothed.argmin()] / 10:.1e}")


class _Rising(keras.optimizers.schedules.LearningRateSchedule):
    """From the lowest to the highest rate, each step by the same factor."""

    def __init__(self, lowest: float, highest: float, steps: int) -> None:
        self.lowest = lowest
        self.exponent = math.log(highest / lowest) / max(steps - 1, 1)

    def __call__(self, step: Any) -> Any:
        return self.lowest * ops.exp(self.exponent * ops.cast(step, "float32"))


class _Losses(keras.callbacks.Callback):
    """The loss of each step, of which Keras tells the mean; end where it has diverged."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self._sum = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._sum = 0.0
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps += 1
        whole = float((logs or {})["loss"]) * self._steps
        loss, self._sum = whole - self._sum, whole
        if not math.isfinite(loss) or (
            len(self.losses) > 10 and loss > _DIVERGED * min(self.losses)
        ):
            self.model.stop_training = True
        else:
            self.losses.append(loss)


def find_learning_rate(
    data: Source,
    recipe: Recipe | None = None,
    *,
    lowest: float = 1e-5,
    highest: float = 10.0,
    steps: int = 100,
    validation_data: Source | None = None,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    check_images: CheckImages = "auto",
    fast: bool = True,
    log: Callable[[str], None] = print,
) -> RateFinding:
    """Train some steps at a rising learning rate, all layers that the recipe trains, on one device.

    Nothing is written. The other arguments are :func:`~keras_inception.training.train.train`'s.

    Args:
        lowest: the first step's learning rate.
        highest: the last one's, which it seldom comes to.
        steps: how many; the images are gone through as often as that takes.

    Raises:
        DataError: the images can't be used.
        ValueError: there is no such network, it refuses a setting of the recipe, or the loss is no
            number from the first step, or falls at none.
    """
    check_recipe(recipe)
    if not (0 < lowest < highest < math.inf and steps > 1):
        raise ValueError(
            "`lowest` and `highest` must rise from above 0, and `steps` be at least 2. Received:"
            f" lowest={lowest}, highest={highest}, steps={steps}"
        )
    leave_gpus_to_keras()
    recipe = choose_precision(recipe or Recipe(), log)
    if recipe.folds is not None and recipe.fold is None:
        recipe = recipe.with_changes({"fold": 1})  # one of them is as good as another
    if recipe.gradient_accumulation_steps > 1:
        raise RecipeError(
            "`gradient_accumulation_steps` must be 1 to look for a learning rate, with a batch_size"
            " so many times as large. Received: gradient_accumulation_steps="
            f"{recipe.gradient_accumulation_steps}"
        )
    prepared = prepare_for(
        recipe,
        data,
        validation_data,
        on_bad_image=on_bad_image,
        check_images=check_images,
        log=log,
    )
    with keras_settings(recipe):
        job = build_job(recipe, prepared, log, fast=fast)
        rising = _Rising(lowest, highest, steps)
        compile_network(job.model, recipe, rising, [], loss=job.loss(), fast=fast)
        epochs = math.ceil(steps / job.steps)
        seen = _Losses()
        job.model.fit(
            job.batches(epochs).take(steps), steps_per_epoch=steps,
            shuffle=False, callbacks=[seen], verbose=0,
        )  # fmt: skip
    found = _found(seen.losses, lowest, rising)
    log(
        f"Learning rate {found.suggested:g}: a tenth of where the loss is lowest, of"
        f" {len(found.rates)} steps from {lowest:g} to {found.rates[-1]:.2g}"
    )
    return found


def _found(losses: list[float], lowest: float, rising: _Rising) -> RateFinding:
    """What the steps showed.

    Raises:
        RecipeError: there is no loss, or it does not fall.
    """
    if not losses:
        raise RecipeError(
            f"The loss is no number at the first step, at a learning rate of {lowest:g}."
        )
    rates = lowest * np.exp(rising.exponent * np.arange(len(losses)))
    found = RateFinding(rates, np.array(losses))
    if found.smoothed.argmin() == 0:
        raise RecipeError(
            f"The loss falls at no learning rate from {lowest:g} to {found.rates[-1]:.2g}, so none"
            " can be suggested: lower ones, more steps or a larger batch_size may show one."
        )
    return found
