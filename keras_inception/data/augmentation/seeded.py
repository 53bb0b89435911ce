"""Keras's augmentation layers as functions of a seed of ours.

The layers keep a generator whose state moves with every call, so that what an image gets would
depend on the images before it. They take another generator in its place; this one has no state.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_inception.data.types import Tensor

# For every layer: float32 under any dtype policy, and no seed drawn from Python's own state.
OPTIONS = {"dtype": "float32", "seed": 0}


def draw(seed: Tensor, count: int) -> list[Tensor]:
    """Seeds that have nothing to do with each other, each int32 [2], from one: int32 or int64 [2].

    Drawing more leaves the first as they were.
    """
    return tf.unstack(tf.random.stateless_uniform([count, 2], seed, None, None, tf.int32))


class Seeds(keras.random.SeedGenerator):
    """What Keras's layers take seeds from: the first, second, ... seed drawn from ours."""

    def __init__(self, seed: Tensor) -> None:
        # Without Keras's own, which would make a variable for a state.
        self.seed = seed
        self.drawn = 0

    def next(self, ordered: bool = True) -> Tensor:
        """The next seed, int32 [2]."""
        self.drawn += 1
        return draw(tf.random.experimental.stateless_fold_in(self.seed, self.drawn), 1)[0]


def transform(layer: keras.layers.Layer, images: Tensor, seed: Tensor) -> Tensor:
    """What a layer makes of images, float32 [batch, height, width, 3], with draws from the seed."""
    # tf.data is TensorFlow's whatever backend Keras runs on.
    layer.backend.set_backend("tensorflow")
    return layer.transform_images(images, layer.get_random_transformation(images, seed=Seeds(seed)))
