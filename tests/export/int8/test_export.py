"""Exports in int8, from a trained network to its answers over gRPC."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from inception_export import samples
from inception_export.export import ExportError
from inception_export.int8 import support
from inception_export.int8.images import training_images, validation_samples
from inception_export.options import ExportOptions
from inception_export.parity import TOLERANCES, compare, sample_images
from inception_export.publish import export_run, export_saved_model
from inception_export.samples import compare_accuracy
from inception_serving import Client, ModelServer
from keras_inception.cli import main
from keras_inception.data.preprocessing import Preprocessing, preprocess_encoded
from keras_inception.runs.run import Run

try:
    support.check_runs(lambda line: None)
except ExportError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def base(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run exported in int8 as BASE/photos/1; BASE, with the lines said beside it."""
    base = tmp_path_factory.mktemp("int8")
    lines: list[str] = []
    export_run(run.path, base, "photos", precision="int8", log=lines.append)
    (base / "log.txt").write_text("\n".join(lines))
    return base


@pytest.fixture(scope="module")
def manifest(base: Path) -> dict:
    path = base / "photos" / "1" / "assets.extra" / "keras_inception.json"
    return json.loads(path.read_text("utf-8"))


def test_a_trained_network_keeps_its_accuracy_and_its_numbers(manifest: dict, run: Run) -> None:
    assert manifest["precision"] == "int8"
    measured = manifest["samples"]
    assert measured["images"] == len(run.validation)
    assert measured["accuracy"] == measured["keras_accuracy"] == measured["recorded"] == 1.0
    assert (measured["accuracy_loss"], measured["changed_class"]) == (0.0, 0)
    parity = manifest["parity"]
    assert parity["top1"] == 1.0
    # It is another arithmetic, and nearly the same numbers.
    assert 0 < parity["mean_probabilities"] < parity["probabilities"] < 0.1
    assert 1e-3 < parity["features"] < 1


def test_the_manifest_says_how_it_was_calibrated(manifest: dict, run: Run, base: Path) -> None:
    about = manifest["int8"]
    trained_on = run.record["data"]["training_images"]
    assert about["calibration_images"] + about["images_set_apart"] == trained_on
    assert about["loss"][about["method"]] == min(about["loss"].values())
    assert set(about["loss"]) == {"maximum", "percentile", "mean squared error"}
    assert about["multiply_adds"] > 0.99
    assert f"ranges by {about['method']}" in (base / "log.txt").read_text()
    card = (base / "photos" / "1" / "assets.extra" / "model_card.md").read_text("utf-8")
    assert manifest["samples"]["of_run"] == "validation images"
    assert f"on {len(run.validation)} of the run's validation images: accuracy 1.0000" in card
    assert "0 of them got another best class." in card
    assert f"in int8, ranges by {about['method']} on {about['calibration_images']} images." in card
    assert "- It runs on x86 processors with VNNI alone" in card


def test_images_of_a_run_are_not_kept_in_its_export(base: Path) -> None:
    """As in another precision: they were not given for it, and may be nobody's to see."""
    extra = base / "photos" / "1" / "assets.extra"
    kept = {path.read_bytes() for path in (extra / "samples").iterdir() if path.suffix != ".npz"}
    assert kept == set(samples.choose_recorded(sample_images()))
    warm_up = (extra / "tf_serving_warmup_requests").read_bytes()
    assert all(image in warm_up for image in sample_images())


def test_weights_take_a_byte_each(base: Path, models: Path) -> None:
    def size(version: Path) -> int:
        return sum(path.stat().st_size for path in version.rglob("variables.data*"))

    # What is left of the variables are the dense layer's.
    assert size(base / "photos" / "1") < 0.05 * size(models / "photos" / "1")


def test_our_server_answers_as_the_keras_model(base: Path, photos: Path, run: Run) -> None:
    paths = sorted(photos.glob("*/0*.jpg"))[:8]
    encoded = [path.read_bytes() for path in paths]
    inputs = preprocess_encoded(tf.constant(encoded), run.preprocessing)
    expected = run.load_model().predict(inputs, verbose=0)
    (base / "log.txt").unlink(missing_ok=True)
    with ModelServer(base) as server, Client(server.address, model="photos") as client:
        for path, row in zip(paths, expected, strict=True):
            best = client.predict(path)
            assert best.label == path.parent.name
            assert best.score == pytest.approx(row.max(), abs=0.05)


