"""The fused kernel trains as Keras's own operations do, and leaves no trace in what is saved."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_inception import InceptionV3
from keras_inception.training.optimization.fast_path import fuse_batch_norm


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return InceptionV3(stem="small", width=0.125, classes=3, input_shape=(28, 28, 3), dropout=0.0)


def trained(model: keras.Model, steps: int = 4) -> list[float]:
    random = np.random.default_rng(0)
    model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy", run_eagerly=True)
    losses = []
    for _ in range(steps):
        images = random.normal(0, 1, (8, 28, 28, 3)).astype(np.float32)
        targets = np.eye(3, dtype=np.float32)[random.integers(0, 3, 8)]
        losses.append(float(model.train_on_batch(images, targets)))
    return losses


def shallow() -> keras.Model:
    """Few layers: through v3's hundred, one rounding more or less changes gradients by percents."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((28, 28, 3))
    for filters in (8, 16, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, use_bias=False)(x)
        x = keras.layers.BatchNormalization(scale=False, momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))


def test_losses_weights_and_moving_statistics_are_the_same() -> None:
    stock, fused = shallow(), shallow()
    fuse_batch_norm(fused)
    np.testing.assert_allclose(trained(fused), trained(stock), rtol=1e-5)
    for one, other in zip(fused.variables, stock.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=one.path)


def test_one_layer_to_the_digit() -> None:
    """Gamma and a batch so small that n and n - 1 differ by a tenth."""
    images = np.random.default_rng(0).normal(3, 2, (2, 2, 3, 5)).astype(np.float32)
    outputs = []
    for fuse in (False, True):
        keras.utils.set_random_seed(1)
        image = keras.Input((2, 3, 5))
        layer = keras.layers.BatchNormalization(momentum=0.5, gamma_initializer="normal")
        model = keras.Model(image, layer(image))
        if fuse:
            fuse_batch_norm(model)
        outputs.append((model(images, training=True), layer.moving_mean, layer.moving_variance))
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_inference_and_frozen_layers_go_the_stock_way() -> None:
    image = keras.Input((2, 3, 5))
    layer = keras.layers.BatchNormalization()
    model = keras.Model(image, layer(image))
    fuse_batch_norm(model)
    images = np.random.default_rng(0).normal(3, 2, (2, 2, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(model(images, training=False), images, rtol=1e-3)
    layer.trainable = False
    np.testing.assert_allclose(model(images, training=True), images, rtol=1e-3)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))


def test_the_graph_has_the_kernel_forward_and_backward() -> None:
    import tensorflow as tf

    model = network()
    fuse_batch_norm(model)

    @tf.function
    def gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True))
        return tape.gradient(loss, [each.value for each in model.trainable_variables])

    graph = gradients.get_concrete_function(tf.TensorSpec([4, 28, 28, 3])).graph
    kinds = [operation.type for operation in graph.get_operations()]
    layers = sum(isinstance(each, keras.layers.BatchNormalization) for each in model.layers)
    assert kinds.count("FusedBatchNormV3") == kinds.count("FusedBatchNormGradV3") == layers


def test_what_is_saved_is_stock(tmp_path: Path) -> None:
    model = network()
    fuse_batch_norm(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert all("call" not in vars(layer) for layer in loaded.layers)
    images = np.zeros((1, 28, 28, 3), np.float32)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    fuse_batch_norm(model)
    assert all(np.isfinite(trained(model, 2)))
