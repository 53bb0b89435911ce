"""From examples to batches: tf.data pipelines for training and for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_inception.data.augment import Augmentation, resize_at_random
from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing, Tensor, decode, resize, scale


def training_batches(
    examples: Examples,
    how: Preprocessing,
    vary: Augmentation,
    *,
    batch_size: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """The batches from a step of an epoch on to the last epoch's end, one stream.

    An epoch is ``len(examples) // batch_size`` batches; the examples left over are others each
    time. The stream is a function of the seed and the position in it, so starting at a
    step gives what would have come then.

    Returns:
        Pairs of images, float32 [batch_size, size, size, 3], and targets, float32
        [batch_size, classes], one for each class that an image is of.
    """
    count = len(examples)
    per_epoch = count // batch_size * batch_size
    read, target = _images(examples), _targets(examples)

    def order(epoch: Tensor) -> tf.data.Dataset:
        begin = tf.where(epoch == first_epoch, first_step * batch_size, 0)
        indices = tf.data.Dataset.from_tensor_slices(shuffled(count, seed, epoch)[begin:per_epoch])
        return indices.map(lambda index: (epoch, index))

    def example(epoch: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        variation = epoch * count + tf.cast(index, tf.int64)
        image = resize_at_random(read(index), [seed, variation], how, vary)
        return scale(image, how), target(index)

    return (
        tf.data.Dataset.range(first_epoch, epochs)
        .flat_map(order)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def shuffled(count: int, seed: Tensor, epoch: Tensor) -> Tensor:
    """The order of an epoch's examples: int32 [count], a permutation.

    Not by ``index_shuffle``, which needs no memory but leaves some epochs nearly in order.
    """
    return tf.random.experimental.stateless_shuffle(tf.range(count), [seed, epoch])


def evaluation_batches(examples: Examples, how: Preprocessing, batch_size: int) -> tf.data.Dataset:
    """Every example once, in order, as evaluation and serving see it.

    Returns:
        Pairs of images, float32 [batch, size, size, 3], and targets, float32 [batch, classes], one
        for each class that an image is of; the last batch may be smaller.
    """
    read, target = _images(examples), _targets(examples)

    def example(index: Tensor) -> tuple[Tensor, Tensor]:
        image = resize(read(index)[tf.newaxis], how)[0]
        return scale(image, how), target(index)

    return (
        tf.data.Dataset.range(len(examples))
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def with_auxiliary_targets(batches: tf.data.Dataset, outputs: Sequence[str]) -> tf.data.Dataset:
    """The same targets for every output of a model with auxiliary heads."""
    return batches.map(lambda images, targets: (images, {output: targets for output in outputs}))


def _images(examples: Examples) -> Callable[[Tensor], Tensor]:
    """From an example's number to its pixels, uint8 [height, width, 3]."""
    read = examples.images.reader()

    def pixels(index: Tensor) -> Tensor:
        image = read(index)
        return decode(image) if image.dtype == tf.string else image

    return pixels


def _targets(examples: Examples) -> Callable[[Tensor], Tensor]:
    """From an example's number to its target, float32 [classes]."""
    targets = tf.constant(examples.targets)
    if examples.multi_label:
        return lambda index: tf.cast(targets[index], tf.float32)
    return lambda index: tf.one_hot(targets[index], len(examples.labels))
