"""Heat lies where the evidence is, and is what the paper's gradients give."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception import InceptionV1, grad_cam
from keras_inception.data.preprocessing import preprocess
from keras_inception.models.catalogue import CATALOGUE, find
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.training.train import train
from tests.training.made_up import colour_model, colours

QUARTERS = [(top, left) for top in (0, 8) for left in (0, 8)]


def by_gradients(model: keras.Model, images: np.ndarray, classes: list[int]) -> np.ndarray:
    """Equations 1 and 2 of arXiv:1610.02391, at the size of the last feature map."""
    maps = model.get_layer("avg_pool").input
    both = keras.Model(model.input, [maps, model.get_layer("logits").output])
    with tf.GradientTape() as tape:
        activations, logits = both(images)
        chosen = tf.gather(logits, classes, batch_dims=1)
    alpha = tf.reduce_mean(tape.gradient(chosen, activations), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(alpha * activations, axis=-1)).numpy()
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-30)


def test_the_heat_is_that_of_the_gradients() -> None:
    keras.utils.set_random_seed(0)
    model = InceptionV1(classes=7, input_shape=(64, 64, 3), stem="small", width=0.125)
    images = np.random.default_rng(0).normal(0, 1, (3, 64, 64, 3)).astype(np.float32)
    heat = grad_cam(model, images, [0, 3, 6])
    assert heat.shape == (3, 64, 64) and heat.dtype == np.float32
    expected = by_gradients(model, images, [0, 3, 6])
    resized = tf.image.resize(expected[..., None], (64, 64))[..., 0].numpy()
    resized /= np.maximum(resized.max(axis=(1, 2), keepdims=True), 1e-30)
    np.testing.assert_allclose(heat, resized, atol=1e-3)


def test_the_heat_lies_where_the_evidence_is() -> None:
    model = colour_model(5)
    for number, (top, left) in enumerate(QUARTERS):
        images = np.zeros((1, 16, 16, 3), np.float32)  # grey is no class's
        images[0, top : top + 8, left : left + 8] = (colours(5)[number] - 127.5) / 127.5
        heat = grad_cam(model, images)[0]
        np.testing.assert_array_equal(heat, grad_cam(model, images, number)[0])
        inside = heat[top : top + 8, left : left + 8].sum()
        assert inside > 0.7 * heat.sum()
        assert heat.min() >= 0 and heat.max() == pytest.approx(1)


def test_nothing_speaks_for_a_class_that_is_not_there() -> None:
    model = colour_model(5)
    dense = model.get_layer("logits")
    kernel, bias = dense.get_weights()
    dense.set_weights([np.zeros_like(kernel), bias])
    assert grad_cam(model, np.ones((2, 16, 16, 3), np.float32)).max() == 0


def test_hidden_layers_and_open_sizes_are_explained_as_gradients_have_it() -> None:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(6, 3, activation="relu", name="maps"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(9, "relu", bias_initializer="random_normal"),
            layers.Dropout(0.5),
            layers.Dense(7),
            layers.ReLU(),
            layers.Dense(4, name="logits"),
            layers.Softmax(),
        ]
    )
    images = np.random.default_rng(0).normal(0, 1, (3, 20, 32, 3)).astype(np.float32)
    both = keras.Model(
        model.inputs[0], [model.get_layer(name).output for name in ("maps", "logits")]
    )
    with tf.GradientTape() as tape:
        maps, logits = both(images)
        chosen = tf.gather(logits, [0, 1, 3], batch_dims=1)
    alpha = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
    expected = tf.image.resize(tf.nn.relu(tf.reduce_sum(alpha * maps, -1, keepdims=True)), (20, 32))
    expected = expected[..., 0].numpy()
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-30)
    assert (expected.max(axis=(1, 2)) == 1).any()
    np.testing.assert_allclose(grad_cam(model, images, [0, 1, 3]), expected, atol=1e-4)
    ends = [keras.Input((8, 8, 3)), layers.GlobalAveragePooling2D(), layers.Dense(3, "tanh")]
    with pytest.raises(ValueError, match=r"dense_\d+ \(Dense\) is none of these"):
        grad_cam(keras.Sequential([*ends, layers.Dense(2)]), np.zeros((1, 8, 8, 3), np.float32))


def test_what_can_not_be_explained_is_refused() -> None:
    model = colour_model(5)
    with pytest.raises(ValueError, match="a single image needs a batch of 1"):
        grad_cam(model, np.zeros((16, 16, 3)))
    with pytest.raises(ValueError, match=r"from 0 to 4. Received: 5"):
        grad_cam(model, np.zeros((1, 16, 16, 3)), 5)
    image = keras.Input((8, 8, 3))
    flat = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)), name="flat")
    with pytest.raises(ValueError, match="Received: flat, which ends in"):
        grad_cam(flat, np.zeros((1, 8, 8, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_network_is_explained_in_mixed_precision(name: str) -> None:
    builder = find(name).builder()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = builder(classes=3, stem="small", width=0.125)
    finally:
        keras.config.set_dtype_policy("float32")
    model.trainable = False
    heat = grad_cam(model, np.random.default_rng(0).normal(0, 1, (2, 32, 32, 3)))
    assert heat.shape == (2, 32, 32) and np.isfinite(heat).all() and heat.max() <= 1


@pytest.mark.slow
def test_a_trained_network_looks_at_the_blob(tmp_path: Path) -> None:
    """Four classes, each a square of a colour in a corner of noise: the hottest quarter has it."""
    shades = {
        "red": (220, 40, 40),
        "green": (40, 200, 40),
        "blue": (40, 60, 220),
        "yellow": (220, 210, 40),
    }
    random = np.random.default_rng(0)

    def draw(label: str) -> tuple[np.ndarray, int]:
        quarter = int(random.integers(4))
        top, left = 16 * (quarter // 2) + 3, 16 * (quarter % 2) + 3
        pixels = random.normal(128, 30, (32, 32, 3))
        pixels[top : top + 10, left : left + 10] = shades[label]
        return pixels.clip(0, 255).astype(np.uint8), quarter

    for label in shades:
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(draw(label)[0]).save(tmp_path / "images" / label / f"{number}.png")
    recipe = RECIPES["small"].with_changes(
        {"width": 0.25, "epochs": 8, "batch_size": 8, "learning_rate": 0.02}
    )
    run = train(tmp_path / "images", tmp_path / "run", recipe, log=lambda line: None)
    names = list(shades) * 6
    drawn = [draw(name) for name in names]
    inputs = preprocess(np.stack([pixels for pixels, _ in drawn]), run.preprocessing).numpy()
    heat = grad_cam(run.load_model(), inputs, [run.labels.index(name) for name in names])
    quarters = heat.reshape(-1, 2, 16, 2, 16).sum(axis=(2, 4)).reshape(-1, 4)
    found = quarters.argmax(axis=1) == [quarter for _, quarter in drawn]
    assert found.mean() > 0.6, "1 in 4 by chance"


@pytest.mark.parametrize("pooled_inside", [False, True])
def test_the_heat_of_a_model_with_models_inside_is_that_of_the_flat_one(
    pooled_inside: bool,
) -> None:
    """``Sequential([base, pooling, Dense])``, pixels scaled inside."""
    flat = colour_model(5)
    kernel_and_bias = flat.get_layer("logits").get_weights()
    inside = flat.get_layer("avg_pool")
    base = keras.Model(flat.input, inside.output if pooled_inside else inside.input)
    ends = [] if pooled_inside else [keras.layers.GlobalAveragePooling2D()]
    dense = keras.layers.Dense(5, "softmax")
    scaling = keras.layers.Rescaling(1 / 127.5, -1)
    model = keras.Sequential([keras.Input((16, 16, 3)), scaling, base, *ends, dense])
    dense.set_weights(kernel_and_bias)
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    expected = grad_cam(flat, pixels / 127.5 - 1, [0, 2, 4])
    np.testing.assert_allclose(grad_cam(model, pixels, [0, 2, 4]), expected, atol=1e-4)
    assert expected.max() == pytest.approx(1)
