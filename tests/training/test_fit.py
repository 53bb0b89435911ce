"""What a run does around `fit`, on a network of one convolution."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, RunError, Terminated, open_run
from keras_inception.training.best_epoch import best_epoch_metric
from keras_inception.training.callbacks import Progress, duration, stops_early
from keras_inception.training.checkpoint import Checkpoints, read_state
from keras_inception.training.devices import precision
from keras_inception.training.fit import TrainingJob
from keras_inception.training.optimization.averages import Averages
from keras_inception.training.train import train

ROOT = Path(__file__).parents[2]

RECIPE = Recipe(
    model="InceptionV1",
    image_size=28,
    stem="small",
    dropout=0.2,
    epochs=3,
    batch_size=8,
    learning_rate=0.05,
    validation_fraction=0.25,
    label_smoothing=0.0,
    precision="float32",  # on every machine
)

pytestmark = pytest.mark.usefixtures("fast")


def data(classes: int = 2, multi_label: bool = False) -> Examples:
    """32 images: dark or bright, or a channel of them (more classes) bright."""
    random = np.random.default_rng(0)
    targets = np.arange(32) % classes
    pixels = random.integers(0, 100, (32, 30, 30, 3))
    for index, target in enumerate(targets):
        pixels[index, ..., target % 3] += 120
    labels = tuple("abcdefg"[:classes])
    some = np.eye(classes, dtype=bool)[targets] if multi_label else targets
    return Examples(labels, Pixels.of(pixels.astype(np.uint8)), some)


def go(output: Path, recipe: Recipe | None = RECIPE, **others: Any) -> Run:
    given = {"check_images": "none", "log": lambda line: None, "data": data()} | others
    return train(given.pop("data"), output, recipe, **given)


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_a_line_an_epoch_tells_measures_rate_and_time_left(tmp_path: Path) -> None:
    said: list[str] = []
    go(tmp_path / "run", log=said.append)
    first, last = (next(each for each in said if f"Epoch {n}/3" in each) for n in (1, 3))
    for part in (
        ": loss ",
        ", accuracy ",
        "; validation loss ",
        "learning rate ",
        " images/s",
        " s left",
    ):
        assert part in first
    assert "left" not in last


@pytest.mark.parametrize(("log", "bars"), [(print, True), (lambda line: None, False)])
def test_bars_are_for_people_who_have_not_asked_for_silence(
    log: Any, bars: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """On a terminal, and where the log is `print`; nobody asked for lines or bars elsewhere."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    go(tmp_path / "run", RECIPE.with_changes({"epochs": 1}), log=log)
    told = capsys.readouterr().out
    assert (" - val_loss: " in told) is bars
    assert bool(told) is bars


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (89, "89 s"), (600, "10 min"), (12_000, "3.3 h")]
)
def test_durations_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"learning_rate": 1e30, "warmup_epochs": 0})
    with pytest.raises(RunError, match=r"step 2 of 3 in epoch 1, at learning rate .*clip_norm=2"):
        go(tmp_path / "run", recipe)
    assert not open_run(tmp_path / "run").finished
    assert not (tmp_path / "run" / "checkpoints" / "last.npz").exists()


