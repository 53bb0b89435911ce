"""What keras_inception/weights/proof.py has written down, asked of the other implementations."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim
import torch
from tf_slim.nets import inception

from keras_inception.weights.proof import PROVED, image, value
from tests.parity import no_torchvision

no_torchvision.install()
import timm  # noqa: E402
from facenet_pytorch import InceptionResnetV1  # noqa: E402

v1 = tf.compat.v1
for name in ("legacy_tf_layers", "legacy_tf_layers.normalization"):
    sys.modules[f"tf_keras.{name}"] = importlib.import_module(f"tf_keras.src.{name}")

Answers = dict[str, np.ndarray]
KERAS = {"inception_v3": "InceptionV3", "inception_resnet_v2": "InceptionResNetV2"}


def slim(network: str) -> Answers:
    build = getattr(inception, network)
    x = image(build.default_image_size)
    graph = tf.Graph()
    with graph.as_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 1's words are deprecated; they are its own
        placeholder = v1.placeholder(tf.float32, x.shape)
        with tf_slim.arg_scope(getattr(inception, f"{network}_arg_scope")()):
            _, points = build(placeholder, num_classes=1001, is_training=False)
        values = {
            each.initializer: value(each.op.name, tuple(each.shape.as_list()))
            for each in v1.global_variables()
        }
        with v1.Session(graph=graph) as session:
            session.run(list(values), {op.inputs[1]: array for op, array in values.items()})
            found = session.run(dict(points), {placeholder: x})
    names = {"predictions": "Logits", "aux": "AuxLogits"}
    return {ours: found[theirs][0] for ours, theirs in names.items() if theirs in found}


def keras_applications(network: str) -> Answers:
    keras.backend.clear_session()
    model = getattr(keras.applications, KERAS[network])(weights=None, classifier_activation=None)
    for weight in model.weights:
        weight.assign(value(weight.path, tuple(weight.shape)))
    return {"predictions": np.asarray(model(image(299), training=False))[0]}


def in_timm(network: str) -> Answers:
    aux = network == "inception_v3"
    model = timm.create_model(network, **({"aux_logits": True} if aux else {})).eval()
    x = torch.from_numpy(image(299).transpose(0, 3, 1, 2))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                array = value(name, tuple(tensor.shape), out_first=True)
                tensor.copy_(torch.from_numpy(array))
        answer = model(x)
    answers = answer if aux else [answer]
    found = {
        name: each.numpy()[0] for name, each in zip(("predictions", "aux"), answers, strict=False)
    }
    return found


def facenet(network: str) -> Answers:
    """facenet-pytorch's, by the names of its own state dict."""
    return {"predictions": _in_facenet(lambda name, shape: value(name, shape, out_first=True))}


def facenet_slim(network: str) -> Answers:
    """The same network under facenet's names."""

    def slims(name: str, shape: tuple[int, ...]) -> np.ndarray:
        theirs = _facenets_name(name)
        if theirs.endswith("gamma"):
            return np.ones(shape, np.float32)  # facenet has none
        if len(shape) == 4:  # out, in, height, width
            array = value(theirs, (shape[2], shape[3], shape[1], shape[0]))
            return array.transpose(3, 2, 0, 1)
        return value(theirs, shape[::-1]).T

    return {"predictions": _in_facenet(slims)}


def _in_facenet(values: Callable[[str, tuple[int, ...]], np.ndarray]) -> np.ndarray:
    model = InceptionResnetV1(classify=True, num_classes=1001).eval()
    x = torch.from_numpy(image(299).transpose(0, 3, 1, 2))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(torch.from_numpy(values(name, tuple(tensor.shape)).copy()))
        return model(x).numpy()[0]


def _facenets_name(name: str) -> str:
    """What facenet calls a variable of facenet-pytorch's, by facenet's own source.

    ``src/models/inception_resnet_v1.py``: slim's ``repeat`` numbers its blocks from 1; in a branch
    the convolution that halves the grid is ``1a``, the others are 0a, 0b, ... in turn, but for one
    by itself.
    """
    module, _, part = name.rpartition(".")
    module = module.removesuffix(".conv").removesuffix(".bn")
    if module == "logits":
        return f"Logits/{'weights' if part == 'weight' else 'biases'}"
    kinds = {"bias": "beta", "weight": "gamma", "running_mean": "moving_mean"}
    kinds["running_var"] = "moving_variance"
    norm = name.rpartition(".")[0].endswith("bn")
    kind = f"BatchNorm/{kinds[part]}" if norm else {"weight": "weights", "bias": "biases"}[part]
    return f"InceptionResnetV1/{_facenets_scope(module)}/{kind}"


