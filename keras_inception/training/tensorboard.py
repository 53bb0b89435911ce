"""Files for TensorBoard: curves, training images and the confusion matrix.

Written by ``tf.summary``, whose ``scalar`` and ``image`` are TensorBoard's own: so the files are
what its reader wants, and the package tensorboard is required, as it is to look at them. Keras's
callback would have neither the images nor the confusion matrix.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_inception.report.fonts import drawable
from keras_inception.training.metrics import ConfusionAccuracy

MOST_CLASSES = 50  # that can still be read in a confusion matrix


class TensorBoard(keras.callbacks.Callback):
    """Write a run's logs.

    Args:
        logs: folder; ``train`` and ``validation`` are made in it.
        images: makes images of the network's input for people, uint8 [images, size, size, 3];
            called once, after the first epoch.
        labels: the class names.
        rate: tells the learning rate of the last step.
        confusion: the metric that counts the confusion matrix, if there is one.
    """

    def __init__(
        self,
        logs: Path,
        images: Callable[[], np.ndarray],
        labels: Sequence[str],
        rate: Callable[[], float],
        confusion: ConfusionAccuracy | None,
    ) -> None:
        super().__init__()
        self.logs = logs
        self.images = images
        self.labels = labels
        self.rate = rate
        self.confusion = confusion
        self._writers: dict[str, Any] = {}
        self._matrix: np.ndarray | None = None

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        if self.confusion is not None:
            self._matrix = np.asarray(self.confusion.counts)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            self._scalar(part, f"epoch_{name.removeprefix('val_')}", value, epoch)
        self._scalar("train", "epoch_learning_rate", self.rate(), epoch)
        if epoch == 0:
            self._pictures("train", "images", self.images(), epoch)
        if self._matrix is not None:
            picture = draw_confusion(self._matrix, self.labels)
            self._pictures("validation", "confusion", picture[np.newaxis], epoch)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _scalar(self, part: str, name: str, value: float, step: int) -> None:
        with self._writer(part).as_default():
            tf.summary.scalar(name, value, step)

    def _pictures(self, part: str, name: str, images: np.ndarray, step: int) -> None:
        with self._writer(part).as_default():
            tf.summary.image(name, images, step, max_outputs=len(images))

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            self._writers[part] = tf.summary.create_file_writer(str(self.logs / part))
        return self._writers[part]


def draw_confusion(matrix: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """A confusion matrix as a picture.

    Args:
        matrix: [classes, classes], counts; rows are true classes, columns predicted ones.

    Returns:
        uint8 [height, width, 3].
    """
    from matplotlib.figure import Figure

    side = 2.5 + 0.35 * len(labels)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    file = io.BytesIO()
    with drawable(labels):
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix.astype(int)):
            if count:
                color = "white" if share[row, column] > 0.5 else "black"
                axes.text(column, row, count, ha="center", va="center", color=color, fontsize=7)
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="predicted", ylabel="true")
        figure.colorbar(image, label="share of the class's images", shrink=0.6)
        figure.savefig(file, format="png", dpi=80)
    picture: np.ndarray = tf.io.decode_png(file.getvalue(), channels=3).numpy()
    return picture
