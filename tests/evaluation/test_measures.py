"""What an evaluation keeps, measured as scikit-learn and SciPy measure it."""

import json

import numpy as np
import pytest

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.evaluation.evaluate_model import Scored, score_against_truth
from keras_inception.evaluation.intervals import wilson
from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation
from keras_inception.evaluation.thresholds import fit_thresholds


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


def test_a_loss_says_from_which_score_on_it_counts() -> None:
    """Of one class an image, and of each class by itself, where a score of 1 can be wrong too."""
    scores = np.array([[1, 0], [0.5, 0.5], [1e-13, 1]])
    result = evaluation(scores, np.array([1, 1, 1]))
    assert result.loss == pytest.approx((-np.log(1e-12) - np.log(0.5)) / 3)
    assert result.as_dict()["loss_floor"] == {"score": 1e-12, "images": 1}
    note = "Loss: 1 image has a true class's score below 1e-12, counted as 1e-12 (27.63)"
    assert result.loss_floor.note == note
    assert evaluation(scores[1:], np.array([1, 1])).loss_floor.note == ""
    truth = np.array([[False, True], [True, True], [False, False]])
    several = MultiLabelEvaluation(("a", "b"), np.arange(3), truth, scores.astype(np.float32))
    assert several.as_dict()["loss_floor"] == {"score": 1e-7, "images": 2}
    assert several.loss == pytest.approx((3 * -np.log(1e-7) - 2 * np.log(0.5)) / 6, abs=1e-6)


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


