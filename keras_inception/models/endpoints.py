"""End points: the named feature maps inside a network, and models that end at one of them.

Everything is read from the names of the model's layers, so it works as well on a model that
``keras.models.load_model`` has brought back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_inception.models.catalogue import recognize
from keras_inception.models.checks import check
from keras_inception.models.layers import Tensor, position
from keras_inception.weights.names import parse_table
from keras_inception.weights.slim_tables import MODULES, STEMS

# A word of the stem, a module, a pool between modules, a convolution by itself, the top, and the
# auxiliary classifiers. What a word consists of shares its name: the last of it is the end point.
_END_POINT = re.compile(
    r"(stem_[a-z]+(_\d+x\d+|_max_pool)?"
    r"|(inception|mixed)_\d[a-z]|block\d+_\d+"
    r"|inception_\d_max_pool"
    r"|conv_\d[a-z]_\d+x\d+"
    r"|avg_pool|max_pool|bottleneck_bn|logits|predictions"
    r"|aux(_\d[a-z])?(_logits)?)"
    r"(_relu)?"
)
# TF-Slim's names of the top.
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
    """End points by name, from the image to the classifier; TF-Slim's names find them too.

    Attributes:
        slim_names: TF-Slim's name of every end point that TF-Slim names, to ours.
    """

    def __init__(self, tensors: Mapping[str, Tensor], slim_names: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self.slim_names = slim_names

    def __missing__(self, name: str) -> Tensor:
        ours = self.slim_names.get(name)
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
    found: dict[str, Tensor] = {}
    for layer in sorted(model.layers, key=lambda layer: layer.name.startswith("aux")):
        match = _END_POINT.fullmatch(layer.name)
        if match:
            found[match[1]] = layer.output
    check(
        any(name.startswith(("inception_", "mixed_")) for name in found),
        "`model` must be a network of this family, whose layers have kept their names",
        model=model.name,
    )
    network = recognize({layer.name for layer in model.layers})
    return EndPoints(found, _slim_names(list(found), network[0] if network else ""))


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
    choices = [*named, *named.slim_names]
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


def _slim_names(ours: list[str], network: str) -> dict[str, str]:
    names = {
        theirs: name
        for name, theirs in parse_table(MODULES.get(network, "")).items()
        if name in ours
    }
    stem = {position(index): slim for index, slim in enumerate(STEMS.get(network, "").split())}
    for name in ours:
        kind, _, rest = name.partition("_")
        if kind == "stem" and rest.partition("_")[0] in stem:
            names[stem[rest.partition("_")[0]]] = name
        elif kind == "mixed":
            names[name.capitalize()] = name
    return names | {slim: name for slim, name in _TOP.items() if name in ours}
