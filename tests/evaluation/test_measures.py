"""What an evaluation keeps, by its names and the former ones."""

import numpy as np
import pytest

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.evaluation.evaluate_model import Scored, score_against_truth
from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation


@pytest.mark.parametrize("kind", [Evaluation, MultiLabelEvaluation])
def test_the_indices_former_name_works_and_warns(kind: type) -> None:
    result = kind(("a", "b"), np.array([3, 5]), np.array([0, 1]), np.eye(2, dtype=np.float32))
    with pytest.warns(DeprecationWarning, match="`numbers` is now called `indices`"):
        assert result.numbers is result.indices
    assert result.images == 2


def evaluation(scores: np.ndarray, targets: np.ndarray) -> Evaluation:
    labels = tuple("abcdefghijkl"[: scores.shape[1]])
    return Evaluation(labels, np.arange(len(targets)), targets, scores.astype(np.float32))


def test_top_5_does_not_depend_on_the_order_of_the_classes() -> None:
    """One-hot scores: of a wrong image four of the other nine classes are among the five."""
    targets = np.arange(10)
    scores = np.eye(10)[(targets + 1) % 10]
    for order in (np.arange(10), np.arange(10)[::-1]):
        places = np.argsort(order)
        found = evaluation(scores[:, order], places[targets]).top5_accuracy
        assert found == pytest.approx(4 / 9)
    # Without ties it is the share among the five best.
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(12), 200)
    targets = random.integers(0, 12, 200)
    expected = (np.argsort(-scores, axis=1)[:, :5] == targets[:, np.newaxis]).any(axis=1).mean()
    assert evaluation(scores, targets).top5_accuracy == pytest.approx(expected)
    # Of a server's answer the five best alone are told.
    told = np.where(scores >= np.sort(scores, axis=1)[:, -5:-4], scores, np.nan)
    assert evaluation(told, targets).top5_accuracy == pytest.approx(expected)


@pytest.mark.parametrize("multi_label", [False, True])
def test_an_image_without_a_number_is_named(multi_label: bool) -> None:
    pixels = Pixels.of(np.zeros((3, 2, 2, 3), np.uint8))
    examples = Examples(("a", "b"), pixels, np.array([0, 1, 1]))
    scores = np.array([[0.5, 0.5], [np.nan, np.nan], [0.1, 0.9]], np.float32)
    with pytest.raises(DataError, match=r"1 of 3 images with no number \(nan\)"):
        score_against_truth(
            examples,
            ("a", "b"),
            Scored(np.arange(3), scores, []),
            multi_label=multi_label,
            record={},
        )
