"""Oversampling: the images of rare classes repeated, so that classes come more evenly.

As repeat factor sampling does it (Gupta et al., "LVIS", arXiv:1908.03195), with the most frequent
class in place of a threshold and any power in place of the root. Every repetition is augmented
otherwise.
"""

from __future__ import annotations

import numpy as np

from keras_inception.data.examples import Examples


def oversample(examples: Examples, power: float, seed: int = 0) -> Examples:
    """The examples, those of rare classes several times.

    An image of a class with n images comes (N / n) ** power times, N being the images of the most
    frequent class; of several classes as often as of the rarest. Where that is no whole number,
    some of the class, drawn at random, come once more than others, so that its sum is right.

    Args:
        power: 1, for every class as often as the most frequent; 0, for the examples as they are.
        seed: of the draw.
    """
    counts = examples.counts()
    factors = (counts.max() / np.maximum(counts, 1)) ** power
    if examples.multi_label:
        repeats = np.where(examples.targets, factors, 1.0).max(axis=1)
    else:
        repeats = factors[examples.targets]
    # Those of one factor beside one another: their sum is then right but for one image.
    order = np.lexsort((np.random.default_rng(seed).random(len(repeats)), repeats))
    ends = np.floor(np.cumsum(repeats[order]) + 0.5).astype(np.int64)
    times = np.empty(len(repeats), np.int64)
    times[order] = np.diff(ends, prepend=0)
    return examples.take(np.repeat(np.arange(len(repeats)), times))
