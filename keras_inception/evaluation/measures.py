"""Measures counted from a network's scores and the true classes, one class an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_inception.evaluation.calibration import Calibration, calibrate
from keras_inception.evaluation.measured import Floor, Measured, divide, known, mean, rows
from keras_inception.evaluation.multi_label import MultiLabelEvaluation
from keras_inception.evaluation.ranking import Ranking, rank_classes

__all__ = ["Evaluation", "MultiLabelEvaluation", "Result"]

_LEAST = 1e-12  # of a true class's score in the loss


@dataclass(frozen=True)
class Evaluation(Measured):
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
        told = np.isfinite(self.scores).sum(axis=1)
        if len(self.labels) <= 5 or told.min() < 5:
            return None
        scores = np.nan_to_num(self.scores, nan=-np.inf)
        true = np.take_along_axis(scores, self.targets[:, np.newaxis], axis=1)
        better, alike = (scores > true).sum(axis=1), (scores == true).sum(axis=1)
        found = np.clip((5 - better) / alike, 0, 1)
        # One that was not told is not among the best, however many were not.
        return float(np.mean(np.where(np.isfinite(true[:, 0]), found, 0)))

    @cached_property
    def losses(self) -> np.ndarray:
        """-log of the true class's score, natural: float64 [images], nan where it is not known.

        One below 1e-12 counts as that: scores are of float32, in which a softmax can answer 0.
        """
        return -np.log(np.maximum(self._true, _LEAST))

    @property
    def loss_floor(self) -> Floor:
        return Floor(_LEAST, int((self._true < _LEAST).sum()))

    @property
    def _true(self) -> np.ndarray:
        true = np.take_along_axis(self.scores, self.targets[:, np.newaxis], axis=1)[:, 0]
        return true.astype(np.float64)

    @property
    def loss(self) -> float | None:
        """The mean of the losses, negative log-likelihood; ``None`` if one is not known."""
        return known(self.losses.mean())

    @cached_property
    def calibration(self) -> Calibration:
        return calibrate(self.confidence, self.predicted == self.targets)

    @property
    def recall(self) -> np.ndarray:
        """Of each class, the share of its images found: float64 [classes], nan without images."""
        return divide(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Of each class, the share of its answers that were right: float64 [classes], or nan."""
        return divide(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """Of each class, the harmonic mean of both: float64 [classes], nan where it is in neither.

        2 hits / (images + answers), which is 0 and not nan where only one of them is nan.
        """
        both = self.confusion.sum(axis=1) + self.confusion.sum(axis=0)
        return divide(2 * np.diag(self.confusion), both)

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images."""
        return mean(self.recall)

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that have images or answers."""
        return mean(self.f1)

    @cached_property
    def roc_auc(self) -> np.ndarray:
        """Of each class against all others, see ``Ranking``: float64 [classes], or nan."""
        found = [ranking.roc_auc() for ranking in self.rankings()]
        return np.array(found or [np.nan] * len(self.labels))

    @property
    def mean_roc_auc(self) -> float | None:
        """The mean over the classes; ``None`` where a score is not known."""
        return known(mean(self.roc_auc))

    @property
    def shares(self) -> dict[str, float | None]:
        return {"accuracy": self.accuracy, "top5_accuracy": self.top5_accuracy}

    @property
    def _all_told(self) -> bool:
        return not np.isnan(self.scores).any()

    def rankings(self) -> Iterator[Ranking]:
        if not self._all_told:
            return iter(())
        truth = self.targets[:, np.newaxis] == np.arange(len(self.labels))
        return rank_classes(truth, self.scores)

    def count(self, drawn: np.ndarray) -> dict[str, float]:
        classes = len(self.labels)
        images = np.bincount(self.targets, drawn, classes)
        answers = np.bincount(self.predicted, drawn, classes)
        hits = np.bincount(self.targets, drawn * (self.predicted == self.targets), classes)
        return {
            "balanced_accuracy": mean(divide(hits, images)),
            "macro_f1": mean(divide(2 * hits, images + answers)),
        }

    def rank(self, rankings: Sequence[Ranking], drawn: np.ndarray) -> dict[str, float]:
        return {"mean_roc_auc": mean(np.array([each.roc_auc(drawn) for each in rankings]))}

    @property
    def not_known(self) -> list[str]:
        """Which measures can't be told, and why."""
        lines = []
        if self.loss is None:
            lines.append("loss: the score of the true class is not known for every image")
        if self.top5_accuracy is None and len(self.labels) > 5:
            lines.append("top 5: fewer than five classes are answered for an image")
        if not self._all_told:
            lines.append("ROC AUC: the score of a class is not known for every image")
        return lines

    @property
    def metrics(self) -> dict[str, float | None]:
        """The figures of the whole."""
        return {
            "accuracy": self.accuracy,
            "top5_accuracy": self.top5_accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "mean_roc_auc": self.mean_roc_auc,
            "loss": self.loss,
            "ece": self.calibration.ece,
        }

    @property
    def per_class(self) -> dict[str, dict[str, Any]]:
        """Of each class, how many images and its measures; nan becomes ``None``."""
        return rows(
            self.labels,
            images=self.confusion.sum(axis=1),
            precision=self.precision,
            recall=self.recall,
            f1=self.f1,
            roc_auc=self.roc_auc,
        )

    def worst(self, count: int) -> list[int]:
        """Rows of the images predicted wrongly with the highest loss, the worst first."""
        wrong = np.flatnonzero(self.predicted != self.targets)
        losses = np.nan_to_num(self.losses[wrong], nan=np.inf)
        return wrong[np.argsort(-losses, kind="stable")][:count].tolist()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; nan becomes ``None``."""
        return {
            **self.head(),
            "calibration": self.calibration.as_dict(),
            "classes": self.per_class,
            "confusion": self.confusion.tolist(),
            **({"not_known": self.not_known} if self.not_known else {}),
            **self.record,
        }


Result = Evaluation | MultiLabelEvaluation
