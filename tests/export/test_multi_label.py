"""Images of several classes each: a sigmoid instead of a softmax, all the way to the server."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_export.card.model_card import CARD
from inception_export.export import open_export
from inception_export.publish import export_run, export_saved_model
from inception_serving import Client
from inception_serving.server import ModelServer
from keras_inception.cli import main
from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.evaluation.evaluate_model import evaluate_model
from keras_inception.evaluation.measures import MultiLabelEvaluation
from keras_inception.inference.evaluate import evaluate
from keras_inception.report.report import write_report
from keras_inception.runs.run import Run
from tests.training.made_up import HOW, colour_model, colours, make_run

LABELS = ("red", "yellow", "green", "blue", "pink")


def halves() -> Examples:
    """Images of two colours, or of one or none (grey)."""
    random = np.random.default_rng(0)
    shades = np.concatenate([colours(len(LABELS)), [[128, 128, 128]]])
    targets = np.zeros((40, len(LABELS)), bool)
    pixels = np.zeros((40, 24, 24, 3), np.uint8)
    for number in range(40):
        for half in (0, 1):
            colour = int(random.integers(len(shades)))
            noise = random.normal(0, 8, (12, 24, 3))
            pixels[number, 12 * half : 12 * half + 12] = (shades[colour] + noise).clip(0, 255)
            if colour < len(LABELS):
                targets[number, colour] = True
    return Examples(LABELS, Pixels.of(pixels), targets)


@pytest.fixture(scope="module")
def sigmoid_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = colour_model(len(LABELS), "sigmoid")
    return make_run(tmp_path_factory.mktemp("runs") / "halves", model, LABELS, [])


@pytest.fixture(scope="module")
def export(sigmoid_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_saved_model(
        sigmoid_run.load_model(), tmp_path_factory.mktemp("models"), "halves",
        labels=LABELS, preprocessing=HOW, top=2, log=lambda line: None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def address(export: Path) -> Iterator[str]:
    with ModelServer(export.parents[1]) as server:
        yield server.address


def test_scores_are_each_classs_own_and_the_manifest_says_so(
    sigmoid_run: Run, export: Path, address: str
) -> None:
    manifest = json.loads((export / "assets.extra" / "keras_inception.json").read_text())
    assert manifest["activation"] == "sigmoid"
    assert manifest["parity"]["probabilities"] < 1e-4
    examples = halves()
    expected = evaluate(sigmoid_run.path, examples).scores
    assert expected.sum(axis=1).max() > 1.5
    encoded = [examples.images.encoded(number) for number in range(len(examples))]
    with Client(address, model="halves") as client:
        probabilities = client.predict_tensors(
            {"images": examples.images.pixels}, signature="predict_images"
        )["probabilities"]
        answers = client.predict(encoded)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    for row, answer in zip(expected, answers, strict=True):
        assert list(answer.scores) == sorted(answer.scores, reverse=True)
        assert answer.scores == pytest.approx(np.sort(row)[:-3:-1], abs=1e-4)
        for label, score in zip(answer.labels, answer.scores, strict=True):
            assert row[LABELS.index(label)] == pytest.approx(score, abs=1e-4)


def test_run_export_and_server_are_measured_alike(
    sigmoid_run: Run, export: Path, address: str
) -> None:
    examples = halves()
    of_run = evaluate(sigmoid_run.path, examples)
    assert isinstance(of_run, MultiLabelEvaluation)
    assert 0.6 < of_run.mean_average_precision < 1
    server = f"{address}/halves"
    # A server tells names and scores, not the order of the model's outputs.
    for using, told, labels in (
        (export, {}, LABELS),
        (server, {}, tuple(sorted(LABELS))),
        (server, {"export": export}, LABELS),
    ):
        other = evaluate(using, examples, batch_size=9, **told)
        assert isinstance(other, MultiLabelEvaluation)
        assert other.labels == labels
        order = [LABELS.index(label) for label in labels]
        np.testing.assert_allclose(other.scores, of_run.scores[:, order], atol=1e-4)
        np.testing.assert_allclose(
            other.average_precision, of_run.average_precision[order], atol=1e-3
        )
        assert other.metrics == pytest.approx(of_run.metrics, abs=1e-3)


def test_one_class_each_is_measured_class_by_class_too() -> None:
    """A sigmoid's model on a folder of classes."""
    pixels = np.broadcast_to(colours(5)[:, None, None], (5, 20, 20, 3)).astype(np.uint8)
    examples = Examples(LABELS, Pixels.of(pixels), np.arange(5, dtype=np.int64))
    result = evaluate_model(colour_model(5, "sigmoid"), LABELS, HOW, examples)
    assert isinstance(result, MultiLabelEvaluation)
    assert result.targets.tolist() == np.eye(5, dtype=bool).tolist()
    assert result.exact_match == 1


