"""Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899): two images of a batch made into one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from keras_inception.data.augmentation.seeded import draw
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
    kinds: list[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = []
    if augmentation.mixup_alpha:
        kinds.append(partial(_blend, augmentation.mixup_alpha))
    if augmentation.cutmix_alpha:
        kinds.append(partial(_cut, augmentation.cutmix_alpha))
    if not kinds:
        return None

    def mix(seed: Tensor, batch: Batch) -> Batch:
        choice_seed, mix_seed = draw(seed, 2)
        choice = tf.random.stateless_uniform([], choice_seed, 0, len(kinds), tf.int32)
        return tf.switch_case(choice, [partial(_mix, kind, mix_seed, *batch) for kind in kinds])

    return mix


def _mix(
    kind: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    seed: Tensor,
    images: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
) -> Batch:
    partner_seed, kind_seed = draw(seed, 2)
    batch = tf.shape(images)[0]
    partners = tf.argsort(tf.random.stateless_uniform([batch], partner_seed))
    keep, share = kind(images, kind_seed)
    mixed = keep * images + (1 - keep) * tf.gather(images, partners)
    mixed = tf.ensure_shape(mixed, images.shape)
    share = share[:, tf.newaxis]

    def of_both(values: Tensor) -> Tensor:
        return share * values + (1 - share) * tf.gather(values, partners)

    if weights is None:
        return mixed, of_both(targets)
    # The loss is linear in the target, so this is the loss of both, each by its share and weight.
    weight = weights[:, tf.newaxis]
    mixed_weights = of_both(weight)
    shares = tf.math.divide_no_nan(of_both(weight * targets), mixed_weights)
    return mixed, tf.where(mixed_weights > 0, shares, of_both(targets)), mixed_weights[:, 0]


def _blend(alpha: float, images: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Mixup: how much is kept of every pixel, float32 [batch, 1, 1, 1], and of the target."""
    share = _beta(alpha, tf.shape(images)[0], seed)
    return share[:, tf.newaxis, tf.newaxis, tf.newaxis], share


def _cut(alpha: float, images: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """CutMix: which pixels are kept, float32 [batch, height, width, 1], and their share.

    The rectangle has whole pixels, and the target the share that it then has.
    """
    share_seed, place_seed = draw(seed, 2)
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    size = tf.cast([height, width], tf.float32)
    ratio = tf.sqrt(1 - _beta(alpha, batch, share_seed))[:, tf.newaxis]
    sides = tf.round(ratio * size)
    begins = tf.floor(tf.random.stateless_uniform([batch, 2], place_seed) * (size - sides + 1))
    rows, columns = (
        tf.logical_and(
            tf.range(size[side])[tf.newaxis] >= begins[:, side, tf.newaxis],
            tf.range(size[side])[tf.newaxis] < (begins + sides)[:, side, tf.newaxis],
        )
        for side in range(2)
    )
    cut = tf.logical_and(rows[:, :, tf.newaxis], columns[:, tf.newaxis])[..., tf.newaxis]
    kept = 1 - tf.reduce_prod(sides, axis=1) / tf.reduce_prod(size)
    return 1 - tf.cast(cut, images.dtype), kept


def _beta(alpha: float, count: Tensor, seed: Tensor) -> Tensor:
    """Draws of the beta distribution with ``alpha`` twice, float32 [count].

    By logarithms of gamma draws (Gamma(a) is Gamma(a + 1) U^(1 / a)), since the draws themselves
    are 0 in float32 where alpha is small, and 0 / 0 no share.
    """
    gamma_seed, uniform_seed = draw(seed, 2)
    gamma = tf.random.stateless_gamma([count, 2], gamma_seed, alpha + 1.0)
    uniform = 1 - tf.random.stateless_uniform([count, 2], uniform_seed)  # never 0
    logarithms = tf.math.log(gamma) + tf.math.log(uniform) / alpha
    return tf.sigmoid(logarithms[:, 0] - logarithms[:, 1])
