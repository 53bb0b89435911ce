"""Crops of an image for its evaluation: one, or many whose scores are averaged.

- 1: the run's own protocol, as it is served.
- 2: that and its mirror image (Simonyan and Zisserman, arXiv:1409.1556, section 3.2).
- 10: the four corners and the centre, and their mirror images (Krizhevsky et al., "ImageNet
  Classification with Deep Convolutional Neural Networks", 2012, section 4.1). The corners are those
  of the square of which the protocol keeps the fraction ``crop``.
- 144: arXiv:1409.4842, section 7. Four scales, whose shorter side is 256, 288, 320 and 352 for an
  input of 224 pixels and in the same proportion, 8/7 to 11/7, for others; at each the left, middle
  and right square (upper, middle and lower of an upright image); of each square the four corners,
  the centre and the whole square resized; and their mirror images.

Every crop is sampled straight from the image. The paper resized the squares of each scale to the
same picture but for the rounding, so here that is done once and counts four times.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import tensorflow as tf

from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing, decode, resize, sample, scale
from keras_inception.data.types import Tensor

CROPS = (1, 2, 10, 144)

_CORNERS_AND_CENTRE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))
_SQUARES = (0.0, 0.5, 1.0)
_SCALES = (256 / 224, 288 / 224, 320 / 224, 352 / 224)


def check_crops(crops: int, preprocessing: Preprocessing) -> None:
    """Refuse what can't be cut.

    Raises:
        ValueError: ``crops`` is none of ``CROPS``, or ten would be the same one.
    """
    if crops not in CROPS:
        raise ValueError(
            f"`crops` must be one of {', '.join(map(str, CROPS))}. Received: crops={crops}"
        )
    if crops == 10 and preprocessing.crop == 1:
        raise ValueError(
            "Ten crops are the corners and centre of the square of which the protocol keeps the"
            " fraction `crop`; this run's is 1, the whole square, so all five would be the same."
            " Use 1, 2 or 144."
        )


def crop_weights(crops: int) -> np.ndarray:
    """The weight of each image that :func:`cut` returns: float32 [views], their sum is 1."""
    if crops == 144:
        half = [1.0] * 60 + [4.0] * 3
        return np.array(half * 2, np.float32) / 144
    return np.full(crops, 1 / crops, np.float32)


def cut(image: Tensor, preprocessing: Preprocessing, crops: int) -> Tensor:
    """The crops of one image, uint8 [height, width, 3], at the network's size.

    Returns:
        float32 [views, size, size, 3] in [0, 255]; of several the second half mirrors the first.
    """
    if crops == 1:
        return resize(image[tf.newaxis], preprocessing)
    if crops == 2:
        return _and_mirrored(resize(image[tf.newaxis], preprocessing))
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    shorter = tf.reduce_min(sides)
    cuts: list[tuple[Tensor, Tensor]] = []  # the image's scale, and where the crop begins in it
    if crops == 10:
        square = preprocessing.size / preprocessing.crop
        factor = square / (
            shorter * [1.0, 1.0] if preprocessing.resize == "shorter_side" else sides
        )
        begin = (sides * factor - square) / 2
        cuts = [
            (factor, begin + np.array(place, np.float32) * (square - preprocessing.size))
            for place in _CORNERS_AND_CENTRE
        ]
    else:
        for larger, along in product(_SCALES, _SQUARES):
            square = larger * preprocessing.size
            factor = square / shorter * [1.0, 1.0]
            begin = along * (sides * factor - square)
            cuts += [
                (factor, begin + np.array(place, np.float32) * (square - preprocessing.size))
                for place in _CORNERS_AND_CENTRE
            ]
        factor = preprocessing.size / shorter * [1.0, 1.0]
        cuts += [(factor, along * (sides * factor - preprocessing.size)) for along in _SQUARES]
    views = tf.concat(
        [sample(image[tf.newaxis], factor, -begin, preprocessing) for factor, begin in cuts], axis=0
    )
    return _and_mirrored(views)


def _and_mirrored(views: Tensor) -> Tensor:
    return tf.concat([views, views[:, :, ::-1]], axis=0)


def crop_batches(
    examples: Examples, preprocessing: Preprocessing, crops: int, batch_size: int
) -> tf.data.Dataset:
    """Every example once, in order, but for those that can't be read and decoded.

    Args:
        batch_size: network inputs in a batch, at least; an image's crops stay together.

    Returns:
        Pairs of indices, int64 [batch], and network inputs,
        float32 [batch, views, size, size, 3].
    """
    pixels = _reader(examples, preprocessing)

    @tf.autograph.experimental.do_not_convert  # traced in a third of the time
    def example(index: Tensor) -> tuple[Tensor, Tensor]:
        return index, scale(cut(pixels(index), preprocessing, crops), preprocessing)

    # 126 crops of 299 x 299 pixels are 135 MB: no more images of that at a time than are needed.
    ahead = tf.data.AUTOTUNE if crops == 1 else 2
    return (
        tf.data.Dataset.range(len(examples))
        .map(example, num_parallel_calls=ahead)
        .ignore_errors()
        .batch(max(1, batch_size // len(crop_weights(crops))))
        .prefetch(tf.data.AUTOTUNE if crops == 1 else 1)
    )


def _reader(examples: Examples, preprocessing: Preprocessing) -> Callable[[Tensor], Tensor]:
    read = examples.images.reader()

    def pixels(index: Tensor) -> Tensor:
        image = read(index)
        return decode(image, preprocessing) if image.dtype == tf.string else image

    return pixels
