"""How good a network is on images that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_inception.data.sources import Examples


class Ranked(Protocol):
    """The best classes for one image, the best first."""

    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Evaluation:
    """Predictions counted against the truth.

    Args:
        labels: the class names.
        confusion: int64 [classes, classes]; rows are true classes, columns predicted ones.
        top5_hits: images whose true class was among the five best; ``None`` where fewer than five
            classes were answered.
    """

    labels: tuple[str, ...]
    confusion: np.ndarray
    top5_hits: int | None

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Top-1: the share of images whose best class is the true one."""
        return float(np.trace(self.confusion) / self.images)

    @property
    def top5_accuracy(self) -> float | None:
        return None if self.top5_hits is None else self.top5_hits / self.images

    @property
    def recall(self) -> np.ndarray:
        """Of each class, the share of its images found: float64 [classes], nan without images."""
        return _divide(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Of each class, the share of its answers that were right: float64 [classes], or nan."""
        return _divide(np.diag(self.confusion), self.confusion.sum(axis=0))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; nan becomes ``None``."""
        per_class = zip(self.labels, self.recall, self.precision, strict=True)
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "top5_accuracy": self.top5_accuracy,
            "classes": {
                label: {
                    "recall": None if np.isnan(recall) else float(recall),
                    "precision": None if np.isnan(precision) else float(precision),
                }
                for label, recall, precision in per_class
            },
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    predict: Callable[[Sequence[bytes]], Sequence[Ranked]],
    examples: Examples,
    *,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda images: None,
) -> Evaluation:
    """Predict every example and count.

    Args:
        predict: from encoded images to their best classes; of a run, an export or a server.
        examples: the images and their true classes.
        batch_size: images a call of ``predict``.
        advance: is told after each call how many images it took, for a progress bar.
    """
    best: list[str] = []
    top5_hits: int | None = 0
    for start in range(0, len(examples), batch_size):
        targets = examples.targets[start : start + batch_size]
        encoded = [Path(path).read_bytes() for path in examples.paths[start : start + batch_size]]
        for target, ranked in zip(targets, predict(encoded), strict=True):
            best.append(ranked.labels[0])
            if len(ranked.labels) < 5:
                top5_hits = None
            if top5_hits is not None:
                top5_hits += examples.labels[target] in ranked.labels[:5]
        advance(len(encoded))
    # A server may know classes that the folder does not have.
    labels = examples.labels + tuple(sorted(set(best) - set(examples.labels)))
    index = {label: column for column, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    for target, label in zip(examples.targets, best, strict=True):
        confusion[target, index[label]] += 1
    return Evaluation(labels, confusion, top5_hits)


def _divide(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)
