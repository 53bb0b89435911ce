"""Random weights that try every part of a network, and the comparison of its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import keras
import numpy as np
from keras import layers

TOLERANCE = 1e-3  # of the logits' standard deviation: another implementation, another backend


def randomize(model: keras.Model, seed: int = 0) -> None:
    """Give every bias, beta, moving mean and moving variance a random value.

    The kernels have theirs from their initializer; left at zeros and ones, the others would hide
    that they were mixed up.
    """
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if type(layer) is layers.BatchNormalization:
            shape = layer.beta.shape
            layer.beta.assign(random.normal(0, 0.2, shape))
            layer.moving_mean.assign(random.normal(0, 0.2, shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(random.normal(0, 0.1, layer.bias.shape))


def images(side: int) -> np.ndarray:
    """Two random images, float32 [2, side, side, 3] in [-1, 1]: noise, and patches of colour."""
    random = np.random.default_rng(1)
    noise = random.uniform(-1, 1, (side, side, 3))
    patches = random.uniform(-1, 1, (8, 8, 3)).repeat(side // 8 + 1, 0).repeat(side // 8 + 1, 1)
    return np.stack([noise, patches[:side, :side]]).astype("float32")


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of two arrays of logits, in their standard deviations."""
    assert ours.shape == theirs.shape and np.isfinite(theirs).all()
    # A network whose answer hardly depends on the image would prove nothing.
    assert np.std(theirs[0] - theirs[1]) > 0.01 * np.std(theirs)
    return float(np.abs(ours - theirs).max() / theirs.std())


def assert_same(model: keras.Model, theirs: np.ndarray, x: np.ndarray, what: str) -> None:
    """Our logits are theirs; and they are not, once two same-shaped weights are swapped."""
    found = difference(predict(model, x), theirs)
    print(f"\n{what}: largest difference {found:.2e} standard deviations", end="")
    assert found < TOLERANCE
    for name, swap in swaps(model):
        swap()
        swapped = difference(predict(model, x), theirs)
        swap()
        assert swapped > TOLERANCE, f"{name} can be swapped unseen: {swapped:.2e}"


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Our logits for a batch."""
    output = model(x, training=False)
    return keras.ops.convert_to_numpy(output["predictions"] if isinstance(output, dict) else output)


def swaps(model: keras.Model, count: int = 2) -> Iterator[tuple[str, Callable[[], None]]]:
    """Pairs of weights of one shape, at random: kernels, then moving means; each undoes itself."""
    random = np.random.default_rng(2)
    for kind, weight in ((layers.Conv2D, "kernel"), (layers.BatchNormalization, "moving_mean")):
        variables = [getattr(layer, weight) for layer in model.layers if type(layer) is kind]
        variables = [each for each in variables if not each.path.startswith("aux")]
        pairs = [(a, b) for a, b in combinations(variables, 2) if a.shape == b.shape]
        for index in random.choice(len(pairs), count, replace=False):
            yield _swap(*pairs[index])


def _swap(a: keras.Variable, b: keras.Variable) -> tuple[str, Callable[[], None]]:
    def swap() -> None:
        values = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        a.assign(values[1])
        b.assign(values[0])

    return f"{a.path} and {b.path}", swap
