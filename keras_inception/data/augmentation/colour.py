"""Brightness, saturation, hue and contrast at random, as networks of this family were trained.

After TF-Slim's preprocessing of Inception, which follows Andrew Howard (arXiv:1312.5402).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from keras_inception.data.augmentation.seeded import draw
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.types import Tensor

# The changes do not commute; each image gets one of these orders. The factor of brightness stands
# where brightness does.
_ORDERS = (
    ("brightness", "saturation", "hue", "contrast"),
    ("saturation", "brightness", "contrast", "hue"),
    ("contrast", "hue", "brightness", "saturation"),
    ("hue", "saturation", "contrast", "brightness"),
)

# Of the colours of ImageNet's images, red, green, blue: a component a column, and its deviation.
_COMPONENTS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
)
_DEVIATIONS = np.array([55.46, 4.794, 1.148], np.float32)


def change_colour(image: Tensor, seed: Tensor, augmentation: Augmentation) -> Tensor:
    """One image in other colours.

    Args:
        image: float32 [height, width, 3], in [0, 255].
        seed: int32 [2].

    Returns:
        Likewise. Between the changes nothing is cut off at black or white, only at the end.
    """
    order_seed, brightness, saturation, contrast, hue, brightness_factor = draw(seed, 6)

    def factor(about: float, each_way: float, seed: Tensor) -> Tensor:
        return tf.random.stateless_uniform([], seed, about - each_way, about + each_way)

    changes: dict[str, Callable[[Tensor], Tensor]] = {}
    if augmentation.brightness:
        changes["brightness"] = lambda x: x + factor(0.0, augmentation.brightness, brightness)
    if augmentation.brightness_factor:
        changes["brightness_factor"] = lambda x: (
            x * factor(1.0, augmentation.brightness_factor, brightness_factor)
        )
    if augmentation.saturation:
        changes["saturation"] = lambda x: tf.image.adjust_saturation(
            x, factor(1.0, augmentation.saturation, saturation)
        )
    if augmentation.hue:
        changes["hue"] = lambda x: tf.image.adjust_hue(x, factor(0.0, augmentation.hue, hue))
    if augmentation.contrast:
        changes["contrast"] = lambda x: tf.image.adjust_contrast(
            x, factor(1.0, augmentation.contrast, contrast)
        )
    if not changes:
        return image

    def changed(order: tuple[str, ...]) -> Tensor:
        varied = image / 255.0
        for name in order:
            if name == "brightness" and "brightness_factor" in changes:
                varied = changes["brightness_factor"](varied)
            if name in changes:
                varied = changes[name](varied)
        return tf.clip_by_value(varied, 0.0, 1.0) * 255.0

    if len(changes) == 1:
        return changed(_ORDERS[0])
    order = tf.random.stateless_uniform([], order_seed, 0, len(_ORDERS), tf.int32)
    return tf.switch_case(order, [partial(changed, each) for each in _ORDERS])


def add_pca_noise(image: Tensor, seed: Tensor, deviation: float) -> Tensor:
    """One image, float32 [height, width, 3] in [0, 255], lighter or darker as photographs are.

    AlexNet's noise along the principal components of ImageNet's colours, by the components and
    their deviations that MXNet has (src/operator/image/image_random-inl.h), a share of them drawn
    from a normal distribution of this deviation.
    """
    shares = tf.random.stateless_normal([3], seed, stddev=deviation)
    moved = tf.linalg.matvec(tf.constant(_COMPONENTS * _DEVIATIONS), shares)
    return tf.clip_by_value(image + moved, 0.0, 255.0)


def lose_colour(image: Tensor) -> Tensor:
    """Grey of the same brightness (0.2989, 0.587, 0.114), still in three channels."""
    return tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
