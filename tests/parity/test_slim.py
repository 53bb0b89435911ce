"""TF-Slim: inception_v1, v2 and v3 in its own graph and session, our weights assigned by name."""

from __future__ import annotations

import importlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim
from keras import layers
from tf_slim.nets import inception

import keras_inception
from tests.models.released import BUILDERS, our_layers
from tests.parity.weights import assert_same, difference, images, predict, randomize

v1 = tf.compat.v1
# TensorFlow still looks for the legacy layers where tf_keras had them before its own `src`.
for name in ("legacy_tf_layers", "legacy_tf_layers.normalization"):
    sys.modules[f"tf_keras.{name}"] = importlib.import_module(f"tf_keras.src.{name}")


def _values(ours: keras.Model, variables: list[str]) -> dict[str, np.ndarray]:
    """A value of ours for each of TF-Slim's variables: ``InceptionV3/Mixed_5b/.../weights``."""
    scopes: dict[str, dict[str, str]] = {}
    for variable in variables:
        scope, _, rest = variable.partition("/")[2].rpartition("/")
        if scope.endswith("/BatchNorm"):
            scope, rest = scope.removesuffix("/BatchNorm"), f"BatchNorm/{rest}"
        scopes.setdefault(scope, {})[rest] = variable
    slim = [scope for scope, parts in scopes.items() if "depthwise_weights" not in parts]
    found = our_layers(slim, ours, layers.Conv2D)
    values = {}
    for scope, parts in scopes.items():
        layer = found[scope] if scope in found else ours.get_layer("stem_a_7x7")
        for part, variable in parts.items():
            if part.startswith("BatchNorm/"):
                norm = ours.get_layer(f"{layer.name}_bn")
                value = getattr(norm, part.removeprefix("BatchNorm/"))
            elif part.startswith(("depthwise", "pointwise")):
                value = getattr(layer, part.replace("weights", "kernel"))
            else:
                value = layer.bias if part == "biases" else layer.kernel
            values[variable] = keras.ops.convert_to_numpy(value)
    return values


def _run_slim(network: str, ours: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Its end points for a batch of images."""
    graph = tf.Graph()
    with graph.as_default():
        placeholder = v1.placeholder(tf.float32, x.shape)
        with tf_slim.arg_scope(getattr(inception, f"{network}_arg_scope")()):
            build = getattr(inception, network)
            _, end_points = build(placeholder, num_classes=1001, is_training=False)
        variables = {each.op.name: each for each in v1.global_variables()}
    values = _values(ours, list(variables))
    assert sum(value.size for value in values.values()) == ours.count_params()
    with v1.Session(graph=graph) as session:
        for name, variable in variables.items():
            # A dense layer of ours is a 1x1 convolution there.
            variable.load(values[name].reshape(variable.shape), session)
        return session.run(dict(end_points), {placeholder: x})


@pytest.mark.filterwarnings("ignore")  # TensorFlow 1's words are deprecated; they are its own
@pytest.mark.parametrize("network", ["inception_v1", "inception_v2", "inception_v3"])
def test_slim(network):
    keras.utils.set_random_seed(0)
    title, arguments = BUILDERS[network]
    builder = getattr(keras_inception, title)
    ours = builder(classes=1001, classifier_activation=None, **arguments)
    randomize(ours)
    x = images(ours.input.shape[1])
    theirs = _run_slim(network, ours, x)
    if "aux" in arguments:
        found = difference(np.asarray(ours(x)["aux"]), theirs["AuxLogits"])
        print(f"\ntf-slim {network}, auxiliary head: {found:.2e}", end="")
        assert found < 1e-3
    assert_same(ours, theirs["Logits"], x, f"tf-slim {network}")
    points = keras_inception.endpoints(ours)
    names = [name for name in theirs if name.startswith(("Conv", "Max", "Mixed"))]
    inner = keras_inception.features(ours, at=names)(x)
    for name in names:
        assert points[name].shape[1:] == theirs[name].shape[1:]
        scale = theirs[name].std()
        np.testing.assert_allclose(inner[name], theirs[name], atol=1e-3 * scale, err_msg=name)


def test_predict_takes_the_classifier(monkeypatch):
    model = keras_inception.InceptionV1(stem="small", width=0.125, classes=3, aux=True)
    assert predict(model, images(32)).shape == (2, 3)
