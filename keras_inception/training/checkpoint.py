"""The complete state of a training, on disk, so that a run killed at any moment goes on.

Keras's own files leave out the random state of dropout and augmentation layers; here are all of
the model's variables, seed generators included, all of the optimizer's, the moving averages, and
how far the run has come. A file is written beside its place and renamed into it, so there is a
whole one at every moment, also for the next start after a power failure.

checkpoints/last.npz
  format              the number of this list; without it, 1
  position            epochs and steps behind it
  phase               what the optimizer's variables belong to
  model_0 ...         in the order of ``model.variables``
  optimizer/PATH      by Keras's path, such as ``sgd/conv1_kernel_momentum``; in format 1
                      optimizer_0 ..., in the order of ``optimizer.variables``
  average_0 ...       in the order of ``model.weights``
  metric_0 ...        in the order of ``model.metrics_variables``
  history_names, history
checkpoints/best.npz
  0 ...               in the order of ``model.weights``
"""

from __future__ import annotations

import contextlib
import csv
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.runs.files import atomic_write, check_disk_space
from keras_inception.runs.run import RunError, Terminated
from keras_inception.training.best_epoch import BestEpochMetric
from keras_inception.training.devices.distribution import sync_variables
from keras_inception.training.optimization.averages import Averages
from keras_inception.training.optimization.finetune import Phase

FORMAT = 2


class Diverged(FloatingPointError):
    """The loss or a weight is no number."""


@dataclass
class TrainingState:
    """How far a run has come.

    Args:
        epoch: epochs behind it.
        step: steps behind it in the epoch after these.
        history: what is known of each epoch, its number from 1 as ``"epoch"``.
        phase: what the optimizer's variables belong to.
        metrics: sums over the steps of an epoch that has begun, in the order of
            ``model.metrics_variables``.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    phase: Phase = "all"
    metrics: list[np.ndarray] = field(default_factory=list)


class Checkpoints(keras.callbacks.Callback):
    """Keep the last state and the best epoch's weights in ``run/checkpoints``.

    Also writes ``history.csv``, so that history and state never disagree after a kill. A loss or a
    weight that is no number raises :class:`Diverged`, and nothing of it is kept.

    Args:
        state: kept up to date here.
        steps: an epoch.
        best_epoch_metric: what decides which epoch is the best; ``None`` keeps the last one.
        averages: what the best weights are, if there are any.
        minutes: between two checkpoints within an epoch; ``None`` for none.
        writes: whether this host keeps anything, or another does.
    """

    def __init__(
        self,
        run: Path,
        state: TrainingState,
        steps: int,
        best_epoch_metric: BestEpochMetric | None,
        averages: Averages | None,
        minutes: float | None,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.run = run
        self.state = state
        self.steps = steps
        self.best_epoch_metric = best_epoch_metric
        self.averages = averages
        self.seconds = np.inf if minutes is None else 60 * minutes
        self.writes = writes
        self.terminated = False  # whether the process has been asked to end
        self._carried = state.metrics
        self._written = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch != self.state.epoch:
            self.state.epoch, self.state.step = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.state.step += 1
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            raise Diverged("The loss is no number")
        # Metrics are sums from zero, so those of the steps before the run was stopped may as well
        # be added after the first step that follows; only then do the variables exist.
        if self._carried:
            sync_variables(self.model)
            for variable, before in zip(self.model.metrics_variables, self._carried, strict=True):
                variable.assign(variable + before)
            self._carried = []
        due = self.terminated or time.monotonic() - self._written >= self.seconds
        if due and self.state.step < self.steps:
            sync_variables(self.model)
            self._check_finite()
            self.state.metrics = [
                keras.ops.convert_to_numpy(each) for each in self.model.metrics_variables
            ]
            self._write_last()
            self._end_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._check_finite()
        history, metric = self.state.history, self.best_epoch_metric
        best = np.inf if metric is None else metric.lowest(history)
        row = {"epoch": epoch + 1.0} | _numbers(logs or {})
        # While none is a number, which half precision can bring about, the last is the best.
        if metric is None or best == np.inf or metric.cost(row) < best:
            weights = self.averages.variables if self.averages else self.model.weights
            self._write("best.npz", numbered(weights))
        history.append(row)
        self.state.epoch, self.state.step, self.state.metrics = epoch + 1, 0, []
        self._write_last()
        if self.writes:
            write_history(self.run, history)
        self._end_if_asked()

    def _write(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        if self.writes:
            write_arrays(self.run / "checkpoints" / name, arrays)

    def _write_last(self) -> None:
        state = self.state
        names = _columns(state.history)
        self._write(
            "last.npz",
            {"format": np.array(FORMAT)}
            | numbered(self.model.variables, "model_")
            | by_path(self.model.optimizer.variables, "optimizer/")
            | numbered(self.averages.variables if self.averages else [], "average_")
            | numbered(state.metrics, "metric_")
            | {
                "position": np.array([state.epoch, state.step]),
                "phase": np.array(state.phase),
                "history_names": np.array(names, np.str_),
                "history": np.array(
                    [[row.get(name, math.nan) for name in names] for row in state.history]
                ),
            },
        )
        self._written = time.monotonic()

    def _check_finite(self) -> None:
        """Never keep what can't be gone on from.

        Raises:
            Diverged: a weight is no number.
        """
        for weight in self.model.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                raise Diverged(f"{weight.path} holds what is no number")

    def _end_if_asked(self) -> None:
        if self.terminated:
            raise Terminated(self.run)


def has_checkpoint(run: Path) -> bool:
    """Whether a run has come as far as its first."""
    return (run / "checkpoints" / "last.npz").exists()


def read_state(run: Path) -> TrainingState:
    """The state that a run was last kept in; a new one if it had not come that far.

    Raises:
        RunError: the file can't be read, or is of a later format.
    """
    if not has_checkpoint(run):
        return TrainingState()
    path = run / "checkpoints" / "last.npz"
    with _open(path) as arrays:
        if _format(arrays) > FORMAT:
            raise RunError(
                f"{path} is of format {_format(arrays)}, of a later version of keras-inception;"
                f" this one goes on from formats up to {FORMAT}."
            )
        names = arrays["history_names"].tolist()
        epoch, step = arrays["position"].tolist()
        return TrainingState(
            epoch,
            step,
            [dict(zip(names, row, strict=True)) for row in arrays["history"].tolist()],
            arrays["phase"].item(),
            [arrays[f"metric_{index}"] for index in range(_count(arrays, "metric_"))],
        )


def restore_last(run: Path, model: keras.Model, averages: Averages | None, phase: Phase) -> None:
    """Put the last state back into a model compiled and built as it was; without one do nothing.

    The optimizer of another phase stays as it is, new.

    Raises:
        RunError: the state is of another model or optimizer.
    """
    if not has_checkpoint(run):
        return
    path = run / "checkpoints" / "last.npz"
    with _open(path) as arrays:
        _assign(numbered(model.variables, "model_"), arrays)
        if arrays["phase"].item() == phase:
            variables = model.optimizer.variables
            in_order = _format(arrays) == 1
            _assign(
                numbered(variables, "optimizer_") if in_order else by_path(variables, "optimizer/"),
                arrays,
            )
        if averages:
            _assign(numbered(averages.variables, "average_"), arrays)


def best_weights(run: Path) -> list[np.ndarray]:
    """The best epoch's weights, in the order of ``model.weights``."""
    with _open(run / "checkpoints" / "best.npz") as arrays:
        return [arrays[str(index)] for index in range(len(arrays))]


