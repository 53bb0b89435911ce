"""The calibration of a network in int8: what value the largest byte of each tensor stands for.

Three methods propose ranges from what was seen of the tensors in float32; the one that changes the
logits least on images set apart is taken.

- maximum: nothing that was seen is cut off,
- percentile: one value in ten thousand is, for a finer step,
- mean squared error: cutting off and rounding together cost least.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inception_export.int8.plan import Plan
from inception_export.int8.program import Number
from inception_export.int8.statistics import Statistics

PERCENTILE = 99.99
# Of the largest magnitude seen; the mean squared error is smallest at one of these.
_FRACTIONS = np.linspace(0.3, 1, 36)


def maximum(largest: float, sample: np.ndarray, steps: int) -> float:
    """The largest magnitude seen."""
    return largest


def percentile(largest: float, sample: np.ndarray, steps: int) -> float:
    """What all but one in ten thousand magnitudes lie below."""
    return float(np.percentile(sample, PERCENTILE))


def mean_squared_error(largest: float, sample: np.ndarray, steps: int) -> float:
    """The range with the least mean squared difference of magnitudes from their bytes.

    Args:
        largest: magnitude seen.
        sample: float32 [any], magnitudes.
        steps: from 0 to the largest byte: 255 without a sign, 127 with one.
    """
    ranges = largest * _FRACTIONS
    errors = []
    for range_ in ranges:
        step = range_ / steps
        errors.append(np.square(np.rint(sample / step).clip(max=steps) * step - sample).mean())
    return float(ranges[np.argmin(errors)])


METHODS: dict[str, Callable[[float, np.ndarray, int], float]] = {
    "maximum": maximum,
    "percentile": percentile,
    "mean squared error": mean_squared_error,
}


def choose_ranges(method: str, plan: Plan, seen: Statistics) -> dict[Number, float]:
    """The ranges of all tensors in int8, by :meth:`Plan.range_of`.

    Args:
        method: of :data:`METHODS`.
        seen: of the network in float32.
    """
    ranges = {}
    for number in plan.ranges:
        largest = seen.largest[number]
        steps = 127 if plan.signed[number] else 255
        found = METHODS[method](largest, seen.samples[number], steps) if largest else 0.0
        ranges[number] = found or largest or 1.0  # a tensor that is always 0 may have any
    return ranges
