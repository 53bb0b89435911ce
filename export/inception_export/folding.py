"""Batch normalization folded into the convolution before it.

At inference batch norm is a factor and a shift for each channel; both fit into the convolution's
kernel and bias. The network computes the same with fewer operations.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_inception.models.graph import producers, readers
from keras_inception.models.nested import copy_values, flatten

# They see pixels up to 255, of which half precision loses a part.
_SCALING = (keras.layers.Rescaling, keras.layers.Normalization)


class BiasedConvolution(keras.layers.Conv2D):
    """A convolution that adds its bias by one operation.

    Keras reshapes the bias, adds, and takes the new axes out again: a third of an Inception
    network's operations, of which each signature of a SavedModel holds a copy when it is loaded.
    """

    def call(self, inputs: Any) -> Any:
        return tf.nn.bias_add(self.convolution_op(inputs, self.kernel), self.bias)


def fold_batch_norm(model: keras.Model, dtype: str | None = None) -> keras.Model:
    """The same network with every batch norm that directly follows a convolution folded into it.

    A batch norm after anything else stays; so does one after a convolution that something else
    reads as well, or that is used more than once, since a kernel is the same for all its uses.

    Args:
        model: a functional or sequential model of Keras layers, perhaps with models inside.
        dtype: of the new model's weights and arithmetic, such as ``"bfloat16"``; each layer's own
            by default. Layers that scale pixels keep theirs.

    Returns:
        A new model, without models inside; ``model`` is left as it is.

    Raises:
        ValueError: the model is neither functional nor sequential.
    """
    model = flatten(model)
    folded = _convolutions_and_norms(model)
    convolutions = {convolution.name: norm for convolution, norm in folded}
    norms = {norm.name for _, norm in folded}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        is_layer = isinstance(layer, keras.Layer)  # not an operation, such as a subtraction
        if dtype is not None and is_layer and not isinstance(layer, _SCALING):
            config["dtype"] = dtype
        if layer.name in convolutions:
            return BiasedConvolution.from_config({**config, "use_bias": True})
        return layer.__class__.from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in norms else layer(*inputs, **options)

    result = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.name in convolutions:
            folded_weights = _fold(layer, convolutions[layer.name])
            result.get_layer(layer.name).set_weights(folded_weights)
        elif layer.name not in norms and not isinstance(layer, keras.layers.InputLayer):
            copy_values(layer, result.get_layer(layer.name))
    return result


def _convolutions_and_norms(model: keras.Model) -> list[tuple[Any, Any]]:
    """Each convolution used once that a batch norm alone reads, with that batch norm."""
    calls, read_by = producers(model), readers(model)
    by_name = {layer.name: layer for layer in model.layers}  # operations are not among them
    pairs = []
    for norm in model.layers:
        if not isinstance(norm, keras.layers.BatchNormalization) or len(calls[norm.name]) != 1:
            continue
        before = by_name.get(calls[norm.name][0][0])
        if (
            isinstance(before, keras.layers.Conv2D)
            and before.data_format == "channels_last"
            and len(calls[before.name]) == 1
            and read_by[before.name] == [norm.name]
            and before.activation is keras.activations.linear
            and norm.axis in (-1, 3)
        ):
            pairs.append((before, norm))
    return pairs


def _fold(convolution: Any, norm: Any) -> list[np.ndarray]:
    """Kernel and bias; in float64, so that the rounding is that of the result alone."""

    def values(variable: Any) -> Any:
        return keras.ops.convert_to_numpy(variable).astype(np.float64)

    factor = 1 / np.sqrt(values(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        factor = factor * values(norm.gamma)
    shift = -values(norm.moving_mean)
    if convolution.use_bias:
        shift = shift + values(convolution.bias)
    bias = shift * factor
    if norm.center:
        bias = bias + values(norm.beta)
    return [values(convolution.kernel) * factor, bias]
