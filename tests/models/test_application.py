"""The shell around the networks: arguments, errors, heads, dtypes, files."""

from __future__ import annotations

import inspect
import pickle
import pydoc
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import (
    InceptionResNetV1,
    InceptionV1,
    InceptionV2,
    InceptionV3,
    endpoints,
    loss_weights,
)
from keras_inception.models.application import Builder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "imagnet"}, r"`weights` .* Received: weights='imagnet'"),
        ({"variant": "keras"}, "one of 'paper', 'slim', 'torchvision'. Received: variant='keras'"),
        ({"stem": "tiny"}, "one of 'imagenet', 'small'. Received: stem='tiny'"),
        ({"pooling": "mean", "include_top": False}, "one of None, 'avg', 'max'. .*'mean'"),
        ({"pooling": "avg"}, "without its top.* Received: pooling='avg'"),
        ({"classes": 0}, "at least 1. Received: classes=0"),
        ({"classes": 10.0}, "whole number .* Received: classes=10.0"),
        ({"classes": True}, "Received: classes=True"),
        ({"dropout": 1.0}, "below 1. Received: dropout=1.0"),
        ({"dropout": "high"}, "Received: dropout='high'"),
        ({"width": 0}, "above 0. Received: width=0"),
        ({"width": "half"}, "Received: width='half'"),
        ({"momentum": 1}, "Received: momentum=1"),
        ({"epsilon": 0}, "Received: epsilon=0"),
        ({"aux": True, "include_top": False}, "include_top=True. Received: include_top=False"),
        ({"classifier_activation": "sofmax"}, "'softmax' .* Received: classifier_activation='sof"),
        ({"classifier_activation": 3}, "Received: classifier_activation=3"),
        ({"input_shape": (224, 224)}, r"channels last .* Received: input_shape=\(224, 224\)"),
        ({"input_shape": 224}, "Received: input_shape=224"),
        ({"input_shape": (224, 0, 3)}, r"Received: input_shape=\(224, 0, 3\)"),
        ({"input_shape": (224, 224, None)}, r"Received: input_shape=\(224, 224, None\)"),
        ({"input_tensor": np.zeros((1, 224, 224, 3))}, "Keras tensor of shape"),
        ({"input_tensor": keras.Input((224, 3))}, "Keras tensor of shape"),
        (
            {"input_tensor": keras.Input((224, 224, 3)), "input_shape": (299, 299, 3)},
            r"equal the shape of `input_tensor`, \(224, 224, 3\).* Received: input_shape=\(299",
        ),
        (
            {"input_shape": (None, None, 3), "aux": True},
            "fixed input size.* None x None.*aux=False",
        ),
        ({"input_shape": (64, 224, 3), "aux": True}, "65 x 65 .* 64 x 224.*small.*aux=False"),
        ({"input_shape": (27, 27, 3), "stem": "small"}, "28 x 28 pixels. Received: .* 27 x 27"),
    ],
)
def test_a_mistake_is_answered_with_the_rule_and_the_value(arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        InceptionV1(**arguments)


def test_auxiliary_heads_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="InceptionResNetV1 has no auxiliary heads"):
        InceptionResNetV1(aux=True)


def test_numbers_may_be_numpys(build):
    model = build("InceptionV1", classes=np.int64(7), width=np.float32(0.25), epsilon=np.float32(1))
    assert model.output.shape == (None, 7)
    model.to_json()


def test_the_top(build):
    model = build("InceptionV3", classes=7, classifier_activation="sigmoid", name="mine")
    assert model.name == "mine"
    assert model.get_layer("predictions").activation.__name__ == "sigmoid"
    assert model.get_layer("dropout").rate == 0.2
    assert build("InceptionV1").get_layer("dropout").rate == 0.4
    assert build("InceptionV3", dropout=0.5).get_layer("dropout").rate == 0.5
    logits = build("InceptionV3", classifier_activation=None)
    assert logits.layers[-1].name == "logits" and logits.output.shape == (None, 1000)


@pytest.mark.parametrize(("pooling", "shape"), [(None, (None, 7, 7, 1024)), ("max", (None, 1024))])
def test_pooling_without_top(build, pooling, shape):
    assert build("InceptionV1", include_top=False, pooling=pooling).output.shape == shape


def test_momentum_and_epsilon_reach_every_batch_normalization(build):
    model = build("InceptionV3", momentum=0.9, epsilon=1e-5)
    norms = [layer for layer in model.layers if type(layer) is layers.BatchNormalization]
    assert {(norm.momentum, norm.epsilon, norm.scale) for norm in norms} == {(0.9, 1e-5, False)}
    assert len(norms) == 94
    norm = build("InceptionV3").get_layer("stem_a_3x3_bn")
    assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)


def test_an_input_tensor_may_come_out_of_other_layers():
    image = keras.Input((32, 32, 1), name="grey")
    rgb = layers.Concatenate(name="rgb")([image, image, image])
    model = InceptionV1(input_tensor=rgb, stem="small", width=0.125, classes=4, aux=True)
    assert model.get_layer("rgb") and model.get_layer("grey")
    outputs = model(np.zeros((2, 32, 32, 1)))
    assert {name: value.shape for name, value in outputs.items()} == {
        "predictions": (2, 4),
        "aux_4a": (2, 4),
        "aux_4d": (2, 4),
    }


