"""Scores beside the truth: what every evaluation keeps, and how its measures become tables."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from keras_inception.data.preparation.inspection import BadImage
from keras_inception.evaluation.intervals import DEFINITION, Interval, bootstrap, wilson
from keras_inception.evaluation.ranking import Ranking

# Of more images, or more scores where all thresholds are gone through, chance hardly matters any
# longer, and a thousand samples of them take minutes.
_MOST_IMAGES = 100_000
_MOST_SCORES = 100_000


@dataclass(frozen=True)
class Floor:
    """The least score that a loss takes what is true to have, since -log(0) has no number.

    Args:
        score: that one.
        images: of which a lower one was counted as this.
    """

    score: float
    images: int

    @property
    def note(self) -> str:
        """What to know of the loss; ``""`` where no score is as low."""
        if not self.images:
            return ""
        many = "1 image has" if self.images == 1 else f"{self.images:,} images have"
        return (
            f"Loss: {many} a true class's score below {self.score:g}, counted as {self.score:g}"
            f" ({-math.log(self.score):.2f})"
        )


@dataclass(frozen=True)
class Measured:
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

    @property
    def metrics(self) -> dict[str, float | None]:
        """The figures of the whole."""
        raise NotImplementedError

    @property
    def shares(self) -> dict[str, float | None]:
        """Those of them that are shares of the images."""
        raise NotImplementedError

    @property
    def loss_floor(self) -> Floor:
        """The least score that the loss counts with, and how many images have a lower one."""
        raise NotImplementedError

    def rankings(self) -> Iterator[Ranking]:
        """The images ranked by the scores of each class; none where a score is not known."""
        raise NotImplementedError

    def count(self, drawn: np.ndarray) -> dict[str, float]:
        """Those that are counted from answers, each image as often as it was drawn.

        Args:
            drawn: float64 [images].
        """
        raise NotImplementedError

    def rank(self, rankings: Sequence[Ranking], drawn: np.ndarray) -> dict[str, float]:
        """Those that are of :meth:`rankings`, each image as often as it was drawn."""
        raise NotImplementedError

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Confidence intervals of the metrics, see ``evaluation/intervals.py``.

        There are none of loss and calibration error, and but for shares none of very many images.
        """
        found: dict[str, Interval | None] = {
            name: wilson(share * self.images, self.images)
            for name, share in self.shares.items()
            if share is not None
        }
        if self.images <= _MOST_IMAGES:
            found |= self._sample(self.count)
        if self.scores.size <= _MOST_SCORES and (rankings := list(self.rankings())):
            found |= self._sample(functools.partial(self.rank, rankings))
        return {name: interval for name, interval in found.items() if interval is not None}

    def _sample(
        self, measure: Callable[[np.ndarray], Mapping[str, float]]
    ) -> dict[str, Interval | None]:
        names = measure(np.ones(self.images))
        intervals = bootstrap(lambda drawn: list(measure(drawn).values()), self.images)
        return dict(zip(names, intervals, strict=True))

    def head(self) -> dict[str, Any]:
        """What JSON says first: images, what was left out, the figures and how sure they are."""
        return {
            "images": self.images,
            "left_out": [{"image": bad.name, "reason": bad.reason} for bad in self.left_out],
            **self.metrics,
            "loss_floor": dataclasses.asdict(self.loss_floor),
            "intervals": {"definition": DEFINITION, **self.intervals},
        }


def rows(labels: Sequence[str], **columns: np.ndarray) -> dict[str, dict[str, Any]]:
    """A row for each class; nan becomes ``None``."""
    return {
        label: {
            name: int(values[row]) if name == "images" else known(values[row])
            for name, values in columns.items()
        }
        for row, label in enumerate(labels)
    }


def known(value: float) -> float | None:
    """A number, or ``None`` for nan."""
    return None if np.isnan(value) else float(value)


def divide(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """float64 [classes], nan where the whole is 0."""
    return np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)


def mean(values: np.ndarray) -> float:
    """Over the classes that have a value; nan if none has."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")