def test_predict_shows_the_classes_that_reach_the_threshold(
    sigmoid_run: Run, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red, _, _, blue, _ = colours(5).astype(np.uint8)
    pixels = np.empty((24, 24, 3), np.uint8)
    pixels[:12], pixels[12:] = red, blue
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.full((24, 24, 3), 128, np.uint8)).save(tmp_path / "b.png")
    figure = tmp_path / "figure" / "drawn.png"
    figure.parent.mkdir()
    images = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for using in (str(sigmoid_run.path), f"{address}/halves"):
        arguments = ["predict", *images, "--with", using, "--threshold", "0.5"]
        assert main([*arguments, "--format", "json", "--figure", str(figure)]) == 0
        both, none = json.loads(capsys.readouterr().out)
        assert sorted(both["labels"]) == ["blue", "red"]
        assert none["labels"] == [] and none["error"] == ""
        assert main(arguments) == 0
        assert "none" in capsys.readouterr().out
    assert figure.exists()


def test_fitted_thresholds_go_with_the_run_and_its_export(
    sigmoid_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In what is measured, predicted, drawn, exported and reported."""
    run = Run(shutil.copytree(sigmoid_run.path, tmp_path / "run"))
    monkeypatch.setattr(Run, "validation", property(lambda run: halves()))
    thresholds = dict(zip(LABELS, (0.9, 0.8, 0.1, 0.2, 0.5), strict=True))
    run.update_record(thresholds=thresholds, temperature=2.5)
    same = dict.fromkeys(("probabilities", "mean_probabilities", "logits", "features", "top1"), 0.0)
    monkeypatch.setattr("inception_export.publish.compare", lambda *arguments: same)
    export = export_run(run.path, tmp_path / "models", "halves", log=lambda line: None)
    assert open_export(export).thresholds == thresholds
    assert "the logits are divided by 2.5, fitted" in (export / CARD).read_text("utf-8")
    examples = halves()
    of_run = evaluate(run.path)
    expected = of_run.scores >= np.array([*thresholds.values()])
    assert (expected != (of_run.scores >= 0.5)).any()
    for result in (of_run, evaluate(export, examples)):
        np.testing.assert_array_equal(result.predicted, expected)
        assert result.per_class["red"]["threshold"] == 0.9
    Image.fromarray(examples.images.pixels[0]).save(tmp_path / "0.png")
    figure = tmp_path / "drawn.png"
    for using in (run.path, export):
        arguments = ["predict", str(tmp_path / "0.png"), "--with", str(using), "--top", "5"]
        assert main([*arguments, "--format", "json", "--figure", str(figure)]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert sorted(row["labels"]) == sorted(np.array(LABELS)[expected[0]])
        assert row["thresholds"] == [thresholds[label] for label in row["labels"]]
        assert main([*arguments, "--format", "json", "--threshold", "0"]) == 0
        assert len(json.loads(capsys.readouterr().out)[0]["labels"]) == 5
    page = write_report(run).read_text("utf-8")
    assert "divided by a temperature of 2.5, fitted on the run&#39;s validation images" in page
    assert "from its threshold, fitted" in page and "Wilson" in page
    assert main(["evaluate", str(run.path), "--figure", str(figure.with_name("no.png"))]) == 1
    refused = capsys.readouterr()
    assert refused.out == "", "it is not measured"
    assert ": --figure must be left out where the model scores each class by itself" in refused.err
    assert main(["evaluate", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "classes from their thresholds" in said and "95 % intervals: every class right" in said


def test_evaluate_prints_and_writes_the_measures(
    sigmoid_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Run, "validation", property(lambda run: halves()))
    written = tmp_path / "e.json"
    assert main(["evaluate", str(sigmoid_run.path), "--json", str(written)]) == 0
    said = capsys.readouterr().out
    assert "Mean average precision 0." in said and "average precision" in said
    values = json.loads(written.read_text())
    assert values["images"] == 40 and set(values["classes"]) == set(LABELS)
    assert main(["evaluate", str(sigmoid_run.path), "--figure", str(tmp_path / "f.png")]) == 1
    assert "one class" in capsys.readouterr().err
