"""TensorFlow's quantized operations, one function each, on tensors that know their range.

The kernels are oneDNN's, which TensorFlow for x86 has built in. A tensor of bytes is symmetric:
quint8 stands for 0 to its range, qint8 for minus its range to its range. Results are exact, then
rounded to the nearest byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

Tensor = Any  # TensorFlow publishes no types
Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class Quantized:
    """A tensor of bytes.

    Args:
        tensor: quint8, or qint8 if it is signed; [batch, height, width, channels].
        largest: the value that the largest byte stands for.
    """

    tensor: Tensor
    largest: float

    @property
    def smallest(self) -> float:
        return -self.largest if self.tensor.dtype == tf.qint8 else 0.0


@dataclass(frozen=True)
class Filters:
    """A convolution's weights in int8.

    Args:
        kernel: int8 [height, width, channels, filters].
        ranges: float32 [filters], the value that 127 stands for in each filter.
        bias: float32 [filters].
    """

    kernel: np.ndarray
    ranges: np.ndarray
    bias: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The weights that the bytes stand for: float64 [height, width, channels, filters]."""
        return self.kernel * (self.ranges.astype(np.float64) / 127)


def quantize_filters(kernel: np.ndarray, bias: np.ndarray) -> Filters:
    """Weights rounded to int8, symmetric, with one scale a filter.

    Args:
        kernel: [height, width, channels, filters].
        bias: [filters].
    """
    ranges = np.abs(kernel).max(axis=(0, 1, 2))
    ranges = np.where(ranges > 0, ranges, 1).astype(np.float32)
    steps = np.rint(kernel / (ranges.astype(np.float64) / 127))
    return Filters(steps.clip(-127, 127).astype(np.int8), ranges, bias.astype(np.float32))


def quantize(values: Tensor, largest: float, signed: bool) -> Quantized:
    """float32 to bytes; what is beyond the range becomes its end."""
    made = tf.raw_ops.QuantizeV2(
        input=values,
        min_range=-largest if signed else 0.0,
        max_range=largest,
        T=tf.qint8 if signed else tf.quint8,
        mode="SCALED",
        round_mode="HALF_AWAY_FROM_ZERO",  # the other one takes 127.5 steps for qint8's 127
        ensure_minimum_range=0.0,
    )
    return Quantized(made.output, largest)


def dequantize(x: Quantized) -> Tensor:
    """Bytes to float32."""
    return tf.quantization.dequantize(x.tensor, x.smallest, x.largest, mode="SCALED")


def conv(
    x: Quantized, filters: Filters, strides: int, padding: Padding, largest: float, relu: bool
) -> Quantized:
    """A convolution with bias; with its ReLU unsigned, without it signed.

    Args:
        largest: the range of what it makes.
    """
    kind = "QuantizedConv2DWithBiasAndReluAndRequantize"
    if not relu:
        kind = "QuantizedConv2DWithBiasAndRequantize"
    made = getattr(tf.raw_ops, kind)(
        **_operands(x, filters, strides, padding),
        min_freezed_output=0.0 if relu else -largest,
        max_freezed_output=largest,
        out_type=tf.quint8 if relu else tf.qint8,
    )
    return Quantized(made.output, largest)


def _operands(x: Quantized, filters: Filters, strides: int, padding: Padding) -> dict[str, Any]:
    # Constants, not variables: the kernel refuses others, and keeps a copy laid out for itself.
    kernel = tf.constant(filters.kernel.astype(tf.qint8.as_numpy_dtype))
    return {
        "input": x.tensor,
        "filter": kernel,
        "bias": tf.constant(filters.bias),
        "min_input": x.smallest,
        "max_input": x.largest,
        "min_filter": tf.constant(-filters.ranges),
        "max_filter": tf.constant(filters.ranges),
        "strides": [1, strides, strides, 1],
        "padding": padding.upper(),
    }


def max_pool(x: Quantized, size: int, strides: int, padding: Padding) -> Quantized:
    """The maximum of each window, exact."""
    return _pool(tf.raw_ops.QuantizedMaxPool, x, size, strides, padding)


def avg_pool(x: Quantized, size: int, strides: int, padding: Padding) -> Quantized:
    """The mean of each window without its padding; unsigned only."""
    return _pool(tf.raw_ops.QuantizedAvgPool, x, size, strides, padding)


def _pool(kind: Any, x: Quantized, size: int, strides: int, padding: Padding) -> Quantized:
    made = kind(
        input=x.tensor,
        min_input=x.smallest,
        max_input=x.largest,
        ksize=[1, size, size, 1],
        strides=[1, strides, strides, 1],
        padding=padding.upper(),
    )
    return Quantized(made.output, x.largest)


def pad(x: Quantized, pixels: tuple[tuple[int, int], tuple[int, int]]) -> Quantized:
    """Zeros around each image: (top, bottom), (left, right)."""
    return Quantized(tf.pad(x.tensor, [(0, 0), *pixels, (0, 0)]), x.largest)


def concat(*each: Quantized) -> Quantized:
    """Channels side by side; all of one range, so that bytes are copied as they are."""
    return Quantized(tf.concat([x.tensor for x in each], axis=-1), each[0].largest)


def if_exact(images: Tensor) -> Tensor:
    """The images, if the processor's sums of bytes are exact.

    Without VNNI, oneDNN adds pairs of products in 16 bits, where large ones are cut off. The graph
    fails then, a server's warm-up with it, before a wrong answer is given.
    """
    channels = 64
    filters = quantize_filters(np.ones((1, 1, channels, 1)), np.zeros(1))
    ones = Quantized(tf.cast(tf.fill([1, 1, 1, channels], 255), tf.quint8), 1.0)
    total = dequantize(conv(ones, filters, 1, "valid", channels, relu=True))
    exact = tf.reduce_all(tf.abs(total - channels) < 1)
    with tf.control_dependencies([tf.debugging.Assert(exact, [NOT_EXACT])]):
        return tf.identity(images)


NOT_EXACT = (
    "This processor has no VNNI (AVX512_VNNI, AVX_VNNI or AMX), without which int8 is not exact:"
    " serve this model elsewhere, or an export of another precision"
)