@pytest.mark.parametrize(
    ("title", "weights"),
    [
        ("InceptionV1", {"predictions": 1.0, "aux_4a": 0.3, "aux_4d": 0.3}),
        ("InceptionV2", {"predictions": 1.0, "aux_4a": 0.3, "aux_4d": 0.3}),
        ("InceptionV3", {"predictions": 1.0, "aux": 0.4}),
        ("InceptionV4", {"predictions": 1.0, "aux": 0.4}),
        ("InceptionResNetV2", {"predictions": 1.0, "aux": 0.4}),
    ],
)
def test_auxiliary_heads_are_named_outputs_with_published_weights(build, title, weights):
    model = build(title, aux=True, classes=1001)
    assert loss_weights(model) == weights
    assert {name: tensor.shape for name, tensor in model.output.items()} == dict.fromkeys(
        weights, (None, 1001)
    )
    with pytest.raises(ValueError, match=r"aux=True. Received: model='inception"):
        loss_weights(build(title))


def test_loss_weights_of_a_loaded_model(tmp_path):
    model = InceptionV1(stem="small", width=0.125, classes=3, aux=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loss_weights(loaded) == {"predictions": 1.0, "aux_4a": 0.3, "aux_4d": 0.3}


def test_a_builder_reads_as_a_function_of_its_file():
    assert list(inspect.signature(InceptionV3).parameters) == [
        *("include_top", "weights", "input_tensor", "input_shape", "pooling", "classes"),
        *("classifier_activation", "name", "aux", "dropout", "width", "stem", "variant"),
        *("momentum", "epsilon", "scale", "ema", "skip", "fold_gamma", "embedding"),
    ]
    assert isinstance(InceptionV3, Builder)
    assert (InceptionV3.__name__, InceptionV3.__module__) == (
        "InceptionV3",
        "keras_inception.models.networks.inception_v3",
    )
    assert pickle.loads(pickle.dumps(InceptionV3)) is InceptionV3
    text = pydoc.render_doc(InceptionV3, renderer=pydoc.plaintext)
    for part in ("arXiv:1512.00567", "299 x 299 x 3 by default", "107 with auxiliary", "Raises:"):
        assert part in text
    assert "with auxiliary heads" not in InceptionResNetV1.__doc__


@pytest.mark.parametrize("builder", [InceptionV1, InceptionV3])
def test_auxiliary_heads_train_in_one_fit(builder):
    model = builder(stem="small", width=0.125, classes=3, aux=True)
    heads = [layer for layer in model.layers if layer.name.startswith("aux") and layer.weights]
    before = [layer.get_weights()[0] for layer in heads]
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=dict.fromkeys(model.output, "sparse_categorical_crossentropy"),
        loss_weights=loss_weights(model),
        run_eagerly=True,  # one step: not worth a graph
    )
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype("float32")
    labels = np.array([0, 1, 2, 0])
    history = model.fit(images, dict.fromkeys(model.output, labels), verbose=0).history
    weighted = [history[f"{name}_loss"][0] * w for name, w in loss_weights(model).items()]
    np.testing.assert_allclose(history["loss"][0], sum(weighted), rtol=1e-5)
    after = [layer.get_weights()[0] for layer in heads]
    assert all((old != new).any() for old, new in zip(before, after, strict=True))


@pytest.fixture
def dtype_policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_predictions_are_float32_whatever_the_policy(dtype_policy, policy):
    dtype_policy(policy)
    model = InceptionV1(stem="small", width=0.125, classes=5, aux=True)
    assert model.get_layer("inception_5b").compute_dtype == policy.removeprefix("mixed_")
    outputs = model(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)))
    for name, value in outputs.items():
        assert model.output[name].dtype == "float32"
        value = keras.ops.convert_to_numpy(value)
        assert value.dtype == np.float32
        np.testing.assert_allclose(value.sum(axis=1), 1.0, rtol=1e-6)


def test_channels_stay_last_whatever_keras_is_told(narrow):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model = InceptionV1(stem="small", width=0.125, classes=10, aux=True)
    finally:
        keras.config.set_image_data_format(before)
    formats = {getattr(layer, "data_format", "channels_last") for layer in model.layers}
    assert formats == {"channels_last"}
    assert endpoints(model)["inception_5b"].shape[1:3] == (4, 4)


LOAD = """
    import sys
    sys.modules["keras_inception"] = None  # importing it is an error
    import keras, numpy as np
    images = np.load("images.npy")
    for name in sys.argv[1:]:
        model = keras.models.load_model(f"{name}.keras")
        np.testing.assert_allclose(model(images), np.load(f"{name}.npy"), rtol=1e-5, atol=1e-6)
"""


def test_saved_models_open_where_this_package_is_not(tmp_path):
    small = {"width": 0.125, "classes": 5, "input_shape": (75, 75, 3)}
    # One network for every kind of layer: separable, padded pools, residual, auxiliary heads.
    models = {
        "v2_slim": InceptionV2(variant="slim", **small),
        "v3_torchvision": InceptionV3(variant="torchvision", **small),
        "resnet_v1": InceptionResNetV1(**small),
    }
    images = np.random.default_rng(0).uniform(-1, 1, (2, 75, 75, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    for name, model in models.items():
        assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", model(images))
    subprocess.run([sys.executable, "-c", textwrap.dedent(LOAD), *models], cwd=tmp_path, check=True)
