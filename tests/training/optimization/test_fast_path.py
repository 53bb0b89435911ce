"""The fast path trains as stock Keras does, leaves no trace in what is saved, and names what moved.

The tests of `RELIED_ON` fail by name when Keras or TensorFlow no longer are as the fast path, and
what else reaches below their public API, needs them. CONTRIBUTING.md has the list, too.
"""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import InceptionV3
from keras_inception.runs.recipe import Recipe
from keras_inception.training.network import compile_network
from keras_inception.training.optimization import fast_path
from keras_inception.training.optimization.fast_path import fuse_batch_norm, multiply_small_maps
from keras_inception.training.optimization.optimizers import make_optimizer

ROOT = Path(__file__).parents[3]


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


def shallow(activation: str | None = "softmax") -> keras.Model:
    """Few layers: through v3's hundred, one rounding more or less changes gradients by percents."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((28, 28, 3))
    for filters in (8, 16, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, use_bias=False)(x)
        x = keras.layers.BatchNormalization(scale=False, momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, activation=activation)(x))


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


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "padding"),
    [
        ((7, 7), (1, 1), 1, "same"),
        ((7, 8), (1, 7), 1, "same"),
        ((7, 7), (7, 1), 1, "same"),
        ((3, 3), (3, 3), 1, "same"),
        ((5, 6), (3, 3), 1, "valid"),
        ((4, 4), (2, 4), 1, "same"),  # the kernel's sides are even: more to the right and below
        ((15, 15), (3, 3), 2, "valid"),
        ((8, 7), (3, 3), 2, "same"),
        ((8, 8), (1, 1), 2, "valid"),
    ],
)
def test_gradients_of_small_maps_are_the_convolutions(
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: int,
    padding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole numbers, so that every sum is exact in bfloat16's kernels, in whatever order."""
    monkeypatch.setattr(fast_path, "small_maps_are_slow", lambda: True)
    image = keras.Input((*size, 3))
    layer = keras.layers.Conv2D(4, kernel, strides, padding, dtype="mixed_bfloat16")
    model = keras.Model(image, layer(image))
    random = np.random.default_rng(0)
    layer.set_weights([random.integers(-1, 2, each.shape) for each in layer.get_weights()])
    images = tf.constant(random.integers(-1, 2, (2, *size, 3)), tf.float32)
    above = tf.cast(random.integers(-1, 2, (2, *layer.output.shape[1:])), tf.bfloat16)

    def found() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images, training=True)
        weights = [each.value for each in model.trainable_variables]
        return [outputs, *tape.gradient(outputs, [images, *weights], above)]

    stock = found()
    multiply_small_maps(model)
    assert "convolution_op" in vars(layer)
    kinds = [
        each.type for each in tf.function(found).get_concrete_function().graph.get_operations()
    ]
    assert "MatMul" in kinds and "Conv2DBackpropFilter" not in kinds
    for one, other in zip(found(), stock, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_small_maps_in_bfloat16_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((9, 9, 3))
    layers = {
        "few columns": keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
        "many": keras.layers.Conv2D(4, 1, dtype="mixed_bfloat16"),
        "float32": keras.layers.Conv2D(4, 3, dtype="float32"),
        "dilated": keras.layers.Conv2D(4, 3, dilation_rate=2, dtype="mixed_bfloat16"),
        "depthwise": keras.layers.DepthwiseConv2D(3, dtype="mixed_bfloat16"),
    }
    model = keras.Model(image, [layer(image) for layer in layers.values()])

    def replaced() -> list[str]:
        multiply_small_maps(model)
        return [name for name, layer in layers.items() if "convolution_op" in vars(layer)]

    monkeypatch.setattr(fast_path, "small_maps_are_slow", lambda: False)
    assert replaced() == []
    monkeypatch.setattr(fast_path, "small_maps_are_slow", lambda: True)
    assert replaced() == ["few columns"]


def fitted(recipe: Recipe, fast: bool) -> tuple[list[float], keras.Model]:
    """The losses of some epochs of `fit`, and the model."""
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (24, 28, 28, 3)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[random.integers(0, 3, 24)]
    model = shallow(None)
    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    compile_network(model, recipe, 0.01, metrics, fast=fast)
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(8)
    history = model.fit(data, epochs=3, steps_per_epoch=3, shuffle=False, verbose=0)
    return history.history["loss"], model


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_turned_off_stock_keras_trains_to_the_same_numbers(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer)
    (losses, fast), (stock_losses, stock) = fitted(recipe, True), fitted(recipe, False)
    assert ("update_step" in vars(fast.optimizer)) is (optimizer != "adam")
    assert "update_step" not in vars(stock.optimizer)
    assert all("call" not in vars(layer) for layer in stock.layers)
    np.testing.assert_allclose(losses, stock_losses, rtol=1e-4)
    for one, other in zip(fast.variables, stock.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=one.path)


def test_a_model_compiled_again_is_not_wrapped_twice() -> None:
    model = shallow(None)
    for _ in range(2):
        compile_network(model, Recipe(), 0.01, [])
    layer = next(each for each in model.layers if "call" in vars(each))
    stock = inspect.getclosurevars(layer.call).nonlocals["stock"]
    assert stock.__func__ is keras.layers.BatchNormalization.call


RELIED_ON: dict[str, Callable[[], Any]] = {}


def relied_on(check: Callable[[], Any]) -> Callable[[], Any]:
    """Add a check, under its own name."""
    RELIED_ON[check.__name__] = check
    return check


def built(optimizer: str) -> Any:
    model = shallow()
    made = make_optimizer(Recipe(optimizer=optimizer), model, 0.1)
    made.build(model.trainable_variables)
    return made, model.trainable_variables


@relied_on
def layer_calls_the_call_of_the_instance() -> None:
    """fast_path.fuse_batch_norm"""
    layer = keras.layers.BatchNormalization()
    layer.build((None, 4))
    object.__setattr__(layer, "call", lambda inputs, **_: inputs + 1)
    assert float(layer(np.zeros((1, 4), np.float32))[0, 0]) == 1


@relied_on
def convolution_calls_the_convolution_op_of_the_instance() -> None:
    """fast_path.multiply_small_maps"""
    layer = keras.layers.Conv2D(4, 1, use_bias=False)
    layer.build((None, 2, 2, 4))
    object.__setattr__(layer, "convolution_op", lambda inputs, kernel: inputs + 1)
    assert float(layer(np.zeros((1, 2, 2, 4), np.float32))[0, 0, 0, 0]) == 1


@relied_on
def batch_normalization_has_its_attributes_and_its_call() -> None:
    """fast_path.fuse_batch_norm"""
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=0.1)
    layer.build((None, 2, 2, 4))
    assert (layer.momentum, layer.epsilon, layer.axis) == (0.9, 0.1, -1)
    assert (layer.center, layer.scale, layer.renorm, layer.synchronized) == (
        True,
        True,
        False,
        False,
    )
    assert {each.name for each in layer.weights} == {
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    }
    assert layer.gamma is not None and layer.beta is not None
    assert list(inspect.signature(type(layer).call).parameters) == [
        "self",
        "inputs",
        "training",
        "mask",
    ]


