"""Files that are given as Keras models, and are none, or hold what no file can bring back."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_inception.models.keras_file import ModelFileError, open_model

L = keras.layers


def small(*middle: keras.Layer) -> keras.Model:
    x = image = keras.Input((8, 8, 3))
    for layer in middle:
        x = layer(x)
    return keras.Model(image, L.Dense(2, "softmax", name="logits")(L.GlobalAveragePooling2D()(x)))


class Doubler(L.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("here")
class Known(L.Layer):
    def call(self, x):
        return 2 * x


def ten_times(x):
    return 10 * x


class Subclass(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(2)

    def call(self, x):
        return self.dense(x)


def message(path: Path) -> str:
    with pytest.raises(ModelFileError) as refused:
        open_model(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_whole_model_answers_as_it_was_saved(suffix: str, tmp_path: Path) -> None:
    model = small(L.Rescaling(1 / 255), Known())
    model.save(path := tmp_path / f"m.{suffix}")
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        open_model(path).predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_files_that_hold_no_model_are_said_to_be_what_they_are(tmp_path: Path) -> None:
    small().save(tmp_path / "whole.keras")
    small().save(tmp_path / "whole.h5")
    small().save_weights(tmp_path / "only.weights.h5")
    content, hdf5 = (tmp_path / "whole.keras").read_bytes(), (tmp_path / "whole.h5").read_bytes()
    for name, written, said in (
        ("half.keras", content[: len(content) // 2], "is cut off or damaged: it has"),
        ("short.keras", content[:-30], "is cut off or damaged: it has"),
        ("page.keras", b"\n<!DOCTYPE html><html>Login</html>", "it is a web page, such as a login"),
        ("page.h5", b"<html>", "it is a web page"),
        ("empty.keras", b"", "it is empty"),
        ("photo.keras", b"\xff\xd8\xff\xe0JFIF", r"it begins with b'\xff\xd8\xff\xe0JFIF'"),
        ("hdf5.keras", hdf5, "has to end in .h5"),
        ("half.h5", hdf5[: len(hdf5) // 2], "is cut off or damaged"),
    ):
        (tmp_path / name).write_bytes(written)
        assert said in message(tmp_path / name)
    assert "holds weights alone" in message(tmp_path / "only.weights.h5")
    assert "No such file" in message(tmp_path / "nowhere.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("a.txt", "x")
    assert "no config.json" in message(tmp_path / "other.keras")
    with zipfile.ZipFile(tmp_path / "junk.keras", "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("metadata.json", "{}")
    assert "its JSON can't be read" in message(tmp_path / "junk.keras")


def test_what_has_code_of_its_own_is_named_with_its_layer(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), Doubler(name="inside")], name="inner")
    for name, model, said in (
        ("layer", small(Doubler(name="mine")), "the layer 'mine' (Doubler)"),
        ("nested", small(inner), "the layer 'inside' (Doubler)"),
        ("lambda", small(L.Lambda(lambda x: x / 255, name="scale")), "layer 'scale' (a lambda)"),
        ("function", small(L.Conv2D(3, 1, activation=ten_times, name="conv")),
         "the layer 'conv' (the function ten_times)"),
    ):  # fmt: skip
        model.save(path := tmp_path / f"{name}.keras")
        assert said in message(path)
        assert 'model.export("MODELS/NAME/1")' in message(path)
    model = Subclass()
    model(np.zeros((1, 3)))
    model.save(path := tmp_path / "subclass.keras")
    assert "the model (Subclass)" in message(path)


def test_a_model_of_another_keras_is_told_with_its_version(tmp_path: Path) -> None:
    small().save(path := tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["never_heard_of"] = 3
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.9.0"
    assert "written by Keras 2.9.0, can't be opened by Keras 3." in message(path)
