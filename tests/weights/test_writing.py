"""Out and back in, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_inception
from keras_inception import load_weights, save_weights
from keras_inception.weights import torch
from keras_inception.weights.files import open_file
from keras_inception.weights.names import read_as_ours, written_as_theirs
from tests.weights.checkpoints import random_values, released


def assert_round_trip(title: str, file: str, tmp_path: Path, **arguments: Any) -> keras.Model:
    build = getattr(keras_inception, title)
    model = build(**arguments)
    for layer in model.layers:
        values = random_values({w.name: w.shape for w in layer.weights}, hash(layer.name) % 2**32)
        for weight in layer.weights:
            weight.assign(values[weight.name])
    save_weights(model, tmp_path / file, log=lambda line: None)
    again = build(weights=tmp_path / file, **{**arguments, "variant": None})
    for layer in model.layers:
        for one, other in zip(layer.weights, again.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=layer.name)
    return model


@pytest.mark.parametrize(
    ("title", "file", "arguments"),
    [
        ("InceptionV1", "slim", {"variant": "slim"}),
        ("InceptionV1", "x.safetensors", {"variant": "slim"}),
        ("InceptionV1", "x.safetensors", {"variant": "torchvision", "aux": True}),
        ("InceptionV2", "slim", {"variant": "slim"}),
        ("InceptionV3", "slim", {"aux": True}),
        ("InceptionV3", "x.safetensors", {"aux": True}),
    ],
)
def test_round_trip(title: str, file: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    assert_round_trip(title, file, tmp_path, width=0.125, classes=11, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["slim", "x.safetensors", "x.weights.h5"])
@pytest.mark.parametrize("title", ["InceptionV4", "InceptionResNetV2"])
def test_round_trip_at_full_size(title: str, file: str, tmp_path: Path) -> None:
    aux = "safetensors" not in file
    model = assert_round_trip(title, file, tmp_path, aux=aux, classes=1001)
    if file == "slim":
        network = model.name
        shapes = tf.train.load_checkpoint(str(tmp_path / file)).get_variable_to_shape_map()
        assert {name: tuple(shape) for name, shape in shapes.items()} == released(network)


def test_timms_names_are_all_there(tmp_path: Path) -> None:
    model = keras_inception.InceptionV1(width=0.125, variant="torchvision")
    (tmp_path / "other").touch()
    save_weights(model, tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
    file = open_file(tmp_path / "x.safetensors")
    places = torch.source("inception_v1").places
    expected = {place.name for ours, place in places.items() if not ours.startswith("aux")}
    expected |= {place.gamma for ours, place in places.items()
                 if place.gamma and not ours.startswith("aux")}  # fmt: skip
    found = {name for name in file.shapes if "num_batches_tracked" not in name}
    assert found == expected
    np.testing.assert_array_equal(file.read("conv1.bn.weight"), np.ones(8))


def test_what_others_have_no_name_for(tmp_path: Path) -> None:
    model = keras_inception.InceptionV1(width=0.125, variant="slim", aux=True)
    with pytest.raises(ValueError, match=r"no name in that form for: aux_4a_b_1x1/kernel, .*skip="):
        save_weights(model, tmp_path / "slim")
    assert not list(tmp_path.iterdir())
    save_weights(model, tmp_path / "slim", skip="aux*")
    load_weights(model, tmp_path / "slim", skip="aux*")
    with keras.StatelessScope(initialize_variables=False):
        v2 = keras_inception.InceptionV2()
        counted = keras_inception.InceptionV3(variant="torchvision")
    with pytest.raises(ValueError, match=r"inception_v2 is not among.*weights.h5 file takes it"):
        save_weights(v2, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"our variant 'slim'.*This one is 'torchvision'"):
        save_weights(counted, tmp_path / "slim")
    with pytest.raises(ValueError, match="network of this family"):
        save_weights(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), tmp_path / "x")


def test_another_variant_in_pytorchs_names_is_said(tmp_path: Path) -> None:
    model = keras_inception.InceptionV3(width=0.125)
    said: list[str] = []
    save_weights(model, tmp_path / "x.safetensors", log=said.append)
    assert "our variant 'torchvision', this is 'slim'" in said[0]
    with pytest.raises(ValueError, match="must be 'slim'"):
        keras_inception.InceptionV3(
            width=0.125, weights=tmp_path / "x.safetensors", variant="torchvision"
        )


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("ours", (3,)), ("1x1", (5, 4)), ("oihw", (3, 1, 5, 4)), ("oi", (5, 4)), ("flat", (32, 3))],
)
def test_layouts_come_back(layout: Any, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    theirs = written_as_theirs(layout, array)
    np.testing.assert_array_equal(read_as_ours(layout, theirs), array)


def test_a_flattened_map_is_read_channels_first() -> None:
    """PyTorch flattens [channels, 4, 4], Keras [4, 4, channels]; the dense layer says the same."""
    random = np.random.default_rng(0)
    maps, kernel = random.normal(size=(2, 4, 4, 6)), random.normal(size=(5, 96))
    theirs = maps.transpose(0, 3, 1, 2).reshape(2, -1) @ kernel.T
    ours = maps.reshape(2, -1) @ read_as_ours("flat", kernel)
    np.testing.assert_allclose(ours, theirs)
