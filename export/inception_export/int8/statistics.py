"""The statistics of a network's tensors over images, from which ranges are chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.int8.plan import Plan
from inception_export.int8.program import Call, Number, Program, Tensor

# Values of each tensor kept of each image, evenly spread.
KEPT = 1024


@dataclass
class Statistics:
    """What was seen of a network in float32.

    Attributes:
        largest: magnitude in all tensors that share a range, by :meth:`Plan.range_of`.
        samples: some magnitudes among them, evenly spread.
        means: float64 [channels] of each convolution's input.
        multiply_adds: of an image, in int8 and in all.
        images: how many were seen.
    """

    largest: dict[Number, float] = field(default_factory=dict)
    samples: dict[Number, np.ndarray] = field(default_factory=dict)
    means: dict[Number, np.ndarray] = field(default_factory=dict)
    multiply_adds: tuple[int, int] = (0, 0)
    images: int = 0


def measure(program: Program, plan: Plan, batches: Iterable[Tensor]) -> Statistics:
    """Run the network in float32 and note its tensors' statistics.

    Args:
        batches: network inputs, float32 [batch, height, width, channels].
    """
    watched = sorted(plan.signed)
    entries = sorted({step.inputs[0] for step in plan.steps if step.kind == "conv"})
    found = Statistics()

    def observe(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = {0: images}
        for call in program.calls:
            call.run(values)
        found.multiply_adds = _multiply_adds(program, plan, values)
        magnitudes = [tf.abs(values[number]) for number in watched]
        return (
            [tf.reduce_max(each) for each in magnitudes],
            [_spread(each) for each in magnitudes],
            [tf.reduce_sum(tf.reduce_mean(values[number], (1, 2)), 0) for number in entries],
        )

    observed = None
    samples: dict[Number, list[np.ndarray]] = {}
    for images in batches:
        if observed is None:  # traced once; the last batch may be smaller
            spec = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
            observed = tf.function(observe, autograph=False).get_concrete_function(spec)
        largest, spread, sums = observed(images)
        for number, most, some in zip(watched, largest, spread, strict=True):
            shared = plan.range_of(number)
            found.largest[shared] = max(found.largest.get(shared, 0.0), float(most))
            samples.setdefault(shared, []).append(some.numpy().ravel())
        for number, total in zip(entries, sums, strict=True):
            found.means[number] = found.means.get(number, 0) + total.numpy().astype(np.float64)
        found.images += len(images)
    found.samples = {number: np.concatenate(each) for number, each in samples.items()}
    found.means = {number: total / found.images for number, total in found.means.items()}
    return found


def _spread(values: Tensor) -> Tensor:
    """Some values of each image, at places that are the same for all: float32 [batch, KEPT]."""
    rows = tf.reshape(values, [tf.shape(values)[0], -1])
    size = tf.shape(rows, tf.int64)[1]
    places = tf.range(KEPT, dtype=tf.int64) * (size - 1) // (KEPT - 1)
    return tf.gather(rows, places, axis=1)


def _multiply_adds(program: Program, plan: Plan, values: dict[Number, Tensor]) -> tuple[int, int]:
    """Of one image, in int8 and in all."""
    of_calls = {id(call): _of_call(call, values) for call in program.calls}
    in_int8 = [id(step.call) for step in plan.steps if step.kind == "conv"]
    return sum(map(of_calls.__getitem__, in_int8)), sum(of_calls.values())


def _of_call(call: Call, values: dict[Number, Tensor]) -> int:
    """The size of a layer's kernels, once for each pixel that it makes, or that it spreads.

    Other weights, such as PReLU's or a normalization's, multiply each value once or not at all.
    """
    weights: list[Any] = getattr(call.layer, "weights", [])
    kernels = sum(int(np.prod(each.shape)) for each in weights if each.name.endswith("kernel"))
    spread = isinstance(call.layer, keras.layers.Conv2DTranspose)
    pixels = values[call.inputs[0] if spread else call.outputs[0]].shape[1:-1]
    return kernels * int(np.prod([side or 1 for side in pixels]))