def several_labels(images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Targets and scores with ties; the last class has no images."""
    random = np.random.default_rng(4)
    targets = random.random((images, 4)) < [0.5, 0.3, 0.1, 0.0]
    scores = np.round(random.random((images, 4)) * 0.6 + targets * 0.25, 2).astype(np.float32)
    return targets, scores


def test_classes_count_alike_as_in_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(1)
    targets = random.choice(4, 200, p=[0.7, 0.2, 0.05, 0.05])
    scores = np.round(random.dirichlet(np.ones(4), 200) / 2 + np.eye(4)[targets] / 4, 2)
    scores /= scores.sum(axis=1, keepdims=True)
    result = evaluation(scores, targets)
    scores, best = result.scores, result.predicted
    assert result.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(targets, best))
    assert result.macro_f1 == pytest.approx(metrics.f1_score(targets, best, average="macro"))
    expected = metrics.roc_auc_score(targets, scores, multi_class="ovr", average=None)
    np.testing.assert_allclose(result.roc_auc, expected)
    assert result.mean_roc_auc == pytest.approx(expected.mean())
    assert result.metrics["mean_roc_auc"] == result.mean_roc_auc
    two = evaluation(np.stack([1 - scores[:, 0], scores[:, 0]], axis=1), (targets == 0) * 1)
    assert two.mean_roc_auc == pytest.approx(metrics.roc_auc_score(targets == 0, scores[:, 0]))
    # Each image as often as it was drawn.
    drawn = random.integers(0, 3, 200) * 1.0
    counted, ranked = result.count(drawn), result.rank(list(result.rankings()), drawn)
    assert counted["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(targets, best, sample_weight=drawn)
    )
    assert counted["macro_f1"] == pytest.approx(
        metrics.f1_score(targets, best, average="macro", sample_weight=drawn)
    )
    repeated = np.repeat(np.arange(200), drawn.astype(int))
    assert ranked["mean_roc_auc"] == pytest.approx(
        metrics.roc_auc_score(targets[repeated], scores[repeated], multi_class="ovr")
    )


def test_each_class_by_itself_has_scikit_learns_areas() -> None:
    from sklearn import metrics

    targets, scores = several_labels()
    result = MultiLabelEvaluation(tuple("abcd"), np.arange(60), targets, scores)
    expected = [metrics.roc_auc_score(targets[:, c], scores[:, c]) for c in range(3)]
    np.testing.assert_allclose(result.roc_auc, [*expected, np.nan])
    assert result.mean_roc_auc == pytest.approx(np.mean(expected))
    drawn = np.random.default_rng(0).integers(0, 3, 60) * 1.0
    ranked = result.rank(list(result.rankings()), drawn)
    for name, of_class in (
        ("mean_roc_auc", metrics.roc_auc_score),
        ("mean_average_precision", metrics.average_precision_score),
    ):
        values = [of_class(targets[:, c], scores[:, c], sample_weight=drawn) for c in range(3)]
        assert ranked[name] == pytest.approx(np.mean(values)), name
    f1 = metrics.f1_score(
        targets, result.predicted, average=None, sample_weight=drawn, zero_division=np.nan
    )
    assert result.count(drawn)["macro_f1"] == pytest.approx(np.nanmean(f1))


def test_of_the_best_classes_alone_what_needs_all_scores_is_not_known() -> None:
    """As a server answers that does not tell all; what is answered can still be counted."""
    targets, scores = several_labels()
    told = np.where(scores >= np.sort(scores, axis=1)[:, -2:-1], scores, np.nan)
    all_told, result = (
        MultiLabelEvaluation(tuple("abcd"), np.arange(60), targets, each)
        for each in (scores, told.astype(np.float32))
    )
    unknown = ("loss", "mean_average_precision", "mean_roc_auc")
    for name, value in result.metrics.items():
        assert (value is None) is (name in unknown), name
    assert all_told.not_known == [] and len(result.not_known) == 1
    written = json.dumps(result.as_dict(), allow_nan=False)
    assert json.loads(written)["not_known"] == result.not_known
    assert set(result.intervals) == {"exact_match", "macro_f1"}


@pytest.mark.parametrize(("right", "images"), [(0, 7), (7, 7), (354, 360), (1, 2)])
def test_wilsons_interval_is_scipys(right: int, images: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert wilson(right, images) == pytest.approx((expected.low, expected.high))


def test_intervals_by_resampling_are_scipys_but_for_chance() -> None:
    from scipy.stats import bootstrap
    from sklearn import metrics

    random = np.random.default_rng(2)
    targets = random.choice(3, 150, p=[0.6, 0.3, 0.1])
    scores = random.dirichlet(np.ones(3), 150) / 2 + np.eye(3)[targets] / 3
    result = evaluation(scores / scores.sum(axis=1, keepdims=True), targets)
    found = result.intervals
    assert found["accuracy"] == wilson(result.accuracy * 150, 150)
    low, high = found["balanced_accuracy"]
    assert low < result.balanced_accuracy < high
    expected = bootstrap(
        (targets, result.predicted), metrics.balanced_accuracy_score, paired=True,
        vectorized=False, n_resamples=400, method="percentile", rng=3,
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert result.intervals == evaluation(result.scores, targets).intervals
    assert set(result.as_dict()["intervals"]) == {
        *("definition", "accuracy", "balanced_accuracy", "macro_f1", "mean_roc_auc")
    }


def test_thresholds_are_those_of_the_best_f1() -> None:
    """Among all that there are; of as good ones the nearest to 0.5."""
    from sklearn import metrics

    targets, scores = several_labels()
    thresholds = fit_thresholds(targets, scores)
    assert thresholds[3] == 0.5  # no image
    for column in range(3):
        truth, of_class = targets[:, column], scores[:, column]
        tried = np.unique(of_class)
        best = max(metrics.f1_score(truth, of_class >= each) for each in tried)
        assert metrics.f1_score(truth, of_class >= thresholds[column]) == pytest.approx(best)
    assert metrics.f1_score(targets[:, 2], scores[:, 2] >= 0.5) < 0.6 < best
    perfect = fit_thresholds(
        np.array([[True], [True], [False], [False]]), np.array([[0.9], [0.3], [0.1], [0.0]])
    )
    assert perfect == pytest.approx([0.2])
    result = MultiLabelEvaluation(
        tuple("abcd"), np.arange(60), targets, scores, thresholds=thresholds
    )
    np.testing.assert_array_equal(result.predicted, scores >= thresholds)
    rows = result.as_dict()
    assert "threshold" not in rows and rows["classes"]["d"]["threshold"] == 0.5
