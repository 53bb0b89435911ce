"""Filters of an image: blur, and RandAugment's sharpness."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_inception.data.types import Tensor

_BLUR_RADIUS = 6  # pixels, three of the largest sigma
# PIL's SMOOTH, which its Sharpness goes to at 0.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def blur(image: Tensor, seed: Tensor) -> Tensor:
    """Blurred by a Gaussian whose sigma is drawn from 0.1 to 2 pixels, the edge mirrored.

    As SimCLR has it (arXiv:2002.05709, appendix A), but that the window is 13 pixels whatever the
    image's size.
    """
    sigma = tf.random.stateless_uniform([], seed, 0.1, 2.0)
    offsets = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    weights = tf.nn.softmax(-tf.square(offsets / sigma) / 2)
    edges = [[_BLUR_RADIUS] * 2, [_BLUR_RADIUS] * 2, [0, 0]]
    padded = tf.pad(image, edges, "SYMMETRIC")
    return _filter(_filter(padded, weights[:, tf.newaxis]), weights[tf.newaxis])


def sharpen(image: Tensor, factor: Tensor) -> Tensor:
    """PIL's ``ImageEnhance.Sharpness``: 0 smooths, 1 changes nothing, above 1 sharpens.

    Pixels at the edge, which have no neighbours on one side, stay as they are.
    """
    inner = image[1:-1, 1:-1]
    smooth = _filter(image, tf.constant(_SMOOTH))
    changed = tf.clip_by_value(smooth + factor * (inner - smooth), 0.0, 255.0)
    difference = tf.pad(changed - inner, [[1, 1], [1, 1], [0, 0]])
    return image + difference


def _filter(image: Tensor, kernel: Tensor) -> Tensor:
    """Each channel by itself; float32 [rows, columns] takes rows - 1 and columns - 1 away."""
    kernels = tf.tile(kernel[:, :, tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    return tf.nn.depthwise_conv2d(image[tf.newaxis], kernels, [1, 1, 1, 1], "VALID")[0]
