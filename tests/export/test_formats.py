"""Files of other engines: what they answer, what stands beside them, what is refused.

The engines are in nobody's way: where one is not installed, its tests are skipped.
"""

from __future__ import annotations

import errno
import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from inception_export import ExportError, ExportOptions, export_saved_model
from inception_export.formats import engines, portable
from inception_export.formats.engines import ENGINES, Answer, Engine
from keras_inception.cli import main
from keras_inception.data.preprocessing import Preprocessing, decode, resize
from keras_inception.runs.run import Run


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Batch norm to fold, and a bias that tells the classes apart."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(image)
    x = keras.layers.BatchNormalization(moving_variance_initializer="ones")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))


def export(model: keras.Model, base: Path, name: str, **changes: Any) -> Path:
    return export_saved_model(
        model, base, "m", labels=("a", "b", "c"), preprocessing=Preprocessing(32),
        format=name, log=lambda line: None, **changes,
    )  # fmt: skip


def stand_in(monkeypatch: pytest.MonkeyPatch, run: Any, packages: dict[str, str]) -> None:
    """An engine which answers by the exported network itself; its file is the network's name."""
    monkeypatch.setitem(ENGINES, "onnx", Engine("onnx", ".onnx", packages, run))

    def write(network: keras.Model, path: str, **_: Any) -> None:
        Path(path).write_text(network.name)
        EXPORTED[network.name] = network

    monkeypatch.setattr(keras.Model, "export", write)


EXPORTED: dict[str, keras.Model] = {}


def as_keras(path: Path, images: np.ndarray) -> Answer:
    rows = EXPORTED[path.read_text()](images, training=False)
    return Answer("images", "probabilities", np.asarray(rows))


@pytest.mark.parametrize("written", ["m.onnx", "m.onnx.json"])
def test_a_disk_that_is_full_is_told_in_a_line(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    stand_in(monkeypatch, as_keras, {})
    write = Path.write_text

    def full(path: Path, *arguments: Any) -> int:
        if path.name == written:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments)

    monkeypatch.setattr(Path, "write_text", full)
    words = r"m\.onnx can't be written: No space left on device\.$"
    with pytest.raises(ExportError, match=words):
        export(model, tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_compared_and_described(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, as_keras, {})
    written = export(model, tmp_path, "onnx")
    assert written == tmp_path / "m.onnx"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.json"]
    about = json.loads((tmp_path / "m.onnx.json").read_text())
    assert about["labels"] == ["a", "b", "c"]
    assert about["preprocessing"]["size"] == 32
    assert about["input"]["shape"] == [None, 32, 32, 3] and about["output"]["shape"] == [None, 3]
    assert 0 <= about["parity"]["probabilities"] < 1e-5
    for file in ("m.onnx", "m.onnx.json"):
        with pytest.raises(ExportError, match=rf"{file} exists already"):
            export(model, tmp_path, "onnx")
        (tmp_path / file).unlink()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda rows: rows + 2e-4, r"differ from the Keras model's by up to 0\.0002"),
        (lambda rows: rows * np.nan, "differ from the Keras model's by up to nan"),
        (lambda rows: rows[:, :2], r"answers \[4, 2\], and the Keras model \[4, 3\]"),
    ],
)
def test_what_answers_otherwise_is_not_published(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Any, words: str
) -> None:
    def run(path: Path, images: np.ndarray) -> Answer:
        right = as_keras(path, images)
        return Answer(right.input, right.output, wrong(right.rows))

    stand_in(monkeypatch, run, {})
    with pytest.raises(ExportError, match=words):
        export(model, tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


def test_what_the_exporter_refuses_is_told_by_name(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, as_keras, {})

    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no such\noperation")

    monkeypatch.setattr(keras.Model, "export", refuse)
    with pytest.raises(ExportError, match=r"to onnx refuses .*NotImplementedError: no such opera"):
        export(model, tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "litert", "openvino"])
def test_what_is_not_installed_is_told_before_any_work(
    model: keras.Model, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda module: None)
    packages = " ".join(ENGINES[name].packages.values())
    with pytest.raises(ExportError, match=f"--format {name} needs .*: pip install {packages}$"):
        export(model, tmp_path / "base", name)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"mirror": True}, {"version": 3}, {"top": 3}], ids=str
)
def test_options_of_a_saved_model_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match=f"`{next(iter(changes))}` is for a SavedModel alone"):
        ExportOptions(format="litert", **changes)
    with pytest.raises(ExportError, match=r"one of 'saved_model', 'onnx'.*format='onyx'"):
        ExportOptions(format="onyx")  # type: ignore[arg-type]


def test_configs_are_of_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "run", str(tmp_path), "--name", "m", "--format", "onnx"]
    assert main([*command, "--configs", str(tmp_path / "configs")]) == 1
    assert "leave out --format" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "litert", "openvino"])
def test_a_run_answers_from_a_file_as_it_does(
    run: Run, photos: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, for images resized by the JSON's words."""
    engine = ENGINES[name]
    for module in engine.packages:
        pytest.importorskip(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the engines
        command = ["export", str(run.path), str(tmp_path), "--name", "photos", "--format", name]
        assert main(command) == 0
        written = tmp_path / f"photos{engine.suffix}"
        assert f"Written {written}" in capsys.readouterr().out
        about = json.loads((tmp_path / f"{written.name}.json").read_text())
        assert about["labels"] == ["dawn", "dusk"]
        how = Preprocessing(
            **about["preprocessing"]
            | {key: tuple(about["preprocessing"][key]) for key in ("mean", "std")}
        )
        pictures = [(photos / name).read_bytes() for name in ("dawn/00.jpg", "dusk/02.jpg")]
        pixels = [resize(decode(tf.constant(each))[tf.newaxis], how) for each in pictures]
        answered = engine.run(written, np.concatenate(pixels))
    assert answered.rows.argmax(axis=1).tolist() == [0, 1]
    assert answered.rows.max(axis=1).min() > 0.9


def test_scaling_is_inside(model: keras.Model) -> None:
    """Per channel, and left out where there is none."""
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    how = Preprocessing(32, mean=(120.0, 110.0, 100.0), std=(60.0, 55.0, 50.0))
    network = portable.portable_network(model, how)
    scaled = (pixels - np.array(how.mean)) / np.array(how.std)
    np.testing.assert_allclose(network(pixels), model(scaled.astype(np.float32)), atol=1e-5)
    raw = portable.portable_network(model, Preprocessing(32, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in raw.layers)
    np.testing.assert_allclose(raw(pixels), model(pixels), atol=1e-4)
