"""Every kind of predictor offers the same; a model without `all_classes` is asked about by name."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inception_export import ExportError
from inception_export.export import MANIFEST
from inception_serving.predictions.prediction import PredictionError
from inception_serving.server import ModelServer
from keras_inception import MultiLabelEvaluation, evaluate, predict
from keras_inception.cli import main
from keras_inception.data.examples import DataError, Examples
from keras_inception.data.images import Files, Pixels
from keras_inception.inference.predictors import open_predictor
from keras_inception.inference.signature_predictor import Facts, SignaturePredictor
from keras_inception.runs.run import Run
from tests.training.made_up import colour_model, make_run

OLD = Path(__file__).parents[1] / "export" / "made_by_246bb20"
NAMES = ("red", "green", "blue")


@pytest.fixture(scope="module")
def old_server() -> Iterator[str]:
    with ModelServer(OLD) as server:
        yield server.address


@pytest.fixture(scope="module")
def new_server(models: Path) -> Iterator[str]:
    with ModelServer(models) as server:
        yield server.address


@pytest.fixture(scope="module")
def shades() -> Examples:
    """Images of one colour each, in each of which a channel is the brightest."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 160, (30, 3))
    targets = random.integers(0, 3, 30)
    colours[np.arange(30), targets] += random.integers(-40, 96, 30)
    pixels = np.broadcast_to(colours[:, None, None].clip(0, 255), (30, 12, 9, 3))
    # Other names first: they are matched by name.
    order = np.array([1, 2, 0])
    return Examples(("blue", "red", "green"), Pixels.of(pixels.astype(np.uint8)), order[targets])


def expected(shades: Examples, activation: str) -> np.ndarray:
    """What the little networks compute, red, green, blue."""
    colours = shades.images.pixels[:, 0, 0].astype(np.float64)
    logits = (colours - 127.5) / 127.5 * 6 + [0.5, 0.0, -0.5]
    powers = np.exp(logits)
    if activation == "sigmoid":
        return powers / (1 + powers)
    return powers / powers.sum(axis=1, keepdims=True)


def encoded(shades: Examples) -> list[bytes]:
    return [shades.images.encoded(index) for index in range(len(shades))]


@pytest.mark.parametrize(("name", "activation"), [("colours", "softmax"), ("marks", "sigmoid")])
def test_an_export_of_246bb20_is_measured_by_its_manifest(
    name: str, activation: str, shades: Examples
) -> None:
    result = evaluate(OLD / name, shades)
    assert result.labels == NAMES
    assert isinstance(result, MultiLabelEvaluation) == (activation == "sigmoid")
    np.testing.assert_allclose(result.scores, expected(shades, activation), atol=1e-5)
    assert result.record["protocol"]["preprocessing"]["size"] == 16


@pytest.mark.parametrize(("name", "activation"), [("colours", "softmax"), ("marks", "sigmoid")])
def test_a_server_of_one_is_measured_as_it_is_told(
    name: str, activation: str, shades: Examples, old_server: str
) -> None:
    using = f"{old_server}/{name}"
    by_export = evaluate(using, shades, export=OLD / name)
    by_names = evaluate(using, shades, labels=NAMES, activation=activation)
    for result in (by_export, by_names):
        assert isinstance(result, MultiLabelEvaluation) == (activation == "sigmoid")
        assert result.labels == NAMES
        np.testing.assert_allclose(result.scores, expected(shades, activation), atol=1e-5)
    assert by_export.record["protocol"]["preprocessing"]["size"] == 16
    assert by_names.record["protocol"]["preprocessing"] is None


@pytest.mark.parametrize("given", [{}, {"labels": NAMES}, {"activation": "softmax"}])
def test_a_server_of_one_asks_by_name(given: dict, shades: Examples, old_server: str) -> None:
    with pytest.raises(PredictionError) as asked:
        evaluate(f"{old_server}/colours", shades, **given)
    for part in (
        "The model colours on",
        "`all_classes`",
        "Export it again",
        "--labels FILE --activation softmax|sigmoid",
        "--export DIR",
    ):
        assert part in str(asked.value)


