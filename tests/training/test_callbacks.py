"""The user's callbacks, and runs followed elsewhere, by stand-ins of wandb and MLflow."""

import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_inception.cli import main
from keras_inception.runs import packages
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.run import RunError, Terminated, open_run
from keras_inception.training.checkpoint import read_state
from keras_inception.training.optimization.schedule import Schedule
from keras_inception.training.tracking import Tracking
from tests.training.test_documented import SMALL, shown
from tests.training.test_fit import RECIPE, go, history, terminate_at

pytestmark = pytest.mark.usefixtures("fast")


class Noted(keras.callbacks.Callback):
    """What it is told, and whether it ends the training."""

    def __init__(self, stop_after: int = 99) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.epochs: list[int] = []
        self.measured: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)
        self.measured |= set(logs)
        if len(self.epochs) >= self.stop_after:
            self.model.stop_training = True


def test_callbacks_are_told_of_every_epoch_of_the_run(tmp_path: Path, monkeypatch) -> None:
    """Also of one that is gone on with."""
    noted = Noted()
    with monkeypatch.context() as patch:
        terminate_at(patch, 5)
        with pytest.raises(Terminated):
            go(tmp_path / "run", callbacks=[noted])
    go(tmp_path / "run", None, resume=True, callbacks=[noted])
    assert noted.epochs == [0, 1, 2]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= noted.measured


