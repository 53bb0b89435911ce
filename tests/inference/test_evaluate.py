"""The same numbers from a run, its export and a server; and what is left out or refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_export.publish import export_run
from inception_serving.predictions.prediction import PredictionError
from inception_serving.server import ModelServer
from inception_serving.server.config.batching_parameters import BatchingParameters
from keras_inception.data.examples import DataError, Examples
from keras_inception.data.images import Files, Pixels
from keras_inception.data.preprocessing import Preprocessing, preprocess_encoded, resize, scale
from keras_inception.data.sources.source import read_folder
from keras_inception.evaluation.calibration import calibrate
from keras_inception.evaluation.crops import crop_weights, cut
from keras_inception.evaluation.evaluate_model import evaluate_model
from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation
from keras_inception.inference.evaluate import evaluate
from keras_inception.runs.run import Run
from tests.training.made_up import HOW, colour_model, make_run, write_photos

LABELS = tuple(f"colour {letter}" for letter in "abcdefghijkl")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("colours") / "photos", LABELS, each=10)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Run:
    images = [(pictures / LABELS[0] / "0.jpg", LABELS[0])]
    path = tmp_path_factory.mktemp("runs") / "colours"
    return make_run(path, colour_model(len(LABELS)), LABELS, images)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, coloured: Run, checked_here: None) -> Path:
    """BASE, with the run exported as ``three``, which answers three of the twelve classes."""
    base = tmp_path_factory.mktemp("exports")
    export_run(coloured.path, base, "three", top=3, log=lambda line: None)
    return base


@pytest.fixture(scope="module")
def address(exports: Path) -> Iterator[str]:
    with ModelServer(exports) as server:
        yield server.address


def test_run_export_and_server_give_the_same_numbers(
    coloured: Run, pictures: Path, exports: Path, address: str
) -> None:
    of_run = evaluate(coloured.path, pictures)
    assert isinstance(of_run, Evaluation)
    assert 0.3 < of_run.accuracy < 0.8 < of_run.top5_accuracy < 1
    assert of_run.record["protocol"]["preprocessing"]["size"] == 16
    for using in (exports / "three" / "1", f"{address}/three", f"{address}/three/1"):
        other = evaluate(using, pictures, batch_size=7)
        assert other.labels == LABELS
        np.testing.assert_allclose(other.scores, of_run.scores, atol=1e-4)
        np.testing.assert_array_equal(other.confusion, of_run.confusion)
        for name, value in of_run.metrics.items():
            assert other.metrics[name] == pytest.approx(value, abs=1e-4), name
        assert other.not_known == []
    assert "which does not tell how" in other.record["protocol"]["note"]
    assert other.record["model"]["version"] == 1
    of_export = evaluate(exports / "three", pictures)
    assert json.dumps(of_export.record["protocol"]) == json.dumps(of_run.record["protocol"])


def test_the_measures_are_those_of_scikit_learn(coloured: Run, pictures: Path) -> None:
    from sklearn import metrics

    result = evaluate(coloured.path, pictures)
    true, best, scores = result.targets, result.predicted, result.scores
    np.testing.assert_array_equal(metrics.confusion_matrix(true, best), result.confusion)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(true, best)
    np.testing.assert_allclose(np.nan_to_num(result.precision), precision)
    np.testing.assert_allclose(result.recall, recall)
    np.testing.assert_allclose(result.f1, f1)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(true, best))
    assert result.top5_accuracy == pytest.approx(metrics.top_k_accuracy_score(true, scores, k=5))
    assert result.loss == pytest.approx(metrics.log_loss(true, scores), rel=1e-5)


def test_every_class_by_itself_is_measured_as_scikit_learn_does() -> None:
    from sklearn import metrics

    random = np.random.default_rng(0)
    targets = random.random((40, 5)) < 0.3
    scores = np.round(random.random((40, 5)) * 0.7 + targets * 0.3, 1).astype(np.float32)
    targets[:, 4] = False  # a class without images
    result = MultiLabelEvaluation(tuple("abcde"), np.arange(40), targets, scores)
    expected = [metrics.average_precision_score(targets[:, c], scores[:, c]) for c in range(4)]
    np.testing.assert_allclose(result.average_precision[:4], expected)
    assert result.mean_average_precision == pytest.approx(np.mean(expected))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, scores >= 0.5, zero_division=0.0
    )
    np.testing.assert_allclose(np.nan_to_num(result.precision), precision)
    np.testing.assert_allclose(np.nan_to_num(result.recall), recall)
    np.testing.assert_allclose(np.nan_to_num(result.f1), f1)
    assert result.exact_match == pytest.approx(metrics.accuracy_score(targets, scores >= 0.5))
    assert result.as_dict()["classes"]["e"]["average_precision"] is None
    assert all(result.losses[row] <= result.losses[result.worst(1)[0]] for row in result.worst(9))


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.05, 0.06, 0.62, 0.66, 1.0, 0.0])
    right = np.array([False, True, True, False, True, False])
    found = calibrate(confidence, right, bins=10)
    # Up to 0.1: three images, accuracy 1/3, confidence 0.11/3; up to 0.7: 1/2 and 0.64; up to 1: 1.
    assert found.images.tolist() == [3, 0, 0, 0, 0, 0, 2, 0, 0, 1]
    assert found.ece == pytest.approx((3 * abs(1 / 3 - 0.11 / 3) + 2 * abs(0.5 - 0.64)) / 6)
    assert calibrate(np.ones(4), np.ones(4, bool)).ece == 0
    assert [row["to"] for row in found.as_dict()["bins"]] == [0.1, 0.7, 1.0]


def test_undecodable_images_are_left_out_and_named(
    coloured: Run, pictures: Path, exports: Path, address: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(pictures, tmp_path / "photos")
    first = folder / LABELS[0]
    (first / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (first / "empty.jpg").touch()
    (folder / LABELS[3] / "text.jpg").write_text("I am text.")
    examples = read_folder(folder)
    (first / "1.png").unlink()
    expected = ["1.png", "broken.jpg", "empty.jpg", "text.jpg"]
    for using in (coloured.path, exports / "three", f"{address}/three"):
        result = evaluate(using, examples)
        assert [Path(bad.name).name for bad in result.left_out] == expected
        assert "empty" in result.left_out[2].reason
        assert result.images == len(examples) - 4
        assert result.as_dict()["left_out"][3]["reason"]
    bad = examples.take(np.array([bad.index for bad in result.left_out]))
    for using in (coloured.path, f"{address}/three"):
        with pytest.raises(DataError, match="no image to evaluate on"):
            evaluate(using, bad)


def test_a_bad_image_takes_none_with_it_from_a_merged_batch(
    coloured: Run, pictures: Path, exports: Path, tmp_path: Path
) -> None:
    """TF Serving's batching fails whoever is merged with a request that fails."""
    folder = shutil.copytree(pictures, tmp_path / "photos")
    for label in LABELS[::2]:
        (folder / label / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    merging = BatchingParameters(max_batch_size=16, batch_timeout_micros=50_000)
    with ModelServer(exports, batching=merging) as server:
        result = evaluate(f"{server.address}/three", folder, batch_size=2, in_flight=6)
    assert [Path(bad.name).name for bad in result.left_out] == ["broken.jpg"] * 6
    of_run = evaluate(coloured.path, pictures)
    np.testing.assert_allclose(result.scores, of_run.scores, atol=1e-4)


def test_labels_are_matched_by_name(coloured: Run, pictures: Path, address: str) -> None:
    """Two classes of twelve, in another order than the model's."""
    examples = read_folder(pictures)
    chosen = np.flatnonzero(np.isin(examples.targets, [2, 7]))
    targets = np.where(examples.targets[chosen] == 7, 0, 1)
    two = Examples((LABELS[7], LABELS[2]), examples.images.take(chosen), targets)
    whole = evaluate(coloured.path, examples)
    for using in (coloured.path, f"{address}/three"):
        result = evaluate(using, two)
        for label in two.labels:
            row = result.labels.index(label)
            assert result.recall[row] == pytest.approx(whole.recall[LABELS.index(label)])
        assert result.images == 20
    stranger = Examples((LABELS[7], "beige"), two.images, targets)
    with pytest.raises(DataError, match=r"does not know: beige"):
        evaluate(coloured.path, stranger)


def test_a_server_names_every_class_whatever_the_data_hold(pictures: Path, address: str) -> None:
    """One class's images, of a model whose default answer names three classes of twelve."""
    examples = read_folder(pictures)
    one = examples.take(np.flatnonzero(examples.targets == 4)[:2])
    result = evaluate(f"{address}/three", one)
    assert result.labels == LABELS
    assert result.loss is not None and result.top5_accuracy is not None
    assert result.not_known == [] and np.isfinite(result.scores).all()
    strange = Examples((*LABELS[:4], "beige"), one.images, one.targets)
    with pytest.raises(DataError, match="does not know: beige"):
        evaluate(f"{address}/three", strange)


def all_of_the_first(examples: Examples, labels: tuple[str, ...]) -> Examples:
    return Examples(labels, examples.images, np.zeros(len(examples), np.int64))


def test_labels_given_for_a_server_set_the_order_and_must_be_its_own(
    pictures: Path, exports: Path, address: str
) -> None:
    examples = read_folder(pictures).take(np.arange(5))
    plain = evaluate(f"{address}/three", examples)
    turned = evaluate(f"{address}/three", examples, labels=LABELS[::-1])
    assert turned.labels == LABELS[::-1]
    np.testing.assert_allclose(turned.scores[:, ::-1], plain.scores, atol=1e-6)
    with pytest.raises(PredictionError, match=r"12 classes. Received: 2 labels"):
        evaluate(f"{address}/three", all_of_the_first(examples, LABELS[:2]), labels=LABELS[:2])
    others = (*LABELS[:11], "beige")
    with pytest.raises(PredictionError, match="answers the class 'colour l', which is not among"):
        evaluate(f"{address}/three", all_of_the_first(examples, others), labels=others)
    # The export tells the preprocessing, too.
    known = evaluate(f"{address}/three", examples, export=exports / "three")
    assert known.record["protocol"]["preprocessing"]["size"] == 16
    np.testing.assert_allclose(known.scores, plain.scores, atol=1e-6)


def test_arrays_are_evaluated_like_files(coloured: Run, exports: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    pixels = random.integers(0, 256, (8, 20, 24, 3)).astype(np.uint8)
    targets = np.arange(8, dtype=np.int64)
    examples = Examples(LABELS, Pixels.of(pixels), targets)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    files = Examples(LABELS, Files.of(tmp_path, [f"{n}.png" for n in range(8)]), targets)
    expected = evaluate(coloured.path, files).scores
    np.testing.assert_allclose(evaluate(coloured.path, examples).scores, expected, atol=1e-6)
    np.testing.assert_allclose(evaluate(exports / "three", examples).scores, expected, atol=1e-4)


def test_a_runs_scores_are_those_of_its_preprocessing_and_model(
    coloured: Run, pictures: Path
) -> None:
    examples = read_folder(pictures)
    encoded = [examples.images.encoded(index) for index in range(9)]
    direct = coloured.load_model().predict(preprocess_encoded(tf.constant(encoded), HOW), verbose=0)
    result = evaluate(coloured.path, examples.take(np.arange(9)), batch_size=4)
    np.testing.assert_allclose(result.scores, direct, atol=1e-6)


def test_ten_crops_are_the_corners_the_centre_and_their_mirrors() -> None:
    preprocessing = Preprocessing(size=14, crop=0.875)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (16, 24, 3)).astype(np.uint8)  # at scale 1: no resampling
    views = cut(tf.constant(image), preprocessing, 10).numpy()
    assert views.shape == (10, 14, 14, 3)
    square = image[:, 4:20]
    for view, (top, left) in zip(views, [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)], strict=False):
        np.testing.assert_allclose(view, square[top : top + 14, left : left + 14], atol=1e-3)
    np.testing.assert_array_equal(views[5:], views[:5, :, ::-1])
    np.testing.assert_allclose(views[4], resize(image[np.newaxis], preprocessing)[0], atol=1e-3)
    with pytest.raises(ValueError, match="all five would be the same"):
        evaluate_model(
            colour_model(2), ("a", "b"), Preprocessing(16, crop=1.0),
            Examples(("a", "b"), Pixels.of(image[np.newaxis]), np.zeros(1, np.int64)), crops=10,
        )  # fmt: skip


