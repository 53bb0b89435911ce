"""The network as a program: the calls of its layers in order, with who reads whose tensors.

It is recorded by cloning the model with a ``call_function``, Keras's public account of every call,
so layers used twice, several inputs and keyword arguments are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

Tensor = Any  # neither TensorFlow nor Keras publishes types
Number = int  # of a tensor, in the order in which they are made; the image is 0


@dataclass(frozen=True)
class Call:
    """One call of one layer.

    Args:
        layer: a Keras layer, or an operation of ``keras.ops``.
        args, kwargs: what it is called with, each tensor replaced by a :class:`Place`.
        inputs: the tensors among them, in order.
        outputs: the tensors made; a layer of ours makes one.
    """

    layer: Any
    args: Any
    kwargs: Any
    inputs: tuple[Number, ...]
    outputs: tuple[Number, ...]

    def run(self, values: dict[Number, Tensor]) -> None:
        """Call the layer on ``values`` as in inference and add what it makes to them."""
        args, kwargs = keras.tree.map_structure(
            lambda each: values[each.number] if isinstance(each, Place) else each,
            (self.args, self.kwargs),
        )
        if isinstance(self.layer, keras.Layer):  # augmentation trains unless it is told not to
            kwargs = {**kwargs, "training": False}
        made = keras.tree.flatten(self.layer(*args, **kwargs))
        values.update(zip(self.outputs, made, strict=True))


@dataclass(frozen=True)
class Place:
    """Where a tensor goes among a call's arguments."""

    number: Number


@dataclass(frozen=True)
class Program:
    """A network from one tensor to one tensor.

    Args:
        calls: in an order in which they can be made.
        output: the tensor that it returns.
        shapes: of every tensor, with the batch's size as ``None``.
    """

    calls: tuple[Call, ...]
    output: Number
    shapes: dict[Number, tuple[int | None, ...]]

    def readers(self) -> dict[Number, list[Call | None]]:
        """Who takes each tensor, once for every time; ``None`` is the program's own end."""
        found: dict[Number, list[Call | None]] = {number: [] for number in self.shapes}
        for call in self.calls:
            for number in call.inputs:
                found[number].append(call)
        found[self.output].append(None)
        return found


def record(model: keras.Model) -> Program:
    """A model's program.

    Args:
        model: functional, from one tensor to one. Its layers are taken as they are, not copied.
    """
    numbers: dict[int, Number] = {}
    kept: list[Any] = []  # an id is a tensor's own only as long as it lives
    calls = []

    def number(tensor: Any) -> Number:
        if id(tensor) not in numbers:
            numbers[id(tensor)] = len(kept)
            kept.append(tensor)
        return numbers[id(tensor)]

    def places(arguments: Any) -> Any:
        return keras.tree.map_structure(
            lambda each: Place(number(each)) if keras.backend.is_keras_tensor(each) else each,
            arguments,
        )

    def note(layer: Any, *args: Any, **kwargs: Any) -> Any:
        made = layer(*args, **kwargs)
        args, kwargs = places((args, kwargs))
        outputs = tuple(number(tensor) for tensor in keras.tree.flatten(made))
        calls.append(Call(layer, args, kwargs, tuple(_numbers((args, kwargs))), outputs))
        return made

    image = keras.Input(batch_shape=model.input.shape, dtype=model.input.dtype)
    number(image)
    clone = keras.models.clone_model(
        model, image, clone_function=lambda layer: layer, call_function=note
    )
    output = number(clone.output)
    shapes = {numbers[id(tensor)]: tuple(tensor.shape) for tensor in kept}
    return Program(tuple(calls), output, shapes)


def _numbers(arguments: Any) -> Iterator[Number]:
    for each in keras.tree.flatten(arguments):
        if isinstance(each, Place):
            yield each.number
