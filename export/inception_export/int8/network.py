"""A plan run in int8, one function a kind of layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.int8 import operations
from inception_export.int8.operations import Filters, Quantized, Tensor, quantize_filters
from inception_export.int8.plan import Plan, Step
from inception_export.int8.program import Number


@dataclass(frozen=True)
class Network:
    """A network in int8.

    Args:
        plan: its steps.
        ranges: the value that the largest byte stands for, by :meth:`Plan.range_of`.
        filters: of each convolution, by the number of its step's output.
    """

    plan: Plan
    ranges: dict[Number, float]
    filters: dict[Number, Filters]

    def range_of(self, number: Number) -> float:
        return self.ranges[self.plan.range_of(number)]

    @property
    def variables(self) -> list[Any]:
        """TensorFlow's, of the layers that stay float32; the others' weights are constants."""
        found = {
            id(variable): variable.value
            for step in self.plan.steps
            if step.kind == "float"
            for variable in getattr(step.call.layer, "variables", ())
        }
        return list(found.values())

    def __call__(self, images: Tensor) -> Tensor:
        """From float32 [batch, height, width, channels] to the output of the program, float32."""
        with tf.device("/device:CPU:0"):  # no other device has the operations
            return self._run(operations.if_exact(images))

    def _run(self, images: Tensor) -> Tensor:
        values = _Values(self, floats={0: images})
        for step in self.plan.steps:
            if step.kind == "float":
                for number in step.inputs:
                    values.as_float(number)
                step.call.run(values.floats)
            else:
                made = KINDS[step.kind](self, step, *map(values.as_bytes, step.inputs))
                values.bytes[step.output] = made
        return values.as_float(self.plan.output)


@dataclass
class _Values:
    """The tensors that exist so far, each converted at most once."""

    network: Network
    floats: dict[Number, Tensor]
    bytes: dict[Number, Quantized] = field(default_factory=dict)

    def as_float(self, number: Number) -> Tensor:
        if number not in self.floats:
            self.floats[number] = operations.dequantize(self.bytes[number])
        return self.floats[number]

    def as_bytes(self, number: Number) -> Quantized:
        if number not in self.bytes:
            self.bytes[number] = operations.quantize(
                self.floats[number],
                self.network.range_of(number),
                self.network.plan.signed[number],
            )
        return self.bytes[number]


def _conv(network: Network, step: Step, x: Quantized) -> Quantized:
    layer = step.call.layer
    filters, largest = network.filters[step.output], network.range_of(step.output)
    return operations.conv(x, filters, layer.strides[0], layer.padding, largest, step.relu)


def _max_pool(network: Network, step: Step, x: Quantized) -> Quantized:
    layer = step.call.layer
    return operations.max_pool(x, layer.pool_size[0], layer.strides[0], layer.padding)


def _avg_pool(network: Network, step: Step, x: Quantized) -> Quantized:
    layer = step.call.layer
    return operations.avg_pool(x, layer.pool_size[0], layer.strides[0], layer.padding)


def _pad(network: Network, step: Step, x: Quantized) -> Quantized:
    return operations.pad(x, step.call.layer.padding)


def _concat(network: Network, step: Step, *columns: Quantized) -> Quantized:
    return operations.concat(*columns)


def _same(network: Network, step: Step, x: Quantized) -> Quantized:
    return x


KINDS: dict[str, Callable[..., Quantized]] = {
    "conv": _conv,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "pad": _pad,
    "concat": _concat,
    "same": _same,
}


def make_network(
    plan: Plan, ranges: dict[Number, float], means: dict[Number, np.ndarray]
) -> Network:
    """Quantize the convolutions' weights.

    Biases make up for what rounding the weights changes on average (Nagel et al.,
    arXiv:1906.04721, section 4.2).

    Args:
        plan: of the network.
        ranges: by :meth:`Plan.range_of`.
        means: float64 [channels] of each convolution's input, by its tensor.
    """
    network = Network(plan, ranges, {})
    for step in plan.steps:
        if step.kind != "conv":
            continue
        kernel, bias = _weights(step)
        filters = quantize_filters(kernel, bias)
        changed = (kernel - filters.values).sum(axis=(0, 1))
        bias = bias + means[step.inputs[0]] @ changed
        network.filters[step.output] = dataclasses.replace(filters, bias=bias.astype(np.float32))
    return network


def _weights(step: Step) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution, float64."""
    layer = step.call.layer
    kernel = _values(layer.kernel)
    bias = _values(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    return kernel, bias


def _values(variable: Any) -> np.ndarray:
    values: np.ndarray = keras.ops.convert_to_numpy(variable).astype(np.float64)
    return values