@relied_on
def variable_value_is_a_tensorflow_variable_with_a_handle() -> None:
    """fast_path"""
    value = keras.Variable(np.zeros(3, np.float32)).value
    assert isinstance(value, tf.Variable)
    assert value.handle.dtype == tf.resource


@relied_on
def raw_operations_take_their_arguments() -> None:
    """fast_path"""
    wanted = {
        "FusedBatchNormV3": "x scale offset mean variance epsilon exponential_avg_factor"
        " is_training",
        "AssignVariableOp": "resource value",
        "ResourceApplyKerasMomentum": "var accum lr grad momentum use_nesterov",
        "ResourceApplyRMSProp": "var ms mom lr rho momentum epsilon grad",
    }
    for name, arguments in wanted.items():
        there = inspect.signature(getattr(tf.raw_ops, name)).parameters
        assert set(arguments.split()) <= set(there), name


@relied_on
def sgd_momentums_stand_in_the_order_of_the_weights() -> None:
    """fast_path._fuse_update"""
    sgd, weights = built("sgd")
    assert [each.shape for each in sgd.momentums] == [each.shape for each in weights]
    assert sgd.nesterov is True and sgd.momentum == 0.9


@relied_on
def rmsprop_velocities_and_momentums_stand_in_the_order_of_the_weights() -> None:
    """fast_path._fuse_update, optimizers.RMSprop"""
    rmsprop, weights = built("rmsprop")
    for slots in (rmsprop._velocities, rmsprop._momentums):
        assert [each.shape for each in slots] == [each.shape for each in weights]
    assert (rmsprop.rho, rmsprop.momentum, rmsprop.epsilon) == (0.9, 0.9, 1.0)


