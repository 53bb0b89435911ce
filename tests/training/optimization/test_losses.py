"""The losses and their gradients where an image is very wrong, and as Keras's and by hand else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.data.preparation.balance import label_weights
from keras_inception.runs.recipe import Recipe
from keras_inception.training.optimization.losses import make_loss, positive_weights

ROOT = Path(__file__).parents[3]

# A step of SGD on one bias, from a network that a recipe's training compiles.
SCRIPT = """
import json
import keras
import numpy as np
from keras_inception.runs.recipe import Recipe
from keras_inception.training.network import build, compile_network, inference

recipe = Recipe(model="InceptionV1", image_size=28, stem="small", width=0.125, dropout=0.0,
                label_smoothing=0.0, momentum=0.0, nesterov=False, weight_decay=0.0)
model = build(recipe, 2, 0.9)
found = []
for gap in (1.0, 20.0, 40.0, 120.0):
    logits = model.get_layer("logits")
    logits.set_weights([np.zeros_like(logits.get_weights()[0]), np.array([gap, 0.0])])
    compile_network(model, recipe, 1.0, [])
    history = model.fit(np.zeros((2, 28, 28, 3), "float32"), np.array([[0.0, 1.0]] * 2),
                        batch_size=2, verbose=0)
    moved = logits.get_weights()[1] - [gap, 0.0]
    found.append([history.history["loss"][0], *moved.tolist()])
(score,) = inference(model).predict(np.zeros((1, 28, 28, 3), "float32"), verbose=0)
print(json.dumps([found, score.tolist()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_an_image_that_is_very_wrong_has_its_loss_and_its_gradient(backend: str) -> None:
    """Of clipped probabilities JAX's loss stayed at 16.118, and its gradient was 0."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found, score = json.loads(output.splitlines()[-1])
    for gap, (loss, first, second) in zip((1.0, 20.0, 40.0, 120.0), found, strict=True):
        assert loss == pytest.approx(np.log1p(np.exp(gap)), rel=1e-5)
        gradient = 1 / (1 + np.exp(-gap))
        assert (first, second) == pytest.approx((-gradient, gradient), rel=1e-4)
    assert sum(score) == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_with_equal_weights_it_is_kerass(smoothing: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (6, 4)).astype(np.float32)
    targets = random.integers(0, 2, (6, 4)).astype(np.float32)
    recipe = Recipe(label_smoothing=smoothing)
    plain, balanced = (
        float(make_loss(recipe, True, balance)(targets, logits))
        for balance in (None, np.ones((2, 4), np.float32))
    )
    assert balanced == pytest.approx(plain, rel=1e-5)


def test_every_class_counts_alike_where_labels_occur_together() -> None:
    """300 images of A, 20 of them of B, 40 of neither: the weights of an image were a mean."""
    targets = np.zeros((340, 2), bool)
    targets[:300, 0] = targets[:20, 1] = True
    images = Pixels.of(np.zeros((340, 2, 2, 3), np.uint8))
    weights = label_weights(Examples(("a", "b"), images, targets))
    counted = np.stack([weights[0] * (~targets).sum(axis=0), weights[1] * targets.sum(axis=0)])
    np.testing.assert_allclose(counted, 170)
    loss = make_loss(Recipe(label_smoothing=0), True, weights)
    logits = keras.ops.zeros((340, 2))
    assert float(loss(targets.astype(np.float32), logits)) == pytest.approx(np.log(2), rel=1e-5)


def test_a_class_without_images_or_of_all_has_no_balance() -> None:
    targets = np.array([[True, False], [True, False]])
    images = Pixels.of(np.zeros((2, 2, 2, 3), np.uint8))
    np.testing.assert_array_equal(label_weights(Examples(("a", "b"), images, targets)), 1)


def some(classes: int, images: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Targets of several classes an image, and logits."""
    random = np.random.default_rng(classes)
    targets = random.integers(0, 2, (images, classes)).astype(np.float32)
    return targets, random.normal(0, 3, (images, classes)).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_the_focal_losses_are_kerass(gamma: float, smoothing: float) -> None:
    """With alpha 1, where Keras's do not clip."""
    targets, logits = some(4)
    recipe = Recipe(loss="focal", focal_gamma=gamma, label_smoothing=smoothing)
    expected = keras.losses.BinaryFocalCrossentropy(
        gamma=gamma, from_logits=True, label_smoothing=smoothing
    )(targets, logits)
    found = make_loss(recipe, True)(targets, logits)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    one = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    expected = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=gamma, from_logits=True, label_smoothing=smoothing
    )(one, logits)
    assert float(make_loss(recipe, False)(one, logits)) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_every_loss_has_a_gradient_where_an_image_is_very_wrong(
    loss: str, multi_label: bool
) -> None:
    """And none that is no number where it is very right, whatever gamma is."""
    import tensorflow as tf

    gamma = 0.5 if loss == "focal" else None
    recipe = Recipe(loss=loss, focal_gamma=gamma, label_smoothing=0.0)
    targets = np.array([[0.0, 1.0]], np.float32)
    gradients = []
    for sign in (1, -1):
        logits = tf.Variable(sign * np.array([[60.0, -60.0]], np.float32))
        with tf.GradientTape() as tape:
            value = make_loss(recipe, multi_label)(targets, logits)
        gradients.append(tape.gradient(value, logits).numpy()[0])
    each = 0.5 if multi_label else 1.0  # the mean over the classes, or the sum
    assert gradients[0] == pytest.approx([each, -each], rel=1e-4)
    assert gradients[1] == pytest.approx([0, 0], abs=1e-3)


def test_each_class_by_itself_where_an_image_is_of_one() -> None:
    _, logits = some(3)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 0, 0]]
    scores = 1 / (1 + np.exp(-logits))
    parts = np.where(targets == 1, -np.log(scores), -np.log(1 - scores))
    recipe = Recipe(loss="binary", label_smoothing=0.0)
    assert float(make_loss(recipe, False)(targets, logits)) == pytest.approx(parts.mean(), rel=1e-5)
    examples = Examples(tuple("abc"), Pixels.of(np.zeros((6, 2, 2, 3), np.uint8)), targets == 1)
    for weight, expected in (("balanced", [0.5, 5.0, 5.0]), (3.0, [3.0, 3.0, 3.0])):
        balance = positive_weights(examples, weight)
        np.testing.assert_allclose(balance, [[1, 1, 1], expected])
        weighed = np.where(targets == 1, parts * expected, parts).mean()
        found = float(make_loss(recipe, False, balance)(targets, logits))
        assert found == pytest.approx(weighed, rel=1e-5)


def test_the_weight_of_positives_is_that_of_tensorflow() -> None:
    import tensorflow as tf

    targets, logits = some(4)
    balance = np.array([[1, 1, 1, 1], [3, 0.5, 1, 7]], np.float32)
    recipe = Recipe(label_smoothing=0.0)
    expected = tf.nn.weighted_cross_entropy_with_logits(targets, logits, balance[1])
    found = float(make_loss(recipe, True, balance)(targets, logits))
    assert found == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)
