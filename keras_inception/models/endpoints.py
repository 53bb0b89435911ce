"""End points: the named feature maps inside a network, and models that end at one of them.

Everything is read from the names of the model's layers, so it works as well on a model that
``keras.models.load_model`` has brought back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import Any

import keras

from keras_inception.models.checks import check
from keras_inception.models.layers import Tensor

# A word of the stem, a module, a pool between modules, the last convolution, the top, and the
# auxiliary classifiers. What a word consists of shares its name: the last of it is the end point.
_END_POINT = re.compile(
    r"(stem_[a-z](_\d+x\d+|_max_pool)?"
    r"|(inception|mixed)_\d[a-z]|block\d+_\d+"
    r"|inception_\d_max_pool"
    r"|conv_7b_1x1"
    r"|avg_pool|max_pool|logits|predictions"
    r"|aux(_4[ad])?(_logits)?)"
    r"(_relu)?"
)

_V1_STEM = "Conv2d_1a_7x7 MaxPool_2a_3x3 Conv2d_2b_1x1 Conv2d_2c_3x3 MaxPool_3a_3x3"
_V3_STEM = (
    "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_3a_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3"
    " MaxPool_5a_3x3"
)
_V4_STEM = "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Mixed_3a Mixed_4a Mixed_5a"
_RESNET_V1_STEM = _V3_STEM.replace("MaxPool_5a", "Conv2d_4b")
# TF-Slim counts stages from their pools on, the papers from their modules on.
_V1_MODULES = (
    "3a:Mixed_3b 3b:Mixed_3c 3_max_pool:MaxPool_4a_3x3 4a:Mixed_4b 4b:Mixed_4c 4c:Mixed_4d"
    " 4d:Mixed_4e 4e:Mixed_4f 4_max_pool:MaxPool_5a_2x2 5a:Mixed_5b 5b:Mixed_5c"
)
_V2_MODULES = (
    "3a:Mixed_3b 3b:Mixed_3c 3c:Mixed_4a 4a:Mixed_4b 4b:Mixed_4c 4c:Mixed_4d 4d:Mixed_4e"
    " 4e:Mixed_5a 5a:Mixed_5b 5b:Mixed_5c"
)
_TOP = {
    "AvgPool_0a_7x7": "avg_pool",
    "AvgPool_1a": "avg_pool",
    "global_pool": "avg_pool",
    "PreLogits": "avg_pool",
    "PreLogitsFlatten": "avg_pool",
    "Logits": "logits",
    "Predictions": "predictions",
    "AuxLogits": "aux_logits",
}


class EndPoints(dict[str, Tensor]):
    """End points by name, from the image to the classifier; TF-Slim's names find them too."""

    def __missing__(self, name: str) -> Tensor:
        ours = slim_names(self).get(name)
        if ours is None:
            raise KeyError(f"no end point {name!r}; there are {', '.join(self)}")
        return self[ours]


def endpoints(model: keras.Model) -> EndPoints:
    """All end points of a network of this family: its named intermediate outputs.

    Args:
        model: built by this package, or loaded from a file that was.

    Returns:
        A dictionary of Keras tensors, [batch, height, width, channels] before the top, in order.
        Names are the words of the stem (``"stem_a_3x3"``), the modules (``"inception_4a"``,
        ``"mixed_6e"``, ``"block17_20"``) and the top (``"avg_pool"``, ``"logits"``,
        ``"predictions"``). Looking up TF-Slim's name (``"Mixed_6e"``) gives the same tensor.

    Raises:
        ValueError: the model is not a network of this family.
    """
    found = EndPoints()
    for layer in sorted(model.layers, key=lambda layer: layer.name.startswith("aux")):
        match = _END_POINT.fullmatch(layer.name)
        if match:
            found[match[1]] = layer.output
    check(
        any(name.startswith(("inception_", "mixed_")) for name in found),
        "`model` must be a network of this family, whose layers have kept their names",
        model=model.name,
    )
    return found


def features(model: keras.Model, at: str | Sequence[str]) -> keras.Model:
    """The part of a network that ends at an end point, with the same layers and weights.

    Args:
        model: built by this package, or loaded from a file that was.
        at: the end point's name, ours or TF-Slim's; or several, for a dictionary of outputs with
            these keys.

    Returns:
        A ``keras.Model`` from the images to the end point.

    Raises:
        ValueError: the model has no such end point; the message lists those that it has.
    """
    named = endpoints(model)
    several = isinstance(at, list | tuple)
    wanted: list[Any] = [*at] if several else [at]
    choices = [*named, *slim_names(named)]
    check(len(wanted) > 0, "`at` must be an end point's name, or several", at=at)
    for name in wanted:
        check(
            name in choices,
            f"`at` must name an end point of {model.name}: {', '.join(named)}"
            " (or TF-Slim's name of one)",
            at=name,
        )
    outputs = {name: named[name] for name in wanted} if several else named[wanted[0]]
    return keras.Model(model.input, outputs, name=f"{model.name}_features")


def slim_names(ours: Iterable[str]) -> dict[str, str]:
    """TF-Slim's name of every end point that TF-Slim names, to ours."""
    ours = list(ours)
    if "inception_3c" in ours:
        stem, modules = _V1_STEM, _V2_MODULES
    elif "inception_3a" in ours:
        stem, modules = _V1_STEM, _V1_MODULES
    else:
        stem, modules = _V3_STEM, ""
        if "stem_f" in ours:
            stem = _V4_STEM
        elif "stem_g_3x3" in ours:
            stem = _RESNET_V1_STEM
    names = {}
    for module in modules.split():
        name, slim = module.split(":")
        names[slim] = f"inception_{name}"
    slim_stem = dict(zip(ascii_lowercase, stem.split(), strict=False))
    for name in ours:
        if name.startswith("stem_"):
            names[slim_stem[name[len("stem_")]]] = name
        elif name.startswith("mixed_"):
            names[name.capitalize()] = name
        elif name == "conv_7b_1x1":
            names |= {"Conv2d_7b_1x1": name, "PreAuxLogits": "block17_20"}
    names |= {slim: name for slim, name in _TOP.items() if name in ours}
    return names