def write_history(run: Path, history: Sequence[dict[str, float]]) -> None:
    """Write ``history.csv``, a line an epoch."""
    if not history:
        return
    with atomic_write(run / "history.csv", "w") as file:
        writer = csv.DictWriter(file, _columns(history), restval=math.nan)
        writer.writeheader()
        writer.writerows(history)


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """What was measured of an epoch; a user's callback may have added what is no number."""
    found = {}
    for name, value in logs.items():
        with contextlib.suppress(TypeError, ValueError):
            found[name] = float(value)
    return found


def _columns(history: Sequence[Mapping[str, float]]) -> list[str]:
    """The names of all that is known of some epoch: a user's callback need not add to each."""
    return list(dict.fromkeys(name for row in history for name in row))


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write an .npz, one array after the other, so that memory never holds them all.

    Args:
        arrays: numpy arrays, or variables.

    Raises:
        OSError: the disk has no room for it; what was there before still is.
    """
    numbers = sum(math.prod(each.shape) for each in arrays.values())
    check_disk_space(path.parent, 4 * numbers + 1000 * len(arrays))
    with atomic_write(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(
                    entry, keras.ops.convert_to_numpy(array), allow_pickle=False
                )


def numbered(variables: Sequence[Any], prefix: str = "") -> dict[str, Any]:
    """The variables under their numbers."""
    return {f"{prefix}{index}": variable for index, variable in enumerate(variables)}


def by_path(variables: Sequence[Any], prefix: str = "") -> dict[str, Any]:
    """The variables under Keras's paths for them, which must differ."""
    named = {f"{prefix}{variable.path}": variable for variable in variables}
    if len(named) < len(variables):
        raise ValueError(f"Two variables have one path among {', '.join(named)}")
    return named


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            yield arrays
    except RunError:
        raise
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} can't be read as a checkpoint of this run: {error}") from error


def _count(arrays: Any, prefix: str) -> int:
    return sum(name.startswith(prefix) for name in arrays)


def _format(arrays: Any) -> int:
    return int(arrays["format"]) if "format" in arrays else 1


def _assign(variables: dict[str, Any], arrays: Any) -> None:
    for name, variable in variables.items():
        variable.assign(arrays[name])
