"""The variation of an image at the network's size: flipped, shifted, recoloured, partly erased.

It is a function of a seed alone, which the pipeline makes of the epoch and the example, so neither
the number of workers nor a resumed run changes what the network sees.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_inception.data.augmentation.colour import change_colour
from keras_inception.data.augmentation.rand_augment import rand_augment
from keras_inception.data.augmentation.seeded import OPTIONS, draw, transform
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.types import Tensor


def changes(augmentation: Augmentation) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that varies one image that is at the network's size already.

    Returns:
        From an image, float32 [size, size, 3] in [0, 255], and a seed, int32 [2], to the image
        flipped, shifted, in other colours, after RandAugment, partly erased: in this order.
    """
    augment = augmentation.rand_operations and rand_augment(
        augmentation.rand_operations, augmentation.rand_strength
    )
    erase = augmentation.erase and _erasing(augmentation.erase)

    def change(image: Tensor, seed: Tensor) -> Tensor:
        flip_seed, shift_seed, colour_seed, rand_seed, erase_seed = draw(seed, 5)
        if augmentation.flip:
            # Not by [:, ::-1], which takes twenty times as long.
            image = tf.cond(
                tf.random.stateless_uniform([], flip_seed) < 0.5,
                lambda: tf.reverse(image, [1]),
                lambda: image,
            )
        if augmentation.shift_pixels:
            image = _shift(image, shift_seed, augmentation.shift_pixels)
        image = change_colour(image, colour_seed, augmentation)
        if augment:
            image = augment(image, rand_seed)
        return erase(image, erase_seed) if erase else image

    return change


def _erasing(share: float) -> Callable[[Tensor, Tensor], Tensor]:
    # Of a single number Keras would draw the probability itself, between 0 and it.
    layer = keras.layers.RandomErasing(factor=(1.0, 1.0), scale=(0.02, 0.33), **OPTIONS)

    def erase(image: Tensor, seed: Tensor) -> Tensor:
        chance_seed, erase_seed = draw(seed, 2)
        return tf.cond(
            tf.random.stateless_uniform([], chance_seed) < share,
            lambda: tf.ensure_shape(
                transform(layer, image[tf.newaxis], erase_seed)[0], image.shape
            ),
            lambda: image,
        )

    return erase


def _shift(image: Tensor, seed: Tensor, pixels: int) -> Tensor:
    height, width, _ = image.shape
    if pixels >= height:
        raise ValueError(
            f"`shift_pixels` must be below the network's input size, {height} pixels."
            f" Received: shift_pixels={pixels}"
        )
    padded = tf.pad(image, [[pixels, pixels], [pixels, pixels], [0, 0]], "REFLECT")
    top, left = tf.unstack(tf.random.stateless_uniform([2], seed, 0, 2 * pixels + 1, tf.int32))
    return tf.slice(padded, [top, left, 0], [height, width, 3])