def test_predict_needs_none_of_it(shades: Examples, old_server: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(shades.images.encoded(0))
    (local,), (served,) = (
        predict([path], using) for using in (OLD / "colours", f"{old_server}/colours")
    )
    scores = expected(shades, "softmax")[0]
    assert local.labels == served.labels == tuple(NAMES[i] for i in np.argsort(-scores)[:2])
    assert served.scores == pytest.approx(np.sort(scores)[:0:-1], abs=1e-5)


def test_what_is_given_and_makes_no_sense_is_refused(
    shades: Examples, old_server: str, tmp_path: Path
) -> None:
    using = f"{old_server}/colours"
    with pytest.raises(PredictionError, match=r"'softmax', 'sigmoid'. Received: activation='tanh'"):
        evaluate(using, shades, labels=NAMES, activation="tanh")
    with pytest.raises(ExportError, match="is no export"):
        evaluate(using, shades, export=tmp_path)
    four = Examples((*NAMES, "grey"), shades.images, shades.targets)
    with pytest.raises(PredictionError, match=r"3 classes. Received: 4 labels"):
        evaluate(using, four, labels=four.labels, activation="softmax")
    silent = shutil.copytree(OLD / "colours" / "1", tmp_path / "1")
    (silent / MANIFEST).unlink()
    with pytest.raises(PredictionError, match="does not tell its class names and activation"):
        evaluate(using, shades, export=silent)
    with pytest.raises(PredictionError, match="neither a run, nor a SavedModel, nor"):
        evaluate(tmp_path / "nowhere", shades)
    with pytest.raises(DataError, match="Name a folder to evaluate"):
        evaluate(using)


def test_without_logits_of_use_the_best_classes_must_do(shades: Examples, tmp_path: Path) -> None:
    """A network that ends in another function: its scores are those that it answers by name."""
    odd = shutil.copytree(OLD / "colours" / "1", tmp_path / "1")
    manifest = json.loads((odd / MANIFEST).read_text())
    (odd / MANIFEST).write_text(json.dumps(manifest | {"activation": "hard_sigmoid"}))
    result = evaluate(odd, shades)
    scores = expected(shades, "softmax")
    scores[np.arange(len(scores)), scores.argmin(axis=1)] = np.nan
    np.testing.assert_allclose(result.scores, scores, atol=1e-5)
    assert result.loss is None or np.isfinite(result.loss)
    assert result.not_known


def test_run_export_and_server_offer_the_same(
    run: Run, models: Path, new_server: str, photos: Path
) -> None:
    images = [path.read_bytes() for path in sorted((photos / "dawn").iterdir())[:5]]
    seen = {}
    for using in (run.path, models / "photos", f"{new_server}/photos"):
        with open_predictor(using) as predictor:
            assert predictor.labels == run.labels
            assert predictor.activation == "softmax"
            scores = predictor.scores(images)
            assert (scores.dtype, scores.shape) == (np.float32, (5, 2))
            for row, best in zip(scores, predictor.best(images), strict=True):
                assert best.labels == tuple(run.labels[i] for i in np.argsort(-row))
            seen[predictor.about["kind"]] = scores
            told = predictor.preprocessing
            assert told == (None if predictor.about["kind"] == "server" else run.preprocessing)
    for scores in seen.values():
        np.testing.assert_allclose(scores, seen["run"], atol=1e-4)
    assert set(seen) == {"run", "SavedModel", "server"}


def predictor_of(names: list[str], scores: list[list[float]]) -> SignaturePredictor:
    def call(signature: str, encoded: list[bytes]) -> dict[str, np.ndarray]:
        rows = np.resize(np.array(scores, np.float32), (len(encoded), len(names)))
        order = np.argsort(-rows, axis=1)
        classes = np.array([name.encode() for name in names], object)[order]
        return {"classes": classes, "scores": np.take_along_axis(rows, order, axis=1)}

    return SignaturePredictor(
        "m", {"all_classes": ("classes", "scores")}, call, lambda encoded: [],
        facts=Facts(), about={}, in_flight=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "scores", "labels", "activation"),
    [
        (["b", "a", "貓"], [[0.5, 0.2, 0.3]], ("a", "b", "貓"), "softmax"),
        (["10", "9", "0"], [[0.999, 0.0, 0.001]], ("0", "9", "10"), "softmax"),
        (["10", "9", "a"], [[0.9, 0.8, 0.3]], ("10", "9", "a"), "sigmoid"),
        # One of the images may add up to 1 by chance.
        (["a", "b"], [[0.5, 0.5], [0.4, 0.5]], ("a", "b"), "sigmoid"),
        (["a", "b"], [[0.0, 0.0]], ("a", "b"), "sigmoid"),
    ],
)
def test_a_server_tells_its_classes_and_what_kind_of_scores_they_have(
    names: list[str], scores: list[list[float]], labels: tuple, activation: str
) -> None:
    predictor = predictor_of(names, scores)
    assert predictor.labels == labels
    assert predictor.activation == activation
    order = [names.index(label) for label in labels]
    np.testing.assert_allclose(
        predictor.scores([b""] * len(scores)), np.array(scores, np.float32)[:, order]
    )