def test_two_crops_are_what_is_served_and_its_mirror_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3)).astype(np.uint8)
    preprocessing = Preprocessing(size=14, crop=1.0)
    served = resize(image, preprocessing)[0]
    views = cut(tf.constant(image[0]), preprocessing, 2)
    np.testing.assert_array_equal(views, tf.stack([served, served[:, ::-1]]))


@pytest.mark.parametrize("portrait", [False, True])
def test_144_crops_are_the_papers(portrait: bool) -> None:
    """At 7 pixels the scales are 8, 9, 10 and 11: a shorter side of 9 has one as it is."""
    preprocessing = Preprocessing(size=7)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (9, 21, 3)).astype(np.uint8)
    turned = image.transpose(1, 0, 2) if portrait else image
    views = cut(tf.constant(turned), preprocessing, 144).numpy()
    weights = crop_weights(144)
    assert len(views) == len(weights) == 126
    assert weights.sum() == pytest.approx(1) and (weights * 144).round(4).sum() == 144
    views = views.transpose(0, 2, 1, 3) if portrait else views
    at_one = views[15:30]
    corners = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    corners = [(left, top) for top, left in corners] if portrait else corners
    for place, along in enumerate((0, 6, 12)):
        square = image[:, along : along + 9]
        for view, (top, left) in zip(at_one[5 * place :], corners, strict=False):
            np.testing.assert_allclose(view, square[top : top + 7, left : left + 7], atol=1e-2)
    whole = tf.image.resize(image[:, 6:15], (7, 7), antialias=True)
    # At the square's sides the kernel reaches into the image beside it.
    np.testing.assert_allclose(views[61][:, 1:-1], whole[:, 1:-1], atol=1e-2)
    mirrored = views[63:, ::-1] if portrait else views[63:, :, ::-1]
    np.testing.assert_array_equal(mirrored, views[:63])


