"""TensorFlow's quantized operations against the same arithmetic in NumPy's integers."""

import numpy as np
import pytest
import tensorflow as tf

from inception_export.export import ExportError
from inception_export.int8 import operations
from inception_export.int8.operations import Quantized, quantize_filters
from inception_export.int8.support import check_runs

try:
    check_runs(lambda line: None)
except ExportError as error:
    pytest.skip(str(error), allow_module_level=True)

Array = np.ndarray


def random_bytes(shape: tuple[int, ...], signed: bool, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return random.integers(-127 if signed else 0, 128 if signed else 256, shape)


def of_bytes(values: Array, largest: float, signed: bool) -> Quantized:
    return Quantized(tf.cast(tf.constant(values), tf.qint8 if signed else tf.quint8), largest)


def bytes_of(operation: object) -> Array:
    """In a graph, as an export runs it: the kernels take constant filters only."""
    made = tf.function(lambda: operation().tensor, autograph=False)()  # type: ignore[operator]
    return tf.cast(made, tf.int32).numpy()


def windows(x: Array, size: tuple[int, int], strides: int, padding: str) -> Array:
    """[batch, rows, columns, height, width, channels], padded with zeros as TensorFlow does."""
    if padding == "same":
        around = []
        for side, length in zip(x.shape[1:3], size, strict=True):
            need = max((-(-side // strides) - 1) * strides + length - side, 0)
            around.append((need // 2, need - need // 2))
        x = np.pad(x, [(0, 0), *around, (0, 0)])
    found = np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))
    return np.moveaxis(found[:, ::strides, ::strides], 3, -1)


def convolved(x: Array, kernel: Array, strides: int, padding: str) -> Array:
    """The sums of products, in whole numbers."""
    return np.einsum("brchwi,hwio->brco", windows(x, kernel.shape[:2], strides, padding), kernel)


def assert_nearest(made: Array, exact: Array, signed: bool) -> None:
    """Each byte is the nearest to the exact number of bytes, or one of two that are as near."""
    exact = exact.clip(-128 if signed else 0, 127 if signed else 255)
    assert np.abs(made - exact).max() < 0.501
    assert np.abs(made).max() > 50  # or the comparison says nothing


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    ("size", "strides", "padding", "channels"),
    [
        ((1, 1), 1, "same", 40),
        ((3, 3), 2, "valid", 3),
        ((1, 7), 1, "same", 16),
        ((5, 5), 2, "same", 1),
    ],
)
def test_a_convolution_is_exact_before_it_is_rounded(
    size: tuple[int, int], strides: int, padding: str, channels: int, signed: bool, relu: bool
) -> None:
    random = np.random.default_rng(1)
    filters = quantize_filters(random.normal(size=(*size, channels, 12)), random.normal(size=12))
    x = random_bytes((2, 9, 11, channels), signed)
    largest = 3.0
    sums = convolved(x, filters.kernel.astype(int), strides, padding)
    byte = largest / (127 if signed else 255)
    real = sums * byte * (filters.ranges.astype(float) / 127) + filters.bias
    top = float(np.abs(real).max()) * 0.8  # some are beyond the range
    exact = np.maximum(real, 0) / (top / 255) if relu else real / (top / 127)
    made = bytes_of(
        lambda: operations.conv(
            of_bytes(x, largest, signed), filters, strides, padding, top, relu=relu
        )
    )
    assert_nearest(made, exact, signed=not relu)


@pytest.mark.parametrize(("size", "strides"), [(3, 1), (3, 2), (5, 3), (8, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pools(size: int, strides: int, padding: str) -> None:
    x = random_bytes((2, 17, 17, 20), False)
    inside = windows(np.ones_like(x), (size, size), strides, padding).sum((3, 4))
    found = windows(x, (size, size), strides, padding)
    largest = bytes_of(lambda: operations.max_pool(of_bytes(x, 1.0, False), size, strides, padding))
    np.testing.assert_array_equal(largest, found.max((3, 4)))
    mean = bytes_of(lambda: operations.avg_pool(of_bytes(x, 1.0, False), size, strides, padding))
    assert_nearest(mean, found.sum((3, 4)) / inside, signed=False)


def test_bytes_are_kept_by_padding_and_concatenation() -> None:
    x, y = random_bytes((1, 3, 4, 2), True), random_bytes((1, 3, 4, 5), True, 1)
    padded = bytes_of(lambda: operations.pad(of_bytes(x, 1.0, True), ((1, 0), (2, 1))))
    np.testing.assert_array_equal(padded, np.pad(x, [(0, 0), (1, 0), (2, 1), (0, 0)]))
    joined = bytes_of(lambda: operations.concat(of_bytes(x, 1.0, True), of_bytes(y, 1.0, True)))
    np.testing.assert_array_equal(joined, np.concatenate([x, y], axis=-1))


@pytest.mark.parametrize("signed", [True, False])
def test_numbers_become_the_nearest_byte_and_back(signed: bool) -> None:
    values = np.linspace(-1.2, 1.2, 1001, dtype=np.float32)[None, :, None, None]
    steps = 127 if signed else 255
    expected = np.rint(values * steps).clip(-128 if signed else 0, steps)
    quantized = operations.quantize(tf.constant(values), 1.0, signed)
    made = tf.cast(quantized.tensor, tf.int32).numpy()
    assert np.abs(made - expected).max() <= 1 and np.mean(made != expected) < 0.01
    np.testing.assert_allclose(operations.dequantize(quantized), made / steps, atol=1e-6)


def test_filters_have_a_scale_each_and_their_zeros_stay_zero() -> None:
    kernel = np.array([[1.0, 100.0, 0.0], [-0.5, 25.0, 0.0]]).reshape(1, 1, 2, 3)
    filters = quantize_filters(kernel, np.zeros(3))
    np.testing.assert_array_equal(filters.kernel[0, 0], [[127, 127, 0], [-64, 32, 0]])
    np.testing.assert_array_equal(filters.ranges, [1, 100, 1])
    np.testing.assert_allclose(filters.values, kernel, atol=0.5 * 100 / 127)
