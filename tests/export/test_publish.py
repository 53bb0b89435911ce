"""The folder that a server loads."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from inception_export import parity, publish
from inception_export.parity import sample_images
from inception_export.publish import ExportError, export_run, export_saved_model
from inception_export.versions import next_version
from keras_inception.data.preprocessing import Preprocessing, preprocess_encoded
from keras_inception.runs.run import Run, RunError
from tests.training.made_up import colour_model, make_run


def quiet(line: str) -> None:
    pass


def expected(run: Run, images: list[bytes]) -> np.ndarray:
    return run.load_model().predict(
        preprocess_encoded(tf.constant(images), run.preprocessing), verbose=0
    )


def test_the_signatures_are_named_as_documented(models: Path) -> None:
    signatures = tf.saved_model.load(str(models / "photos" / "1")).signatures
    assert set(signatures) == {
        "serving_default",
        "all_classes",
        "predict_images",
        "logits",
        "features",
        "classify",
    }
    default, images = signatures["serving_default"], signatures["predict_images"]
    assert default.structured_input_signature[1]["image_bytes"].dtype == tf.string
    assert default.structured_input_signature[1]["image_bytes"].shape.as_list() == [None]
    assert {name: spec.dtype for name, spec in default.structured_outputs.items()} == {
        "classes": tf.string,
        "scores": tf.float32,
    }
    every = signatures["all_classes"]
    assert every.structured_input_signature[1]["image_bytes"].dtype == tf.string
    assert {
        name: (spec.dtype, spec.shape.as_list()) for name, spec in every.structured_outputs.items()
    } == {"classes": (tf.string, [None, 2]), "scores": (tf.float32, [None, 2])}
    spec = images.structured_input_signature[1]["images"]
    assert (spec.dtype, spec.shape.as_list()) == (tf.uint8, [None, None, None, 3])
    assert images.structured_outputs["probabilities"].shape.as_list() == [None, 2]
    assert signatures["logits"].structured_outputs["logits"].shape.as_list() == [None, 2]
    features = signatures["features"].structured_outputs["features"]
    assert (features.dtype, features.shape.as_list()) == (tf.float32, [None, 128])
    assert signatures["classify"].structured_input_signature[1]["inputs"].dtype == tf.string


def test_classify_is_marked_for_the_classify_call_and_takes_examples(models: Path) -> None:
    folder = models / "photos" / "1"
    meta_graph = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    ).meta_graphs[0]
    signature = meta_graph.signature_def["classify"]
    assert signature.method_name == "tensorflow/serving/classify"
    assert (list(signature.inputs), sorted(signature.outputs)) == (
        ["inputs"],
        ["classes", "scores"],
    )
    images = sample_images()
    loaded = tf.saved_model.load(str(folder)).signatures
    answer = loaded["classify"](inputs=tf.constant(parity._examples(images)))
    expected = loaded["serving_default"](image_bytes=tf.constant(images))
    np.testing.assert_array_equal(answer["classes"], expected["classes"])
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-6)


def test_an_image_that_is_none_is_named_by_its_index(models: Path) -> None:
    images = [*sample_images(), b"<svg></svg>", b""]
    loaded = tf.saved_model.load(str(models / "photos" / "1"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[4\] is no JPEG, PNG"):
        loaded.signatures["serving_default"](image_bytes=tf.constant(images))


def test_mixed_sizes_and_formats_in_one_batch_answer_as_one_by_one(models: Path) -> None:
    images = sample_images()
    signature = tf.saved_model.load(str(models / "photos" / "1")).signatures["logits"]
    batch = signature(image_bytes=tf.constant(images))["logits"].numpy()
    for row, image in zip(batch, images, strict=True):
        alone = signature(image_bytes=tf.constant([image]))["logits"].numpy()[0]
        np.testing.assert_allclose(row, alone, rtol=1e-4, atol=1e-5)


def test_answers_are_the_keras_models_labels_and_scores_best_first(models: Path, run: Run) -> None:
    images = sample_images()
    loaded = tf.saved_model.load(str(models / "photos" / "1"))
    answer = loaded.signatures["serving_default"](image_bytes=tf.constant(images))
    scores = answer["scores"].numpy()
    assert (np.diff(scores, axis=1) <= 0).all()
    for row, labels, best in zip(
        expected(run, images), answer["classes"].numpy(), scores, strict=True
    ):
        by_label = dict(zip(run.labels, row, strict=True))
        for label, score in zip(labels, best, strict=True):
            assert score == pytest.approx(by_label[label.decode()], abs=1e-4)


def test_the_session_loader_gives_the_same_answers(models: Path, run: Run) -> None:
    """TF Serving's way: tensors by the names in the signature, in a TensorFlow 1 session."""
    images = sample_images()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(models / "photos" / "1"))
        signature = meta_graph.signature_def["serving_default"]
        assert signature.method_name == "tensorflow/serving/predict"
        scores, classes = session.run(
            [signature.outputs["scores"].name, signature.outputs["classes"].name],
            {signature.inputs["image_bytes"].name: images},
        )
    for row, labels, best in zip(expected(run, images), classes, scores, strict=True):
        order = np.argsort(-row, kind="stable")
        np.testing.assert_allclose(best, row[order], atol=1e-4)
        assert [label.decode() for label in labels] == [run.labels[index] for index in order]


def test_weights_are_stored_once(models: Path, run: Run) -> None:
    stored = sum(path.stat().st_size for path in (models / "photos" / "1").rglob("variables.data*"))
    weights = sum(weight.nbytes for weight in run.load_model().get_weights())
    assert stored < 1.1 * weights


def test_graph_holds_neither_batch_norm_nor_compiled_parts(models: Path) -> None:
    text = (models / "photos" / "1" / "saved_model.pb").read_bytes()
    assert b"_XlaMustCompile" not in text
    assert b"Rsqrt" not in text
    assert b"aux_" not in text


