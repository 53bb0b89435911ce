"""Callbacks of a run: what it tells while it goes on, and what asks it to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import keras
import numpy as np

from keras_inception.runs.recipe import Recipe
from keras_inception.training.best_epoch import BestEpochMetric
from keras_inception.training.checkpoint import Checkpoints, TrainingState


class Progress(keras.callbacks.Callback):
    """A line an epoch: what was measured, images a second and the time that the run still needs.

    Where Keras's bar shows the measures, the line has the rest.

    Args:
        steps: an epoch.
        batch_size: images a step.
        epochs: of the run.
        rate: tells the learning rate of the last step.
        log: takes the line.
        bar: whether Keras's bar is shown.
    """

    def __init__(
        self,
        steps: int,
        batch_size: int,
        epochs: int,
        rate: Callable[[], float],
        log: Callable[[str], None],
        bar: bool = False,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.batch_size = batch_size
        self.epochs = epochs
        self.rate = rate
        self.log = log
        self.bar = bar
        self._begun = self._ended = 0.0
        self._timed = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._timed = -1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # From the end of the first step, which may have been traced.
        self._ended = time.monotonic()
        self._timed += 1
        if self._timed == 0:
            self._begun = self._ended

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        parts = []
        if not self.bar:
            parts = [f"Epoch {epoch + 1}/{self.epochs}: {_measures(logs or {})}"]
        parts.append(f"learning rate {self.rate():.3g}")
        left = self.epochs - epoch - 1
        if self._timed > 0:
            a_step = (self._ended - self._begun) / self._timed
            parts.append(f"{self.batch_size / a_step:.4g} images/s")
            if left:
                an_epoch = a_step * self.steps + now - self._ended
                parts.append(f"{duration(left * an_epoch)} left")
        self.log("; ".join(parts))


def _measures(logs: Mapping[str, float]) -> str:
    """``loss 0.5, accuracy 0.9; validation loss 0.6, accuracy 0.8``"""
    told = {}
    for begin in ("", "val_"):
        names = [name for name in logs if name.startswith("val_") == bool(begin)]
        # The loss, the classifier's measures, those of auxiliary heads; losses first.
        names.sort(
            key=lambda name: (
                name.removeprefix(begin) != "loss",
                "aux_" in name,
                not name.endswith("loss"),
            )
        )
        told[begin] = ", ".join(f"{name.removeprefix(begin)} {logs[name]:.4f}" for name in names)
    return told[""] + (f"; validation {told['val_']}" if told["val_"] else "")


class Bar(keras.callbacks.ProgbarLogger):
    """Keras's bar, counting to the run's last epoch, where a ``fit`` may have an earlier one."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.of = epochs

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params | {"epochs": self.of})


class EarlyStopping(keras.callbacks.Callback):
    """End the ``fit`` when :func:`stops_early` says so."""

    def __init__(
        self, state: TrainingState, early_stopping_metric: BestEpochMetric | None, recipe: Recipe
    ) -> None:
        super().__init__()
        self.state = state
        self.early_stopping_metric = early_stopping_metric
        self.recipe = recipe

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if stops_early(self.state.history, self.early_stopping_metric, self.recipe):
            self.model.stop_training = True


def stops_early(
    history: Sequence[dict[str, float]],
    early_stopping_metric: BestEpochMetric | None,
    recipe: Recipe,
) -> bool:
    """Whether the best value of the metric is as old as the recipe allows.

    A function of the history alone, so a run that is resumed stops where it would have stopped.
    The epochs of the classifier alone do not count.
    """
    if recipe.early_stopping_epochs is None or early_stopping_metric is None:
        return False
    counted = history[recipe.head_epochs :]
    values = [early_stopping_metric.cost(row) for row in counted]
    return (
        len(values) > 0 and len(values) - 1 - int(np.argmin(values)) >= recipe.early_stopping_epochs
    )


class StopTogether(keras.callbacks.Callback):
    """On SIGTERM to one of several hosts, let all of them end after the same step.

    JAX takes the signal and finds the step.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__()
        self.checkpoints = checkpoints

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        state = self.checkpoints.state
        step = state.epoch * self.checkpoints.steps + state.step + 1
        self.checkpoints.terminated |= reached_preemption_sync_point(step)


@contextlib.contextmanager
def ending_on_sigterm(checkpoints: Checkpoints) -> Iterator[None]:
    """On SIGTERM finish the step, keep the state, and end; in a thread change nothing."""

    def ask(number: int, frame: FrameType | None) -> None:
        checkpoints.terminated = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_callbacks(callbacks: Any) -> None:
    """Refuse what Keras would fail at after the images have been read.

    Raises:
        ValueError: they are no list of Keras callbacks.
    """
    several = isinstance(callbacks, list | tuple)
    for each in callbacks if several else [callbacks]:
        if not (several and isinstance(each, keras.callbacks.Callback)):
            raise ValueError(
                "`callbacks` must be a list of Keras callbacks, objects of a subclass of"
                f" keras.callbacks.Callback. Received: {each!r}"
            )


def duration(seconds: float) -> str:
    """In words: ``40 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
