"""RandAugment (arXiv:1909.13719): a few operations at random on each image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf

from keras_inception.data.augmentation.filters import sharpen
from keras_inception.data.augmentation.seeded import OPTIONS, draw, transform
from keras_inception.data.types import Tensor


def rand_augment(operations: int, strength: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that does some of the paper's fourteen operations to an image.

    Most operations are Keras's layers; brightness and sharpness, where Keras's are other
    operations (a value added, and pixels beyond the edge taken for black), are the paper's,
    PIL's. ``keras.layers.RandAugment`` itself does all of them for
    every one it needs (64 ms an image of 299 x 299 pixels; here it is 4), chooses the same for a
    whole batch, turns, shifts and brightens one way only, and takes no seed from outside.

    Args:
        operations: how many an image, drawn with replacement.
        strength: from 0 to 1, the paper's magnitude 0 to 10: how far each may go at most. How far
            it goes, and to which side, is drawn.

    Returns:
        From an image, float32 [size, size, 3] in [0, 255], and a seed, int32 [2], to the image
        changed.
    """
    geometry = OPTIONS | {"fill_mode": "reflect"}
    layers = (
        keras.layers.RandomShear(x_factor=0.3 * strength, **geometry),
        keras.layers.RandomShear(y_factor=0.3 * strength, **geometry),
        keras.layers.RandomTranslation(0.0, 0.45 * strength, **geometry),
        keras.layers.RandomTranslation(0.45 * strength, 0.0, **geometry),
        keras.layers.RandomRotation(30 / 360 * strength, **geometry),
        keras.layers.RandomColorDegeneration(0.9 * strength, **OPTIONS),
        keras.layers.RandomContrast((0.9 * strength, 0.9 * strength), **OPTIONS),
        keras.layers.RandomPosterization((8 - round(4 * strength), 8), **OPTIONS),
        keras.layers.AutoContrast(dtype="float32"),
        keras.layers.Equalization(dtype="float32"),
    )

    def by_layer(layer: keras.layers.Layer, image: Tensor, seed: Tensor) -> Tensor:
        return tf.ensure_shape(transform(layer, image[tf.newaxis], seed)[0], image.shape)

    def factor(seed: Tensor) -> Tensor:
        return tf.random.stateless_uniform([], seed, 1 - 0.9 * strength, 1 + 0.9 * strength)

    def brightness(image: Tensor, seed: Tensor) -> Tensor:
        return tf.clip_by_value(image * factor(seed), 0.0, 255.0)

    def sharpness(image: Tensor, seed: Tensor) -> Tensor:
        return sharpen(image, factor(seed))

    def solarize(image: Tensor, seed: Tensor) -> Tensor:
        # Keras's layer can't keep its threshold above a value.
        threshold = tf.random.stateless_uniform([], seed, 255 * (1 - strength), 255.0)
        return tf.where(image < threshold, image, 255 - image)

    choices: list[Callable[[Tensor, Tensor], Tensor]]
    choices = [partial(by_layer, layer) for layer in layers]
    choices += [brightness, sharpness, solarize, lambda image, seed: image]

    def augment(image: Tensor, seed: Tensor) -> Tensor:
        for each in draw(seed, operations):
            choice_seed, operation_seed = draw(each, 2)
            choice = tf.random.stateless_uniform([], choice_seed, 0, len(choices), tf.int32)
            image = tf.switch_case(
                choice, [partial(operation, image, operation_seed) for operation in choices]
            )
        return image

    return augment
