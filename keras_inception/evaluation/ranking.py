"""Measures of how a class's scores rank the images, over all thresholds at once.

Images may have weights, such as how often each was drawn, so that intervals are measured by the
same functions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Ranking:
    """The images of a measurement in the order of one class's scores, the highest first.

    Images of equal score come in together, so their order does not matter.

    Args:
        target: bool [images], whether each is of the class.
        score: [images], each one's score of the class.
    """

    def __init__(self, target: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.target = target[self.order]
        self.score = score[self.order]
        # The last place of each score.
        self.ends = np.append(np.flatnonzero(np.diff(self.score)), len(score) - 1)

    def counts(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Images down to each score: those of the class, and all of them, float64 [scores]."""
        ordered = np.ones(len(self.order)) if weights is None else weights[self.order]
        hits = np.cumsum(ordered * self.target)[self.ends]
        return hits, np.cumsum(ordered)[self.ends]

    def average_precision(self, weights: np.ndarray | None = None) -> float:
        """The sum of precision times the gain in recall, not interpolated; nan without images."""
        hits, images = self.counts(weights)
        if not hits[-1]:
            return float("nan")
        precision = hits / np.maximum(images, 1)  # 0 / 1 before the first that was drawn
        return float(np.diff(hits / hits[-1], prepend=0) @ precision)

    def roc_auc(self, weights: np.ndarray | None = None) -> float:
        """The chance that an image of the class has a higher score than another, ties by halves.

        It is the area under the receiver operating characteristic; nan where all images or none
        are of the class.
        """
        hits, images = self.counts(weights)
        others = images - hits
        if not hits[-1] or not others[-1]:
            return float("nan")
        new, before = np.diff(others, prepend=0), np.append(0, hits[:-1])
        return float(new @ (before + hits) / 2 / (hits[-1] * others[-1]))


def rank_classes(targets: np.ndarray, scores: np.ndarray) -> Iterator[Ranking]:
    """Of each class, from targets, bool [images, classes], and scores, [images, classes].

    One at a time: all of ImageNet's would fill a gigabyte.
    """
    return (Ranking(*each) for each in zip(targets.T, scores.T, strict=True))