@relied_on
def optimizer_get_variable_index_takes_either_kind_of_variable() -> None:
    """fast_path._fuse_update"""
    sgd, weights = built("sgd")
    assert [sgd._get_variable_index(each) for each in weights] == list(range(len(weights)))
    assert sgd._get_variable_index(weights[1].value) == 1


@relied_on
def optimizer_apply_calls_update_step_of_the_instance_with_tensorflow_variables() -> None:
    """fast_path._fuse_update, optimizers._WholeBatch"""
    sgd, weights = built("sgd")
    seen = []
    object.__setattr__(sgd, "update_step", lambda *arguments: seen.append(arguments))
    sgd.apply([tf.zeros(each.shape) for each in weights], weights)
    assert len(seen) == len(weights)
    for (gradient, variable, rate), weight in zip(seen, weights, strict=True):
        assert variable is weight.value and gradient.shape == weight.shape
        assert float(rate) == pytest.approx(0.1)


@relied_on
def loss_scale_optimizer_has_the_inner_one() -> None:
    """fast_path.take_fast_path"""
    inner = keras.optimizers.SGD(0.1)
    assert keras.optimizers.LossScaleOptimizer(inner).inner_optimizer is inner


@relied_on
def optimizer_variables_have_paths_of_their_own() -> None:
    """checkpoint.by_path"""
    for name, slots in {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2}.items():
        optimizer, weights = built(name)
        paths = [each.path for each in optimizer.variables]
        assert len(set(paths)) == len(paths) == 2 + slots * len(weights)
        assert all(path.startswith(f"{name}/") for path in paths)
        kernel = weights[0].path.replace("/", "_")
        assert f"{name}/{kernel}_momentum" in paths


@relied_on
def fit_calls_the_train_function_that_is_there_with_an_iterator() -> None:
    """fast_path.trace_steps_once"""
    model = shallow()
    model.compile("sgd", "categorical_crossentropy")
    called = []

    def step(iterator: Any) -> Any:
        called.append(next(iterator))
        return {"loss": 0.0}

    model.train_function = step
    images, targets = np.zeros((4, 28, 28, 3), np.float32), np.eye(3)[[0, 1, 2, 0]]
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    model.fit(data, shuffle=False, verbose=0)
    assert [len(batch[0]) for batch in called] == [2, 2]


@relied_on
def compile_leaves_no_train_function_and_train_step_takes_a_batch() -> None:
    """fast_path.trace_steps_once"""
    model = shallow()
    model.compile("sgd", "categorical_crossentropy")
    assert model.train_function is None
    assert model.run_eagerly is False and model.jit_compile in (False, True)
    batch = (np.zeros((2, 28, 28, 3), np.float32), np.eye(3, dtype=np.float32)[:2])
    assert float(model.train_step(batch)["loss"]) > 0


@relied_on
def batch_norm_is_synchronized_by_its_attribute_and_configured_so() -> None:
    """devices.distribution.synchronize_batch_norm, network.inference"""
    layer = keras.layers.BatchNormalization()
    layer.synchronized = True
    assert layer.get_config()["synchronized"] is True


@relied_on
def progbar_logger_counts_to_its_params() -> None:
    """callbacks.Bar"""
    bar = keras.callbacks.ProgbarLogger()
    bar.set_params({"verbose": 0, "epochs": 7, "steps": 1})
    assert bar.epochs == 7


@relied_on
def jax_trainers_have_their_state_sync_and_jax_its_preemption_point() -> None:
    """devices.distribution.sync_variables, callbacks.StopTogether; needs KERAS_BACKEND=jax"""
    script = (
        "import keras, jax.experimental.multihost_utils as hosts\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\n"
        "model.jax_state_sync()\n"
        "assert callable(hosts.reached_preemption_sync_point)\n"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("name", RELIED_ON)
def test_keras_is_as_it_is_relied_on(name: str) -> None:
    """Its docstring says where, below keras_inception/training."""
    RELIED_ON[name]()
