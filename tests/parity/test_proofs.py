"""What keras_inception/weights/proof.py has written down, asked of the other implementations."""

from __future__ import annotations

import importlib
import sys
import warnings

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
