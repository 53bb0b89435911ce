"""Measures where an image can be of several classes, or of none: each class by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_inception.evaluation.measured import Floor, Measured, divide, known, mean, rows
from keras_inception.evaluation.ranking import Ranking, rank_classes
from keras_inception.evaluation.thresholds import USUAL

_LEAST = 1e-7  # of what is true of a class in the loss


@dataclass(frozen=True)
class MultiLabelEvaluation(Measured):
    """Scores counted against the truth where an image can be of several classes, or of none.

    Targets are bool [images, classes]; scores are of each class by itself, in [0, 1], or nan where
    a server did not answer with them: such a class is not predicted.

    Args:
        thresholds: float64 [classes], the score from which each class is predicted; 0.5 by default.
    """

    thresholds: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        """bool [images, classes]."""
        return self.scores >= (USUAL if self.thresholds is None else self.thresholds)

    @property
    def exact_match(self) -> float:
        """The share of images of which every class is right."""
        return float(np.mean((self.predicted == self.targets).all(axis=1)))

    @property
    def precision(self) -> np.ndarray:
        """Of each class, the share of its answers that were right: float64 [classes], or nan."""
        return divide(self._hits, self.predicted.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """Of each class, the share of its images found: float64 [classes], nan without images."""
        return divide(self._hits, self.targets.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """2 hits / (images + answers): float64 [classes], nan where there are neither."""
        return divide(2 * self._hits, self.targets.sum(axis=0) + self.predicted.sum(axis=0))

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 of the classes that have images or answers."""
        return known(mean(self.f1))

    @property
    def average_precision(self) -> np.ndarray:
        """Of each class, over all thresholds: float64 [classes], nan without images.

        The sum of precision times the gain in recall, from the highest score down, not
        interpolated; images of equal score come in together.
        """
        return self._areas[:, 0]

    @property
    def mean_average_precision(self) -> float | None:
        """mAP: the mean over the classes that have images."""
        return known(mean(self.average_precision))

    @property
    def roc_auc(self) -> np.ndarray:
        """Of each class, see ``Ranking``: float64 [classes], nan where all or none are of it."""
        return self._areas[:, 1]

    @cached_property
    def _areas(self) -> np.ndarray:
        """Both of these: float64 [classes, 2]; nan where a score is not known."""
        found = [[each.average_precision(), each.roc_auc()] for each in self.rankings()]
        return np.array(found or [[np.nan, np.nan]] * len(self.labels))

    @property
    def mean_roc_auc(self) -> float | None:
        """The mean over the classes that have one."""
        return known(mean(self.roc_auc))

    @property
    def shares(self) -> dict[str, float | None]:
        return {"exact_match": self.exact_match}

    @property
    def _all_told(self) -> bool:
        return not np.isnan(self.scores).any()

    @property
    def not_known(self) -> list[str]:
        """Which measures can't be told, and why."""
        if self._all_told:
            return []
        return ["loss, average precision and ROC AUC: not every class's score is known"]

    def rankings(self) -> Iterator[Ranking]:
        if not self._all_told:
            return iter(())
        return rank_classes(self.targets, self.scores)

    def count(self, drawn: np.ndarray) -> dict[str, float]:
        both = (drawn @ self.targets) + (drawn @ self.predicted)
        return {"macro_f1": mean(divide(2 * (drawn @ (self.predicted & self.targets)), both))}

    def rank(self, rankings: Sequence[Ranking], drawn: np.ndarray) -> dict[str, float]:
        precisions = [ranking.average_precision(drawn) for ranking in rankings]
        areas = [ranking.roc_auc(drawn) for ranking in rankings]
        return {
            "mean_average_precision": mean(np.array(precisions)),
            "mean_roc_auc": mean(np.array(areas)),
        }

    @cached_property
    def losses(self) -> np.ndarray:
        """Binary cross-entropy, the mean over the classes: float64 [images], or nan.

        Scores count as from 1e-7 to 1 - 1e-7: in float32 a sigmoid can answer 0 and 1.
        """
        return -np.log(np.maximum(np.minimum(self._right, 1 - _LEAST), _LEAST)).mean(axis=1)

    @property
    def loss_floor(self) -> Floor:
        return Floor(_LEAST, int((self._right < _LEAST).any(axis=1).sum()))

    @property
    def _right(self) -> np.ndarray:
        """The score of what is true of each class, that it is there or that it is not."""
        scores = self.scores.astype(np.float64)
        return np.where(self.targets, scores, 1 - scores)

    @property
    def loss(self) -> float | None:
        """The mean of the losses; ``None`` if one is not known."""
        return known(self.losses.mean())

    @property
    def metrics(self) -> dict[str, float | None]:
        """The figures of the whole."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "exact_match": self.exact_match,
            "macro_f1": self.macro_f1,
            "mean_roc_auc": self.mean_roc_auc,
            "loss": self.loss,
        }

    @property
    def per_class(self) -> dict[str, dict[str, Any]]:
        """Of each class, how many images and its measures; nan becomes ``None``."""
        fitted = {} if self.thresholds is None else {"threshold": self.thresholds}
        return rows(
            self.labels,
            images=self.targets.sum(axis=0),
            **fitted,
            precision=self.precision,
            recall=self.recall,
            f1=self.f1,
            average_precision=self.average_precision,
            roc_auc=self.roc_auc,
        )

    def worst(self, count: int) -> list[int]:
        """Rows of the images with a wrong class and the highest loss, the worst first."""
        wrong = np.flatnonzero((self.predicted != self.targets).any(axis=1))
        return wrong[np.argsort(-self.losses[wrong], kind="stable")][:count].tolist()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; nan becomes ``None``."""
        usual = {"threshold": USUAL} if self.thresholds is None else {}  # else of each class
        return {
            **self.head(),
            **usual,
            "classes": self.per_class,
            **({"not_known": self.not_known} if self.not_known else {}),
            **self.record,
        }

    @property
    def _hits(self) -> np.ndarray:
        return (self.predicted & self.targets).sum(axis=0)
