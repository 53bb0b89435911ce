"""An export opened as an object, today's and one of 246bb20; and the options of exporting."""

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_export import Export, ExportError, ExportOptions, open_export, publish
from inception_export.export import FORMAT, MANIFEST, find_export, find_versions
from inception_export.publish import export_run, export_saved_model
from keras_inception.cli import main
from keras_inception.data.errors import DataError
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.inference.evaluate import evaluate
from keras_inception.runs.run import Run
from tests.training.made_up import HOW, colour_model, colours, make_run

OLD = Path(__file__).with_name("made_by_246bb20")
ROOT = Path(__file__).parents[2]


def quiet(line: str) -> None:
    pass


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(OLD / "colours", tmp_path / "colours")


def test_an_export_tells_what_a_run_told_it(models: Path, run: Run) -> None:
    for path in (models / "photos" / "1", models / "photos", str(models / "photos")):
        export = open_export(path)
        assert export.path == models / "photos" / "1"
    assert export.version == 1
    assert export.labels == run.labels
    assert export.activation == "softmax"
    assert export.preprocessing == run.preprocessing
    assert export.manifest["format"] == FORMAT
    assert export.size == sum(
        path.stat().st_size for path in export.path.rglob("*") if path.is_file()
    )
    assert export.signatures == {
        "serving_default": {"classes", "scores"},
        "all_classes": {"classes", "scores"},
        "predict_images": {"probabilities"},
        "logits": {"logits"},
        "features": {"features"},
        "classify": {"classes", "scores"},
    }


@pytest.mark.parametrize(("name", "activation"), [("colours", "softmax"), ("marks", "sigmoid")])
def test_an_export_of_246bb20_opens(name: str, activation: str) -> None:
    export = open_export(OLD / name)
    assert "format" not in export.manifest
    assert export.labels == ("red", "green", "blue")
    assert export.activation == activation
    assert export.preprocessing == Preprocessing(size=16, crop=1.0)
    assert set(export.signatures) == {
        *("serving_default", "predict_images", "logits", "features", "classify")
    }


def test_the_largest_version_that_holds_a_model_is_opened(old: Path) -> None:
    for version in ("2", "10"):
        shutil.copytree(old / "1", old / version)
    (old / "11").mkdir()
    (old / "12").touch()
    shutil.copytree(old / "1", old / ".tmp-13")
    assert open_export(old).version == 10
    assert [export.version for export in find_versions(old)] == [11, 10, 2, 1]


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    for path in (tmp_path, tmp_path / "nowhere", Path(__file__)):
        assert find_export(path) is None
        with pytest.raises(ExportError, match="is no export: it has neither a saved_model"):
            open_export(path)


def test_anothers_saved_model_tells_nothing_and_opens(tmp_path: Path) -> None:
    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
    )
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.serve)
    export = open_export(tmp_path / "saved")
    assert (export.version, export.manifest) == (None, {})
    assert (export.labels, export.activation, export.preprocessing) == (None, None, None)
    assert export.signatures == {"serving_default": {"y"}}


def rewrite(export: Path, **changes: object) -> None:
    path = export / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_later_format_is_refused_by_name(old: Path) -> None:
    rewrite(old / "1", format=FORMAT)
    assert open_export(old).activation == "softmax"
    rewrite(old / "1", format=FORMAT + 1)
    with pytest.raises(ExportError, match=r"its format is 2, and this version reads .* up to 1"):
        assert open_export(old).activation


def test_a_damaged_manifest_and_shifted_labels_are_refused(old: Path) -> None:
    labels = old / "1" / "assets" / "labels.txt"
    labels.write_text("background\nred\ngreen\nblue\n")
    with pytest.raises(DataError, match=r"each of the model's 3 classes.*Received: 4 names"):
        assert open_export(old).labels
    (old / "1" / MANIFEST).write_text("{")
    with pytest.raises(ExportError, match=r"keras_inception\.json is damaged: Expecting"):
        assert open_export(old).manifest


def test_an_export_is_read_without_tensorflow() -> None:
    script = (
        "import sys; from inception_export import ExportOptions, open_export;"
        f"export = open_export({str(OLD / 'colours')!r});"
        "assert export.labels == ('red', 'green', 'blue') and export.size;"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    path = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'export'), str(ROOT / 'serving')]}"
    subprocess.run([sys.executable, "-c", f"{path}\n{script}"], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 0}, "`version` is a whole number of at least 1. Received: version=0"),
        ({"top": -1}, "`top` is a whole number of at least 1. Received: top=-1"),
        ({"max_batch_size": 0}, "at least 1. Received: max_batch_size=0"),
        ({"precision": "int4"}, "'float16', 'int8'. Received: precision='int4'"),
    ],
)
def test_an_option_that_breaks_its_rule_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        ExportOptions(**options)
    with pytest.raises(ExportError, match=message):
        dataclasses.replace(ExportOptions(), **options)


