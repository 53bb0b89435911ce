"""Our own names: which network and variant a model or file of ours is, read off its layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from keras_inception.weights.names import Place, Source

# A layer that the network has, and none of those below it here.
_TELLING = {
    "inception_3c": "inception_v2",
    "inception_3a": "inception_v1",
    "mixed_6h": "inception_v4",
    "conv_7b_1x1": "inception_resnet_v2",
    "block35_1": "inception_resnet_v1",
    "mixed_6e": "inception_v3",
}


def network_of(layers: Collection[str]) -> str | None:
    """The network of these layers, ``"inception_v3"``; ``None`` if it is none of the family.

    Args:
        layers: the names of all its layers, those without weights too.
    """
    return next((network for layer, network in _TELLING.items() if layer in layers), None)


def variant_of(layers: Collection[str]) -> str:
    """The variant of the network of these layers."""
    network = network_of(layers)
    if network == "inception_v1":
        if "inception_3a_branch_2_b_5x5" in layers:
            return "paper"
        return "torchvision" if "stem_a_7x7_pad" in layers else "slim"
    if network == "inception_v2":
        return (
            "paper"
            if any(layer.startswith("stem_a_") and layer.endswith("_bn") for layer in layers)
            else "slim"
        )
    if network == "inception_v3":
        return "torchvision" if any(layer.endswith("_avg_pool_pad") for layer in layers) else "slim"
    return "released"


def source(layers: Collection[str], names: Iterable[str]) -> Source:
    """A file of ours: each variable under its own name.

    Args:
        layers: the names of all layers in the file.
        names: of the variables in it.
    """
    return Source("ours", variant_of(layers), {name: Place(name) for name in names})