def test_calibration_images_are_training_images_and_the_same_every_time(run: Run) -> None:
    chosen = list(training_images(run))
    assert chosen == list(training_images(run))
    apart = validation_samples(run, print)
    assert not set(chosen) & set(apart["samples"])
    assert len(chosen) == run.record["data"]["training_images"]
    wanted = [run.labels[target] for target in run.validation.targets]
    assert apart["sample_classes"] == wanted


def test_training_images_that_are_gone_are_asked_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps(run.record | {"data": run.record["data"] | {"training": str(tmp_path / "no")}})
    )
    for name in ("labels.txt", "validation.csv"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    with pytest.raises(ExportError, match=r"no does not exist.* --calibration FOLDER"):
        training_images(Run(tmp_path))
    record = run.record
    record["data"]["training"] = None
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ExportError, match="arrays in memory"):
        training_images(Run(tmp_path))


def test_validation_images_that_are_gone_are_said(run: Run, tmp_path: Path) -> None:
    for name in ("run.json", "labels.txt"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    rows = (run.path / "validation.csv").read_text().splitlines()
    gone = rows[-1].replace("/dawn/", "/gone/").replace("/dusk/", "/gone/")
    (tmp_path / "validation.csv").write_text("\n".join([*rows[:-1], gone]) + "\n")
    lines: list[str] = []
    assert validation_samples(Run(tmp_path), lines.append) == {}
    assert "validation images can't be read" in lines[0] and "gone" in lines[0]


def toy() -> keras.Model:
    """A layer of every kind that a plan knows, and some that stay float32."""
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(16, 3, use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    y = layers.Conv2D(8, (1, 7), padding="same", activation="relu")(x)
    y = layers.AveragePooling2D(3, 1, "same")(y)
    z = layers.MaxPooling2D(3, 1, "same")(x)
    z = layers.ZeroPadding2D(1)(z)
    z = layers.Conv2D(8, 3, activation="relu")(z)
    x = layers.Concatenate()([x, y, z])
    for _ in range(2):
        correction = layers.Rescaling(0.3)(layers.Conv2D(32, 1)(x))
        x = layers.ReLU()(layers.Add()([x, correction]))
    x = layers.DepthwiseConv2D(3, 2)(x)
    x = layers.Activation("swish")(x)
    x = layers.Conv2D(16, 3, 2)(x)
    x = layers.LeakyReLU()(x)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.2)(x))
    return keras.Model(image, layers.Dense(4, activation="softmax")(x))


def noise(count: int) -> list[bytes]:
    random = np.random.default_rng(0)
    images = tf.image.resize(random.uniform(0, 255, (count, 5, 5, 3)), (24, 24), "bicubic")
    return [
        tf.io.encode_png(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)).numpy()
        for image in images
    ]


def test_what_int8_has_no_kernel_for_stays_float32(tmp_path: Path) -> None:
    lines: list[str] = []
    path = export_saved_model(
        toy(),
        tmp_path,
        "toy",
        labels=list("abcd"),
        preprocessing=Preprocessing(24, crop=1.0),
        precision="int8",
        calibration=noise(32),
        log=lines.append,
    )
    manifest = json.loads((path / "assets.extra" / "keras_inception.json").read_text())
    # Of 24 x 24 pixels, 22 x 22 are left by the first convolution and 10 x 10 by the depthwise one.
    in_int8 = 22**2 * (27 * 16 + 7 * 16 * 8 + 9 * 16 * 8 + 2 * 32 * 32) + 4**2 * 9 * 32 * 16
    in_float32 = 10**2 * 9 * 32 + 16 * 4
    assert manifest["int8"]["multiply_adds"] == pytest.approx(in_int8 / (in_int8 + in_float32))
    assert manifest["parity"]["features"] < 0.1  # of their standard deviation
    assert "samples" not in manifest
    assert any("its accuracy is not measured" in line and "--samples" in line for line in lines)
    assert "int8: calibrated on 24 images, the method chosen on 8 more (few: some" in lines[0]