def test_the_command_takes_labels_and_activation_or_an_export(
    shades: Examples, old_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(9):
        label = shades.labels[shades.targets[index]]
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / label / f"{index}.png").write_bytes(shades.images.encoded(index))
    labels = tmp_path / "labels.txt"
    labels.write_bytes("\ufeff0:red\r\n1:green\r\n2:blue".encode())
    command = ["evaluate", f"{old_server}/colours", str(tmp_path / "photos")]
    printed = []
    for more in (
        ["--labels", str(labels), "--activation", "softmax"],
        ["--export", str(OLD / "colours")],
    ):
        assert main([*command, *more]) == 0
        printed.append(capsys.readouterr().out.split("Protocol")[0])
    assert printed[0] == printed[1]
    assert main(command) == 1
    assert "--labels FILE --activation softmax|sigmoid, or --export DIR" in capsys.readouterr().err
    labels.write_text("red\ngreen\n")
    assert main([*command, "--labels", str(labels), "--activation", "softmax"]) == 1
    assert "blue" in capsys.readouterr().err


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that opens and predicts in no time."""
    labels = ("dawn", "dusk")
    return make_run(tmp_path_factory.mktemp("runs") / "colours", colour_model(2), labels, [])


@pytest.mark.parametrize("crops", [2, 10, 144])
def test_several_crops_are_predicted_as_they_are_evaluated(
    coloured: Run, photos: Path, crops: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run = coloured
    files = ["00.jpg", "01.png", "02.jpg"]
    names = [str(photos / "dawn" / name) for name in files]
    examples = Examples(run.labels, Files.of(photos / "dawn", files), np.zeros(3, np.int64))
    expected = evaluate(run.path, examples, crops=crops).scores
    found = predict(names, run.path, crops=crops, batch_size=2)
    for row, each in zip(expected, found, strict=True):
        scores = dict(zip(each.labels, each.scores, strict=True))
        assert [scores[label] for label in run.labels] == pytest.approx(row.tolist(), abs=1e-5)
    one = predict(names, run.path)
    assert any(abs(a.scores[1] - b.scores[1]) > 1e-9 for a, b in zip(one, found, strict=True))
    arguments = ["predict", names[0], "--with", str(run.path), "--crops", str(crops)]
    assert main([*arguments, "--format", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["scores"] == pytest.approx(list(found[0].scores), abs=1e-6)


def test_several_crops_are_written_to_a_file(coloured: Run, photos: Path, tmp_path: Path) -> None:
    image, output = str(photos / "dawn" / "00.jpg"), tmp_path / "p.jsonl"
    arguments = ["predict", image, "--with", str(coloured.path), "--output", str(output)]
    assert main([*arguments, "--crops", "10"]) == 0
    (expected,) = predict([image], coloured.path, crops=10)
    assert json.loads(output.read_text())["scores"] == pytest.approx(expected.scores, abs=1e-6)
    (one,) = predict([image], coloured.path)
    assert expected.scores != pytest.approx(one.scores, abs=1e-6)


@pytest.mark.parametrize("more", [[], ["--output", "p.csv"]])
def test_an_export_takes_one_crop(
    more: list[str], models: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(photos / "dawn" / "00.jpg")
    arguments = ["predict", image, "--with", str(models / "photos"), "--crops", "2"]
    assert main([*arguments, *more]) == 1
    said = capsys.readouterr().err
    assert "Only a run takes several crops" in said and said.count("\n") == 1


def test_several_crops_name_what_can_not_be_decoded(
    coloured: Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    places = [tmp_path / "bad.jpg", photos / "dawn" / "00.jpg"]
    bad, good = predict(places, coloured.path, crops=2)
    assert bad.error and not bad.labels and good.labels
