"""Whether what was written answers as the Keras model does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_inception.data.preprocessing import Preprocessing, preprocess_encoded

TOLERANCE = 1e-4  # of probabilities


def sample_images() -> list[bytes]:
    """Four encoded images that differ in size, shape and format, the same every time."""
    random = np.random.default_rng(0)
    encoded = []
    for (height, width), encode in (
        ((96, 128), tf.io.encode_jpeg),
        ((240, 180), tf.io.encode_png),
        ((64, 64), tf.io.encode_png),
        ((333, 500), tf.io.encode_jpeg),
    ):
        coarse = random.uniform(0, 255, (1, 6, 8, 3))
        image = tf.image.resize(coarse, (height, width), "bicubic")[0]
        encoded.append(encode(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)).numpy())
    return encoded


def largest_difference(
    saved_model: Path,
    network: keras.Model,
    how: Preprocessing,
    labels: tuple[str, ...],
    images: Sequence[bytes],
) -> float:
    """The largest difference of a probability between the written model and the Keras model.

    Both signatures are run: ``serving_default`` on all of the images at once, ``predict_images``
    on each decoded image.
    """
    signatures = tf.saved_model.load(str(saved_model)).signatures
    expected = network.predict(preprocess_encoded(tf.constant(images), how), verbose=0)
    index = {label: column for column, label in enumerate(labels)}
    answer = signatures["serving_default"](image_bytes=tf.constant(images))
    columns = np.vectorize(lambda label: index[label.decode()])(answer["classes"].numpy())
    differences = [np.take_along_axis(expected, columns, axis=1) - answer["scores"].numpy()]
    for image, row in zip(images, expected, strict=True):
        decoded = tf.io.decode_image(image, channels=3, expand_animations=False)
        served = signatures["predict_images"](images=decoded[tf.newaxis])["probabilities"]
        differences.append(served.numpy()[0] - row)
    return max(float(np.abs(difference).max()) for difference in differences)