def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path, monkeypatch) -> None:
    """They may come of the last step of an epoch, whose loss was a number."""

    def spoil(self: Progress, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            self.model.get_layer("logits").bias.assign([np.nan, 0])

    monkeypatch.setattr(Progress, "on_epoch_end", spoil)
    with pytest.raises(RunError, match="step 3 of 3 in epoch 2"):
        go(tmp_path / "run")
    assert read_state(tmp_path / "run").epoch == 1


def terminate_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM in a step, counted from 1 through the run."""
    steps = 0

    def on_train_batch_begin(self: Progress, batch: int, logs: Any = None) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "on_train_batch_begin", on_train_batch_begin)


def test_sigterm_keeps_the_step_and_the_run_goes_on_from_it(tmp_path: Path, monkeypatch) -> None:
    whole = go(tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        terminate_at(patch, 5)
        with pytest.raises(Terminated, match="--resume"):
            go(tmp_path / "ended")
    assert signal.getsignal(signal.SIGTERM) == before
    state = read_state(tmp_path / "ended")
    assert (state.epoch, state.step) == (1, 2)
    go(tmp_path / "ended", None, resume=True)
    one, other = history(whole.path), history(tmp_path / "ended")
    assert [row["epoch"] for row in other] == [1, 2, 3]
    for row, same in zip(one, other, strict=True):
        for name in row:
            assert same[name] == pytest.approx(row[name], rel=1e-4), name


def test_sigterm_in_an_epochs_last_step_ends_after_it(tmp_path: Path, monkeypatch) -> None:
    terminate_at(monkeypatch, 3)
    with pytest.raises(Terminated):
        go(tmp_path / "run")
    state = read_state(tmp_path / "run")
    assert (state.epoch, state.step, len(state.history)) == (1, 0, 1)


def test_a_full_disk_ends_the_run_with_its_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:

        def fill(self: Progress, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                usage = shutil.disk_usage(tmp_path)._replace(free=1000)
                patch.setattr("shutil.disk_usage", lambda path: usage)

        patch.setattr(Progress, "on_epoch_end", fill)
        with pytest.raises(OSError, match=r"are to be written to .*checkpoints.*--resume"):
            go(tmp_path / "run")
        with pytest.raises(OSError, match="are to be written to"):
            go(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert read_state(tmp_path / "run").epoch == 1
    assert go(tmp_path / "run", None, resume=True).finished


def test_a_damaged_checkpoint_is_named(tmp_path: Path, monkeypatch) -> None:
    terminate_at(monkeypatch, 2)
    with pytest.raises(Terminated):
        go(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(RunError, match=r"last\.npz can't be read as a checkpoint"):
        go(tmp_path / "run", None, resume=True)


def test_one_command_does_for_every_start(tmp_path: Path) -> None:
    """What an orchestrator needs: --resume begins the run, and leaves a finished one."""
    recipe = RECIPE.with_changes({"epochs": 1})
    with pytest.raises(RunError, match="is no run"):
        go(tmp_path / "run", None, resume=True)
    assert go(tmp_path / "run", recipe, resume=True).finished
    assert go(tmp_path / "run", recipe, resume=True).finished
    other = RECIPE.with_changes({"dropout": None})
    with pytest.raises(RunError, match="with its own recipe") as refused:
        go(tmp_path / "run", other, resume=True)
    told = "Received otherwise: dropout=None (the run's: 0.2); epochs=3 (the run's: 1). To train"
    assert told in str(refused.value)


def test_a_run_that_goes_on_with_other_classes_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminate_at(monkeypatch, 2)
    with pytest.raises(Terminated):
        go(tmp_path / "run", data=data(4))
    with pytest.raises(RunError, match=r"other classes than the run .*: c, d in the run only\."):
        go(tmp_path / "run", resume=True)
    other = data()
    other = Examples(("a", "z"), other.images, other.targets)
    with pytest.raises(RunError, match=r": b, c, d in the run only, z in the data only\."):
        go(tmp_path / "run", resume=True, data=other)


def test_what_a_killed_start_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "recipe.yaml").write_text("half of")
    assert go(tmp_path / "run", RECIPE.with_changes({"epochs": 1})).finished
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(RunError, match="exists already"):
        go(tmp_path / "other")


def rows(*losses: float) -> list[dict[str, float]]:
    return [{"val_loss": loss} for loss in losses]


def test_early_stopping_is_a_function_of_the_history() -> None:
    recipe = RECIPE.with_changes({"early_stopping_epochs": 2})
    loss = best_epoch_metric(recipe)
    assert not stops_early(rows(), loss, recipe)
    assert not stops_early(rows(3, 2, 2.5), loss, recipe)
    assert stops_early(rows(3, 2, 2.5, 2), loss, recipe)
    assert not stops_early(rows(3, 2, 2.5, 2.4), loss, RECIPE)
    headed = recipe.with_changes({"weights": "w", "head_epochs": 2})
    assert not stops_early(rows(1, 2, 2.5, 2.4), loss, headed)
    assert stops_early(rows(np.nan, 2, np.nan, 2.4), loss, recipe)
    accuracy = best_epoch_metric(recipe.with_changes({"best_epoch_metric": "accuracy"}))
    rising = [{"val_accuracy": share, "val_loss": 1.0} for share in (0.1, 0.2, 0.3, 0.4)]
    assert not stops_early(rising, accuracy, recipe)
    assert stops_early(rising[::-1], accuracy, recipe)


@pytest.mark.parametrize(
    ("metric", "column", "classes", "multi_label"),
    [
        ("accuracy", "val_accuracy", 2, False),
        ("cross_entropy", "val_cross_entropy", 2, False),
        ("macro_f1", "val_macro_f1", 3, False),
        ("macro_f1", "val_macro_f1", 3, True),
        ("cross_entropy", "val_cross_entropy", 3, True),
        ("mean_average_precision", "val_average_precision", 3, True),
    ],
)
def test_the_metric_that_decides_is_the_recipes(
    metric: str, column: str, classes: int, multi_label: bool, tmp_path: Path, monkeypatch
) -> None:
    """The kept weights are those of the epoch that the metric names, whatever the loss says."""
    kept: list[int] = []
    write = Checkpoints._write

    def noted(self: Checkpoints, name: str, arrays: dict) -> None:
        if name == "best.npz":
            kept.append(self.state.epoch)
        write(self, name, arrays)

    monkeypatch.setattr(Checkpoints, "_write", noted)
    recipe = RECIPE.with_changes(
        {"best_epoch_metric": metric, "label_smoothing": 0.1, "learning_rate": 0.01, "epochs": 4}
    )
    finished = go(tmp_path / "run", recipe, data=data(classes, multi_label))
    values = [row[column] for row in history(finished.path)]
    best = np.argmin(values) if metric == "cross_entropy" else np.argmax(values)
    assert kept[-1] == best
    if metric in ("cross_entropy", "accuracy") and not multi_label:
        name = "loss" if metric == "cross_entropy" else metric
        assert finished.record["validation"][name] == pytest.approx(values[best], rel=1e-3)


def test_a_metric_that_can_not_be_measured_is_refused(tmp_path: Path) -> None:
    by = {"best_epoch_metric": "mean_average_precision"}
    with pytest.raises(RecipeError, match="where every image is of one class"):
        go(tmp_path / "run", RECIPE.with_changes(by))
    by = {"best_epoch_metric": "accuracy", "validation_fraction": 0}
    with pytest.raises(RecipeError, match="`best_epoch_metric` needs validation images"):
        go(tmp_path / "run", RECIPE.with_changes(by))
    assert not (tmp_path / "run").exists()


def test_a_validation_loss_that_is_no_number_is_not_the_best(tmp_path: Path, monkeypatch) -> None:
    """As half precision can make of a network whose training goes well; the last is kept then."""
    held_out = TrainingJob.held_out
    monkeypatch.setattr(
        TrainingJob,
        "held_out",
        lambda job: held_out(job).map(lambda images, targets: (images * np.nan, targets)),
    )
    finished = go(tmp_path / "run")
    assert np.isnan([row["val_loss"] for row in history(finished.path)]).all()
    with np.load(finished.path / "checkpoints" / "last.npz") as arrays:
        np.testing.assert_array_equal(finished.load_model().get_weights()[0], arrays["model_0"])


def test_a_run_stops_early_also_when_it_is_resumed(tmp_path: Path, monkeypatch) -> None:
    """At a learning rate of next to nothing the loss stays where it is."""
    recipe = RECIPE.with_changes(
        {"early_stopping_epochs": 1, "epochs": 50, "learning_rate": 1e-12, "dropout": 0.0}
    )
    with monkeypatch.context() as patch:
        terminate_at(patch, 2)
        with pytest.raises(Terminated):
            go(tmp_path / "run", recipe)
    finished = go(tmp_path / "run", None, resume=True)
    assert len(history(finished.path)) < 20
    with pytest.raises(RecipeError, match="needs validation images"):
        go(tmp_path / "other", recipe.with_changes({"validation_fraction": 0}))


def test_averages_are_what_is_validated_and_kept(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"ema": 0.9, "epochs": 2})
    finished = go(tmp_path / "run", recipe)
    with np.load(finished.path / "checkpoints" / "last.npz") as arrays:
        weights = [arrays[f"model_{index}"] for index in range(4)]
        averages = [arrays[f"average_{index}"] for index in range(4)]
    kept = finished.load_model().get_weights()
    assert np.abs(weights[0] - averages[0]).max() > 1e-5
    best = min(history(finished.path), key=lambda row: row["val_loss"])
    assert finished.record["validation"]["loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    if best["epoch"] == 2:
        np.testing.assert_allclose(kept[0], averages[0], rtol=1e-6)


def test_averages_are_tf_slims() -> None:
    """Of moving statistics too; tf.train.ExponentialMovingAverage(0.9, num_updates)."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    averages = Averages(model, 0.9)
    expected = [each.numpy() for each in model.weights]
    random = np.random.default_rng(0)
    for step in range(1, 30):
        for weight in model.weights:
            weight.assign(random.normal(0, 1, 3))
        averages.on_train_batch_end(0)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = [
            decay * old + (1 - decay) * new.numpy()
            for old, new in zip(expected, model.weights, strict=True)
        ]
    weights = model.get_weights()
    with averages.in_place():
        for one, other in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


JAX_AVERAGES = """
import keras, numpy as np
from keras_inception.training.optimization.averages import Averages

def trained(*others, trainable=True):
    keras.utils.set_random_seed(0)
    normal = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), normal, keras.layers.Dense(2, name="dense")])
    normal.trainable = trainable
    model.compile("sgd", "mse")
    averages = Averages(model, 0.9)
    random = np.random.default_rng(0)
    images, targets = random.normal(2, 1, (24, 3)), random.normal(0, 1, (24, 2))
    first = model.get_weights()
    for _ in range(2):  # the second `fit` goes on
        model.fit(images, targets, 4, 2, 0, [averages, *others], shuffle=False,
                  validation_data=(images, targets))
    return first, [each.numpy() for each in averages.variables]

class Weights(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = []
    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self.model.get_weights())

for trainable in (True, False):
    weights = Weights()
    expected, found = trained(weights, trainable=trainable)
    assert len(weights.steps) == 24
    for step, now in enumerate(weights.steps, 1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, now)]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    alone = trained(trainable=trainable)[1]
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, other)
"""


def test_averages_on_jax_are_of_the_weights_that_its_trainer_keeps_apart() -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run([sys.executable, "-c", JAX_AVERAGES], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_run_without_the_fast_path_ends_with_the_same_numbers(
    optimizer: str, tmp_path: Path
) -> None:
    recipe = RECIPE.with_changes({"optimizer": optimizer, "learning_rate": 0.01, "ema": 0.9})
    runs = [go(tmp_path / str(fast), recipe, fast=fast) for fast in (True, False)]
    for rows in zip(*(history(run.path) for run in runs), strict=True):
        for name in rows[0]:
            assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-3), name
    for weights in zip(*(run.load_model().get_weights() for run in runs), strict=True):
        np.testing.assert_allclose(*weights, rtol=1e-3, atol=1e-4)


def test_several_classes_an_image(tmp_path: Path) -> None:
    finished = go(tmp_path / "run", data=data(3, multi_label=True))
    model = finished.load_model()
    assert model.layers[-1].activation is keras.activations.sigmoid
    row = history(finished.path)[-1]
    assert {"accuracy", "average_precision", "val_loss", "val_average_precision"} <= set(row)
    best = min(each["val_loss"] for each in history(finished.path))
    assert finished.record["validation"]["loss"] == pytest.approx(best, rel=1e-3)


def test_class_weights_weigh_the_loss(tmp_path: Path) -> None:
    """Of 4 to 1 images the few count as much as the many: the first loss stays, the bias moves."""
    targets = (np.arange(40) % 5 == 0).astype(np.int64)
    pixels = np.zeros((40, 30, 30, 3), np.uint8)
    few = Examples(("many", "few"), Pixels.of(pixels), targets)
    scores = []
    for weigh in (False, True):
        recipe = RECIPE.with_changes(
            {
                "class_weights": weigh,
                "epochs": 6,
                "learning_rate": 0.3,
                "validation_fraction": 0,
                "dropout": 0.0,
            }
        )
        model = go(tmp_path / str(weigh), recipe, data=few).load_model()
        scores.append(model.predict(np.full((1, 28, 28, 3), -1, np.float32), verbose=0)[0, 1])
    assert scores[0] == pytest.approx(0.2, abs=0.1)
    assert scores[1] == pytest.approx(0.5, abs=0.12)


def test_recalibrated_statistics_are_those_of_the_training_images(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes(
        {"recalibrate": True, "batch_norm_momentum": 0.9999, "validation_fraction": 0, "epochs": 1}
    )
    model = go(tmp_path / "run", recipe).load_model()
    (layer,) = (each for each in model.layers if isinstance(each, keras.layers.BatchNormalization))
    pixels = data().images.pixels[:, 1:29, 1:29]
    seen = keras.Model(model.input, layer.input).predict(
        (pixels / 127.5 - 1).astype("float32"), verbose=0
    )
    np.testing.assert_allclose(layer.moving_mean, seen.mean(axis=(0, 1, 2)), rtol=0.2, atol=0.05)
    np.testing.assert_allclose(layer.moving_variance, seen.var(axis=(0, 1, 2)), rtol=0.5)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_best_epoch_is_that_of_the_recalibrated_network(
    ema: float | None, tmp_path: Path
) -> None:
    """With statistics that lag far behind, what is validated is still what is kept."""
    recipe = RECIPE.with_changes(
        {"recalibrate": True, "batch_norm_momentum": 0.9999, "epochs": 3, "ema": ema}
    )
    finished = go(tmp_path / "run", recipe)
    best = min(row["val_loss"] for row in history(finished.path))
    assert finished.record["validation"]["loss"] == pytest.approx(best, rel=1e-3)
    with np.load(finished.path / "checkpoints" / "last.npz") as arrays:
        last = [arrays[name] for name in arrays.files if name.startswith("model_")]
    (layer,) = (
        each
        for each in finished.load_model().layers
        if isinstance(each, keras.layers.BatchNormalization)
    )
    moving = next(each for each in last[2:4] if each.shape == layer.moving_mean.shape)
    assert np.abs(moving).max() < 0.05, "the training goes on from its own statistics"
    assert np.abs(layer.moving_mean).max() > 0.1


def test_several_classes_are_balanced_by_the_loss(tmp_path: Path) -> None:
    """Of 4 to 1 images the few are found as often as the many."""
    targets = np.zeros((40, 2), bool)
    targets[:, 0] = True
    targets[::5, 1] = True
    several = Examples(("all", "few"), Pixels.of(np.zeros((40, 30, 30, 3), np.uint8)), targets)
    scores = []
    for weigh in (False, True):
        recipe = RECIPE.with_changes(
            {
                "class_weights": weigh,
                "epochs": 8,
                "learning_rate": 0.3,
                "validation_fraction": 0,
                "dropout": 0.0,
            }
        )
        model = go(tmp_path / str(weigh), recipe, data=several).load_model()
        scores.append(model.predict(np.full((1, 28, 28, 3), -1, np.float32), verbose=0)[0, 1])
    assert scores[0] == pytest.approx(0.2, abs=0.1)
    assert scores[1] == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("native", [False, True])
def test_auto_is_the_precision_of_the_machine_and_is_recorded(
    native: bool, tmp_path: Path, monkeypatch
) -> None:
    said: list[str] = []
    chosen = "mixed_bfloat16" if native else "float32"
    recipe = RECIPE.with_changes({"precision": "auto", "epochs": 1})
    monkeypatch.setattr(precision, "native_bfloat16", lambda: native)
    with monkeypatch.context() as patch:
        terminate_at(patch, 2)
        with pytest.raises(Terminated):
            go(tmp_path / "run", recipe, log=said.append)
    assert any(line.startswith(f"Precision: {chosen}, chosen for this machine") for line in said)
    assert open_run(tmp_path / "run").recipe.precision == chosen
    # On another machine it goes on as it began, with the recipe given again or not.
    monkeypatch.setattr(precision, "native_bfloat16", lambda: not native)
    said.clear()
    finished = go(tmp_path / "run", recipe, resume=True, log=said.append)
    assert finished.recipe.precision == chosen
    assert not any(line.startswith("Precision") for line in said)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("backend", "why"),
    [("tensorflow", "has no instructions for bfloat16"), ("jax", "with JAX only TPUs, and GPUs")],
)
def test_why_float32_is_chosen_is_told_for_the_backend(
    backend: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that has the instructions does not count with JAX."""
    monkeypatch.setattr(precision, "native_bfloat16", lambda: False)
    monkeypatch.setattr("keras.config.backend", lambda: backend)
    said: list[str] = []
    precision.choose_precision(RECIPE.with_changes({"precision": "auto"}), said.append)
    assert len(said) == 1 and why in said[0]


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_network_that_answers_nan_at_the_end_is_told_with_what_helps(
    calibrate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(model: object, inputs: np.ndarray, rows: int) -> np.ndarray:
        return np.full((len(inputs), 2), np.nan, np.float32)

    monkeypatch.setattr("keras_inception.evaluation.evaluate_model.predict_rows", overflow)
    with pytest.raises(RunError, match=r"no number \(nan\).*What helps, in a new run: a lower"):
        go(tmp_path / "run", RECIPE.with_changes({"calibrate": calibrate}))
    assert not open_run(tmp_path / "run").finished
