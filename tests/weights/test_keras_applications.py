"""keras.applications's files: as it writes them today, and as it published them in 2017."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import keras_inception
from keras_inception import WeightsError, load_weights
from tests.weights.checkpoints import random_values

SIDE = 107
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype("f4")


def filled(title: str, **arguments: object) -> keras.Model:
    """Theirs, with a random value in every variable."""
    build = getattr(keras.applications, title)
    model = build(
        weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None, **arguments
    )
    for weight in model.weights:
        seed = zlib.crc32(weight.path.encode())
        weight.assign(random_values({weight.name: weight.shape}, seed)[weight.name])
    return model


def write_as_published(path: Path, model: keras.Model) -> None:
    """As Keras 2 wrote it: numbers from 1, ``conv2d_1/kernel:0``, names as bytes."""

    def renumbered(name: str) -> str:
        kind, _, number = name.rpartition("_")
        if name in ("conv2d", "batch_normalization"):
            return f"{name}_1"
        if kind in ("conv2d", "batch_normalization"):
            return f"{kind}_{int(number) + 1}"
        return name

    with h5py.File(path, "w") as file:
        layers = [renumbered(layer.name) for layer in model.layers]
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, name in zip(model.layers, layers, strict=True):
            group = file.create_group(name)
            names = [f"{name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [each.encode() for each in names]
            for each, weight in zip(names, layer.weights, strict=True):
                group.create_dataset(each, data=np.asarray(weight))


def test_the_residual_network_as_published_is_theirs(tmp_path: Path) -> None:
    """Its published file has layers of weightless sums, ``block35_1``, which are names here too."""
    model = keras.Sequential([keras.Input((1, 1, 3)), keras.layers.Conv2D(2, 1, name="conv2d")])
    write_as_published(tmp_path / "published.h5", model)
    with h5py.File(tmp_path / "published.h5", "r+") as file:
        more = [f"block35_{number}" for number in range(1, 11)] + ["conv_7b"]
        file.attrs["layer_names"] = [name.encode() for name in ["conv2d_1", *more]]
        for name in more:
            file.create_group(name).attrs["weight_names"] = np.array([], "S1")
    with pytest.raises(ValueError, match=r"holds inception_resnet_v2\. Needed: inception_v4"):
        keras_inception.InceptionV4(weights=tmp_path / "published.h5")
    with pytest.raises(ValueError, match="numbers 203 layers conv2d_N"):
        keras_inception.InceptionResNetV2(weights=tmp_path / "published.h5")


def assert_same(ours: keras.Model, theirs: keras.Model) -> None:
    expected = np.asarray(theirs(IMAGES, training=False))
    found = np.asarray(ours(IMAGES, training=False))
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * expected.std()
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std())


@pytest.mark.parametrize(
    "title", ["InceptionV3", pytest.param("InceptionResNetV2", marks=pytest.mark.slow)]
)
def test_every_form(title: str, tmp_path: Path) -> None:
    build, arguments = getattr(keras_inception, title), {"input_shape": (SIDE, SIDE, 3)}
    with keras.StatelessScope(initialize_variables=False):
        getattr(keras.applications, title)(weights=None)  # the numbers go on from here
    theirs = filled(title)
    assert "conv2d" not in {layer.name for layer in theirs.layers}
    theirs.save_weights(tmp_path / "today.weights.h5")
    write_as_published(tmp_path / "published.h5", theirs)
    ours = build(weights=tmp_path / "today.weights.h5", classifier_activation=None, **arguments)
    assert_same(ours, theirs)
    for file in ("published.h5", "model.keras")[: 1 if title == "InceptionV3" else 2]:
        if file == "model.keras":
            theirs.save(tmp_path / file)
        before = [np.array(weight) for weight in ours.weights]
        for weight in ours.weights:
            weight.assign(np.zeros(weight.shape))
        load_weights(ours, tmp_path / file)
        for one, other in zip(ours.weights, before, strict=True):
            np.testing.assert_array_equal(one, other)

    without = keras.Model(theirs.input, theirs.get_layer("avg_pool").output)
    without.save_weights(tmp_path / "notop.weights.h5")
    body = build(weights=tmp_path / "notop.weights.h5", include_top=False, **arguments)
    for layer in body.layers:
        for one, other in zip(layer.weights, ours.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(
        WeightsError, match=r"Missing: logits/kernel \(predictions/kernel\), logits/"
    ):
        load_weights(ours, tmp_path / "notop.weights.h5")
    with pytest.raises(ValueError, match=r"holds inception_.*Needed: inception_v4"):
        keras_inception.InceptionV4(weights=tmp_path / "notop.weights.h5")
