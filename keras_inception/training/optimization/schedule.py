"""The learning rate by step."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_inception.runs.recipe import Recipe


@keras.saving.register_keras_serializable("keras_inception")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from 0, then the recipe's schedule, counted in steps from 0.

    ``cosine`` falls to 0 at the last step, from the end of the rise; ``exponential`` is multiplied
    by ``decay_rate`` after every ``decay_epochs``, from the first step (TF-Slim's staircase);
    ``polynomial`` falls to 0 at the last step by the power ``decay_power`` of what is left (Caffe's
    ``poly``); ``constant`` stays. Keras has the first with a rise and the second without.

    Args:
        steps_per_epoch: of the training.
        epochs: that the schedule is for, at most the recipe's.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int, epochs: int) -> None:
        self.kind = recipe.schedule
        self.peak = recipe.learning_rate
        self.steps = steps_per_epoch * epochs
        self.warmup = min(round(recipe.warmup_epochs * steps_per_epoch), self.steps - 1)
        self.rate = 0.94 if recipe.decay_rate is None else recipe.decay_rate
        self.power = 1.0 if recipe.decay_power is None else recipe.decay_power
        self.every = steps_per_epoch * (2.0 if recipe.decay_epochs is None else recipe.decay_epochs)

    def get_config(self) -> dict[str, Any]:
        """What Keras keeps of it beside a model that a callback saves."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        """See ``get_config``."""
        schedule = cls.__new__(cls)
        schedule.__dict__.update(config)
        return schedule

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step: float32 []."""
        step = ops.cast(step, "float32")
        done = ops.clip((step - self.warmup) / (self.steps - self.warmup), 0, 1)
        if self.kind == "cosine":
            factor = (1 + ops.cos(math.pi * done)) / 2
        elif self.kind == "polynomial":
            factor = (1 - done) ** self.power
        elif self.kind == "exponential":
            # A little more than the quotient, which in float32 may fall short of a whole number.
            factor = self.rate ** ops.floor(step / self.every + 1e-6)
        else:
            factor = ops.ones(())
        if self.warmup:
            factor = ops.where(step < self.warmup, step / self.warmup, factor)
        return self.peak * factor

    def describe(self) -> str:
        """In words, for people."""
        rise = (
            f"from 0 to {self.peak:g} in {self.warmup} steps" if self.warmup else f"{self.peak:g}"
        )
        then = {
            "cosine": f"by a cosine to 0 at step {self.steps}",
            "exponential": f"times {self.rate:g} every {self.every:g} steps",
            "polynomial": f"to 0 at step {self.steps} by the power {self.power:g} of what is left",
            "constant": "level",
        }
        return f"{rise}, then {then[self.kind]}"
