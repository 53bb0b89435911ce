"""What a training counts, beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from keras_inception.training.metrics import metrics_for


@pytest.mark.parametrize("multi_label", [False, True])
def test_macro_f1_is_of_the_classes_with_images_or_answers(multi_label: bool) -> None:
    """As the report's: a class of which there is nothing to validate counts neither way."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, 40)
    logits = random.normal(size=(40, 5)).astype(np.float32)
    logits[:, 4] = -9  # the last class has neither, the one before answers alone
    targets = np.eye(5, dtype=np.float32)[classes]
    (metric,) = (
        each
        for each in metrics_for(5, multi_label, confusion=False, best="macro_f1")
        if each.name == "macro_f1"
    )
    for begin in (0, 20):
        metric.update_state(targets[begin : begin + 20], logits[begin : begin + 20])

    truth, answers = (targets, logits >= 0) if multi_label else (classes, logits.argmax(1))
    each = f1_score(truth, answers, average=None, labels=range(5), zero_division=0)
    assert float(metric.result()) == pytest.approx(each[:4].mean(), rel=1e-5)


@pytest.mark.parametrize("level", [0.0, -8.0])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_average_precision_of_rare_and_low_scores(level: float, share: float) -> None:
    random = np.random.default_rng(1)
    targets = (random.random((4000, 3)) < share).astype(np.float32)
    logits = (random.normal(level, 1, targets.shape) + 2.5 * targets).astype(np.float32)
    (metric,) = (
        each for each in metrics_for(3, True, confusion=False) if each.name == "average_precision"
    )
    for begin in range(0, 4000, 1000):
        metric.update_state(targets[begin : begin + 1000], logits[begin : begin + 1000])
    expected = average_precision_score(targets, logits, average="macro")
    assert float(metric.result()) == pytest.approx(expected, abs=0.02)
