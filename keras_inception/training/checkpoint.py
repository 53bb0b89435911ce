"""The complete state of a training, on disk after every epoch, so that a killed run goes on.

Keras's own files leave out the random state of dropout and augmentation layers; here are all of
the model's variables, seed generators included, and all of the optimizer's.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np


class Checkpoints(keras.callbacks.Callback):
    """Keep the last epoch's state and the best epoch's weights in ``run/checkpoints``.

    Also writes ``history.csv``, so that history and state never disagree after a kill.

    Args:
        monitor: the metric that decides which epoch is the best, the lower the better; ``None``
            keeps the last one.
        history: the epochs before this one, of a run that is resumed.
    """

    def __init__(
        self, run: Path, monitor: str | None, history: Sequence[dict[str, float]] = ()
    ) -> None:
        super().__init__()
        self.run = run
        self.monitor = monitor
        self.history = list(history)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {
            "epoch": float(epoch + 1),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        best = (
            min((past[self.monitor] for past in self.history), default=np.inf)
            if self.monitor
            else np.inf
        )
        self.history.append(row)
        if self.monitor is None or row[self.monitor] < best:
            _write(self.run / "checkpoints" / "best.npz", _arrays(self.model.variables))
        _write(
            self.run / "checkpoints" / "last.npz",
            _arrays(self.model.variables, "model_")
            | _arrays(self.model.optimizer.variables, "optimizer_")
            | {"history": np.array([list(past.values()) for past in self.history])}
            | {"history_names": np.array(list(row))},
        )
        with (self.run / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(self.history)


def restore_last(run: Path, model: keras.Model) -> list[dict[str, float]]:
    """Put the last epoch's state back into a model compiled and built as it was.

    Returns:
        The history of the epochs behind it; empty if no epoch had ended, and then nothing changed.
    """
    path = run / "checkpoints" / "last.npz"
    if not path.exists():
        return []
    with np.load(path) as arrays:
        _assign(model.variables, arrays, "model_")
        _assign(model.optimizer.variables, arrays, "optimizer_")
        names = [str(name) for name in arrays["history_names"]]
        return [dict(zip(names, map(float, row), strict=True)) for row in arrays["history"]]


def restore_best(run: Path, model: keras.Model) -> None:
    """Put the best epoch's weights into the model."""
    with np.load(run / "checkpoints" / "best.npz") as arrays:
        _assign(model.variables, arrays)


def _arrays(variables: Sequence[Any], prefix: str = "") -> dict[str, np.ndarray]:
    return {
        f"{prefix}{index}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(variables)
    }


def _assign(variables: Sequence[Any], arrays: Any, prefix: str = "") -> None:
    for index, variable in enumerate(variables):
        variable.assign(arrays[f"{prefix}{index}"])


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write beside and rename into place: at ``path`` is always a whole file, old or new."""
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