def test_what_differs_too_much_is_refused_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCES, "int8", 1e-7)
    image = keras.Input((24, 24, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 2)(image))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(x))
    options = {"labels": ("a", "b"), "preprocessing": Preprocessing(24), "log": lambda line: None}
    with pytest.raises(ExportError, match=r"more than 1e-07 \(int8\).*published\. Calibrate it on"):
        export_saved_model(model, tmp_path, "m", precision="int8", calibration=noise(4), **options)
    assert not list(tmp_path.iterdir())


def test_a_network_that_int8_can_do_nothing_of_is_refused(tmp_path: Path) -> None:
    image = keras.Input((24, 24, 3))
    x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3)(image))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(x))
    options = {"labels": ("a", "b"), "preprocessing": Preprocessing(24)}
    with pytest.raises(ExportError, match="has none that TensorFlow has an operation in int8 for"):
        export_saved_model(
            model, tmp_path, "m", **options, precision="int8", calibration=noise(4), log=print
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int8"}, "--calibration FOLDER. Received: none"),
        ({"precision": "int8", "calibration": [b""]}, "at least two: .* Received: 1"),
        ({"precision": "int8", "calibration": noise(1) * 4}, "these 4 are one and the same"),
        ({"calibration": [b""] * 4}, "`calibration` is for int8 alone"),
        ({"max_accuracy_loss": 0.1}, "`max_accuracy_loss` is for int8 alone"),
        ({"max_accuracy_loss": 2.0}, "a share, from 0 to 1"),
    ],
)
def test_options_that_break_a_rule(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export_saved_model(
            toy(), tmp_path, "m", labels=list("abcd"), preprocessing=Preprocessing(24), **changes
        )
    assert not list(tmp_path.iterdir())


def test_a_loss_of_accuracy_is_refused_unless_it_is_allowed() -> None:
    truth = np.zeros(1000, np.int64)
    answered = np.repeat([0, 1], [994, 6])
    with pytest.raises(ExportError, match=r"99.40% of 1000 samples.* 100.00%: 0.60 points"):
        compare_accuracy(answered, truth, truth, 0.005)
    passed = compare_accuracy(answered, truth, truth, 0.01)
    assert (passed["accuracy_loss"], passed["changed_class"]) == (pytest.approx(0.006), 6)
    # One image of few is no half point, and says nothing.
    assert compare_accuracy(np.array([0, 1]), truth[:2], truth[:2], 0.005)["changed_class"] == 1


def test_what_was_written_is_held_against_the_keras_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, options = (
        np.zeros(100, np.int64),
        {"samples": [b""] * 100, "sample_classes": ["a"] * 100},
    )
    monkeypatch.setattr(samples, "best_classes", lambda *_: np.repeat([0, 1], [97, 3]))
    monkeypatch.setattr(samples, "expected_classes", lambda *_: truth)
    known, lines = (None, ("a", "b"), Preprocessing(24)), []

    def measured(**changes: object) -> dict:
        chosen = ExportOptions(**options | changes)
        return samples.measure_samples(tmp_path, known, None, chosen, lines.append)["samples"]

    assert "keras_accuracy" not in measured(precision="float32")
    with pytest.raises(ExportError, match=r"3.00 points lost, more than 0.5"):
        measured(precision="int8")
    allowed = measured(precision="int8", max_accuracy_loss=0.04)
    assert allowed["accuracy_loss"] == pytest.approx(0.03)
    assert lines[-1].endswith("1.0000; 3 have another best class")


@pytest.mark.parametrize("mirror", [False, True])
def test_the_keras_models_best_classes_are_of_the_mean_with_the_mirror_image(mirror: bool) -> None:
    model, images, how = toy(), noise(20), Preprocessing(24, crop=1.0)
    inputs = preprocess_encoded(tf.constant(images), how)
    scores = model.predict(inputs, verbose=0)
    if mirror:
        scores = scores + model.predict(inputs[:, :, ::-1], verbose=0)
    truth = np.arange(20) % 3 - 1  # of every third the class is unknown
    found = samples.expected_classes(model, images, truth, how, mirror)
    np.testing.assert_array_equal(found, np.where(truth < 0, -1, scores.argmax(axis=1)))


def test_a_network_that_answers_zeros_has_finite_differences() -> None:
    """Else the manifest's numbers are none that JSON has."""
    zeros, labels = np.zeros((3, 2), np.float32), np.array([[b"a", b"b"]] * 3)
    written = {
        f"{signature}_{output}": value
        for signature in ("serving_default", "all_classes", "classify")
        for output, value in (("classes", labels), ("scores", zeros + 0.5))
    }
    written |= {"predict_images_probabilities": zeros + 0.5}
    written |= {"logits_logits": zeros, "features_features": zeros}
    expected = {"probabilities": zeros + 0.5, "logits": zeros, "features": zeros}
    found = compare([written], expected, ("a", "b"))
    assert (found["logits"], found["features"], found["top1"]) == (0.0, 0.0, 1.0)


def test_the_command_refuses_before_it_loads_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["export", "imagenet:InceptionV3", str(tmp_path), "--name", "m"]
    assert main([*command, "--precision", "int8"]) != 0
    assert "--calibration FOLDER" in capsys.readouterr().err
    assert main([*command, "--calibration", str(tmp_path)]) != 0
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert main([*command, "--precision", "int8"]) != 0
    assert "TF_ENABLE_ONEDNN_OPTS=0 turns off" in capsys.readouterr().err
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "False")
    assert main([*command, "--precision", "int8"]) != 0
    assert "TF_ENABLE_ONEDNN_OPTS=False turns off" in capsys.readouterr().err
    monkeypatch.setattr(support.platform, "machine", lambda: "aarch64")
    assert main([*command, "--precision", "int8"]) != 0
    assert "int8 runs on x86 processors only" in capsys.readouterr().err


