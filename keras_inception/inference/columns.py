"""Every class's score from what an export answers, by name.

It answers the best few classes with names and scores, and in its signature ``logits`` all classes
without names: both together give every class's score.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.inference.predictors import PredictionError, Ranked


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(logits / 2)) / 2


class NoNames(Exception):
    """The logits and the best classes don't say which class each column is."""


class Columns:
    """Which class each column of the logits is, and what makes scores of them.

    The best few classes come with names and scores. Where their order is beyond doubt, the n-th
    best column is the n-th class named; so after some images every column that was ever among the
    best has its name. The scores also show whether a softmax or a sigmoid made them.

    Args:
        names: the class names, where they are known.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.activation: Callable[[np.ndarray], np.ndarray] | None = None
        self._names: dict[int, str] = dict(enumerate(names or ()))
        self._given = len(self._names)
        self._best = 1  # how many classes an answer names
        self._lock = threading.Lock()

    def wants_names(self, logits: np.ndarray) -> bool:
        """Whether the named answers for these images would teach something."""
        with self._lock:
            if self.activation is None:
                return True
            best = np.argsort(-logits, axis=1, kind="stable")[:, : self._best]
            return any(column not in self._names for column in np.unique(best).tolist())

    def learn(self, logits: np.ndarray, answers: Sequence[Ranked]) -> None:
        """Take names from the answers for the same images.

        Raises:
            NoNames: neither function makes these scores of these logits, or a column had
                another name before.
        """
        with self._lock:
            if self._given not in (0, logits.shape[1]):
                raise PredictionError(
                    f"The model has {logits.shape[1]} classes. Received: {self._given} labels"
                )
            self._best = min(len(answer.labels) for answer in answers)
            scores = np.array([answer.scores[: self._best] for answer in answers])
            differences = {
                activation: np.abs(_largest(activation(logits), self._best) - scores).max()
                for activation in (softmax, sigmoid)
            }
            self.activation = min(differences, key=lambda each: differences[each])
            if not differences[self.activation] < 1e-2:
                raise NoNames
            for row, answer in zip(self.activation(logits), answers, strict=True):
                self._take(row, answer)

    def _take(self, row: np.ndarray, answer: Ranked) -> None:
        order = np.argsort(-row, kind="stable")
        falling = row[order]
        # Whether a score is clearly above the next one, the last above nothing.
        above = np.append(falling[:-1] > 1.001 * falling[1:] + 1e-30, True)
        for rank, label in enumerate(answer.labels):
            beyond_doubt = above[rank] and (rank == 0 or above[rank - 1])
            if beyond_doubt and self._names.setdefault(int(order[rank]), label) != label:
                raise NoNames

    def table(self, logits: np.ndarray, examples: Examples) -> tuple[list[str], np.ndarray]:
        """The class names and the scores, float32 [images, classes].

        Raises:
            NoNames: the best class of an image has no name.
        """
        assert self.activation is not None
        best = np.argsort(-logits, axis=1, kind="stable")
        if any(column not in self._names for column in np.unique(best[:, 0]).tolist()):
            raise NoNames
        scores = self.activation(logits.astype(np.float64)).astype(np.float32)
        labels = [self._names.get(column, f"(column {column})") for column in range(len(best[0]))]
        if len(self._names) < len(labels):
            # A class that was never among the best few: all that is known is that it was not.
            missing = [label for label in examples.labels if label not in labels]
            labels += missing
            scores = np.pad(scores, ((0, 0), (0, len(missing))), constant_values=np.nan)
            if missing and self._best < 5:
                np.put_along_axis(scores, best[:, self._best :], np.nan, axis=1)
        return labels, scores


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    return -np.sort(-scores, axis=1)[:, :count]


def best_only(answers: Sequence[Ranked], labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The class names and the scores, float32 [images, classes], nan where one is not told."""
    found = {label for answer in answers for label in answer.labels}
    labels = [*labels, *sorted(found - set(labels))]
    column = {label: place for place, label in enumerate(labels)}
    scores = np.full((len(answers), len(labels)), np.nan, np.float32)
    for row, answer in zip(scores, answers, strict=True):
        row[[column[label] for label in answer.labels]] = answer.scores
    return labels, scores
