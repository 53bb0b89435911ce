"""The losses of a training, all of logits.

Of probabilities they would be right on TensorFlow alone, where Keras finds the logits behind them;
on JAX it clips them, and an image wrong by 16 or more has no gradient any longer.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_inception.runs.recipe import Recipe


def make_loss(recipe: Recipe, multi_label: bool, balance: np.ndarray | None = None) -> Any:
    """The recipe's loss of an output, from targets and logits, both float [batch, classes].

    Args:
        multi_label: whether an image can be of several classes, or of none.
        balance: float32 [2, classes], of these: what an image counts in each class's part of the
            loss where it is not of the class, and where it is; all alike by default.
    """
    smoothing = recipe.label_smoothing
    if not multi_label:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    if balance is None:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    return BalancedBinaryCrossentropy(balance, smoothing)


class BalancedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of each class by itself, positives and negatives weighed.

    Args:
        balance: float32 [2, classes], the weights of negatives and of positives.
        label_smoothing: as Keras's: targets are drawn towards 0.5 by this share.
    """

    def __init__(self, balance: np.ndarray, label_smoothing: float = 0.0) -> None:
        super().__init__(name="balanced_binary_crossentropy")
        self.negative, self.positive = balance
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over the classes: [batch]."""
        y_true = ops.cast(y_true, y_pred.dtype)
        weights = y_true * self.positive + (1 - y_true) * self.negative
        smooth = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = ops.binary_crossentropy(smooth, y_pred, from_logits=True)
        return ops.mean(weights * losses, axis=-1)
