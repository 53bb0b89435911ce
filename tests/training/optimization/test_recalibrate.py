"""Moving statistics measured again are the exact averages of the batches' own."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_inception.runs.run import Run
from keras_inception.training.optimization.fast_path import fuse_batch_norm
from keras_inception.training.optimization.recalibrate import recalibrate
from tests.training.test_fit import RECIPE, go, history


def network() -> keras.Model:
    """Two batch norms, the second behind the first; dropout, which must not disturb."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="one")(x)
    x = keras.layers.BatchNormalization(momentum=0.99, name="one_bn")(x)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="two")(x)
    x = keras.layers.BatchNormalization(momentum=0.9997, name="two_bn")(x)
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Dense(2)(x))


def batches() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [
        random.normal(3 * count, 2 + count, (4, 6, 6, 3)).astype("float32") for count in range(3)
    ]


def expected(model: keras.Model, epsilon: float = 1e-3) -> dict[str, tuple[np.ndarray, ...]]:
    """By hand, from the layers one at a time."""
    found: dict[str, list] = {"one_bn": [], "two_bn": []}
    for batch in batches():
        x = np.array(model.get_layer("one")(batch), np.float64)
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        found["one_bn"].append((mean, variance))
        x = (x - mean) / np.sqrt(variance + epsilon)
        x = np.array(model.get_layer("two")(x.astype("float32")), np.float64)
        found["two_bn"].append((x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))))
    return {name: tuple(np.mean(each, axis=0)) for name, each in found.items()}


@pytest.mark.parametrize("fused", [False, True])
def test_statistics_are_the_averages_of_the_batches_own(fused: bool) -> None:
    model = network()
    model.get_layer("two_bn").moving_variance.assign(np.full(5, np.inf))
    if fused:
        fuse_batch_norm(model)
    recalibrate(model, [(batch, None) for batch in batches()])
    for name, (mean, variance) in expected(model).items():
        layer = model.get_layer(name)
        np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)
    assert model.get_layer("one_bn").momentum == 0.99
    assert model.get_layer("two_bn").momentum == 0.9997


def test_an_epoch_of_the_classifier_alone_is_kept_as_it_was_validated(
    run: Run, tmp_path: Path, fast: None
) -> None:
    """Where it is the best: it was trained with the statistics that the weights had."""
    recipe = RECIPE.with_changes(
        {
            "model": run.recipe.model,
            "image_size": run.recipe.image_size,
            "width": run.recipe.width,
            "weights": str(run.path),
            "head_epochs": 1,
            "recalibrate": True,
            "epochs": 2,
            "learning_rate": 30.0,
            "head_learning_rate": 0.01,
        }
    )
    finished = go(tmp_path / "run", recipe)
    first, second = (row["val_loss"] for row in history(finished.path))
    assert first < second
    assert finished.record["validation"]["loss"] == pytest.approx(first, rel=1e-3)


def test_frozen_layers_keep_theirs_and_are_passed_as_in_inference() -> None:
    model = network()
    model.get_layer("one_bn").trainable = False
    recalibrate(model, batches())
    np.testing.assert_array_equal(model.get_layer("one_bn").moving_mean, np.zeros(4))
    assert np.abs(model.get_layer("two_bn").moving_mean - expected(model)["two_bn"][0]).max() > 0.1


def test_nested_models_are_reached() -> None:
    inner = network()
    image = keras.Input((6, 6, 3))
    recalibrate(keras.Model(image, inner(image)), batches())
    assert np.abs(inner.get_layer("two_bn").moving_mean).max() > 0


def test_without_batches_nothing_changes() -> None:
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match="at least one batch"):
        recalibrate(model, [])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
