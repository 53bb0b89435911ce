"""Folds of a data set: every image is set apart in one of them, and in no other."""

from __future__ import annotations

import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.preparation.splits import split


def split_fold(
    examples: Examples,
    fold: int,
    folds: int,
    seed: int,
    keep_together: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Set one of several equal parts of each class apart, the same ones for the same seed.

    They are split off one after the other, each as :func:`split` does it.

    Args:
        fold: which of them, from 1.
        folds: their number, at least 2.
        keep_together: int64 [examples], equal for images that must stay in one part; the examples'
            own groups by default.

    Returns:
        The indices of those that are left and of those set apart, each int64 and rising.
    """
    remaining = np.arange(len(examples))
    apart = remaining
    for part in range(1, fold + 1):
        if part == folds:
            apart = remaining
            break
        together = None if keep_together is None else keep_together[remaining]
        left, chosen = split(examples.take(remaining), 1 / (folds - part + 1), seed, together)
        apart, remaining = remaining[chosen], remaining[left]
    return np.setdiff1d(np.arange(len(examples)), apart), apart
