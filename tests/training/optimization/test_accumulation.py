"""Gradients of several batches averaged before the weights change, by Keras's own means."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, Terminated
from keras_inception.training.devices.distribution import DeviceError, Devices
from keras_inception.training.optimization.averages import Averages
from keras_inception.training.optimization.fast_path import _fuse_update
from keras_inception.training.optimization.optimizers import make_optimizer
from tests.training.optimization.test_optimizers import gradients, network
from tests.training.test_fit import RECIPE, go, history, terminate_at


def after(model: keras.Model, recipe: Recipe, given: list[Any], fuse: bool = False) -> list[Any]:
    """The weights after these gradients, applied inside a graph."""
    optimizer = make_optimizer(recipe, model, 0.1)
    optimizer.build(model.trainable_variables)
    if fuse:
        _fuse_update(optimizer)

    @tf.function
    def apply(each: Any) -> None:
        optimizer.apply(each, model.trainable_variables)

    for each in given:
        apply([tf.constant(gradient) for gradient in each])
    return [each.numpy() for each in model.trainable_variables]


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw"])
def test_an_update_is_that_of_the_mean_gradient(name: str, fuse: bool) -> None:
    """Clipped after the mean, with weight decay in it."""
    recipe = Recipe(optimizer=name, weight_decay=0.01, clip_norm=1.0)
    given = gradients(network())
    means = [
        [np.mean(columns, axis=0) for columns in zip(*given[start : start + 3], strict=True)]
        for start in (0, 3)
    ]
    expected = after(network(), recipe, means)
    accumulated = recipe.with_changes({"gradient_accumulation_steps": 3})
    found = after(network(), accumulated, given, fuse)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    # Not before the third.
    for one, other in zip(
        after(network(), accumulated, given[:2], fuse), network().trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def without_batch_norm(recipe: Recipe, classes: int, momentum: float) -> keras.Model:
    """What batches of other sizes train alike."""
    image = keras.Input((28, 28, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, dtype="float32", name="logits")(x))


@pytest.fixture
def plain(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", without_batch_norm)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("fast", [True, False])
def test_two_batches_are_one_of_twice_the_size(
    fast: bool, precision: str, plain: None, tmp_path: Path
) -> None:
    """The same images in the same order: with averages, clipping and a warm-up that are alike."""
    settings = {"precision": precision, "ema": 0.9, "clip_norm": 0.5, "schedule": "constant"}
    recipe = RECIPE.with_changes(settings | {"warmup_epochs": 0, "epochs": 2})
    whole = go(tmp_path / "whole", recipe, fast=fast)
    halves = recipe.with_changes({"batch_size": 4, "gradient_accumulation_steps": 2})
    found = go(tmp_path / "halves", halves, fast=fast)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "float32" else {"atol": 5e-3}
    for one, other in zip(weights(found), weights(whole), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    with np.load(found.path / "checkpoints" / "last.npz") as arrays:
        assert any("gradient_accumulator" in name for name in arrays.files)


def weights(run: Run) -> list[np.ndarray]:
    return run.load_model().get_weights()


def test_a_run_that_is_stopped_between_goes_on(
    plain: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps an epoch, of which every second changes the weights: gradients are kept too."""
    recipe = RECIPE.with_changes({"gradient_accumulation_steps": 2, "ema": 0.9})
    whole = go(tmp_path / "whole", recipe)
    with monkeypatch.context() as patch:
        terminate_at(patch, 1)
        with pytest.raises(Terminated):
            go(tmp_path / "stopped", recipe)
    stopped = go(tmp_path / "stopped", None, resume=True)
    for one, other in zip(weights(stopped), weights(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(history(stopped.path), history(whole.path), strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)


def test_more_batches_than_there_are_would_change_nothing(plain: None, tmp_path: Path) -> None:
    """Of 3 steps in an epoch; and the rate before the first change is not below 0."""
    said: list[str] = []
    recipe = RECIPE.with_changes({"gradient_accumulation_steps": 4, "epochs": 1})
    with pytest.raises(RecipeError, match="at most 3, the number of batches in 1 epochs"):
        go(tmp_path / "run", recipe)
    assert not (tmp_path / "run").exists()
    go(tmp_path / "run", recipe.with_changes({"epochs": 2}), log=said.append)
    (first,) = (line for line in said if line.startswith("Epoch 1/2"))
    assert "learning rate 0;" in first


def test_averages_move_when_the_weights_do() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    averages = Averages(model, 0.9, every=3)
    before = averages.variables[0].numpy().item()
    model.weights[0].assign([[5.0]])
    for batch in range(2):
        averages.on_train_batch_end(batch)
    assert averages.variables[0].numpy().item() == before
    averages.on_train_batch_end(2)
    share = 1 - 2 / 11  # that of the first change
    assert averages.variables[0].numpy().item() == pytest.approx(before + share * (5 - before))


def test_several_devices_of_tensorflow_are_refused() -> None:
    with pytest.raises(DeviceError, match="must be 1 on several devices of TensorFlow's"):
        Devices(2).check_accumulation(2)
    Devices(2).check_accumulation(1)
    Devices(1).check_accumulation(2)
