"""From a folder to a run."""

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from keras_inception.data.examples import DataError
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, RunError, open_run, versions
from keras_inception.training.best_epoch import BestEpochMetric
from keras_inception.training.cross_validation import cross_validate
from keras_inception.training.estimate import estimate
from keras_inception.training.rate_finder import find_learning_rate
from keras_inception.training.train import train
from keras_inception.training.tune import tune
from keras_inception.version import __version__

ROOT = Path(__file__).parents[2]
TINY = RECIPES["small"].with_changes(
    {
        "width": 0.125,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.05,
        "image_size": 28,
        "precision": "float32",  # on every machine
    }
)


def quiet(line: str) -> None:
    pass


def one_convolution(recipe: Recipe, classes: int, momentum: float) -> keras.Model:
    """What a recipe's network has, dropout's random state included, but traced in no time.

    Its layers have names, as the networks' do, by which checkpoints know the optimizer's variables.
    """
    image = keras.Input((28, 28, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(momentum=momentum, scale=False, name="conv_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x))
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name="one_convolution")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what does not depend on the network."""
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)


def test_a_run_holds_what_it_should(run: Run) -> None:
    found = {path.name for path in run.path.iterdir()}
    assert found == {
        "recipe.yaml",
        "labels.txt",
        "run.json",
        "validation.csv",
        "model.keras",
        "history.csv",
        "curves.png",
        "report.html",
        "checkpoints",
        "logs",
    }
    assert open_run(run.path) == run
    assert run.labels == ("dawn", "dusk")
    assert run.preprocessing.size == 32
    assert run.record["data"]["training_images"] == 36
    assert run.record["data"]["validation_images"] == 4
    assert run.validation.counts().tolist() == [2, 2]
    assert all(Path(run.validation.images.name(index)).is_file() for index in range(4))
    assert set(run.record["versions"]) == {"keras-inception", "keras", "tensorflow", "numpy"}
    assert list(run.path.glob("logs/train/events*")), "TensorBoard has something to show"
    rows = list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))
    assert [float(row["epoch"]) for row in rows] == list(range(1, 13))


def test_a_version_is_of_the_code_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an editable install's metadata says, which may be of an earlier one."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0")
    assert versions()["keras"] == "0.0"
    assert versions()["keras-inception"] == __version__ != "0.0"


def test_it_has_learned(run: Run) -> None:
    assert run.record["validation"]["accuracy"] == 1.0


def test_the_saved_network_holds_stock_layers_and_is_uncompiled(run: Run) -> None:
    model = run.load_model()
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    assert not model.compiled
    assert model.output_shape == (None, 2)


def test_weights_of_the_best_epoch_are_kept(run: Run) -> None:
    rows = list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))
    best = min(float(row["val_loss"]) for row in rows)
    assert run.record["validation"]["loss"] == pytest.approx(best, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_auxiliary_heads_train_and_are_left_out(photos: Path, tmp_path: Path) -> None:
    recipe = TINY.with_changes({"aux": True, "epochs": 1})
    finished = train(photos, tmp_path / "run", recipe, log=quiet)
    model = finished.load_model()
    assert not [layer.name for layer in model.layers if layer.name.startswith("aux")]
    header = (finished.path / "history.csv").read_text().splitlines()[0]
    assert "aux_4a_loss" in header and "val_predictions_loss" in header


def test_bad_images_are_left_out_and_named(fast: None, photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn" / "text.jpg").write_text("I am text.")
    said: list[str] = []
    recipe = TINY.with_changes({"epochs": 1})
    finished = train(folder, tmp_path / "run", recipe, log=said.append)
    assert any("text.jpg" in line for line in said)
    assert [Path(path).name for path in finished.record["data"]["left_out"]] == ["text.jpg"]
    with pytest.raises(DataError, match=r"text\.jpg"):
        train(folder, tmp_path / "other", recipe, on_bad_image="refuse", log=quiet)
    assert not (tmp_path / "other").exists()


def test_a_validation_folder_is_used(fast: None, photos: Path, tmp_path: Path) -> None:
    recipe = TINY.with_changes({"epochs": 1})
    finished = train(photos, tmp_path / "run", recipe, validation_data=photos, log=quiet)
    assert finished.record["data"]["validation_images"] == 40


def test_without_validation_the_last_epoch_is_kept(
    fast: None, photos: Path, tmp_path: Path
) -> None:
    recipe = TINY.with_changes({"epochs": 1, "validation_fraction": 0})
    said: list[str] = []
    finished = train(photos, tmp_path / "run", recipe, log=said.append)
    assert any("is that of epoch 1 of 1: the last, since nothing" in line for line in said)
    assert finished.record["validation"] == {}
    assert finished.load_model().output_shape == (None, 2)


def test_the_epoch_of_the_result_is_said(fast: None, photos: Path, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = TINY.with_changes({"epochs": 4, "learning_rate": 0.5})
    finished = train(photos, tmp_path / "run", recipe, log=said.append)
    rows = list(csv.DictReader((finished.path / "history.csv").read_text().splitlines()))
    losses = [float(row["val_loss"]) for row in rows]
    best = losses.index(min(losses))
    expected = f"is that of epoch {best + 1} of 4: the best by `val_loss`, {losses[best]:.4f}"
    assert [line for line in said if expected in line]


def test_of_equal_epochs_the_first_is_the_best_and_of_none_the_last() -> None:
    accuracy = BestEpochMetric("val_accuracy", lower_is_better=False)
    assert accuracy.best([{"val_accuracy": each} for each in (0.5, 0.9, 0.9, math.nan)]) == 2
    assert accuracy.best([{"val_accuracy": math.nan}] * 3) == 3


def test_a_loss_that_is_no_number_stops_the_run_and_says_what_to_try(
    fast: None, photos: Path, tmp_path: Path
) -> None:
    recipe = TINY.with_changes({"learning_rate": 1e30, "warmup_epochs": 0})
    with pytest.raises(RunError, match="learning_rate"):
        train(photos, tmp_path / "run", recipe, log=quiet)
    assert not open_run(tmp_path / "run").finished


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "ResNet50"}, "a network of the family: InceptionV1.*'ResNet50'"),
        ({"image_size": 20}, "at least 28 x 28"),
        ({"variant": "caffe"}, "`variant` must be one of"),
    ],
)
def test_what_a_network_refuses_leaves_no_run(
    photos: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(photos, tmp_path / "run", TINY.with_changes(changes), log=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("function", [train, tune, cross_validate])
def test_a_name_is_no_recipe(function: Any, tmp_path: Path) -> None:
    space = ({"epochs": "1..2"},) if function is tune else ()
    with pytest.raises(RecipeError, match=r"RECIPES\['quick'\] .* Received: recipe='quick'"):
        function(tmp_path, tmp_path / "run", "quick", *space)
    for of_recipe in (find_learning_rate, estimate):
        with pytest.raises(RecipeError, match="must be a Recipe"):
            of_recipe(tmp_path, "quick")


def test_layers_learn_more_slowly_from_weights_only(tmp_path: Path) -> None:
    """Refused where a training begins: runs of before may have it, whose recipes are still read."""
    recipe = TINY.with_changes({"layer_decay": 0.9})
    rule = "`layer_decay` must be 1 without weights: .* Received: layer_decay=0.9"
    for of_folder in (train, cross_validate):
        with pytest.raises(RecipeError, match=rule):
            of_folder(tmp_path, tmp_path / "run", recipe.with_changes({"folds": 2}))
    for of_recipe in (find_learning_rate, estimate):
        with pytest.raises(RecipeError, match=rule):
            of_recipe(tmp_path, recipe)


def test_a_run_is_never_overwritten(run: Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="exists already"):
        train(photos, run.path, TINY, log=quiet)
    with pytest.raises(RunError, match="is no run"):
        train(photos, tmp_path, resume=True, log=quiet)


def test_a_finished_run_is_left_as_it_is(run: Run, photos: Path) -> None:
    said: list[str] = []
    before = run.model_path.stat().st_mtime_ns
    assert train(photos, run.path, resume=True, log=said.append) == run
    assert "has finished; there is nothing to resume" in said[0]
    assert f"--weights {run.path} --output ANOTHER" in said[0]
    assert run.model_path.stat().st_mtime_ns == before


def test_a_run_that_is_being_trained_is_not_trained_twice(
    fast: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever asks: the same process, another one, one that begins it at the same time."""
    from keras_inception.training import train as module

    fit, output, recipe = module.fit, tmp_path / "run", TINY.with_changes({"epochs": 1})
    said: list[str] = []

    def meanwhile(*arguments: object) -> None:
        with pytest.raises(RunError, match="is being trained by another process"):
            train(photos, output, resume=True, log=said.append)
        script = (
            "import sys; from keras_inception.runs.run import open_run\n"
            "with open_run(sys.argv[1]).held(): pass\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, output], cwd=ROOT, capture_output=True, text=True
        )
        assert "RunError" in other.stderr
        fit(*arguments)

    monkeypatch.setattr(module, "fit", meanwhile)
    train(photos, output, recipe, log=quiet)
    assert said == []  # refused before the images were looked at
    with open_run(output).held():
        pass


def test_a_recipe_that_an_earlier_version_wrote_out_is_the_runs_own(
    fast: None, photos: Path, tmp_path: Path
) -> None:
    recipe = TINY.with_changes({"epochs": 1, "crop": None})
    finished = train(photos, tmp_path / "run", recipe, log=quiet)
    finished.recipe.with_changes(
        {"crop": 0.875, "alpha": "drop", "exif_orientation": "ignore"}
    ).save(finished.path / "recipe.yaml")
    assert train(photos, finished.path, recipe, resume=True, log=quiet) == finished
    with pytest.raises(RunError, match=r"by another, begin another run: --weights .*run --output"):
        train(photos, finished.path, recipe.with_changes({"crop": 0.9}), resume=True, log=quiet)


def test_the_policy_is_put_back(fast: None, photos: Path, tmp_path: Path) -> None:
    recipe = TINY.with_changes({"epochs": 1, "precision": "mixed_bfloat16"})
    said: list[str] = []
    finished = train(photos, tmp_path / "run", recipe, log=said.append)
    assert said[-1].endswith(" in mixed_bfloat16; the network is measured in float32")
    assert keras.config.dtype_policy().name == "float32"
    assert finished.load_model().output.dtype == "float32"


def test_run_json_is_json(run: Run) -> None:
    assert json.loads((run.path / "run.json").read_text())["preprocessing"]["crop"] == 0.875