def _facenets_scope(module: str) -> str:
    first, *rest = module.split(".")
    if first.startswith("conv2d"):
        return {"1a": "Conv2d_1a_3x3", "2a": "Conv2d_2a_3x3", "2b": "Conv2d_2b_3x3",
                "3b": "Conv2d_3b_1x1", "4a": "Conv2d_4a_3x3", "4b": "Conv2d_4b_3x3"}[
            first.removeprefix("conv2d_")
        ]  # fmt: skip
    if first.startswith("last"):
        return "Bottleneck"
    if first.startswith("repeat"):
        number = int(first[-1])
        kind, sizes = {
            1: ("Repeat/block35", ("1x1", "3x3", "3x3")),
            2: ("Repeat_1/block17", ("1x1", "1x7", "7x1")),
            3: ("Repeat_2/block8", ("1x1", "1x3", "3x1")),
        }[number]
        scope, rest = f"{kind}_{int(rest[0]) + 1}", rest[1:]
    elif first == "block8":
        scope, sizes = "Block8", ("1x1", "1x3", "3x1")
    else:
        scope, sizes = first.capitalize(), ("1x1", "3x3", "3x3")
    if rest == ["conv2d"]:
        return f"{scope}/Conv2d_1x1"
    branch = rest[0].removeprefix("branch")
    if len(rest) == 1:
        alone = "Conv2d_1a_3x3" if scope == "Mixed_6a" else "Conv2d_1x1"
        return f"{scope}/Branch_{branch}/{alone}"
    halving = {
        ("Mixed_6a", "1"): 2,
        ("Mixed_7a", "0"): 1,
        ("Mixed_7a", "1"): 1,
        ("Mixed_7a", "2"): 2,
    }
    at = int(rest[1])
    letter = "1a" if halving.get((scope, branch)) == at else f"0{'abc'[at]}"
    return f"{scope}/Branch_{branch}/Conv2d_{letter}_{sizes[at]}"


def googlenet(network: str) -> Answers:
    """torchvision's forward pass in PyTorch's operations, read off the names of its state dict."""
    f = torch.nn.functional

    def conv(name: str, shape: tuple[int, ...], x: torch.Tensor, **how: int) -> torch.Tensor:
        def of(part: str, shape: tuple[int, ...]) -> torch.Tensor:
            return torch.from_numpy(value(f"{name}.{part}", shape, out_first=True))

        x = f.conv2d(x, of("conv.weight", (shape[0], x.shape[1], *shape[1:])), **how)
        norm = [of(f"bn.{part}", shape[:1]) for part in ("running_mean", "running_var")]
        scale = [of(f"bn.{part}", shape[:1]) for part in ("weight", "bias")]
        return f.relu(f.batch_norm(x, *norm, *scale, eps=1e-3))

    def inception(name: str, x: torch.Tensor, *row: int) -> torch.Tensor:
        c1, reduce3, c3, reduce5, c5, pool = row
        columns = [
            conv(f"{name}.branch1", (c1, 1, 1), x),
            conv(f"{name}.branch2.1", (c3, 3, 3),
                 conv(f"{name}.branch2.0", (reduce3, 1, 1), x), padding=1),
            conv(f"{name}.branch3.1", (c5, 3, 3),
                 conv(f"{name}.branch3.0", (reduce5, 1, 1), x), padding=1),
            conv(f"{name}.branch4.1", (pool, 1, 1), f.max_pool2d(x, 3, 1, 1)),
        ]  # fmt: skip
        return torch.cat(columns, 1)

    x = torch.from_numpy(image(224).transpose(0, 3, 1, 2))
    x = f.max_pool2d(conv("conv1", (64, 7, 7), x, stride=2, padding=3), 3, 2, ceil_mode=True)
    x = conv("conv3", (192, 3, 3), conv("conv2", (64, 1, 1), x), padding=1)
    x = f.max_pool2d(x, 3, 2, ceil_mode=True)
    x = inception("inception3a", x, 64, 96, 128, 16, 32, 32)
    x = inception("inception3b", x, 128, 128, 192, 32, 96, 64)
    x = f.max_pool2d(x, 3, 2, ceil_mode=True)
    x = inception("inception4a", x, 192, 96, 208, 16, 48, 64)
    x = inception("inception4b", x, 160, 112, 224, 24, 64, 64)
    x = inception("inception4c", x, 128, 128, 256, 24, 64, 64)
    x = inception("inception4d", x, 112, 144, 288, 32, 64, 64)
    x = inception("inception4e", x, 256, 160, 320, 32, 128, 128)
    x = f.max_pool2d(x, 2, 2, ceil_mode=True)
    x = inception("inception5a", x, 256, 160, 320, 32, 128, 128)
    x = inception("inception5b", x, 384, 192, 384, 48, 128, 128).mean((2, 3))
    kernel = torch.from_numpy(value("fc.weight", (1000, 1024), out_first=True))
    bias = torch.from_numpy(value("fc.bias", (1000,)))
    return {"predictions": f.linear(x, kernel, bias).numpy()[0]}


ASKED = {
    ("torch", "inception_v1"): googlenet,
    ("torch", "inception_resnet_v1"): facenet,
    ("slim", "inception_resnet_v1"): facenet_slim,
    **{("slim", network): slim for network in ("inception_v1", "inception_v2", "inception_v3")},
    **{("keras", network): keras_applications for network in KERAS},
    **{
        ("torch", each): in_timm for each in ("inception_v3", "inception_v4", "inception_resnet_v2")
    },
}


@pytest.mark.parametrize(("source", "network"), ASKED)
def test_proofs(source: str, network: str) -> None:
    proof = PROVED[source, network]
    found = ASKED[source, network](network)
    assert found["predictions"].size == proof.classes
    np.testing.assert_allclose(found["predictions"].std(), proof.spread, rtol=1e-3)
    expected = {"predictions": proof.logits, **proof.aux}
    assert found.keys() == expected.keys()
    for output, logits in expected.items():
        difference = np.abs(found[output][: len(logits)] - logits).max() / proof.spread
        print(f"\n{proof.by} {network} {output}: {difference:.2e} standard deviations", end="")
        assert difference < 1e-4


def test_everything_that_can_be_asked_is() -> None:
    ours = {key for key, proof in PROVED.items() if proof.by == "this package"}
    assert PROVED.keys() - ours == ASKED.keys()
