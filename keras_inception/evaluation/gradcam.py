"""Grad-CAM: where in an image a network sees what it says.

Selvaraju et al., arXiv:1610.02391. The networks of this family end in global average pooling and a
dense layer, so the gradient of a class's logit is the same at every place of the last feature map:
the dense layer's weight over the number of places. No gradient need be computed, on any backend;
the paper shows this in section 3.1 (there CAM is the case of such networks).
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
            dropout, and a dense layer with its activation; functional or sequential, perhaps with
            models inside.
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
    pooling, dense = _head(model)
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
    kernel = keras.ops.convert_to_numpy(dense.kernel).astype(np.float32)
    # float32 whatever the precision of the maps.
    heat = np.einsum("bhwk,kb->bhw", np.asarray(maps).astype(np.float32), kernel[:, classes])
    heat = np.maximum(heat, 0)[..., np.newaxis]
    resized = keras.ops.image.resize(
        heat, images.shape[1:3], "bilinear", data_format="channels_last"
    )
    heat = keras.ops.convert_to_numpy(resized)[..., 0]
    most = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)


def _head(model: keras.Model) -> tuple[Any, Any]:
    """The global average pooling and the dense layer, found from the end."""
    calls = producers(model)
    layers = {operation.name: operation for operation in model.operations}
    ends = outputs(model)
    if isinstance(model.output, dict):  # the outputs stand in the order of their names
        ends = [dict(zip(sorted(model.output), ends, strict=True))["predictions"]]
    dense, layer = None, layers[ends[0]]
    while True:
        if isinstance(layer, keras.layers.GlobalAveragePooling2D) and dense is not None:
            return layer, dense
        if isinstance(layer, keras.layers.Dense) and dense is None:
            dense = layer
        elif not isinstance(layer, _PASSED) or (
            isinstance(layer, keras.layers.Activation | keras.layers.Softmax) and dense is not None
        ):
            raise ValueError(
                "Grad-CAM needs a classifier that ends in global average pooling and one dense"
                f" layer. Received: {model.name}, which ends in"
                f" {', '.join(each.name for each in model.layers[-3:])}"
            )
        layer = layers[calls[layer.name][0][0]]


# What may stand between the pooling and the end.
_PASSED = (
    keras.layers.Activation,
    keras.layers.Softmax,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
)
