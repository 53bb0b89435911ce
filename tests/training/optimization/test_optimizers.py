"""Each optimizer against its formula, written out in numpy, over several steps."""

import keras
import numpy as np
import pytest

from keras_inception.runs.recipe import Recipe
from keras_inception.training.optimization.optimizers import make_optimizer

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
