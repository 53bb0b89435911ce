"""Pipelines of tf.data from examples to batches, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_inception.data.augmentation.augment import changes
from keras_inception.data.augmentation.crops import crop_at_random
from keras_inception.data.augmentation.mixing import mixing
from keras_inception.data.augmentation.seeded import draw
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.cache import cache_limit, decoded_bytes, decoded_once
from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing, decode, resize, scale
from keras_inception.data.types import Tensor

ImageOf = Callable[[Tensor, Tensor], Tensor]
"""From an example's index, int64 [], and a seed, int64 [2], to its image at the network's size."""

# Without looking for Python's own branches and loops, of which there are none, tracing takes a
# third of the time.
_as_written = tf.autograph.experimental.do_not_convert


def training_batches(
    examples: Examples,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    batch_size: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    class_weights: np.ndarray | None = None,
    on_bad: Callable[[int], None] | None = None,
    cache_megabytes: int | None = None,
) -> tf.data.Dataset:
    """The batches from a step of an epoch on to the last epoch's end, one stream.

    An epoch is ``len(examples) // batch_size`` batches; the examples left over are others each
    time. The stream is a function of the seed and the position in it, so starting at a
    step gives what would have come then.

    Args:
        shard: which part of each batch is wanted, from 0, of how many; by default all of it. Their
            number must divide ``batch_size``. Images are mixed with others of the part.
        class_weights: [classes]. An example's weight is that of its class; of several classes
            their mean, of none 1.
        on_bad: is told the index of each example whose image can't be read, whenever it is
            found so; it takes part as a blank of weight 0. Without, it ends the stream with
            ``tf.errors.OpError``.
        cache_megabytes: memory for decoded images, used if all fit; ``None`` for a quarter of what
            is free and at most 2000, 0 for none. What comes is the same.

    Returns:
        Pairs of images, float32 [batch_size, size, size, 3], and targets, float32
        [batch_size, classes]: the share of each class in an image, or where an image can be of
        several classes, of how much of the image each is true. With ``class_weights`` or
        ``on_bad`` triples: weights, float32 [batch_size], come with them.
    """
    count = len(examples)
    steps = count // batch_size
    part, parts = shard or (0, 1)

    def order(epoch: Tensor) -> tf.data.Dataset:
        begin = tf.where(epoch == first_epoch, first_step * batch_size, 0)
        wanted = shuffled(count, seed, epoch)[begin : steps * batch_size]
        wanted = tf.reshape(wanted, [-1, parts, batch_size // parts])[:, part]
        indices = tf.data.Dataset.from_tensor_slices(tf.reshape(wanted, [-1]))
        return indices.map(lambda index: (epoch, index))

    image_of = _training_images(examples, preprocessing, augmentation, cache_megabytes)
    example = _training_example(examples, preprocessing, image_of, seed, class_weights, on_bad)
    batches = (
        tf.data.Dataset.range(first_epoch, epochs)
        .flat_map(_as_written(order))
        .map(_as_written(example), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size // parts, drop_remainder=True)
    )
    mix = mixing(augmentation)
    if mix is not None:
        # Seeds of steps, beside the examples' own.
        batches = batches.enumerate(first_epoch * steps + first_step).map(
            lambda step, batch: mix(
                [tf.bitwise.invert(tf.cast(seed, tf.int64)), step * parts + part], batch
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    return batches.prefetch(tf.data.AUTOTUNE)


def shuffled(count: int, seed: Tensor, epoch: Tensor) -> Tensor:
    """The order of an epoch's examples: int32 [count], a permutation.

    Not by ``index_shuffle``, which needs no memory but leaves some epochs nearly in order.
    """
    return tf.random.experimental.stateless_shuffle(tf.range(count), [seed, epoch])


def evaluation_batches(
    examples: Examples,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    cache_megabytes: int | None = 0,
    shard: tuple[int, int] | None = None,
) -> tf.data.Dataset:
    """Every example once, in order, as evaluation and serving see it.

    Args:
        cache_megabytes: memory for the finished images, used if all fit, for who goes through
            them several times; ``None`` for a quarter of what is free and at most 2000.
        shard: which part of each batch is wanted, from 0, of how many.

    Returns:
        Pairs of images, float32 [batch, size, size, 3], and targets, float32 [batch, classes], one
        for each class that an image is of; the last batch may be smaller. With ``shard`` triples:
        all batches are of one size, what fills the last one has weight 0, and the others' weights,
        float32 [batch], are such that the mean over all batches is that over the examples.
    """
    read, target = examples.images.reader(), _targets(examples)
    count = len(examples)
    part, parts = shard or (0, 1)
    total = count if shard is None else -(-count // batch_size) * batch_size
    places = tf.range(total, dtype=tf.int64)
    if shard is not None:
        places = tf.reshape(tf.reshape(places, [-1, parts, batch_size // parts])[:, part], [-1])

    def example(place: Tensor) -> tuple[Tensor, ...]:
        index = tf.minimum(place, count - 1)
        image = resize(_pixels(read(index), preprocessing)[tf.newaxis], preprocessing)[0]
        weight = tf.where(place < count, tf.cast(total / count, tf.float32), 0.0)
        return scale(image, preprocessing), target(index), *([] if shard is None else [weight])

    images = tf.data.Dataset.from_tensor_slices(places)
    images = images.map(_as_written(example), num_parallel_calls=tf.data.AUTOTUNE)
    floats = (3 * preprocessing.size**2 + len(examples.labels)) * (total // parts)
    if 4 * floats <= cache_limit(cache_megabytes):
        images = images.cache()
    return images.batch(batch_size // parts).prefetch(tf.data.AUTOTUNE)


def with_auxiliary_targets(batches: tf.data.Dataset, outputs: Sequence[str]) -> tf.data.Dataset:
    """The same targets, and weights if there are, for every output of a model with heads."""
    return batches.map(
        lambda images, *others: (images, *({output: each for output in outputs} for each in others))
    )


def _training_images(
    examples: Examples,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    cache_megabytes: int | None,
) -> ImageOf:
    """Each example's image varied: float32 [size, size, 3] in [0, 255]."""
    read, change = examples.images.reader(), changes(augmentation)

    def crop(image: Tensor, seed: Tensor) -> Tensor:
        if augmentation.crop_area < 1:
            return crop_at_random(image, seed, preprocessing, augmentation)
        return resize(_pixels(image, preprocessing)[tf.newaxis], preprocessing)[0]

    def read_and_crop(index: Tensor, seed: Tensor) -> Tensor:
        return crop(read(index), seed)

    cropped: ImageOf = read_and_crop
    if cache_megabytes != 0 and not examples.images.decoded:
        below = 2 * preprocessing.size if augmentation.crop_area < 1 else None
        if 0 < decoded_bytes(examples.images, below) <= cache_limit(cache_megabytes):
            cropped = decoded_once(read, preprocessing, below, crop)

    def image_of(index: Tensor, seed: Tensor) -> Tensor:
        crop_seed, change_seed = draw(seed, 2)
        return change(cropped(index, crop_seed), change_seed)

    return image_of


