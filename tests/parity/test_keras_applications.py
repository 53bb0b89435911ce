"""keras.applications: InceptionV3 and InceptionResNetV2, our weights poured into theirs."""

from __future__ import annotations

import keras
import pytest
from keras import layers

import keras_inception
from tests.parity.weights import assert_same, images, predict, randomize


def _number(layer: keras.Layer) -> int:
    """keras.applications leaves most layers to be named, in the order of its source."""
    last = layer.name.rpartition("_")[2]
    return int(last) if last.isdecimal() else 0


def _pour(ours: keras.Model, theirs: keras.Model) -> None:
    """Its source has modules, columns and words in our order, so the n-th there is the n-th here.

    The layers it does name, the residual blocks' last convolutions and the very last one, are
    taken by name.
    """
    for kind, prefix in ((layers.Conv2D, "conv2d"), (layers.BatchNormalization, "batch_norm")):
        unnamed = [
            layer
            for layer in theirs.layers
            if type(layer) is kind and layer.name.startswith(prefix)
        ]
        unnamed.sort(key=_number)
        mine = [layer for layer in ours.layers if type(layer) is kind]
        named = [
            layer for layer in mine if layer.name.endswith("_linear") or "conv_7b" in layer.name
        ]
        mine = [layer for layer in mine if layer not in named]
        mine.sort(key=_in_source)
        for source, target in zip(mine, unnamed, strict=True):
            target.set_weights(source.get_weights())
        for source in named:
            name = source.name.replace("_b_linear", "_conv")
            name = {"conv_7b_1x1": "conv_7b", "conv_7b_1x1_bn": "conv_7b_bn"}.get(name, name)
            theirs.get_layer(name).set_weights(source.get_weights())
    theirs.get_layer("predictions").set_weights(ours.get_layer("logits").get_weights())


def _in_source(layer: keras.Layer) -> tuple[int, str, int, str]:
    module, _, rest = layer.name.partition("_")
    stages = ["stem", "mixed", "block35", "mixed", "block17", "mixed", "block8"]
    if module == "mixed":
        return 2 * "567".index(rest[0]) + 1, rest[1], 0, rest
    if module.startswith("block"):
        number, _, rest = rest.partition("_")
        return stages.index(module), "", int(number), rest
    return 0, "", 0, rest


@pytest.mark.parametrize("title", ["InceptionV3", "InceptionResNetV2"])
def test_keras_applications(title):
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    theirs = getattr(keras.applications, title)(weights=None, classifier_activation=None)
    ours = getattr(keras_inception, title)(classifier_activation=None)
    randomize(ours)
    _pour(ours, theirs)
    x = images(299)
    assert_same(ours, predict(theirs, x), x, f"keras.applications {title}")
