"""Batch normalization folded into the convolution before it.

At inference batch norm is a factor and a shift for each channel; both fit into the convolution's
kernel and bias. The network computes the same with fewer operations.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_inception.models.graph import producers, readers


def fold_batch_norm(model: keras.Model, dtype: str | None = None) -> keras.Model:
    """The same network with every batch norm that directly follows a convolution folded into it.

    A batch norm after anything else stays; so does one after a convolution that something else
    reads as well, or that is used more than once, since a kernel is the same for all its uses.

    Args:
        model: a functional model of Keras layers.
        dtype: of the new model's weights and arithmetic, such as ``"bfloat16"``; each layer's own
            by default.

    Returns:
        A new model; ``model`` is left as it is.
    """
    folded = _convolutions_and_norms(model)
    convolutions = {convolution.name: norm for convolution, norm in folded}
    norms = {norm.name for _, norm in folded}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        if dtype is not None:
            config["dtype"] = dtype
        return layer.__class__.from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in norms else layer(*inputs, **options)

    result = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.name in convolutions:
            folded_weights = _fold(layer, convolutions[layer.name])
            result.get_layer(layer.name).set_weights(folded_weights)
        elif layer.weights and layer.name not in norms:
            result.get_layer(layer.name).set_weights(layer.get_weights())
    return result


def _convolutions_and_norms(model: keras.Model) -> list[tuple[Any, Any]]:
    """Each convolution used once that a batch norm alone reads, with that batch norm."""
    calls, read_by = producers(model), readers(model)
    pairs = []
    for norm in model.layers:
        if not isinstance(norm, keras.layers.BatchNormalization) or len(calls[norm.name]) != 1:
            continue
        before = model.get_layer(calls[norm.name][0][0])
        if (
            isinstance(before, keras.layers.Conv2D)
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
