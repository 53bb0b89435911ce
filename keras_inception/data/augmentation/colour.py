"""Brightness, saturation, hue and contrast at random, as networks of this family were trained.

After TF-Slim's preprocessing of Inception, which follows Andrew Howard (arXiv:1312.5402).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from keras_inception.data.augmentation.seeded import draw
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.types import Tensor

# The changes do not commute; each image gets one of these orders.
_ORDERS = (
    ("brightness", "saturation", "hue", "contrast"),
    ("saturation", "brightness", "contrast", "hue"),
    ("contrast", "hue", "brightness", "saturation"),
    ("hue", "saturation", "contrast", "brightness"),
)


def change_colour(image: Tensor, seed: Tensor, augmentation: Augmentation) -> Tensor:
    """One image in other colours.

    Args:
        image: float32 [height, width, 3], in [0, 255].
        seed: int32 [2].

    Returns:
        Likewise. Between the changes nothing is cut off at black or white, only at the end.
    """
    order_seed, brightness, saturation, contrast, hue = draw(seed, 5)

    def factor(about: float, each_way: float, seed: Tensor) -> Tensor:
        return tf.random.stateless_uniform([], seed, about - each_way, about + each_way)

    changes: dict[str, Callable[[Tensor], Tensor]] = {}
    if augmentation.brightness:
        changes["brightness"] = lambda x: x + factor(0.0, augmentation.brightness, brightness)
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
            if name in changes:
                varied = changes[name](varied)
        return tf.clip_by_value(varied, 0.0, 1.0) * 255.0

    if len(changes) == 1:
        return changed(_ORDERS[0])
    order = tf.random.stateless_uniform([], order_seed, 0, len(_ORDERS), tf.int32)
    return tf.switch_case(order, [partial(changed, each) for each in _ORDERS])
