"""The loss and its gradient where an image is very wrong, on both backends; and balanced parts."""

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
from keras_inception.training.optimization.losses import make_loss

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
