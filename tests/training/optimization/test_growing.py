"""Images that grow while a network is trained."""

from pathlib import Path
from typing import Any

import keras
import pytest

from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Terminated
from keras_inception.training import estimate as estimate_module
from keras_inception.training import fit
from keras_inception.training.checkpoint import read_state
from keras_inception.training.optimization.growing import end_of_stage, size_in
from tests.training.test_fit import RECIPE, data, go, history, terminate_at

GROWING = RECIPE.with_changes({"image_size": 44, "image_size_start": 28, "dropout": 0.0})


def convolution_of_any_size(recipe: Recipe, classes: int, momentum: float) -> keras.Model:
    size = recipe.image_size
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Conv2D(8, 5, strides=4, use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(momentum=momentum, scale=False, name="conv_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x))
    x = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name="convolution")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", convolution_of_any_size)
    monkeypatch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("epochs", "stages", "sizes"),
    [
        (8, None, [128, 128, 160, 160, 192, 192, 224, 224]),
        (7, 3, [128, 128, 128, 176, 176, 224, 224]),
        (3, 4, [128, 176, 224]),  # no more sizes than epochs
        (1, None, [224]),
    ],
)
def test_sizes_go_up_in_equal_steps_and_the_last_is_the_networks(
    epochs: int, stages: int | None, sizes: list[int]
) -> None:
    recipe = Recipe(epochs=epochs, image_size=224, image_size_start=128, image_size_stages=stages)
    assert [size_in(recipe, epoch, 224) for epoch in range(epochs)] == sizes
    for epoch, size in enumerate(sizes):
        after = end_of_stage(recipe, epoch)
        assert set(sizes[epoch:after]) == {size}
        assert after == epochs or sizes[after] > size


def test_a_run_trains_on_each_size_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []
    stock = fit.training_batches

    def batches(examples: Any, preprocessing: Any, *others: Any, **named: Any) -> Any:
        seen.append((named.get("first_epoch", 0), named["epochs"], preprocessing.size))
        return stock(examples, preprocessing, *others, **named)

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(fit, "training_batches", batches)
        run = go(tmp_path / "run", GROWING, log=said.append)
    assert "Training images grow: 28, 36, 44 pixels" in said
    assert [each for each in seen if each[0] or each[1] == 1][-3:] == [
        (0, 1, 28),
        (1, 2, 36),
        (2, 3, 44),
    ]
    assert run.preprocessing.size == 44
    assert run.load_model().input_shape == (None, 44, 44, 3)
    rows = history(run.path)
    # What it kept, at its full size, is what it validated.
    best = min(row["val_loss"] for row in rows)
    assert run.record["validation"]["loss"] == pytest.approx(best, rel=1e-4)
    small = RECIPE.with_changes({"image_size": 28, "dropout": 0.0})
    first = history(go(tmp_path / "small", small).path)[0]
    assert rows[0]["loss"] == pytest.approx(first["loss"], rel=1e-5)
    assert rows[0]["val_loss"] != pytest.approx(first["val_loss"], rel=1e-5)


def test_it_goes_on_with_the_size_of_its_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(tmp_path / "whole", GROWING)
    with monkeypatch.context() as patch:
        terminate_at(patch, 5)
        with pytest.raises(Terminated):
            go(tmp_path / "ended", GROWING)
    state = read_state(tmp_path / "ended")
    assert (state.epoch, state.step) == (1, 2)
    go(tmp_path / "ended", None, resume=True)
    for one, other in zip(history(whole.path), history(tmp_path / "ended"), strict=True):
        assert other == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size_start": 44}, "at least 28 and below 44, the size at the end"),
        ({"image_size_start": 20}, "at least 28 and below 44"),
        ({"augment_shift_pixels": 30}, "at least 31 and below 44"),
        ({"aux": True}, "left out with aux, whose heads are built for one size"),
        ({"image_size_start": None, "image_size_stages": 3}, "left out without image_size_start"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        go(tmp_path / "run", GROWING.with_changes(changes))
    assert not (tmp_path / "run").exists()


def test_an_estimate_is_of_the_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_module, "_SECONDS", 0.1)
    sizes: list[int] = []
    stock = fit.training_batches

    def batches(examples: Any, preprocessing: Any, *others: Any, **named: Any) -> Any:
        sizes.append(preprocessing.size)
        return stock(examples, preprocessing, *others, **named)

    monkeypatch.setattr(fit, "training_batches", batches)
    said: list[str] = []
    estimate_module.estimate(data(), GROWING, check_images="none", log=said.append)
    assert set(sizes) == {44}
    assert any(
        "full size of the images; the smaller ones before take less" in each for each in said
    )