def test_a_callback_may_save_the_model(tmp_path: Path) -> None:
    """Keras writes the schedule of the learning rate beside it."""
    go(tmp_path / "run", callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")])
    saved = keras.models.load_model(tmp_path / "2.keras", compile=False)
    assert saved.count_params() == open_run(tmp_path / "run").load_model().count_params()
    schedule = Schedule(RECIPE, 10, 3)
    again = Schedule.from_config(schedule.get_config())
    assert [float(again(step)) for step in range(30)] == [float(schedule(s)) for s in range(30)]


def test_an_error_of_a_callback_is_not_taken_for_divergence(tmp_path: Path) -> None:
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise FloatingPointError("overflow in my own metric")

    with pytest.raises(FloatingPointError, match="in my own metric"):
        go(tmp_path / "run", callbacks=[Failing()])


def test_a_callback_may_end_the_training(tmp_path: Path) -> None:
    run = go(tmp_path / "run", callbacks=[Noted(stop_after=2)])
    assert run.finished and len(history(run.path)) == 2


def test_a_callback_may_measure_some_epochs(tmp_path: Path, monkeypatch) -> None:
    """As one that is added when a run is gone on with; what is no number is not kept."""

    class Measuring(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                logs |= {"mine": np.float32(0.5), "word": "fine"}

    with monkeypatch.context() as patch:
        terminate_at(patch, 3)
        with pytest.raises(Terminated):
            go(tmp_path / "run")
    run = go(tmp_path / "run", None, resume=True, callbacks=[Measuring()])
    first, second, third = history(run.path)
    assert second["mine"] == 0.5 and "word" not in second
    assert np.isnan([first["mine"], third["mine"]]).all()
    assert run.finished and len(read_state(run.path).history) == 3


@pytest.mark.parametrize("wrong", [Noted(), [Noted], "wandb", [None]])
def test_what_is_no_callback_is_refused_at_once(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`callbacks` must be a list of Keras callbacks"):
        go(tmp_path / "run", callbacks=wrong)
    assert not (tmp_path / "run").exists()


class StandIn(types.ModuleType):
    """Writes down what it is asked, as wandb and as MLflow."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.config: dict[str, Any] = {}
        self.measured: list[tuple[int, dict[str, float]]] = []
        self.result: dict[str, float] = {}
        self.ended: list[Any] = []
        self.begun: list[str | None] = []
        self.summary = self.result
        self.id = "w1"
        self.info = types.SimpleNamespace(run_id="m1")

    def init(self, name: str, config: dict, id: str | None, resume: str) -> "StandIn":
        assert resume == "allow" and name == "run"
        self.begun.append(id)
        self.config = config
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.measured.append((step, values))

    def finish(self, exit_code: int) -> None:
        self.ended.append(exit_code)

    def start_run(self, run_id: str | None = None, run_name: str | None = None) -> "StandIn":
        self.begun.append(run_id)
        return self

    def log_params(self, params: dict[str, Any]) -> None:
        self.config = params

    def log_metrics(self, values: dict[str, float], step: int | None = None) -> None:
        if step is None:
            self.result.update(values)
        else:
            self.measured.append((step, values))

    def end_run(self, status: str) -> None:
        self.ended.append(status)


@pytest.mark.parametrize(
    ("tracker", "identity", "failed", "finished"),
    [("wandb", "w1", 1, 0), ("mlflow", "m1", "FAILED", "FINISHED")],
)
def test_a_run_is_followed_and_gone_on_with(
    tracker: str, identity: str, failed: Any, finished: Any, tmp_path: Path, monkeypatch
) -> None:
    stand_in = StandIn(tracker)
    monkeypatch.setitem(sys.modules, tracker, stand_in)
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        terminate_at(patch, 5)
        with pytest.raises(Terminated), Tracking(tracker, output) as tracking:
            go(output, callbacks=[tracking])
    assert open_run(output).record[f"{tracker}_run"] == identity
    assert stand_in.config["learning_rate"] == RECIPE.learning_rate
    with Tracking(tracker, output) as tracking:
        run = go(output, None, resume=True, callbacks=[tracking])
    assert stand_in.begun == [None, identity]
    assert stand_in.ended == [failed, finished]
    assert [step for step, _ in stand_in.measured] == [1, 2, 3]
    for (_, values), row in zip(stand_in.measured, history(run.path), strict=True):
        assert values["val_loss"] == pytest.approx(row["val_loss"])
    accuracy = run.record["validation"]["accuracy"]
    assert stand_in.result["result_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_a_tracker_that_fails_does_not_end_the_training(
    tracker: str, tmp_path: Path, monkeypatch
) -> None:
    """One that can't be begun with does, in a line."""
    stand_in = StandIn(tracker)
    monkeypatch.setitem(sys.modules, tracker, stand_in)

    def fail(*arguments: Any, **others: Any) -> None:
        raise ConnectionError("the server\nis gone.")

    with monkeypatch.context() as patch:
        for name in ("init", "start_run"):
            patch.setattr(stand_in, name, fail)
        rule = f"can't be followed in {tracker}: ConnectionError: the server is gone. Go on when"
        with pytest.raises(RunError, match=rule), Tracking(tracker, tmp_path / "run") as tracking:
            go(tmp_path / "run", callbacks=[tracking])
    for name in ("log", "log_metrics", "finish", "end_run"):
        monkeypatch.setattr(stand_in, name, fail)
    said: list[str] = []
    with Tracking(tracker, tmp_path / "run", said.append) as tracking:
        run = go(tmp_path / "run", None, resume=True, callbacks=[tracking])
    assert run.finished and len(history(run.path)) == 3
    told = f"{tracker} has failed, and the run goes on: ConnectionError: the server is gone"
    assert said == [told] * 4


def test_a_folder_of_its_name_is_no_package(tmp_path: Path, monkeypatch) -> None:
    """As wandb makes where it was last used."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(RecipeError, match="pip install wandb"):
        packages.check_installed("wandb", "--log wandb")


def test_what_is_not_installed_is_refused_at_once(
    photos: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    output = tmp_path / "run"
    assert main(["train", str(photos), "--output", str(output), "--log", "mlflow"]) == 1
    said = capsys.readouterr().err
    assert "--log mlflow needs a package that is not installed: pip install mlflow" in said
    assert said.count("\n") == 1 and not output.exists()
    with pytest.raises(RecipeError, match="`tracker` must be one of wandb, mlflow"):
        Tracking("excel", output)


def test_the_command_of_the_page_follows_a_run(photos: Path, tmp_path: Path, monkeypatch) -> None:
    stand_in = StandIn("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    places = {"DATA": str(photos), "runs/mine": str(tmp_path / "run")}
    arguments = [places.get(each, each) for each in shown("docs/training.md", "--log mlflow")]
    assert main([*arguments, *SMALL, "--crop", "0.9"]) == 0
    assert stand_in.config["crop"] == 0.9 and stand_in.ended == ["FINISHED"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["mlflow_run"] == "m1"