def test_what_goes_with_it(models: Path, run: Run) -> None:
    folder = models / "photos" / "1"
    assert (folder / "assets" / "labels.txt").read_text() == "dawn\ndusk\n"
    manifest = json.loads((folder / "assets.extra" / "keras_inception.json").read_text())
    assert manifest["format"] == 1
    assert manifest["recipe"]["model"] == "InceptionV1"
    assert manifest["metrics"]["accuracy"] == 1.0
    assert manifest["preprocessing"]["size"] == 32
    assert manifest["parity"]["probabilities"] <= 1e-4
    path = str(folder / "assets.extra" / "tf_serving_warmup_requests")
    sizes = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "photos"
        sizes.append(tf.make_ndarray(request.inputs["image_bytes"]).size)
    assert sizes == [1, 8]


def test_versions_count_up_and_are_never_overwritten(
    run: Run, models: Path, tmp_path: Path
) -> None:
    assert next_version(models / "photos") == 2
    with pytest.raises(ExportError, match=r"never overwritten.*next free one is 2"):
        export_run(run.path, models, "photos", version=1, log=quiet)
    (tmp_path / "m" / "9").mkdir(parents=True)
    (tmp_path / "m" / "notes").mkdir()
    assert next_version(tmp_path / "m") == 10


def test_a_model_that_answers_otherwise_when_written_is_not_published(tmp_path: Path) -> None:
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3)(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Softmax()(keras.layers.Dense(3)(x))
    model = keras.Model(image, x)
    options = {"labels": ("a", "b", "c"), "preprocessing": Preprocessing(size=32), "log": quiet}
    export_saved_model(model, tmp_path / "right", "m", **options)

    write = publish.write_saved_model

    def written_otherwise(folder, network, *rest):
        network.variables[-1].assign_add([0.5, 0.0, 0.0])  # the bias
        write(folder, network, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "write_saved_model", written_otherwise)
        with pytest.raises(ExportError, match=r"differ from the Keras model's by up to 0\.\d+"):
            export_saved_model(model, tmp_path / "base", "wrong", **options)
    assert not (tmp_path / "base").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_halves_the_weights_and_answers_in_float32(
    run: Run, models: Path, tmp_path: Path, precision: str
) -> None:
    folder = export_run(run.path, tmp_path, "photos", precision=precision, log=quiet)

    def variables(saved_model: Path) -> int:
        return sum(path.stat().st_size for path in saved_model.rglob("variables.data*"))

    def whole(saved_model: Path) -> int:
        return variables(saved_model) + (saved_model / "saved_model.pb").stat().st_size

    before = models / "photos" / "1"
    if precision == "bfloat16":  # constants of the graph, but for the dense layer's
        assert variables(folder) < 0.05 * variables(before)
        assert whole(folder) < whole(before) - 0.4 * variables(before)
    else:
        assert variables(folder) < 0.6 * variables(before)
    for signature in tf.saved_model.load(str(folder)).signatures.values():
        for spec in signature.structured_outputs.values():
            assert spec.dtype in (tf.float32, tf.string)
    manifest = json.loads((folder / "assets.extra" / "keras_inception.json").read_text())
    assert manifest["precision"] == precision
    assert 0 < manifest["parity"]["probabilities"] <= manifest["parity"]["tolerance"]


def test_a_failure_leaves_nothing_and_an_earlier_version_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", colour_model(2), ("a", "b"), [])
    export_run(run.path, tmp_path, "photos", log=quiet)

    # As Python says it, and as TensorFlow does while it saves variables.
    words = "variables/variables_temp/part-00000-of-00001.data; No space left on device"
    full_disk = OSError(28, "No space left on device")
    for error in (full_disk, tf.errors.ResourceExhaustedError(None, None, words)):

        def full(*arguments: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(publish, "write_warmup_requests", full)
        with pytest.raises(ExportError, match=r"2 can't be written: No space left on device\.$"):
            export_run(run.path, tmp_path, "photos", log=quiet)
        left = {path.name for path in (tmp_path / "photos").iterdir()}
        assert left == {"1", ".export.lock"}


def test_a_disk_without_room_is_seen_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ExportError, match=r"take 0 MB, and the disk of .*photos has 0 MB left"):
        export_run(run.path, tmp_path / "new", "photos", log=said.append)
    assert said == [] and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"name": ".hidden"}, "letters, digits"),
        ({"name": "m", "version": 0}, "at least 1. Received: version=0"),
        ({"name": "m", "precision": "int4"}, "'float16', 'int8'. Received"),
        ({"name": "m", "max_batch_size": 0}, "at least 1. Received: max_batch_size=0"),
        ({"name": "m", "labels": ("a", "a")}, "must be there once. Twice or more: a"),
        ({"name": "m", "preprocessing": Preprocessing(size=64)}, "preprocessing makes"),
        ({"name": "m", "top": 0}, "at least 1. Received: top=0"),
        ({"name": "m", "labels": ("a",)}, "each of the model's 2 classes. Received: 1 labels"),
    ],
)
def test_arguments_that_break_their_rule_are_refused_first(
    run: Run, tmp_path: Path, options: dict, message: str
) -> None:
    settings = {"labels": run.labels, "preprocessing": run.preprocessing} | options
    with pytest.raises(ExportError, match=message):
        export_saved_model(run.load_model(), tmp_path / "base", log=quiet, **settings)
    assert not (tmp_path / "base").exists()


def test_a_base_that_can_not_be_made_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="file is no folder to be written to"):
        export_run(run.path, tmp_path / "file", "photos", log=quiet)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run"):
        export_run(tmp_path, tmp_path / "base", "photos", log=quiet)
