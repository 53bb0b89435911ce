"""Grad-CAM: where in an image a network sees what it says.

Selvaraju et al., arXiv:1610.02391. The networks of this family end in global average pooling and a
dense layer, so the gradient of a class's logit is the same at every place of the last feature map:
the dense layer's weight over the number of places. No gradient need be computed, on any backend;
the paper shows this in section 3.1 (there CAM is the case of such networks). With hidden dense
layers between the two it is the same at every place still, and the product of their weights where
their ReLUs let an image through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_inception.models.graph import outputs, producers
from keras_inception.models.nested import flatten


def grad_cam(
    model: keras.Model, images: Any, class_index: int | Sequence[int] | None = None
) -> np.ndarray:
    """Heat maps of what speaks for a class, on the last feature map before the pooling.

    Args:
        model: a classifier of this family, or another that ends in global average pooling, perhaps
            dropout and hidden dense layers with ReLU, and a dense layer with its activation;
            functional or sequential, perhaps with models inside, of any or of one size.
        images: network inputs, float32 [batch, height, width, 3], preprocessed as for training.
        class_index: the class to explain, one for all images or one for each; by default each
            image's best class.

    Returns:
        float32 [batch, height, width], the size of the images: 0 where nothing speaks for the
        class, 1 at the most telling place. All 0 if nothing in the image speaks for it.

    Raises:
        ValueError: the model ends otherwise, or there is no such class.
    """
    model = flatten(model)
    pooling, head = _head(model)
    dense = head[-1]
    images = np.asarray(images, np.float32)
    if images.ndim != 4:
        raise ValueError(
            "`images` must be [batch, height, width, 3]; a single image needs a batch of 1."
            f" Received: shape {list(images.shape)}"
        )
    output = model.output["predictions"] if isinstance(model.output, dict) else model.output
    both = keras.Model(model.input, [pooling.input, output])
    maps, scores = both.predict_on_batch(images)
    classes = np.asarray(scores).argmax(axis=1) if class_index is None else np.array(class_index)
    classes = np.broadcast_to(classes, len(images))
    if classes.min() < 0 or classes.max() >= dense.units:
        raise ValueError(
            f"`class_index` must be from 0 to {dense.units - 1}. Received: {class_index}"
        )
    maps = np.asarray(maps).astype(np.float32)  # whatever the precision of the network
    heat = np.einsum("bhwk,bk->bhw", maps, _weights(head, maps.mean(axis=(1, 2)), classes))
    heat = np.maximum(heat, 0)[..., np.newaxis]
    resized = keras.ops.image.resize(
        heat, images.shape[1:3], "bilinear", data_format="channels_last"
    )
    heat = keras.ops.convert_to_numpy(resized)[..., 0]
    most = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)


def _weights(head: Sequence[Any], features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The gradient of each image's class's logit by its features, float32 [batch, features].

    Args:
        head: see :func:`_head`.
        features: what the pooling answers, float32 [batch, features].
        classes: int [batch].
    """
    back: list[tuple[Any, Any]] = []  # from the gradient by an output to that by its input
    x = features
    for layer in head:
        if isinstance(layer, keras.layers.Dense):
            kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float32)
            back.append((np.matmul, kernel.T))
            x = x @ kernel
            if layer.use_bias:
                x = x + keras.ops.convert_to_numpy(layer.bias).astype(np.float32)
        if _is_relu(layer) and layer is not head[-1]:
            back.append((np.multiply, x > 0))
            x = np.maximum(x, 0)
    slope = np.eye(head[-1].units, dtype=np.float32)[classes]
    for times, factor in reversed(back):
        slope = times(slope, factor)
    return slope


def _head(model: keras.Model) -> tuple[Any, list[Any]]:
    """The global average pooling, and what is behind it up to the last dense layer, in order."""
    calls = producers(model)
    layers = {operation.name: operation for operation in model.operations}
    ends = outputs(model)
    if isinstance(model.output, dict):  # the outputs stand in the order of their names
        ends = [dict(zip(sorted(model.output), ends, strict=True))["predictions"]]
    head: list[Any] = []
    layer = layers[ends[0]]
    while not (head and isinstance(layer, keras.layers.GlobalAveragePooling2D)):
        if isinstance(layer, keras.layers.Dense):
            passed = not head or _is_relu(layer) or layer.activation is keras.activations.linear
        elif head:
            passed = isinstance(layer, _PASSED) or _is_relu(layer)
        else:
            passed = isinstance(layer, (*_PASSED, *_ENDS))
        if not passed:
            raise ValueError(
                "Grad-CAM needs a classifier that ends in global average pooling and dense layers,"
                " hidden ones with ReLU or no activation, perhaps with dropout between."
                f" Received: {model.name}, which ends in"
                f" {', '.join(each.name for each in model.layers[-3:])}: {layer.name}"
                f" ({type(layer).__name__}) is none of these"
            )
        if head or isinstance(layer, keras.layers.Dense):
            head.insert(0, layer)
        layer = layers[calls[layer.name][0][0]]
    return layer, head


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu


# What may stand between the pooling and the last dense layer, and what behind that.
_PASSED = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Identity)
_ENDS = (keras.layers.Activation, keras.layers.Softmax)
