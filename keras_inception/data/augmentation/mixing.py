"""Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899): two images of a batch made into one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf

from keras_inception.data.augmentation.seeded import OPTIONS, Seeds, draw
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.types import Tensor

Batch = tuple[Tensor, ...]


def mixing(augmentation: Augmentation) -> Callable[[Tensor, Batch], Batch] | None:
    """A function that mixes each image of a batch with another of it; ``None`` if none should.

    Where both kinds of mixing are asked for, each batch gets one of them, at random.

    Returns:
        From a seed, int64 [2], and a batch of images, float32 [batch, height, width, 3], targets,
        float32 [batch, classes], and perhaps weights, float32 [batch], to such a batch. A target
        holds each class's share in the image; a class of weight 0 has none.
    """
    layers = []
    if augmentation.mixup_alpha:
        layers.append(keras.layers.MixUp(alpha=augmentation.mixup_alpha, **OPTIONS))
    if augmentation.cutmix_alpha:
        # Of a single number Keras would draw the alpha itself, between 0 and it.
        layers.append(keras.layers.CutMix(factor=(augmentation.cutmix_alpha,) * 2, **OPTIONS))
    if not layers:
        return None

    def mix(seed: Tensor, batch: Batch) -> Batch:
        choice_seed, mix_seed = draw(seed, 2)
        choice = tf.random.stateless_uniform([], choice_seed, 0, len(layers), tf.int32)
        return tf.switch_case(choice, [partial(_mix, layer, mix_seed, *batch) for layer in layers])

    return mix


def _mix(
    layer: keras.layers.Layer,
    seed: Tensor,
    images: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
) -> Batch:
    layer.backend.set_backend("tensorflow")
    drawn = layer.get_random_transformation(images, seed=Seeds(seed))
    mixed = tf.ensure_shape(layer.transform_images(images, drawn), images.shape)
    mixed_targets = layer.transform_labels(targets, drawn)
    if weights is None:
        return mixed, mixed_targets
    # The loss is linear in the target, so this is the loss of both, each by its share and weight.
    weight = weights[:, tf.newaxis]
    mixed_weights = layer.transform_labels(weight, drawn)
    shares = tf.math.divide_no_nan(layer.transform_labels(weight * targets, drawn), mixed_weights)
    return mixed, tf.where(mixed_weights > 0, shares, mixed_targets), mixed_weights[:, 0]
