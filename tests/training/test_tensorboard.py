"""What TensorBoard is given to show."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from keras_inception.runs.run import Run
from keras_inception.training.metrics import ConfusionAccuracy
from keras_inception.training.tensorboard import TensorBoard, draw_confusion


def values(logs: Path) -> Iterator[tuple[int, Any]]:
    for file in logs.glob("events*"):
        for record in tf.data.TFRecordDataset(str(file)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                yield event.step, value


def test_a_run_has_curves_images_and_the_confusion_matrix(run: Run) -> None:
    scalars: dict[str, list[float]] = {}
    pictures: dict[str, list[Any]] = {}
    for part in ("train", "validation"):
        for _, value in values(run.path / "logs" / part):
            name = f"{part}/{value.tag}"
            kind = value.metadata.plugin_data.plugin_name
            if kind == "scalars":
                scalars.setdefault(name, []).append(float(tf.make_ndarray(value.tensor)))
            else:
                assert kind == "images"
                pictures.setdefault(name, []).append(value.tensor.string_val)
    assert {"train/epoch_loss", "validation/epoch_loss", "validation/epoch_accuracy"} <= set(
        scalars
    )
    assert all(len(each) == 12 for each in scalars.values())
    assert scalars["train/epoch_learning_rate"][-1] == pytest.approx(0, abs=1e-3)
    assert scalars["train/epoch_learning_rate"][0] > 0.01
    assert {name: len(each) for name, each in pictures.items()} == {
        "train/images": 1,
        "validation/confusion": 12,
    }
    width, height, *images = pictures["train/images"][0]
    assert (width, height, len(images)) == (b"32", b"32", 8)
    assert tf.io.decode_png(images[0]).shape == (32, 32, 3)
    width, height, picture = pictures["validation/confusion"][-1]
    assert tf.io.decode_png(picture).shape == (int(height), int(width), 3)


def test_the_tensorboard_package_is_not_needed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    images = np.zeros((2, 4, 4, 3), np.uint8)
    board = TensorBoard(tmp_path, lambda: images, ("a", "b"), lambda: 0.1, None)
    board.on_epoch_end(0, {"loss": 1.0})
    board.close()
    assert {value.tag for _, value in values(tmp_path / "train")} == {
        "epoch_loss",
        "epoch_learning_rate",
        "images",
    }


def test_a_confusion_matrix_counts_and_is_an_accuracy() -> None:
    metric = ConfusionAccuracy(3)
    assert float(metric.result()) == 0
    for true, predicted in (([0, 1, 2], [0, 2, 2]), ([1], [1])):
        metric.update_state(np.eye(3)[true], np.eye(3)[predicted])
    np.testing.assert_array_equal(metric.counts, [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    assert float(metric.result()) == 0.75
    stock = keras.metrics.CategoricalAccuracy()
    stock.update_state(np.eye(3)[[0, 1, 2, 1]], np.eye(3)[[0, 2, 2, 1]])
    assert float(stock.result()) == 0.75
    metric.reset_state()
    assert float(metric.result()) == 0


def test_a_picture_grows_with_the_classes() -> None:
    few = draw_confusion(np.eye(2), ("a", "b"))
    many = draw_confusion(np.zeros((50, 50)), [f"class {number}" for number in range(50)])
    assert few.dtype == many.dtype == np.uint8
    assert many.shape[0] > few.shape[0] > 100