def test_options_are_given_at_once_or_by_name_or_by_an_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = colour_model(3)
    same = dict.fromkeys(("probabilities", "mean_probabilities", "logits", "features", "top1"), 0.0)
    monkeypatch.setattr(publish, "compare", lambda *arguments: same)
    of_all = {"labels": ("a", "b", "c"), "preprocessing": HOW}
    lines: list[str] = []
    options = ExportOptions(version=7, top=2, max_batch_size=4)
    first = export_saved_model(
        model, tmp_path, "m", options=options, top=1, log=lines.append, **of_all
    )
    assert first == tmp_path / "m" / "7"
    manifest = open_export(first).manifest
    assert (manifest["top"], manifest["max_batch_size"]) == (1, 4)
    assert lines[-1] == f"Published {first}"
    with pytest.warns(DeprecationWarning, match="`say` is now called `log`"):
        second = export_saved_model(model, tmp_path, "m", say=lines.append, **of_all)
    assert lines[-1] == f"Published {second}" and open_export(tmp_path / "m").version == 8
    with pytest.raises(TypeError, match="unexpected keyword argument 'tops'"):
        export_saved_model(model, tmp_path, "m", tops=1, **of_all)


def test_a_second_export_of_a_model_is_refused_while_one_is_under_way(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "photos"
    home.mkdir()
    held, done = threading.Event(), threading.Event()

    def other() -> None:
        with filelock.FileLock(home / ".export.lock"):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert held.wait(60)
        with pytest.raises(ExportError, match=r"Another export is writing .*photos; try again"):
            export_run(run.path, tmp_path, "photos", log=quiet)
    finally:
        done.set()
        thread.join()
    assert not [path for path in home.iterdir() if path.is_dir()]


def test_all_classes_names_every_class_with_its_score(models: Path, run: Run) -> None:
    from inception_export.parity import sample_images

    images = tf.constant(sample_images())
    signatures = tf.saved_model.load(str(models / "photos" / "1")).signatures
    answer = signatures["all_classes"](image_bytes=images)
    logits = signatures["logits"](image_bytes=images)["logits"].numpy()
    scores = answer["scores"].numpy()
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    names = np.array([label.encode() for label in run.labels], object)
    np.testing.assert_array_equal(answer["classes"], names[np.argsort(-logits, axis=1)])


def test_export_is_a_value() -> None:
    assert Export(OLD / "colours" / "1") == open_export(OLD / "colours")


def test_a_mirrored_export_answers_as_two_crops_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command; compared with the Keras model before it is published, as any."""
    labels = ("red", "green", "blue")
    fading = np.linspace(1.5, 0, 40)[:, np.newaxis]  # from left to right
    for label, colour in zip(labels, colours(3), strict=True):
        (tmp_path / "photos" / label).mkdir(parents=True)
        pixels = np.broadcast_to((fading * colour).clip(0, 255), (30, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / "1.png")
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    for layer in (
        keras.layers.Conv2D(8, 3, strides=4, activation="relu"),
        keras.layers.Flatten(),  # it knows left from right
        keras.layers.Dense(3, name="logits"),
        keras.layers.Activation("softmax"),
    ):
        x = layer(x)
    run = make_run(tmp_path / "run", keras.Model(image, x), labels, [])
    models = tmp_path / "models"
    assert main(["export", str(run.path), str(models), "--name", "colours", "--mirror"]) == 0
    assert "Published" in capsys.readouterr().out
    export = open_export(models / "colours")
    assert export.manifest["mirror"] is True
    assert export.manifest["parity"]["probabilities"] < 1e-4
    assert export.manifest["parity"]["logits"] < 1e-3
    found = evaluate(export.path, tmp_path / "photos")
    two, one = (evaluate(run.path, tmp_path / "photos", crops=crops) for crops in (2, 1))
    np.testing.assert_allclose(found.scores, two.scores, atol=1e-4)
    assert np.abs(two.scores - one.scores).max() > 0.01
    assert found.record["protocol"]["crops"] == 2
