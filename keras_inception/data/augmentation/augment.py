"""How training varies its images: a function of the seed, the epoch and the example alone.

So neither the number of workers nor a resumed run changes what the network sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from keras_inception.data.augmentation.colour import change_colour
from keras_inception.data.augmentation.rand_augment import rand_augment
from keras_inception.data.augmentation.seeded import OPTIONS, draw, transform
from keras_inception.data.preprocessing import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How an image is varied. By default it is not.

    The 2016 augmentation, with which TF-Slim trained its Inception networks, is
    ``Augmentation(crop_area=0.05, any_resize=True, flip=True, brightness=32 / 255, saturation=0.5,
    contrast=0.5, hue=0.2)``.

    Args:
        crop_area: the smallest part of the image's area that a random crop keeps, above 0 and at
            most 1; 1 leaves the evaluation's centre crop in place. 0.08 in arXiv:1409.4842.
        crop_aspect: the widest aspect ratio (width / height) of a crop, at least 1; the narrowest
            is its inverse. 4/3 in arXiv:1409.4842.
        any_resize: resize random crops by one of four methods at random, not always alike.
        flip: mirror left and right in half of the cases.
        shift_pixels: move the image by up to so many pixels of the network's input, in both
            directions each way; what comes in at the edge is its mirror image.
        brightness: add up to this part of the range of pixels, either way.
        saturation: times 1 - this to 1 + this, 0 to 1.
        contrast: likewise, about the image's mean.
        hue: turn by up to this part of the colour circle, either way, 0 to 0.5.
        rand_operations: operations of RandAugment (arXiv:1909.13719) on each image.
        rand_strength: of them, 0 to 1.
        erase: the share of images in which a rectangle of 2 to 33 % of the area becomes noise
            (arXiv:1708.04896).
        mixup_alpha: of mixup (arXiv:1710.09412), 0 to 1; 0 mixes nothing. The shares of the two
            images are drawn from the beta distribution with this parameter twice: at 0.2 mostly
            near 0 and 1, at 1 anywhere alike.
        cutmix_alpha: of CutMix (arXiv:1905.04899), likewise.
    """

    crop_area: float = 1.0
    crop_aspect: float = 4 / 3
    any_resize: bool = False
    flip: bool = False
    shift_pixels: int = 0
    brightness: float = 0.0
    saturation: float = 0.0
    contrast: float = 0.0
    hue: float = 0.0
    rand_operations: int = 0
    rand_strength: float = 0.5
    erase: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0


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
