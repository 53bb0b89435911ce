"""Measures counted from a network's scores and the true classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from keras_inception.data.preparation.inspection import BadImage
from keras_inception.evaluation.calibration import Calibration, calibrate


@dataclass(frozen=True)
class _Measured:
    """Scores of images beside the truth.

    Args:
        labels: the class names.
        indices: int64 [images], which of the examples these are.
        targets: the true classes: int64 [images], the class of each; or bool [images, classes],
            where an image can be of several.
        scores: float32 [images, classes].
        left_out: the images that could not be read and decoded.
        record: what was measured and how: model, data, protocol, versions.
    """

    labels: tuple[str, ...]
    indices: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    left_out: tuple[BadImage, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many were measured."""
        return len(self.targets)

    @property
    def numbers(self) -> np.ndarray:
        """The former name of ``indices``."""
        warnings.warn("`numbers` is now called `indices`", DeprecationWarning, stacklevel=2)
        return self.indices


@dataclass(frozen=True)
class Evaluation(_Measured):
    """Scores counted against the truth, one class an image: targets int64 [images].

    Scores are nan where a server did not answer with them.
    """

    @cached_property
    def predicted(self) -> np.ndarray:
        """The best class of each image: int64 [images]."""
        return np.nanargmax(self.scores, axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """The best class's score: float32 [images]."""
        return np.take_along_axis(self.scores, self.predicted[:, np.newaxis], axis=1)[:, 0]

    @cached_property
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes]; rows are true classes, columns predicted ones."""
        classes = len(self.labels)
        counts = np.bincount(self.targets * classes + self.predicted, minlength=classes**2)
        return counts.reshape(classes, classes)

    @property
    def accuracy(self) -> float:
        """Top-1: the share of images whose best class is the true one."""
        return float(np.mean(self.predicted == self.targets))

    @cached_property
    def top5_accuracy(self) -> float | None:
        """The share of images whose true class is among the five best.

        Where it ties with others for the last of the five places, the image counts by the chance
        that it gets one, so that the order of the classes does not matter. ``None`` with five
        classes or fewer, or where fewer than five were told.
        """
        known = np.isfinite(self.scores).sum(axis=1)
        if len(self.labels) <= 5 or known.min() < 5:
            return None
        scores = np.nan_to_num(self.scores, nan=-np.inf)
        true = np.take_along_axis(scores, self.targets[:, np.newaxis], axis=1)
        better, alike = (scores > true).sum(axis=1), (scores == true).sum(axis=1)
        found = np.clip((5 - better) / alike, 0, 1)
        # One that was not told is not among the best, however many were not.
        return float(np.mean(np.where(np.isfinite(true[:, 0]), found, 0)))

    @cached_property
    def losses(self) -> np.ndarray:
        """-log of the true class's score, natural: float64 [images], nan where it is not known."""
        true = np.take_along_axis(self.scores, self.targets[:, np.newaxis], axis=1)[:, 0]
        return -np.log(np.maximum(true.astype(np.float64), 1e-12))

    @property
    def loss(self) -> float | None:
        """The mean of the losses, negative log-likelihood; ``None`` if one is not known."""
        return _number(self.losses.mean())

    @cached_property
    def calibration(self) -> Calibration:
        return calibrate(self.confidence, self.predicted == self.targets)

    @property
    def recall(self) -> np.ndarray:
        """Of each class, the share of its images found: float64 [classes], nan without images."""
        return _divide(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Of each class, the share of its answers that were right: float64 [classes], or nan."""
        return _divide(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """Of each class, the harmonic mean of both: float64 [classes], nan where it is in neither.

        2 hits / (images + answers), which is 0 and not nan where only one of them is nan.
        """
        both = self.confusion.sum(axis=1) + self.confusion.sum(axis=0)
        return _divide(2 * np.diag(self.confusion), both)

    @property
    def not_known(self) -> list[str]:
        """Which measures can't be told, and why."""
        lines = []
        if self.loss is None:
            lines.append("loss: the score of the true class is not known for every image")
        if self.top5_accuracy is None and len(self.labels) > 5:
            lines.append("top 5: fewer than five classes are answered for an image")
        return lines

    @property
    def metrics(self) -> dict[str, float | None]:
        """The figures of the whole."""
        return {
            "accuracy": self.accuracy,
            "top5_accuracy": self.top5_accuracy,
            "loss": self.loss,
            "ece": self.calibration.ece,
        }

    @property
    def per_class(self) -> dict[str, dict[str, Any]]:
        """Of each class, how many images and its measures; nan becomes ``None``."""
        return _rows(
            self.labels,
            images=self.confusion.sum(axis=1),
            precision=self.precision,
            recall=self.recall,
            f1=self.f1,
        )

    def worst(self, count: int) -> list[int]:
        """Rows of the images predicted wrongly with the highest loss, the worst first."""
        wrong = np.flatnonzero(self.predicted != self.targets)
        losses = np.nan_to_num(self.losses[wrong], nan=np.inf)
        return wrong[np.argsort(-losses, kind="stable")][:count].tolist()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; nan becomes ``None``."""
        return {
            **_head(self),
            "calibration": self.calibration.as_dict(),
            "classes": self.per_class,
            "confusion": self.confusion.tolist(),
            **({"not_known": self.not_known} if self.not_known else {}),
            **self.record,
        }


@dataclass(frozen=True)
class MultiLabelEvaluation(_Measured):
    """Scores counted against the truth where an image can be of several classes, or of none.

    Targets are bool [images, classes]; scores are of each class by itself, in [0, 1]. A class is
    predicted where its score is at least 0.5.
    """

    @property
    def predicted(self) -> np.ndarray:
        """bool [images, classes]."""
        return self.scores >= 0.5

    @property
    def exact_match(self) -> float:
        """The share of images of which every class is right."""
        return float(np.mean((self.predicted == self.targets).all(axis=1)))

    @property
    def precision(self) -> np.ndarray:
        """Of each class, the share of its answers that were right: float64 [classes], or nan."""
        return _divide(self._hits, self.predicted.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """Of each class, the share of its images found: float64 [classes], nan without images."""
        return _divide(self._hits, self.targets.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """2 hits / (images + answers): float64 [classes], nan where there are neither."""
        return _divide(2 * self._hits, self.targets.sum(axis=0) + self.predicted.sum(axis=0))

    @cached_property
    def average_precision(self) -> np.ndarray:
        """Of each class, over all thresholds: float64 [classes], nan without images.

        The sum of precision times the gain in recall, from the highest score down, not
        interpolated; images of equal score come in together.
        """
        return np.array(
            [
                _average_precision(target, score)
                for target, score in zip(self.targets.T, self.scores.T, strict=True)
            ]
        )

    @property
    def mean_average_precision(self) -> float | None:
        """mAP: the mean over the classes that have images."""
        known = self.average_precision[np.isfinite(self.average_precision)]
        return float(known.mean()) if len(known) else None

    @cached_property
    def losses(self) -> np.ndarray:
        """Binary cross-entropy, the mean over the classes: float64 [images]."""
        scores = np.clip(self.scores.astype(np.float64), 1e-7, 1 - 1e-7)
        return -np.log(np.where(self.targets, scores, 1 - scores)).mean(axis=1)

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    @property
    def metrics(self) -> dict[str, float | None]:
        """The figures of the whole."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "exact_match": self.exact_match,
            "loss": self.loss,
        }

    @property
    def per_class(self) -> dict[str, dict[str, Any]]:
        """Of each class, how many images and its measures; nan becomes ``None``."""
        return _rows(
            self.labels,
            images=self.targets.sum(axis=0),
            precision=self.precision,
            recall=self.recall,
            f1=self.f1,
            average_precision=self.average_precision,
        )

    def worst(self, count: int) -> list[int]:
        """Rows of the images with a wrong class and the highest loss, the worst first."""
        wrong = np.flatnonzero((self.predicted != self.targets).any(axis=1))
        return wrong[np.argsort(-self.losses[wrong], kind="stable")][:count].tolist()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; nan becomes ``None``."""
        return {**_head(self), "threshold": 0.5, "classes": self.per_class, **self.record}

    @property
    def _hits(self) -> np.ndarray:
        return (self.predicted & self.targets).sum(axis=0)


Result = Evaluation | MultiLabelEvaluation


def _average_precision(target: np.ndarray, score: np.ndarray) -> float:
    total = target.sum()
    if not total:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(target[order])[ends]
    return float(np.diff(hits / total, prepend=0) @ (hits / (ends + 1)))


def _head(result: Result) -> dict[str, Any]:
    return {
        "images": result.images,
        "left_out": [{"image": bad.name, "reason": bad.reason} for bad in result.left_out],
        **result.metrics,
    }


def _rows(labels: Sequence[str], **columns: np.ndarray) -> dict[str, dict[str, Any]]:
    return {
        label: {
            name: int(values[row]) if name == "images" else _number(values[row])
            for name, values in columns.items()
        }
        for row, label in enumerate(labels)
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _divide(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)