def test_calibration_images_that_are_broken_are_called_so(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    command = ["export", str(run.path), str(tmp_path / "models"), "--name", "m"]
    assert main([*command, "--precision", "int8", "--calibration", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "None of the calibration images can be decoded" in said and "1.png" in said


LOAD = """
import pathlib
import sys
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
images = tf.zeros([1, 40, 40, 3], tf.uint8)
try:
    print(loaded.signatures["predict_images"](images=images))
except tf.errors.OpError as error:
    print("refused:", error.message)
from inception_export.int8.support import check_runs
try:
    check_runs(print)
except ValueError as error:
    print("export:", error)
from inception_serving import ModelServer
from inception_serving.errors import ServerStartError
try:
    with ModelServer(pathlib.Path(sys.argv[1]).parents[1]):
        print("served")
except ServerStartError as error:
    print("server:", error)
from keras_inception.cli import main
print("command:", main(["predict", sys.argv[2], "--with", sys.argv[1]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "loaded", "served"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI", "probabilities", ""),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", "no VNNI", "no VNNI"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "no VNNI", "no VNNI"),
        (
            "TF_ENABLE_ONEDNN_OPTS",
            "0",
            "Missing 0-th output",
            "QuantizedConv2DWithBiasAndReluAndRequantize, which is switched off",
        ),
    ],
)
def test_a_processor_without_vnni_gives_an_error_and_no_wrong_answer(
    base: Path, photos: Path, name: str, value: str, loaded: str, served: str
) -> None:
    (base / "log.txt").unlink(missing_ok=True)
    image = next(photos.glob("*/0*.jpg"))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(base / "photos" / "1"), str(image)],
        env=os.environ | {name: value, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert loaded in done.stdout
    refused = bool(served)
    for start in ("refused:", "export:", "server:"):
        assert any(line.startswith(start) for line in lines) == refused
    assert ("served" in lines) != refused
    assert any(line.startswith("server:") and served in line for line in lines) == refused
    assert f"command: {int(refused)}" in lines
    assert "Traceback" not in done.stderr
