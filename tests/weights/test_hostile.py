"""Files that lie or are damaged: one kind of error, with the file's name; nothing is believed."""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_inception
from keras_inception.weights.files import open_file
from keras_inception.weights.keras_applications import INCEPTION_V3, in_order, network_of, source
from tests.weights.checkpoints import write_frozen, write_v1

VALUES = {
    "InceptionV1/Conv2d_1a_7x7/weights": np.ones((3, 3, 2, 4), np.float32),
    "InceptionV1/Conv2d_1a_7x7/BatchNorm/beta": np.arange(4, dtype=np.float32),
}


def small() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_a_3x3")(image)
    x = keras.layers.BatchNormalization(name="stem_a_3x3_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2, name="logits")(x))


def write_h5(path: Path) -> None:
    small().save_weights(path.with_name("x.weights.h5"))
    path.with_name("x.weights.h5").rename(path)


def write_keras(path: Path) -> None:
    small().save(path.with_name("x.keras"))
    path.with_name("x.keras").rename(path)


def write_safetensors(path: Path) -> None:
    save_file({"a.conv.weight": np.ones((3, 4), np.float32)}, str(path), {"keras_inception": "{}"})


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_v1(path, VALUES),
        lambda path: write_frozen(path, VALUES),
        write_h5,
        write_keras,
        write_safetensors,
    ],
    ids=["checkpoint", "frozen", "h5", "keras", "safetensors"],
)
def test_a_damaged_file_of_any_form(write: Callable[[Path], object], tmp_path: Path) -> None:
    """Bytes changed anywhere, and cut anywhere: it is read, or a ValueError names it."""
    path = tmp_path / "weights"
    write(path)
    whole = path.read_bytes()
    refused = 0
    for seed in range(150):
        chance = random.Random(seed)
        content = bytearray(whole)
        if seed % 5 == 0:
            content = content[: chance.randrange(len(content))]
        for _ in range(chance.choice([1, 2, 16])):
            if content:
                front = min(len(content), 600)
                place = chance.randrange(front if chance.random() < 0.5 else len(content))
                place = place if chance.random() < 0.5 else len(content) - 1 - place
                content[place] = chance.choice([0, 255, 127, chance.randrange(256)])
        path.unlink()  # HDF5 would take it for the one that it has open
        path.write_bytes(content)
        try:
            opened = open_file(path)
            for name in opened.shapes:
                opened.read(name)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 10


def test_values_that_lie_in_another_file(tmp_path: Path) -> None:
    """HDF5 can point to any file of this machine, as four things."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.zeros(4)

    def external_link(group: h5py.Group) -> None:
        group["kernel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "values")

    def soft_link(group: h5py.Group) -> None:
        group["kernel"] = h5py.SoftLink("/elsewhere")

    def external_storage(group: h5py.Group) -> None:
        group.create_dataset("kernel", (8,), "f8", external=[(str(secret), 0, 64)])

    def virtual(group: h5py.Group) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "values", (4,))
        group.create_virtual_dataset("kernel", layout)

    for point, message in (
        (external_link, "is not read: dense/kernel is of kind ExternalLink"),
        (soft_link, "is not read: dense/kernel is of kind SoftLink"),
        (external_storage, "is not read: the values of dense/kernel lie in other files"),
        (virtual, "is not read: the values of dense/kernel lie in other files"),
    ):
        path = tmp_path / f"{point.__name__}.h5"
        with h5py.File(path, "w") as file:
            group = file.create_group("dense")
            point(group)
            group.attrs["weight_names"] = ["kernel"]
            file.attrs["layer_names"] = ["dense"]
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))} {message}"):
            open_file(path)


def test_what_is_small_here_and_large_in_memory(tmp_path: Path) -> None:
    """Sizes are compared before anything is unpacked."""
    with h5py.File(tmp_path / "bomb.h5", "w") as file:  # 4 TB that were never written
        file.create_group("dense").create_dataset("kernel", (1 << 40,), "f4", chunks=(1 << 20,))
        file["dense"].attrs["weight_names"] = ["kernel"]
        file.attrs["layer_names"] = ["dense"]
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1 << 26))
    for path in (tmp_path / "bomb.h5", tmp_path / "bomb.zip"):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is not unpacked: .* hardly"):
            open_file(path)


@pytest.mark.parametrize("notes", ["[1]", "{", "1", '"variant"'])
def test_notes_that_are_none(notes: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones(3, np.float32)}, str(path), {"keras_inception": notes})
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_file(path)


def test_a_variant_that_there_is_not(tmp_path: Path) -> None:
    model = keras_inception.InceptionV1(width=0.125, variant="torchvision", classes=3)
    path = tmp_path / "x.safetensors"
    keras_inception.save_weights(model, path, notes={"variant": "x"})
    with pytest.raises(ValueError, match=r"`variant` must be one of 'paper', .*variant='x'"):
        keras_inception.InceptionV1(width=0.125, classes=3, weights=path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", ""])
def test_the_wrappers_of_training_are_taken_off(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({f"{prefix}fc.weight": np.ones((2, 3), np.float32)}, str(path))
    assert dict(open_file(path).shapes) == {"fc.weight": (2, 3)}


def test_a_name_with_a_wrapper_and_without(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"module.a": np.ones(3, np.float32), "a": np.ones(3, np.float32)}, str(path))
    with pytest.raises(ValueError, match="has a name twice"):
        open_file(path)


@pytest.mark.parametrize("form", ["h5", "weights.h5", "keras"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_network_within_a_model(form: str, tmp_path: Path) -> None:
    """As people fine-tune: Sequential([network, pooling, Dense])."""
    arguments = {"input_shape": (32, 32, 3), "width": 0.125, "stem": "small"}
    inner = keras_inception.InceptionV1(include_top=False, **arguments)
    for weight in inner.weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1, weight.shape))
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            inner,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    path = tmp_path / f"model.{form}"
    (model.save_weights if form == "weights.h5" else model.save)(path)
    body = keras_inception.InceptionV1(include_top=False, weights=path, skip="dense*", **arguments)
    for ours, theirs in zip(body.weights, inner.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(keras_inception.WeightsError, match="Left over: dense"):
        keras_inception.load_weights(body, path)


def test_a_network_of_kerass_within_a_model_of_weights_alone(tmp_path: Path) -> None:
    """As Keras 2 wrote it: the layers without weights, which tell v3, have no names there."""
    names = sorted(place.name for place in source("inception_v3").places.values())
    names = [name for name in names if not name.startswith("predictions")]
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        base = file.create_group("inception_v3")
        for name in names:
            base[f"{name}:0"] = np.float32([1])
        base.attrs["weight_names"] = np.array([f"{name}:0".encode() for name in names])
        head = file.create_group("dense")
        head["dense/kernel:0"] = np.float32([1])
        head.attrs["weight_names"] = ["dense/kernel:0"]
        file.attrs["layer_names"] = ["inception_v3", "dense"]
    opened = open_file(path)
    assert set(opened.shapes) == {*names, "dense/kernel"}
    assert network_of(opened.layers) == "inception_v3"
    assert len(in_order(INCEPTION_V3)) == 94
    assert json.loads("{}") == opened.notes
