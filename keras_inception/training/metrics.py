"""Metrics that training counts while it goes on, all from logits."""

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
        """Count a batch: two times float [batch, classes]; images of weight 0 do not count."""
        true, predicted = (
            ops.one_hot(ops.argmax(each, axis=-1), self.classes) for each in (y_true, y_pred)
        )
        if sample_weight is not None:
            true = true * _counts(sample_weight)[:, None]
        self.counts.assign_add(ops.matmul(ops.transpose(true), predicted))

    def result(self) -> Any:
        """Accuracy, float32 []; 0 before the first image."""
        return ops.trace(self.counts) / ops.maximum(ops.sum(self.counts), 1)


def _counts(weights: Any) -> Any:
    """1 for each image that counts, else 0; how much it counts is for the loss alone."""
    return ops.cast(ops.convert_to_tensor(weights) > 0, "float32")


class _Unweighted:
    """An image counts or, with a weight of 0, does not."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:
            sample_weight = _counts(sample_weight)
        return super().update_state(y_true, y_pred, sample_weight)  # type: ignore[misc]


class _CategoricalAccuracy(_Unweighted, keras.metrics.CategoricalAccuracy):
    pass


class _TopKCategoricalAccuracy(_Unweighted, keras.metrics.TopKCategoricalAccuracy):
    pass


class _BinaryAccuracy(_Unweighted, keras.metrics.BinaryAccuracy):
    pass


class _CategoricalCrossentropy(_Unweighted, keras.metrics.CategoricalCrossentropy):
    pass


class _BinaryCrossentropy(_Unweighted, keras.metrics.BinaryCrossentropy):
    pass


class _F1Score(_Unweighted, keras.metrics.F1Score):
    """Of logits: the best class of each image, or every class with a score of 0.5 or more."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        scores = ops.softmax(y_pred) if self.threshold is None else ops.sigmoid(y_pred)
        return super().update_state(y_true, scores, sample_weight)

    def result(self) -> Any:
        """The mean over the classes that have images or answers, as an evaluation's."""
        hits, wrong, missed = self.true_positives, self.false_positives, self.false_negatives
        found = ops.convert_to_tensor(2 * hits + wrong + missed)
        there = ops.cast(found > 0, found.dtype)
        scores = 2 * hits / ops.maximum(found, 1e-7)
        return ops.sum(there * scores) / ops.maximum(ops.sum(there), 1.0)


class _AUC(_Unweighted, keras.metrics.AUC):
    """Of logits, spread over Keras's 200 thresholds so that low scores are told apart too.

    An area depends on the order of the scores alone. Sigmoid's scores of a rare class, such as
    logits around -8, lie below the first threshold together; softsign is as steep as sigmoid at 0,
    and falls more slowly.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        scores = (1 + ops.softsign(y_pred / 2)) / 2
        return super().update_state(y_true, scores, sample_weight)


def metrics_for(
    classes: int, multi_label: bool, confusion: bool, best: str = "loss"
) -> list[keras.metrics.Metric]:
    """What a training counts.

    Args:
        multi_label: whether an image can be of several classes, or of none.
        confusion: whether the confusion matrix is wanted.
        best: a recipe's ``best_epoch_metric``, which is counted too.
    """
    return _usual_metrics(classes, multi_label, confusion) + _metric_of_best(best, multi_label)


def _metric_of_best(best: str, multi_label: bool) -> list[keras.metrics.Metric]:
    if best == "cross_entropy":
        kind = _BinaryCrossentropy if multi_label else _CategoricalCrossentropy
        return [kind(name="cross_entropy", from_logits=True)]
    if best == "macro_f1":
        threshold = 0.5 if multi_label else None
        return [_F1Score(average="macro", threshold=threshold, name="macro_f1")]
    return []


def _usual_metrics(classes: int, multi_label: bool, confusion: bool) -> list[keras.metrics.Metric]:
    if multi_label:
        return [
            _BinaryAccuracy(name="accuracy", threshold=0.0),  # of a logit: a score of 0.5
            # The mean over the classes of the area under precision by recall.
            _AUC(
                curve="PR",
                multi_label=True,
                num_labels=classes,
                name="average_precision",
            ),
        ]
    counted: list[keras.metrics.Metric] = [
        ConfusionAccuracy(classes) if confusion else _CategoricalAccuracy(name="accuracy")
    ]
    if classes > 5:
        counted.append(_TopKCategoricalAccuracy(5, name="top5_accuracy"))
    return counted
