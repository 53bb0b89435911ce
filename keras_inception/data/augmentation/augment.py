"""The variation of an image at the network's size: flipped, shifted, recoloured, partly erased.

It is a function of a seed alone, which the pipeline makes of the epoch and the example, so neither
the number of workers nor a resumed run changes what the network sees.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_inception.data.augmentation.colour import add_pca_noise, change_colour, lose_colour
from keras_inception.data.augmentation.filters import blur
from keras_inception.data.augmentation.rand_augment import rand_augment
from keras_inception.data.augmentation.seeded import OPTIONS, draw, transform
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.types import Tensor


def changes(augmentation: Augmentation) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that varies one image that is at the network's size already.

    Returns:
        From an image, float32 [size, size, 3] in [0, 255], and a seed, int32 [2], to the image
        mirrored, turned, shifted, in other colours, blurred, after RandAugment, partly erased: in
        this order.
    """
    augment = augmentation.rand_operations and rand_augment(
        augmentation.rand_operations, augmentation.rand_strength
    )
    turn = augmentation.rotate_degrees and keras.layers.RandomRotation(
        augmentation.rotate_degrees / 360, fill_mode="reflect", **OPTIONS
    )

    def change(image: Tensor, seed: Tensor) -> Tensor:
        flip, shift, colour, rand, erasing, vertical, rotation, noise, grey, blurring = draw(
            seed, 10
        )
        # Not by [:, ::-1], which takes twenty times as long.
        if augmentation.flip:
            image = _in_a_share(0.5, flip, image, lambda image, _: tf.reverse(image, [1]))
        if augmentation.flip_vertical:
            image = _in_a_share(0.5, vertical, image, lambda image, _: tf.reverse(image, [0]))
        if turn:
            image = tf.ensure_shape(transform(turn, image[tf.newaxis], rotation)[0], image.shape)
        if augmentation.shift_pixels:
            image = _shift(image, shift, augmentation.shift_pixels)
        image = change_colour(image, colour, augmentation)
        if augmentation.pca_noise:
            image = add_pca_noise(image, noise, augmentation.pca_noise)
        if augmentation.grey:
            image = _in_a_share(augmentation.grey, grey, image, lambda image, _: lose_colour(image))
        if augmentation.blur:
            image = _in_a_share(augmentation.blur, blurring, image, blur)
        if augment:
            image = augment(image, rand)
        return _in_a_share(augmentation.erase, erasing, image, _erase)

    return change


def _in_a_share(
    share: float, seed: Tensor, image: Tensor, change: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The image changed in this share of the cases; the change gets a seed of its own."""
    if not share:
        return image
    chance, own = draw(seed, 2)
    return tf.cond(
        tf.random.stateless_uniform([], chance) < share,
        lambda: tf.ensure_shape(change(image, own), image.shape),
        lambda: image,
    )


def _erase(image: Tensor, seed: Tensor) -> Tensor:
    """A rectangle of 2 to 33 % of the area becomes noise (arXiv:1708.04896).

    As the paper has it, its sides are in a ratio of 0.3 to 1 / 0.3, and its values are drawn evenly
    from all; the ratio's logarithm, not the ratio, is drawn evenly, as torchvision does.
    """
    height, width, channels = image.shape
    size_seed, place_seed, noise_seed = draw(seed, 3)
    area, aspect = tf.unstack(
        tf.random.stateless_uniform([2], size_seed, [0.02, np.log(0.3)], [0.33, -np.log(0.3)])
    )
    sides = tf.sqrt(area * tf.stack([tf.exp(aspect), tf.exp(-aspect)]) * height * width)
    sides = tf.clip_by_value(tf.cast(tf.round(sides), tf.int32), 1, [height, width])
    free = tf.cast([height, width] - sides + 1, tf.float32)
    begins = tf.cast(tf.random.stateless_uniform([2], place_seed) * free, tf.int32)
    rows, columns = (
        tf.logical_and(
            tf.range(count) >= begins[side], tf.range(count) < begins[side] + sides[side]
        )
        for side, count in enumerate((height, width))
    )
    inside = tf.logical_and(rows[:, tf.newaxis], columns[tf.newaxis])[..., tf.newaxis]
    noise = tf.random.stateless_uniform([height, width, channels], noise_seed, 0.0, 255.0)
    return tf.where(inside, noise, image)


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
