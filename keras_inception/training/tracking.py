"""A run followed in Weights & Biases or MLflow, where one of them is installed: ``train --log``.

What is kept there is what the run's folder holds: the recipe, the measures of every epoch, those of
the result. A run that goes on, goes on there too; where it is kept there, run.json says.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras

from keras_inception.runs.fields import RecipeError
from keras_inception.runs.packages import check_installed
from keras_inception.runs.run import Run, RunError, open_run

TRACKERS = ("wandb", "mlflow")


class Tracker(Protocol):
    """What both of them do."""

    def start(self, name: str, settings: Mapping[str, Any], identity: str | None) -> str:
        """Begin a run of this name, or go on with the one of an identity; its identity."""
        ...

    def measure(self, values: Mapping[str, float], epoch: int) -> None:
        """Keep what was measured after an epoch, counted from 1."""
        ...

    def end(self, result: Mapping[str, float], failed: bool) -> None:
        """Keep the measures of the result, and close it."""
        ...


class Tracking(keras.callbacks.Callback):
    """Follow a run while it is trained: a callback of :func:`~keras_inception.train`.

    ``finish()`` must be called at its end, also by an error; a ``with`` block does so. A tracker
    that can't be begun with ends the run, before its first step; one that fails later, such as by a
    server that is gone, is only told of.

    Args:
        tracker: ``"wandb"`` or ``"mlflow"``, which find their server, project and keys as they
            always do, in the environment.
        output: the run's folder.
        log: takes a line where the tracker fails.

    Raises:
        RecipeError: it is neither, or not installed.
    """

    def __init__(
        self, tracker: str, output: str | Path, log: Callable[[str], None] = print
    ) -> None:
        super().__init__()
        if tracker not in TRACKERS:
            raise RecipeError(
                f"`tracker` must be one of {', '.join(TRACKERS)}. Received: tracker={tracker!r}"
            )
        check_installed(tracker, f"Following a run in {tracker}")
        self.name = tracker
        self.output = Path(output)
        self.log = log
        self._tracker: Tracker = _Wandb() if tracker == "wandb" else _MLflow()
        self._started = False

    def on_train_begin(self, logs: Any = None) -> None:
        if self._started:
            return
        run = open_run(self.output)
        key = f"{self.name}_run"
        known = run.record.get(key)
        settings = dataclasses.asdict(run.recipe)
        try:
            identity = self._tracker.start(self.output.resolve().name, settings, known)
        except Exception as error:  # of any library's that it is sent by
            raise RunError(
                f"The run can't be followed in {self.name}: {_told(error)}. Go on when it can, or"
                " without: --resume"
            ) from error
        self._started = True
        if identity != known:
            run.update_record(**{key: identity})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._attempt(lambda: self._tracker.measure(values, epoch + 1))

    def _attempt(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:
            self.log(f"{self.name} has failed, and the run goes on: {_told(error)}")

    def finish(self, failed: bool = False) -> None:
        """Keep the result's measures, if there is one, and close it; a second time do nothing."""
        if self._started:
            self._started = False
            result = Run(self.output).record.get("validation", {})
            self._attempt(lambda: self._tracker.end(result, failed))

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self.finish(failed=kind is not None)


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")


class _Wandb:
    def start(self, name: str, settings: Mapping[str, Any], identity: str | None) -> str:
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(name=name, config=dict(settings), id=identity, resume="allow")
        return str(self._run.id)

    def measure(self, values: Mapping[str, float], epoch: int) -> None:
        self._run.log({**values, "epoch": epoch}, step=epoch)

    def end(self, result: Mapping[str, float], failed: bool) -> None:
        self._run.summary.update({f"result_{name}": value for name, value in result.items()})
        self._run.finish(exit_code=int(failed))


class _MLflow:
    def start(self, name: str, settings: Mapping[str, Any], identity: str | None) -> str:
        self._mlflow = importlib.import_module("mlflow")
        if identity is not None:
            self._mlflow.start_run(run_id=identity)
            return identity
        run = self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(dict(settings))
        return str(run.info.run_id)

    def measure(self, values: Mapping[str, float], epoch: int) -> None:
        self._mlflow.log_metrics(dict(values), step=epoch)

    def end(self, result: Mapping[str, float], failed: bool) -> None:
        self._mlflow.log_metrics({f"result_{name}": value for name, value in result.items()})
        self._mlflow.end_run("FAILED" if failed else "FINISHED")
