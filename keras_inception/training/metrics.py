"""What training counts while it goes on."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class ConfusionAccuracy(keras.metrics.Metric):
    """The share of images whose best class is the true one, kept as the whole confusion matrix.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int, name: str = "accuracy") -> None:
        super().__init__(name=name)
        self.classes = classes
        # [true, predicted]
        self.counts = self.add_variable((classes, classes), "zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: two times float [batch, classes]; weights are for the loss alone."""
        true, predicted = (
            ops.one_hot(ops.argmax(each, axis=-1), self.classes) for each in (y_true, y_pred)
        )
        self.counts.assign_add(ops.matmul(ops.transpose(true), predicted))

    def result(self) -> Any:
        """Accuracy, float32 []; 0 before the first image."""
        return ops.trace(self.counts) / ops.maximum(ops.sum(self.counts), 1)


def metrics_for(classes: int, multi_label: bool, confusion: bool) -> list[keras.metrics.Metric]:
    """What a training counts.

    Args:
        multi_label: whether an image can be of several classes, or of none.
        confusion: whether the confusion matrix is wanted.
    """
    if multi_label:
        return [
            keras.metrics.BinaryAccuracy(name="accuracy"),
            # The mean over the classes of the area under precision by recall.
            keras.metrics.AUC(
                curve="PR", multi_label=True, num_labels=classes, name="average_precision"
            ),
        ]
    counted: list[keras.metrics.Metric] = [
        ConfusionAccuracy(classes)
        if confusion
        else keras.metrics.CategoricalAccuracy(name="accuracy")
    ]
    if classes > 5:
        counted.append(keras.metrics.TopKCategoricalAccuracy(5, name="top5_accuracy"))
    return counted
