"""Batch norm's moving statistics, measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_inception.training.devices.distribution import sync_variables

BATCHES = 200  # as many as a run looks at; the statistics of 200 batches differ little from all


def recalibrate(model: keras.Model, batches: Iterable[Any]) -> None:
    """Replace batch norm's moving statistics by those of ``batches``, with the weights as they are.

    Moving averages lag behind the weights, and in a short training never reach them: the network
    is good while training and random afterwards. Here every layer's mean and variance become the
    exact average over the batches of what it saw in training mode (the variance of the batch
    itself, as Keras has it). Frozen layers (``trainable=False``) keep theirs and are passed as in
    inference.

    Args:
        model: any Keras model.
        batches: images as the network's input, [batch, height, width, channels], or tuples that
            begin with them; of mixed classes and all of one size, the larger the better.

    Raises:
        ValueError: there are no batches to measure the statistics of a layer over.
    """
    layers = [layer for layer in _batch_norms(model) if layer.trainable]
    if not layers:
        return
    moving = [each for layer in layers for each in (layer.moving_mean, layer.moving_variance)]
    before = [keras.ops.convert_to_numpy(each).copy() for each in moving]
    sums = [np.zeros(each.shape) for each in moving]
    momenta = [layer.momentum for layer in layers]
    count = 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # the moving statistics are then the last batch's
            layer.moving_mean.assign(np.zeros(layer.moving_mean.shape))  # 0 * inf is not 0
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape))
        look = _in_training_mode(model)
        for batch in batches:
            look(batch[0] if isinstance(batch, tuple | list) else batch)
            count += 1
            for total, each in zip(sums, moving, strict=True):
                total += keras.ops.convert_to_numpy(each)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for total, each, old in zip(sums, moving, before, strict=True):
            each.assign(total / count if count else old)
    if not count:
        raise ValueError("`batches` must hold at least one batch of images. Received: none")


def _batch_norms(model: keras.Model) -> Iterator[Any]:
    """Those of nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _batch_norms(layer)


def _in_training_mode(model: keras.Model) -> Any:
    def look(images: Any) -> None:
        model(images, training=True)

    if keras.config.backend() == "jax":
        return _in_training_mode_on_jax(model)
    if keras.config.backend() != "tensorflow":
        return look
    import tensorflow as tf

    return tf.function(look, autograph=False, reduce_retracing=True)


def _in_training_mode_on_jax(model: keras.Model) -> Any:
    """Compiled, where operation by operation takes many times as long."""
    import jax

    def state_after(trainable: list[Any], others: list[Any], images: Any) -> Any:
        return model.stateless_call(trainable, others, images, training=True)[1]

    compiled = jax.jit(state_after)

    def look(images: Any) -> None:
        variables = model.trainable_variables, model.non_trainable_variables
        values = ([each.value for each in some] for some in variables)
        after = compiled(*values, np.asarray(images))
        for variable, value in zip(model.non_trainable_variables, after, strict=True):
            variable.assign(value)

    return look


class Recalibration(keras.callbacks.Callback):
    """Validate with the statistics that the result will have, which recalibrating measures again.

    So the best epoch is that of the network which is kept.

    Args:
        measure: the recalibrated values of ``weights`` from those the model has now, both in the
            order of ``model.weights``.
        restore: whether to put the former values back afterwards; without it another callback does.
    """

    def __init__(
        self, measure: Callable[[list[np.ndarray]], list[np.ndarray]], restore: bool
    ) -> None:
        super().__init__()
        self.measure = measure
        self.restore = restore
        self._replaced: list[np.ndarray] = []

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        sync_variables(self.model)
        self._replaced = [keras.ops.convert_to_numpy(each) for each in self.model.weights]
        self._assign(self.measure(self._replaced))

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        if self.restore:
            self._assign(self._replaced)
        self._replaced = []

    def _assign(self, values: list[np.ndarray]) -> None:
        for weight, value in zip(self.model.weights, values, strict=True):
            if not weight.trainable:
                weight.assign(value)
