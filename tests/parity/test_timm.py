"""timm, on PyTorch: inception_v3, inception_v4, inception_resnet_v2; its weights in ours."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import torch
from keras import layers

import keras_inception
from tests.parity import no_torchvision
from tests.parity.weights import assert_same, difference, images, predict

no_torchvision.install()
import timm  # noqa: E402


def _modules(title: str) -> dict[str, str]:
    """Each of our modules, and timm's name of it."""
    if title == "InceptionV3":
        stem = {"a": "1a_3x3", "b": "2a_3x3", "c": "2b_3x3", "e": "3b_1x1", "f": "4a_3x3"}
        names = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
        modules = {f"stem_{letter}": f"Conv2d_{name}" for letter, name in stem.items()}
        return modules | {f"mixed_{name}": f"Mixed_{name}" for name in names}
    if title == "InceptionV4":
        names = [f"stem_{letter}" for letter in "abcdef"]
        names += [f"mixed_5{letter}" for letter in "bcde"]
        names += [f"mixed_6{letter}" for letter in "abcdefgh"]
        names += [f"mixed_7{letter}" for letter in "abcd"]
        return {name: f"features.{index}" for index, name in enumerate(names)}
    modules = {"stem_a": "conv2d_1a", "stem_b": "conv2d_2a", "stem_c": "conv2d_2b"}
    modules |= {"stem_e": "conv2d_3b", "stem_f": "conv2d_4a", "conv_7b": "conv2d_7b"}
    modules |= {name: name for name in ("mixed_5b", "mixed_6a", "mixed_7a")}
    for ours, theirs, count in (("35", "repeat", 10), ("17", "repeat_1", 20), ("8", "repeat_2", 9)):
        modules |= {f"block{ours}_{n + 1}": f"{theirs}.{n}" for n in range(count)}
    return modules | {"block8_10": "block8"}


def _pairs(ours: keras.Model, theirs: torch.nn.Module) -> Iterator[tuple[keras.Layer, str]]:
    """Our convolutions with timm's names; within a module both keep columns and words in order."""
    convolutions = [
        name for name, module in theirs.named_modules() if isinstance(module, torch.nn.Conv2d)
    ]
    mine = [layer for layer in ours.layers if type(layer) is layers.Conv2D]
    count = 0
    for module, name in _modules(
        {"Inception3": "InceptionV3"}.get(_class(theirs), _class(theirs))
    ).items():
        here = [each for each in convolutions if each.startswith(f"{name}.")]
        inside = [layer for layer in mine if layer.name.startswith(f"{module}_")]
        inside.sort(key=lambda layer: layer.name)
        yield from zip(inside, here, strict=True)
        count += len(here)
    assert count == len(convolutions) == len(mine)


def _class(model: torch.nn.Module) -> str:
    return type(model).__name__.replace("InceptionResnetV2", "InceptionResNetV2")


def _pour(theirs: torch.nn.Module, ours: keras.Model) -> None:
    """Its batch normalization has gamma, ours has none: folded into the kernel, exactly."""
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    for layer, name in _pairs(ours, theirs):
        kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
        norm = f"{name.removesuffix('.conv')}.bn"
        if f"{norm}.weight" not in state:
            layer.set_weights([kernel, state[f"{name}.bias"]])
            continue
        gamma = state[f"{norm}.weight"]
        layer.set_weights([kernel * gamma])
        ours.get_layer(f"{layer.name}_bn").set_weights(
            [
                state[f"{norm}.bias"],
                state[f"{norm}.running_mean"] * gamma,
                state[f"{norm}.running_var"],
            ]
        )
    classifier = {"Inception3": "fc", "InceptionV3": "fc", "InceptionV4": "last_linear"}
    name = classifier.get(_class(theirs), "classif")
    ours.get_layer("logits").set_weights([state[f"{name}.weight"].T, state[f"{name}.bias"]])


def _randomize(model: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)


@pytest.mark.parametrize(
    ("name", "title", "arguments"),
    [
        ("inception_v3", "InceptionV3", {"variant": "torchvision"}),
        ("inception_v4", "InceptionV4", {}),
        ("inception_resnet_v2", "InceptionResNetV2", {}),
    ],
)
def test_timm(name, title, arguments):
    theirs = timm.create_model(name).eval()
    _randomize(theirs)
    ours = getattr(keras_inception, title)(classifier_activation=None, **arguments)
    with torch.no_grad():
        _pour(theirs, ours)
        x = images(299)
        logits = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    assert_same(ours, logits, x, f"timm {name}")
    if arguments:  # with the padding left out of the means, it is another network
        slim = getattr(keras_inception, title)(classifier_activation=None)
        for layer in slim.layers:
            layer.set_weights(ours.get_layer(layer.name).get_weights())
        assert difference(predict(slim, x), logits) > 0.1


def test_torchs_padding_of_the_first_convolution():
    """torchvision's GoogLeNet pads its 7x7 by 3 on every side, which ``same`` does not."""
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 64)).astype("float32")
    x = images(224)
    theirs = torch.nn.functional.conv2d(
        torch.from_numpy(x.transpose(0, 3, 1, 2)),
        torch.from_numpy(kernel.transpose(3, 2, 0, 1)),
        stride=2,
        padding=3,
    ).numpy()
    for variant, same in (("torchvision", True), ("slim", False)):
        model = keras_inception.InceptionV1(variant=variant)
        model.get_layer("stem_a_7x7").set_weights([kernel])
        ours = keras.Model(model.input, model.get_layer("stem_a_7x7").output)(x)
        close = np.allclose(np.asarray(ours), theirs.transpose(0, 2, 3, 1), atol=1e-3)
        assert close is same
