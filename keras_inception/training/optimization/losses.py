"""The losses of a training, all of logits.

Of probabilities they would be right on TensorFlow alone, where Keras finds the logits behind them;
on JAX it clips them, and an image wrong by 16 or more has no gradient any longer. Keras's focal
losses clip them everywhere, so these are written here.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_inception.data.examples import Examples
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe

_SMALL = 1e-7  # what a power below 1 has a gradient of


def make_loss(recipe: Recipe, multi_label: bool, balance: np.ndarray | None = None) -> Any:
    """The recipe's loss of an output, from targets and logits, both float [batch, classes].

    Args:
        multi_label: whether an image can be of several classes, or of none.
        balance: float32 [2, classes], of a loss of each class by itself: what an image counts in
            each class's part of it where it is not of the class, and where it is; all alike by
            default.
    """
    smoothing = recipe.label_smoothing
    gamma = 0.0
    if recipe.loss == "focal":
        gamma = 2.0 if recipe.focal_gamma is None else recipe.focal_gamma
    if multi_label or recipe.loss == "binary":
        if balance is None and not gamma:
            return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
        return BalancedBinaryCrossentropy(balance, smoothing, gamma)
    if gamma:
        return FocalCrossentropy(gamma, smoothing)
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)


def check_loss(recipe: Recipe, multi_label: bool) -> None:
    """Refuse what the images can't have.

    Raises:
        RecipeError: with the rule.
    """
    if recipe.loss == "binary" and multi_label:
        raise RecipeError(
            "`loss` must be cross_entropy or focal where an image can be of several classes: both"
            " are of each class by itself then. Received: loss=binary"
        )
    if recipe.positive_weight is not None and not multi_label and recipe.loss != "binary":
        raise RecipeError(
            "`positive_weight` must be left out where every image is of one class, but with"
            f" loss=binary. Received: positive_weight={recipe.positive_weight}"
        )


def positive_weights(examples: Examples, weight: float | Literal["balanced"]) -> np.ndarray:
    """The ``balance`` that weighs a class's images against all others.

    Args:
        weight: of every class, or ``"balanced"``: the others divided by the images of the class, 1
            where there are none of either.

    Returns:
        float32 [2, classes].
    """
    counts = examples.counts()
    if weight == "balanced":
        others = len(examples) - counts
        weights = np.where((counts > 0) & (others > 0), others / np.maximum(counts, 1), 1.0)
    else:
        weights = np.full(len(counts), weight)
    return np.stack([np.ones(len(counts)), weights]).astype(np.float32)


class BalancedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of each class by itself, positives and negatives weighed.

    Args:
        balance: float32 [2, classes], the weights of negatives and of positives; by default 1.
        label_smoothing: as Keras's: targets are drawn towards 0.5 by this share.
        gamma: of the focal loss (arXiv:1708.02002, equation 4): a score that is right by p counts
            (1 - p) ** gamma.
    """

    def __init__(
        self, balance: np.ndarray | None, label_smoothing: float = 0.0, gamma: float = 0.0
    ) -> None:
        super().__init__(name="balanced_binary_crossentropy")
        self.negative: Any = 1.0 if balance is None else balance[0]
        self.positive: Any = 1.0 if balance is None else balance[1]
        self.label_smoothing = label_smoothing
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over the classes: [batch]."""
        y_true = ops.cast(y_true, y_pred.dtype)
        weights = y_true * self.positive + (1 - y_true) * self.negative
        smooth = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = ops.binary_crossentropy(smooth, y_pred, from_logits=True)
        if self.gamma:
            scores = ops.sigmoid(y_pred)
            weights = weights * _less(smooth * scores + (1 - smooth) * (1 - scores), self.gamma)
        return ops.mean(weights * losses, axis=-1)


class FocalCrossentropy(keras.losses.Loss):
    """Cross-entropy of a softmax that counts less what is right already (arXiv:1708.02002).

    Args:
        gamma: a class of the score p counts (1 - p) ** gamma.
        label_smoothing: the share of the target that is spread over all classes.
    """

    def __init__(self, gamma: float, label_smoothing: float = 0.0) -> None:
        super().__init__(name="focal_crossentropy")
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The sum over the classes: [batch]."""
        y_true = ops.cast(y_true, y_pred.dtype)
        share = self.label_smoothing
        smooth = y_true * (1 - share) + share / y_true.shape[-1]
        logs = ops.log_softmax(y_pred, axis=-1)
        return -ops.sum(smooth * _less(ops.exp(logs), self.gamma) * logs, axis=-1)


def _less(scores: Any, gamma: float) -> Any:
    return ops.power(ops.maximum(1 - scores, _SMALL), gamma)
