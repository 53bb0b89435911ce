"""Confidence intervals of 95 %: how far a measure may be off since the images are few."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Interval = tuple[float, float]

RESAMPLES = 1000
DEFINITION = (
    "of 95 %: of the shares of images Wilson's score interval, of the others the percentiles 2.5"
    f" and 97.5 of {RESAMPLES} bootstrap samples of the images"
)

_Z = 1.959963984540054  # the standard normal distribution's quantile 0.975


def wilson(right: float, images: int) -> Interval:
    """Wilson's score interval of a share of independent images (1927, without correction).

    It holds near 0 and 1 too, where the share plus and minus its deviations does not.

    Args:
        right: how many of the images.
        images: at least 1.
    """
    share = right / images
    spread = _Z * math.sqrt(share * (1 - share) / images + _Z**2 / (4 * images**2))
    middle = share + _Z**2 / (2 * images)
    whole = 1 + _Z**2 / images
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def bootstrap(
    measure: Callable[[np.ndarray], Sequence[float]], images: int, seed: int = 0
) -> list[Interval | None]:
    """Percentile intervals of measures over samples of the images, drawn with replacement.

    Args:
        measure: from how often each image was drawn, float64 [images], to numbers; nan where such
            a sample has none.
        images: how many there are.
        seed: of the samples: the same measurement has the same intervals every time.

    Returns:
        Of each number the lower and upper end; ``None`` where no sample has one.
    """
    random = np.random.default_rng(seed)
    values = np.array(
        [
            measure(np.bincount(random.integers(0, images, images), minlength=images) * 1.0)
            for _ in range(RESAMPLES)
        ]
    )
    return [_middle(column[np.isfinite(column)]) for column in values.T]


def _middle(values: np.ndarray) -> Interval | None:
    if not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
