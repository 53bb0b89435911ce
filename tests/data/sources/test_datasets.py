"""Data sets by name, without a network: from files where Keras and TFDS keep them."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.errors import DataError
from keras_inception.data.sources import open_source
from tests.data.sources.test_arrays import write_idx


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder with a Fashion-MNIST of a few random images in it."""
    random = np.random.default_rng(0)
    folder = tmp_path / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for prefix, count in (("train", 40), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        labels = np.arange(count, dtype=np.uint8) % 10
        # Keras skips eight bytes before labels, whatever they are.
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(bytes(8) + labels.tobytes())
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    return tmp_path


def test_keras_datasets_are_read_from_where_keras_keeps_them(keras_home: Path) -> None:
    train = open_source("keras:fashion_mnist")
    assert (len(train), train.labels, train.splits) == (40, tuple("0123456789"), ("test",))
    test = open_source("keras:fashion_mnist/test", train.labels)
    assert test.counts().tolist() == [2] * 10


def test_what_keras_does_not_have_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"one of mnist, fashion_mnist.*'imagenet'"):
        open_source("keras:imagenet")
    with pytest.raises(DataError, match="'mnist/validation'"):
        open_source("keras:mnist/validation")

    def unreachable() -> None:
        raise OSError("no network")

    monkeypatch.setattr("keras.datasets.mnist.load_data", unreachable)
    with pytest.raises(DataError, match=r"keras\.datasets\.mnist can't be had: no network"):
        open_source("keras:mnist")


def test_without_tfds_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="pip install tensorflow-datasets"):
        open_source("tfds:mnist")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None,
    reason="needs tensorflow-datasets, which the tests don't install",
)
@pytest.mark.filterwarnings("default")  # TFDS's own
def test_tfds_is_read_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow_datasets as tfds

    class TinyPhotos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["dog", "cat"]),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples(10), "validation": self._generate_examples(4)}

        def _generate_examples(self, count):
            for number in range(count):
                pixels = np.full((8, 6, 3), number * 20, np.uint8)
                yield number, {"image": pixels, "label": number % 2}

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds, "builder", builder := lambda name: _made(TinyPhotos, tmp_path, name))
    train = open_source("tfds:tiny_photos")
    assert (train.labels, train.counts().tolist()) == (("dog", "cat"), [5, 5])
    assert train.splits == ("validation",)
    for index in range(10):
        value = train.images.encoded(index)
        assert value.startswith(b"\x89PNG")
    assert len(open_source("tfds:tiny_photos/validation")) == 4
    with pytest.raises(DataError, match="no split 'test'"):
        open_source("tfds:tiny_photos/test")
    with pytest.raises(DataError, match="has no 'nothing'"):
        open_source("tfds:nothing")
    assert builder("tiny_photos").info.splits["train"].num_examples == 10


def _made(kind, folder: Path, name: str):
    if name != "tiny_photos":
        raise ValueError(f"there is no {name}")
    return kind(data_dir=folder)
