"""The plan of a network in int8: which calls become which steps, and which tensors share a range.

=====================================  ===========================================================
convolution, its ReLU                  one step, from bytes to unsigned bytes
convolution alone                      one step, from bytes to signed bytes
max pool, average pool, zero padding   bytes to bytes of the same range
concat of channels                     bytes, if all columns are; the columns share one range
everything else                        float32, between a dequantize and a quantize
=====================================  ===========================================================

A pool or concat of a tensor that is float32 anyway stays float32. So do the sums that end the
blocks of Inception-ResNets: TensorFlow has an operation for a convolution with a sum, but it brings
the process down wherever something else still holds the tensor that is added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import keras
from keras import layers

from inception_export.folding import BiasedConvolution
from inception_export.int8.program import Call, Number, Program

Readers = dict[Number, list[Call | None]]
Kind = Literal["float", "conv", "max_pool", "avg_pool", "pad", "concat", "same"]


@dataclass(frozen=True)
class Step:
    """What becomes of a call, or of a few that are done as one.

    Args:
        kind: of the step.
        call: of the layer that it is about; of a convolution, the convolution's.
        inputs: the tensors that it takes.
        output: the tensor that it makes; of ``float``, the call knows.
        relu: whether a ReLU ends it.
    """

    kind: Kind
    call: Call
    inputs: tuple[Number, ...]
    output: Number
    relu: bool = False


@dataclass
class Plan:
    """A program's steps.

    Attributes:
        signed: of every tensor that exists as bytes, whether they have a sign.
        steps: in order.
        output: the tensor that the network returns.
    """

    output: Number
    steps: list[Step] = field(default_factory=list)
    signed: dict[Number, bool] = field(default_factory=dict)
    _shared: dict[Number, Number] = field(default_factory=dict)

    def range_of(self, number: Number) -> Number:
        """The tensor that stands for all that share this one's range."""
        while number in self._shared:
            number = self._shared[number]
        return number

    def share(self, one: Number, other: Number) -> None:
        """Give two tensors one range."""
        one, other = self.range_of(one), self.range_of(other)
        if one != other:
            self._shared[max(one, other)] = min(one, other)

    @property
    def ranges(self) -> list[Number]:
        """The tensors that stand for the ranges that are needed."""
        return sorted({self.range_of(number) for number in self.signed})


def make_plan(program: Program, image_signed: bool) -> Plan:
    """Decide what is done in int8.

    Args:
        program: a network whose batch norm is folded.
        image_signed: whether its input can be negative.
    """
    plan = Plan(program.output)
    rectified: set[Number] = set() if image_signed else {0}
    done: set[int] = set()
    readers = program.readers()
    for call in program.calls:
        if id(call) in done:
            continue
        step = _step(call, plan, readers, done)
        plan.steps.append(step)
        if step.kind == "conv":
            entry = step.inputs[0]
            plan.signed.setdefault(entry, entry not in rectified)
            plan.signed[step.output] = not step.relu
        elif step.kind != "float":
            plan.signed[step.output] = plan.signed[step.inputs[0]]
            for number in step.inputs:
                plan.share(number, step.output)
        elif _is_relu(call.layer):
            rectified.add(step.output)
    return plan


def _step(call: Call, plan: Plan, readers: Readers, done: set[int]) -> Step:
    layer, inputs, output = call.layer, call.inputs, call.outputs[0]
    if _is_conv(layer) and len(inputs) == 1:
        return _conv_step(call, readers, done)
    # A tensor that is float32, and bytes for a convolution's sake alone, is not in steps' outputs.
    made = {step.output for step in plan.steps if step.kind != "float"}
    in_bytes = bool(inputs) and all(number in made for number in inputs)
    if in_bytes and len({plan.signed[number] for number in inputs}) == 1:
        kind = _kind_of_bytes(layer, plan.signed[inputs[0]])
        if kind is not None:
            return Step(kind, call, inputs, output)
    return Step("float", call, inputs, output)


def _conv_step(call: Call, readers: Readers, done: set[int]) -> Step:
    """A convolution, with the ReLU that follows it if nothing else reads what is between."""
    output = call.outputs[0]
    if call.layer.activation is keras.activations.relu:
        return Step("conv", call, call.inputs, output, relu=True)
    match readers[output]:
        case [Call() as next_call] if _is_relu(next_call.layer):
            done.add(id(next_call))
            return Step("conv", call, call.inputs, next_call.outputs[0], relu=True)
    return Step("conv", call, call.inputs, output)


def _kind_of_bytes(layer: Any, signed: bool) -> Kind | None:
    """What a layer is on bytes; ``None`` if it needs float32."""
    kind = type(layer)
    if kind is layers.Dropout or _is_identity(layer):
        return "same"
    if kind is layers.ZeroPadding2D and layer.data_format == "channels_last":
        return "pad"
    if kind is layers.Concatenate and layer.axis in (-1, 3):
        return "concat"
    if kind in (layers.MaxPooling2D, layers.AveragePooling2D):
        square = len(set(layer.pool_size)) == len(set(layer.strides)) == 1
        if square and layer.data_format == "channels_last":
            # The mean of signed bytes has no kernel that rounds in a known way.
            if kind is layers.MaxPooling2D:
                return "max_pool"
            return None if signed else "avg_pool"
    return None


def _is_conv(layer: Any) -> bool:
    return (
        type(layer) in (layers.Conv2D, BiasedConvolution)
        and layer.groups == 1
        and len(set(layer.strides)) == 1
        and set(layer.dilation_rate) == {1}
        and layer.data_format == "channels_last"
        and layer.activation in (keras.activations.linear, keras.activations.relu)
    )


def _is_relu(layer: Any) -> bool:
    if type(layer) is layers.ReLU:
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return type(layer) is layers.Activation and layer.activation is keras.activations.relu


def _is_identity(layer: Any) -> bool:
    return type(layer) is layers.Activation and layer.activation is keras.activations.linear
