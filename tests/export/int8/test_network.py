"""A whole network in int8 against the same steps in floating point, each rounded to its bytes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from inception_export.export import ExportError
from inception_export.int8.calibration import choose_ranges
from inception_export.int8.network import Network, make_network
from inception_export.int8.plan import Step, make_plan
from inception_export.int8.program import record
from inception_export.int8.statistics import measure
from inception_export.int8.support import check_runs

try:
    check_runs(lambda line: None)
except ExportError as error:
    pytest.skip(str(error), allow_module_level=True)

Array = np.ndarray


def blocks() -> keras.Model:
    """A stem of odd sides, a block with every kind of column, and a reduction."""
    keras.utils.set_random_seed(0)
    image = keras.Input((23, 23, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = layers.MaxPooling2D(3, 1, "same")(x)
    a = layers.Conv2D(8, 1, activation="relu")(x)
    b = layers.Conv2D(8, (1, 7), padding="same", activation="relu")(a)
    b = layers.Conv2D(8, (7, 1), padding="same", activation="relu")(b)
    c = layers.AveragePooling2D(3, 1, "same")(x)
    d = layers.Conv2D(8, 1, activation="relu")(c)
    x = layers.Concatenate()([a, b, c, d])
    e = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    f = layers.MaxPooling2D(3, 2, "same")(x)
    return keras.Model(image, layers.Concatenate()([e, f]))


def simulate(network: Network, images: Array) -> Array:
    """The network's output: every tensor rounded to the bytes that it would be."""
    plan, values = network.plan, {0: images.astype(np.float64)}

    def rounded(number: int, exact: Array) -> Array:
        signed = plan.signed[number]
        steps = 127 if signed else 255
        byte = network.range_of(number) / steps
        return np.rint(exact / byte).clip(-steps if signed else 0, steps) * byte

    def exact(step: Step, inputs: list[Array]) -> Array:
        layer = step.call.layer
        if step.kind == "concat":
            return np.concatenate(inputs, axis=-1)
        padding = layer.padding.upper()
        if step.kind == "conv":
            filters = network.filters[step.output]
            made = tf.nn.conv2d(inputs[0], filters.values, layer.strides, padding)
            return np.maximum(made.numpy() + filters.bias, 0)
        pool = {"max_pool": tf.nn.max_pool2d, "avg_pool": tf.nn.avg_pool2d}[step.kind]
        return pool(tf.constant(inputs[0]), layer.pool_size, layer.strides, padding).numpy()

    for step in plan.steps:
        inputs = [rounded(number, values[number]) for number in step.inputs]
        values[step.output] = rounded(step.output, exact(step, inputs))
    return values[plan.output]


def test_a_network_is_its_steps_rounded_to_bytes() -> None:
    program = record(blocks())
    plan = make_plan(program, image_signed=True)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 23, 23, 3)).astype(np.float32)
    seen = measure(program, plan, [tf.constant(images)])
    network = make_network(plan, choose_ranges("maximum", plan, seen), seen.means)
    assert {step.kind for step in plan.steps} == {"conv", "concat", "max_pool", "avg_pool"}
    made = tf.function(lambda x: network(x), autograph=False)(tf.constant(images)).numpy()
    byte = network.range_of(plan.output) / 255
    apart = np.abs(made - simulate(network, images)) / byte
    # A tie may be rounded to either side, which moves some later byte by one.
    assert apart.max() < 2.5
    assert np.mean(apart > 0.5) < 0.02
    assert made.std() > 20 * byte


def test_layers_run_as_in_inference() -> None:
    """Augmentation inside a model does nothing then; called alone, its layers would train."""
    image = keras.Input((8, 8, 3))
    x = layers.RandomContrast(0.9)(layers.RandomFlip()(image))
    x = layers.Dropout(0.9)(layers.GaussianNoise(1.0)(x))
    program = record(keras.Model(image, layers.Conv2D(2, 1)(x)))
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype(np.float32)
    values = {0: tf.constant(images)}
    for call in program.calls[:-1]:
        call.run(values)
    np.testing.assert_array_equal(values[program.calls[-1].inputs[0]], images)


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (layers.Conv2D(6, 3), 6 * 6 * 9 * 4 * 6),
        (layers.Conv2D(6, 3, groups=2), 6 * 6 * 9 * 2 * 6),
        (layers.Conv2DTranspose(6, 3, 2), 8 * 8 * 9 * 4 * 6),
        (layers.SeparableConv2D(6, 3), 6 * 6 * (9 * 4 + 4 * 6)),
        (layers.Dense(6), 8 * 8 * 4 * 6),
        (layers.PReLU(), 0),
        (layers.LayerNormalization(axis=(1, 2, 3)), 0),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_multiply_adds_are_those_of_kernels(layer: keras.Layer, multiply_adds: int) -> None:
    image = keras.Input((8, 8, 4))
    program = record(keras.Model(image, layer(image)))
    plan = make_plan(program, image_signed=True)
    in_int8, of_all = measure(program, plan, [tf.zeros([1, 8, 8, 4])]).multiply_adds
    assert of_all == multiply_adds
    assert in_int8 == (multiply_adds if layer.name.startswith("conv2d") and plan.ranges else 0)
