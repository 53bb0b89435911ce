"""Calibration: a network's confidence set against how often it is right.

Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, sections 2 and 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 15  # as the paper has it
COLDEST, HOTTEST = 0.1, 10.0  # temperatures: where all images are right, the colder the better


@dataclass(frozen=True)
class Calibration:
    """Images binned by the confidence in their best class.

    Bin m of M, counted from 1, holds the confidences in ((m - 1) / M, m / M].

    Args:
        images: int64 [bins], how many are in each.
        confidence: float64 [bins], the mean of each; nan where there are none.
        accuracy: float64 [bins], the share of each whose best class is the true one; or nan.
    """

    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over images of a bin's |accuracy - confidence|."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(gaps @ self.images / self.images.sum())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a row for each bin that holds an image."""
        bins = len(self.images)
        return {
            "definition": (
                f"{bins} bins of equal width by the best class's score; ece is the mean over"
                " images of a bin's |accuracy - confidence| (arXiv:1706.04599)"
            ),
            "ece": self.ece,
            "bins": [
                {
                    "above": bin / bins,
                    "to": (bin + 1) / bins,
                    "images": int(self.images[bin]),
                    "confidence": float(self.confidence[bin]),
                    "accuracy": float(self.accuracy[bin]),
                }
                for bin in np.flatnonzero(self.images).tolist()
            ],
        }


def calibrate(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """Bin images by confidence.

    Args:
        confidence: float [images], the best class's score, in [0, 1].
        right: bool [images], whether the best class is the true one.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(place, weights=values, minlength=bins)
        return np.divide(sums, images, out=np.full(bins, np.nan), where=images > 0)

    return Calibration(images, mean(confidence), mean(right))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """What all logits divided by have the least loss, between 0.1 and 10.

    Args:
        logits: float [images, classes].
        targets: the true classes: int64 [images]; or bool [images, classes], where an image can be
            of several, for the loss of a sigmoid each.
    """
    logits = logits.astype(np.float64)
    several = targets.ndim == 2
    true = targets if several else np.eye(logits.shape[1])[targets]

    def slope(factor: float) -> float:
        """Of the loss, by the factor of the logits, in which it is convex."""
        scaled = factor * logits
        if several:
            shares = 1 / (1 + np.exp(-np.clip(scaled, -500, 500)))
        else:
            shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
        return float(((shares - true) * logits).sum())

    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(np.exp(middle)) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))