def test_scores_of_crops_are_averaged(coloured: Run, pictures: Path, exports: Path) -> None:
    examples = read_folder(pictures).take(np.array([5, 25]))
    model = coloured.load_model()
    for crops in (2, 10, 144):
        result = evaluate(coloured.path, examples, crops=crops, batch_size=50)
        assert result.record["protocol"]["crops"] == crops
        for row in range(2):
            image = tf.io.decode_image(examples.images.encoded(row), channels=3)
            scores = model.predict(scale(cut(image, HOW, crops), HOW), verbose=0)
            np.testing.assert_allclose(result.scores[row], crop_weights(crops) @ scores, atol=1e-5)
    with pytest.raises(PredictionError, match="Only a run takes several crops"):
        evaluate(exports / "three", examples, crops=10)
    with pytest.raises(ValueError, match=r"must be one of 1, 2, 10, 144. Received: crops=3"):
        evaluate(coloured.path, examples, crops=3)


def test_images_of_several_classes_need_a_model_that_scores_each(
    coloured: Run, pictures: Path
) -> None:
    examples = read_folder(pictures)
    several = Examples(LABELS, examples.images, np.eye(12, dtype=bool)[examples.targets])
    with pytest.raises(DataError, match="Train it with a sigmoid"):
        evaluate(coloured.path, several)


def test_a_network_is_compiled_once(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = colour_model(12)
    shapes = []
    predict = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch",
        lambda self, batch: shapes.append(batch.shape) or predict(self, batch),
    )  # fmt: skip
    evaluate_model(model, LABELS, HOW, read_folder(pictures), batch_size=50)
    assert shapes == [(50, 16, 16, 3)] * 3
