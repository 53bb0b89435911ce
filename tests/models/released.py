"""The networks that TF-Slim released, as their own graphs have them, and our layer for each name.

``released_networks.json`` holds, for 1001 classes: every end point's shape, every convolution as
[kernel, stride, padding, output] and every pool as [kind, size, stride, padding, output].
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from keras_inception.models.endpoints import endpoints

RELEASED: dict[str, Any] = json.loads(
    Path(__file__).with_name("released_networks.json").read_text()
)
BUILDERS = {
    "inception_v1": ("InceptionV1", {"variant": "slim"}),
    "inception_v2": ("InceptionV2", {"variant": "slim"}),
    "inception_v3": ("InceptionV3", {"aux": True}),
    "inception_v4": ("InceptionV4", {"aux": True}),
    "inception_resnet_v2": ("InceptionResNetV2", {"aux": True}),
}
_CLASSIFIERS = {
    "Logits/Conv2d_0c_1x1": "logits",
    "Logits/Conv2d_1c_1x1": "logits",
    "Logits/Logits": "logits",
    "AuxLogits/Conv2d_2b_1x1": "aux_logits",
    "AuxLogits/Aux_logits": "aux_logits",
    "AuxLogits/Logits": "aux_logits",
}


def our_layers(
    slim: Iterable[str], model: keras.Model, *kinds: type[keras.Layer]
) -> dict[str, keras.Layer]:
    """Our layer of one of the ``kinds`` for each of TF-Slim's operations.

    Within a column both sides keep the order of the words, so the n-th there is the n-th here; a
    column with more layers on one side than on the other is an error.
    """
    modules = endpoints(model).slim_names
    found, columns = {}, defaultdict(list)
    for path in slim:
        *scope, operation = path.split("/")
        if scope and scope[0].startswith("Repeat"):
            del scope[0]
        if path in _CLASSIFIERS:
            found[path] = model.get_layer(_CLASSIFIERS[path])
        elif not scope or operation.startswith("separable"):
            found[path] = model.get_layer(modules[scope[0] if scope else operation])
        elif scope[0] == "AuxLogits":
            columns["aux_"].append(path)
        else:
            name = scope[0].lower() if "lock" in scope[0] else modules[scope[0]]
            name = "block8_10" if name == "block8" else name
            if "block" in name:
                name += "_a" if len(scope) == 2 else "_b_linear"
            columns[f"{name}_{scope[1].lower()}_" if len(scope) == 2 else name].append(path)
    for prefix, paths in columns.items():
        ours = [layer for layer in model.layers if layer.name.startswith(prefix)]
        ours = [layer for layer in ours if isinstance(layer, kinds)]
        ours.sort(key=lambda layer: layer.name)
        found |= zip(paths, ours, strict=True)
    return found
