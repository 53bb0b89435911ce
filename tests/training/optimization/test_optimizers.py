"""Each optimizer against its formula, written out in numpy, over several steps."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_inception.runs.recipe import Recipe
from keras_inception.training.optimization.fast_path import _fuse_update
from keras_inception.training.optimization.optimizers import make_optimizer

ROOT = Path(__file__).parents[3]
STEPS = 6


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((5, 5, 2))
    x = keras.layers.Conv2D(3, 3)(image)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


def gradients(model: keras.Model) -> list[list[np.ndarray]]:
    random = np.random.default_rng(0)
    return [
        [random.normal(0, 1, each.shape).astype(np.float32) for each in model.trainable_variables]
        for _ in range(STEPS)
    ]


def after(model: keras.Model, recipe: Recipe, rate: float = 0.1) -> list[np.ndarray]:
    """The weights after all gradients have been applied inside a graph, as `fit` does."""
    import tensorflow as tf

    optimizer = make_optimizer(recipe, model, rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def apply(given):
        optimizer.apply(given, model.trainable_variables)

    for given in gradients(model):
        apply([tf.constant(each) for each in given])
    return [each.numpy() for each in model.trainable_variables]


def tensorflow_1(
    weight: np.ndarray, given: list[np.ndarray], *, epsilon: float, momentum: float, decay: float
) -> np.ndarray:
    """tf.train.RMSPropOptimizer(0.1, 0.9, momentum, epsilon), after an L2 loss of `decay`."""
    weight, mean_square, moment = weight.astype(np.float64), 1.0, 0.0
    for gradient in given:
        gradient = gradient + decay * weight
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        moment = momentum * moment + 0.1 * gradient / np.sqrt(mean_square + epsilon)
        weight = weight - moment
    return weight


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("epsilon", [1.0, 1e-10])
def test_rmsprop_is_tensorflow_1s(momentum: float, epsilon: float) -> None:
    model = network()
    before = [each.numpy() for each in model.trainable_variables]
    recipe = Recipe(optimizer="rmsprop", momentum=momentum, epsilon=epsilon, weight_decay=0.01)
    results = after(model, recipe)
    columns = zip(*gradients(model), strict=True)
    for variable, start, given, result in zip(
        model.trainable_variables, before, columns, results, strict=True
    ):
        decay = 0.01 if variable.name == "kernel" else 0.0
        expected = tensorflow_1(start, list(given), epsilon=epsilon, momentum=momentum, decay=decay)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_kerass_rmsprop_is_another() -> None:
    """So that the test above could fail: Keras's accumulator starts at zero."""
    ours, model = network(), network()
    results = after(ours, Recipe(optimizer="rmsprop", epsilon=1.0, weight_decay=0))
    keras_own = keras.optimizers.RMSprop(0.1, rho=0.9, momentum=0.9, epsilon=1.0)
    for given in gradients(model):
        keras_own.apply(
            [keras.ops.convert_to_tensor(each) for each in given], model.trainable_variables
        )
    assert np.abs(results[0] - model.trainable_variables[0].numpy()).max() > 0.05


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_kerass_with_an_l2_loss_on_kernels(nesterov: bool) -> None:
    model, other = network(), network()
    results = after(model, Recipe(nesterov=nesterov, weight_decay=0.01))
    stock = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=nesterov)
    for given in gradients(other):
        regularized = [
            keras.ops.convert_to_tensor(each)
            + (0.01 * variable if variable.name == "kernel" else 0)
            for each, variable in zip(given, other.trainable_variables, strict=True)
        ]
        stock.apply(regularized, other.trainable_variables)
    for result, variable in zip(results, other.trainable_variables, strict=True):
        np.testing.assert_allclose(result, variable, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw"])
def test_only_kernels_decay(name: str) -> None:
    model = network()
    before = [each.numpy() for each in model.trainable_variables]
    for each in model.trainable_variables:
        each.assign(each + 1)
    optimizer = make_optimizer(Recipe(optimizer=name, weight_decay=0.1), model, 0.1)
    optimizer.build(model.trainable_variables)
    optimizer.apply(
        [keras.ops.zeros(each.shape) for each in model.trainable_variables],
        model.trainable_variables,
    )
    moved = {
        each.name
        for each, old in zip(model.trainable_variables, before, strict=True)
        if not np.array_equal(each, old + 1)
    }
    assert moved == {"kernel"}


def test_all_gradients_are_shortened_together() -> None:
    model, clipped = network(), network()
    plain = Recipe(momentum=0, nesterov=False, weight_decay=0)
    moves = []
    for each, recipe in ((model, plain), (clipped, plain.with_changes({"clip_norm": 2.0}))):
        optimizer = make_optimizer(recipe, each, 1.0)
        start = [variable.numpy() for variable in each.trainable_variables]
        optimizer.apply(
            [keras.ops.convert_to_tensor(given) for given in gradients(each)[0]],
            each.trainable_variables,
        )
        end = [variable.numpy() for variable in each.trainable_variables]
        moves.append(np.concatenate([(a - b).ravel() for a, b in zip(start, end, strict=True)]))
    assert np.linalg.norm(moves[0]) > 2.5
    np.testing.assert_allclose(
        moves[1], 2 * moves[0] / np.linalg.norm(moves[0]), rtol=1e-3, atol=1e-6
    )


def test_weight_decay_is_within_what_is_clipped() -> None:
    """As an L2 loss's gradient: the whole step is as long as clip_norm, and not longer."""
    model, other = network(), network()
    recipe = Recipe(momentum=0, nesterov=False, weight_decay=0.5, clip_norm=2.0)
    optimizer = make_optimizer(recipe, model, 1.0)
    start = [each.numpy() for each in model.trainable_variables]
    given = gradients(model)[0]
    optimizer.apply(
        [keras.ops.convert_to_tensor(each) for each in given], model.trainable_variables
    )
    step = [a - b.numpy() for a, b in zip(start, model.trainable_variables, strict=True)]
    assert np.sqrt(sum(np.sum(each**2) for each in step)) == pytest.approx(2.0, rel=1e-4)
    of_the_loss = [
        gradient + (0.5 * weight.numpy() if weight.name == "kernel" else 0)
        for gradient, weight in zip(given, other.trainable_variables, strict=True)
    ]
    length = np.sqrt(sum(np.sum(each**2) for each in of_the_loss))
    for moved, gradient in zip(step, of_the_loss, strict=True):
        np.testing.assert_allclose(moved, 2.0 * gradient / length, rtol=1e-3, atol=1e-6)


REPLICAS = """
import sys
import keras
import numpy as np
import tensorflow as tf
from keras_inception.runs.recipe import Recipe
from keras_inception.training.optimization.fast_path import _fuse_update
from keras_inception.training.optimization.optimizers import make_optimizer

count, precision, overflow, optimizer = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(count)])
keras.config.set_dtype_policy(precision)
with strategy.scope():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    recipe = Recipe(optimizer=optimizer, clip_norm=0.5, weight_decay=0.3)
    made = make_optimizer(recipe, model, 1.0)
    model.compile(made, "mse")
random = np.random.default_rng(0)
size = 3 if precision == "float32" else 0.1  # so that the scaled gradients fit
images, targets = random.normal(0, size, (8, 4)), random.normal(0, size, (8, 3))
if overflow:
    images[8 * overflow // count - 1] = 6e4
before = model.get_weights()
images, targets = images.astype("float32"), targets.astype("float32")
model.fit(images, targets, batch_size=8, verbose=0, shuffle=False)
step = np.concatenate([(a - b).ravel() for a, b in zip(before, model.get_weights())])
scale = float(keras.ops.convert_to_numpy(getattr(model.optimizer, "dynamic_scale", 0)))
print(np.linalg.norm(step), np.isfinite(step).all(), scale, *step[:3])
"""


def on_replicas(
    count: int, precision: str = "float32", overflow: int = 0, optimizer: str = "sgd"
) -> list[str]:
    """The first step on so many devices, its length first, in a process that has them."""
    command = [sys.executable, "-c", REPLICAS, str(count), precision, str(overflow), optimizer]
    paths = [str(ROOT), str(ROOT / "export"), str(ROOT / "serving")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "2"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return output.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_clipped_is_the_gradient_of_all_replicas(optimizer: str) -> None:
    """Keras clips each replica's own, so that on two devices the step was 1.51 times as long."""
    one, two = on_replicas(1, optimizer=optimizer), on_replicas(2, optimizer=optimizer)
    if optimizer == "sgd":  # Nesterov's first step is 1.9 gradients
        assert float(one[0]) == pytest.approx(0.95, rel=1e-3)
    assert float(two[0]) == pytest.approx(float(one[0]), rel=1e-4)
    assert [float(each) for each in two[3:]] == pytest.approx(
        [float(each) for each in one[3:]], rel=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("replica", [1, 2])
def test_an_overflow_on_any_replica_leaves_the_step_out(replica: int) -> None:
    length, finite, scale, *_ = on_replicas(2, "mixed_float16", replica)
    assert (float(length), finite) == (0.0, "True")
    assert float(scale) < 2.0**15
    length, finite, *_ = on_replicas(2, "mixed_float16")
    assert float(length) > 0 and finite == "True"


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw"])
def test_a_layer_learns_by_its_own_rate(
    name: str, fuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an optimizer of its own, of that learning rate."""
    import tensorflow as tf

    factors = [1.0, 0.5, 0.25, 0.125, 0.5, 1.0]
    module = "keras_inception.training.optimization.optimizers.learning_rate_factors"
    monkeypatch.setattr(module, lambda model, decay: factors)
    recipe = Recipe(optimizer=name, weight_decay=0.0)
    model = network()
    assert len(model.trainable_variables) == len(factors)
    optimizer = make_optimizer(recipe.with_changes({"layer_decay": 0.5}), model, 0.1)
    optimizer.build(model.trainable_variables)
    if fuse:
        _fuse_update(optimizer)

    @tf.function
    def apply(given):
        optimizer.apply(given, model.trainable_variables)

    for given in gradients(model):
        apply([tf.constant(each) for each in given])
    for index, factor in enumerate(factors):
        alone = after(network(), recipe, 0.1 * factor)
        np.testing.assert_allclose(
            model.trainable_variables[index], alone[index], rtol=1e-4, atol=1e-6
        )