def _training_example(
    examples: Examples,
    preprocessing: Preprocessing,
    image_of: ImageOf,
    seed: int,
    class_weights: np.ndarray | None,
    on_bad: Callable[[int], None] | None,
) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    """From an epoch, int64 [], and an example's index in it to network input, target, weight."""
    count, target = len(examples), _targets(examples)
    or_blank = None if on_bad is None else _or_blank(image_of, preprocessing, on_bad)
    class_weight = None if class_weights is None else _class_weights(examples, class_weights)

    def example(epoch: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        index = tf.cast(index, tf.int64)
        image_seed = tf.stack([tf.cast(seed, tf.int64), epoch * count + index])
        weights = []
        if or_blank is None:
            image = image_of(index, image_seed)
        else:
            image, weight = or_blank(index, image_seed)
            weights.append(weight)
        if class_weight is not None:
            weights.append(class_weight(index))
        return (
            scale(image, preprocessing),
            target(index),
            *([tf.reduce_prod(weights)] if weights else []),
        )

    return example


def _pixels(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    return decode(image, preprocessing) if image.dtype == tf.string else image


def _or_blank(
    image_of: ImageOf, preprocessing: Preprocessing, on_bad: Callable[[int], None]
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images with weight 1, or where they fail, blanks with weight 0."""

    def report(index: np.ndarray) -> np.float32:
        on_bad(int(index))
        return np.float32(0)

    def image_or_blank(index: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        # A graph can't catch an error, but a data set can leave out what fails.
        readable = tf.data.Dataset.from_tensors((index, seed)).map(
            lambda index, seed: (image_of(index, seed), 1.0)
        )
        blank = (
            tf.broadcast_to(
                tf.constant(preprocessing.mean), [preprocessing.size, preprocessing.size, 3]
            ),
            0.0,
        )
        either = readable.ignore_errors().concatenate(tf.data.Dataset.from_tensors(blank))
        image, weight = either.take(1).get_single_element()
        return image, tf.cond(
            weight > 0,
            lambda: weight,
            lambda: tf.ensure_shape(tf.numpy_function(report, [index], tf.float32), []),
        )

    return image_or_blank


def _targets(examples: Examples) -> Callable[[Tensor], Tensor]:
    """From an example's index to its target, float32 [classes]."""
    targets = tf.constant(examples.targets)
    if examples.multi_label:
        return lambda index: tf.cast(targets[index], tf.float32)
    return lambda index: tf.one_hot(targets[index], len(examples.labels))


def _class_weights(examples: Examples, class_weights: np.ndarray) -> Callable[[Tensor], Tensor]:
    """From an example's index to its weight, float32 []."""
    targets, weights = tf.constant(examples.targets), tf.constant(class_weights, tf.float32)
    if not examples.multi_label:
        return lambda index: weights[targets[index]]

    def mean(index: Tensor) -> Tensor:
        of = tf.boolean_mask(weights, targets[index])
        return tf.cond(tf.size(of) > 0, lambda: tf.reduce_mean(of), lambda: 1.0)

    return mean
