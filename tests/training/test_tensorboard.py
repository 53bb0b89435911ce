"""TensorBoard's files, read by TensorBoard's own reader."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_inception.runs.run import Run
from keras_inception.training.metrics import ConfusionAccuracy
from keras_inception.training.tensorboard import TensorBoard, draw_confusion


def read(logs: Path) -> tuple[dict[str, list[float]], dict[str, list[Any]]]:
    """The scalars and pictures of a folder: of each tag what every step has."""
    reader = EventAccumulator(str(logs), size_guidance={"tensors": 0})
    reader.Reload()
    scalars: dict[str, list[float]] = {}
    pictures: dict[str, list[Any]] = {}
    for tag in reader.Tags()["tensors"]:
        events = reader.Tensors(tag)
        assert [event.step for event in events] == list(range(len(events)))
        kind = reader.SummaryMetadata(tag).plugin_data.plugin_name
        if kind == "scalars":
            scalars[tag] = [float(tf.make_ndarray(event.tensor_proto)) for event in events]
        else:
            assert kind == "images"
            pictures[tag] = [event.tensor_proto.string_val for event in events]
    return scalars, pictures


def test_a_run_has_curves_images_and_the_confusion_matrix(run: Run) -> None:
    scalars, pictures = read(run.path / "logs" / "train")
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"} == set(scalars)
    assert all(len(each) == 12 for each in scalars.values())
    assert scalars["epoch_learning_rate"][-1] == pytest.approx(0, abs=1e-3)
    assert scalars["epoch_learning_rate"][0] > 0.01
    ((width, height, *images),) = pictures.pop("images")
    assert not pictures
    assert (width, height, len(images)) == (b"32", b"32", 8)
    assert tf.io.decode_png(images[0]).shape == (32, 32, 3)
    scalars, pictures = read(run.path / "logs" / "validation")
    assert {"epoch_loss", "epoch_accuracy"} == set(scalars)
    assert all(len(each) == 12 for each in scalars.values())
    assert set(pictures) == {"confusion"} and len(pictures["confusion"]) == 12
    width, height, picture = pictures["confusion"][-1]
    assert tf.io.decode_png(picture).shape == (int(height), int(width), 3)


def test_an_epoch_can_be_read_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    board = TensorBoard(tmp_path, lambda: images, ("a", "b"), lambda: 0.1, None)
    board.on_epoch_end(0, {"loss": 1.5})
    scalars, pictures = read(tmp_path / "train")
    assert scalars == {"epoch_loss": [1.5], "epoch_learning_rate": [pytest.approx(0.1)]}
    for png, image in zip(pictures["images"][0][2:], images, strict=True):
        np.testing.assert_array_equal(tf.io.decode_png(png), image)
    board.close()


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
