"""facenet's checkpoints: written here by its own names, and its network run by TensorFlow alone."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import InceptionResNetV1, WeightsError, load_weights, save_weights
from keras_inception.models.catalogue import find
from keras_inception.models.weight_files import open_for
from keras_inception.published.conversion import convert_weights, verify_weights
from keras_inception.published.network import told_by_file
from tests.weights.checkpoints import Values, random_values, write_v2

WIDTH = 0.125
UNITS, CLASSES = 512, 7
ROOT = "InceptionResnetV1"
NARROW = {"width": WIDTH, "input_shape": (96, 96, 3)}


class Facenet:
    """src/models/inception_resnet_v1.py and the trainer's classifier, by default an eighth as wide.

    Called without values it notes the name and the shape of every variable; with them it computes.
    """

    def __init__(self, values: Values | None = None, width: float = WIDTH) -> None:
        self.width = width
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.values = values

    def variable(self, name: str, *shape: int) -> tf.Tensor:
        self.shapes[name] = shape
        return tf.zeros(shape) if self.values is None else tf.constant(self.values[name])

    def norm(self, scope: str, x: tf.Tensor) -> tf.Tensor:
        parts = ("beta", "moving_mean", "moving_variance")  # slim's batch norm: no gamma
        beta, mean, variance = (
            self.variable(f"{scope}/BatchNorm/{part}", x.shape[-1]) for part in parts
        )
        return (x - mean) / tf.sqrt(variance + 0.001) + beta

    def conv(
        self, scope: str, x: tf.Tensor, filters: int, size: int | tuple[int, int],
        strides: int = 1, padding: str = "SAME",
    ) -> tf.Tensor:  # fmt: skip
        sides = (size, size) if isinstance(size, int) else size
        filters = max(8, 8 * round(filters * self.width / 8))
        kernel = self.variable(f"{ROOT}/{scope}/weights", *sides, x.shape[-1], filters)
        return tf.nn.relu(self.norm(f"{ROOT}/{scope}", tf.nn.conv2d(x, kernel, strides, padding)))

    def block(
        self, scope: str, x: tf.Tensor, scale: float, branches: list[tf.Tensor], relu: bool = True
    ) -> tf.Tensor:
        mixed, channels = tf.concat(branches, -1), x.shape[-1]
        name = f"{ROOT}/{scope}/Conv2d_1x1"
        kernel = self.variable(f"{name}/weights", 1, 1, mixed.shape[-1], channels)
        up = tf.nn.conv2d(mixed, kernel, 1, "SAME") + self.variable(f"{name}/biases", channels)
        x = x + scale * up
        return tf.nn.relu(x) if relu else x

    def block35(self, scope: str, x: tf.Tensor) -> tf.Tensor:
        b = self.conv(f"{scope}/Branch_1/Conv2d_0a_1x1", x, 32, 1)
        c = self.conv(f"{scope}/Branch_2/Conv2d_0a_1x1", x, 32, 1)
        c = self.conv(f"{scope}/Branch_2/Conv2d_0b_3x3", c, 32, 3)
        return self.block(scope, x, 0.17, [
            self.conv(f"{scope}/Branch_0/Conv2d_1x1", x, 32, 1),
            self.conv(f"{scope}/Branch_1/Conv2d_0b_3x3", b, 32, 3),
            self.conv(f"{scope}/Branch_2/Conv2d_0c_3x3", c, 32, 3),
        ])  # fmt: skip

    def long(
        self, scope: str, x: tf.Tensor, filters: int, long: int, scale: float, relu: bool = True
    ) -> tf.Tensor:
        """block17 and block8."""
        b = self.conv(f"{scope}/Branch_1/Conv2d_0a_1x1", x, filters, 1)
        b = self.conv(f"{scope}/Branch_1/Conv2d_0b_1x{long}", b, filters, (1, long))
        b = self.conv(f"{scope}/Branch_1/Conv2d_0c_{long}x1", b, filters, (long, 1))
        a = self.conv(f"{scope}/Branch_0/Conv2d_1x1", x, filters, 1)
        return self.block(scope, x, scale, [a, b], relu)

    def reduction_a(self, x: tf.Tensor) -> tf.Tensor:
        b = self.conv("Mixed_6a/Branch_1/Conv2d_0a_1x1", x, 192, 1)
        b = self.conv("Mixed_6a/Branch_1/Conv2d_0b_3x3", b, 192, 3)
        b = self.conv("Mixed_6a/Branch_1/Conv2d_1a_3x3", b, 256, 3, 2, "VALID")
        a = self.conv("Mixed_6a/Branch_0/Conv2d_1a_3x3", x, 384, 3, 2, "VALID")
        return tf.concat([a, b, tf.nn.max_pool2d(x, 3, 2, "VALID")], -1)

    def reduction_b(self, x: tf.Tensor) -> tf.Tensor:
        a, b, c = (self.conv(f"Mixed_7a/Branch_{n}/Conv2d_0a_1x1", x, 256, 1) for n in range(3))
        c = self.conv("Mixed_7a/Branch_2/Conv2d_0b_3x3", c, 256, 3)
        a = self.conv("Mixed_7a/Branch_0/Conv2d_1a_3x3", a, 384, 3, 2, "VALID")
        b, c = (
            self.conv(f"Mixed_7a/Branch_{n}/Conv2d_1a_3x3", each, 256, 3, 2, "VALID")
            for n, each in ((1, b), (2, c))
        )
        return tf.concat([a, b, c, tf.nn.max_pool2d(x, 3, 2, "VALID")], -1)

    def __call__(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The pooled features, the embedding before its length is made 1, the logits."""
        x = self.conv("Conv2d_1a_3x3", x, 32, 3, 2, "VALID")
        x = self.conv("Conv2d_2a_3x3", x, 32, 3, 1, "VALID")
        x = self.conv("Conv2d_2b_3x3", x, 64, 3)
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        x = self.conv("Conv2d_3b_1x1", x, 80, 1)
        x = self.conv("Conv2d_4a_3x3", x, 192, 3, 1, "VALID")
        x = self.conv("Conv2d_4b_3x3", x, 256, 3, 2, "VALID")
        for n in range(5):
            x = self.block35(f"Repeat/block35_{n + 1}", x)
        x = self.reduction_a(x)
        for n in range(10):
            x = self.long(f"Repeat_1/block17_{n + 1}", x, 128, 7, 0.10)
        x = self.reduction_b(x)
        for n in range(5):
            x = self.long(f"Repeat_2/block8_{n + 1}", x, 192, 3, 0.20)
        features = tf.reduce_mean(self.long("Block8", x, 192, 3, 1.0, relu=False), (1, 2))
        name = f"{ROOT}/Bottleneck"
        kernel = self.variable(f"{name}/weights", features.shape[-1], UNITS)
        embedding = self.norm(name, features @ kernel)
        kernel = self.variable("Logits/weights", UNITS, CLASSES)
        return features, embedding, embedding @ kernel + self.variable("Logits/biases", CLASSES)


@pytest.fixture(scope="module")
def values() -> Values:
    noting = Facenet()
    noting(tf.zeros((1, 96, 96, 3)))
    return random_values(noting.shapes)


@pytest.fixture(scope="module")
def checkpoint(values: Values, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what its trainer leaves beside the weights."""
    beside = {"global_step": np.int64(7), "centers": np.zeros((CLASSES, UNITS), "f4")}
    beside |= {f"{name}/Adam": value for name, value in values.items() if "moving" not in name}
    return write_v2(tmp_path_factory.mktemp("facenet") / "model.ckpt-7", values | beside)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (2, 96, 96, 3)).astype("f4")


@pytest.fixture(scope="module")
def answers(values: Values, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(each.numpy() for each in Facenet(values)(tf.constant(x)))


def assert_same(ours: keras.KerasTensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * theirs.std())


def test_every_part_that_is_asked_for(
    checkpoint: Path, x: np.ndarray, answers: tuple[np.ndarray, ...]
) -> None:
    """The features, the embedding, and facenet's own classifier."""
    bare = {"include_top": False, "pooling": "avg"}
    for built, theirs in zip(
        [bare, bare | {"embedding": UNITS}, {"embedding": UNITS, "classes": CLASSES}],
        answers,
        strict=True,
    ):
        model = InceptionResNetV1(**NARROW, weights=checkpoint, classifier_activation=None, **built)
        assert_same(model(x, training=False), theirs)


@pytest.mark.parametrize("classes", [3, CLASSES])
def test_a_classifier_on_the_features_is_new(
    classes: int, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many classes or not: facenet's stands behind the bottleneck."""
    model = InceptionResNetV1(**NARROW, weights=checkpoint, classes=classes)
    said = capsys.readouterr().err
    assert f"{classes} classes here, {CLASSES}, behind a bottleneck of {UNITS} units, in" in said
    assert not np.any(model.get_layer("logits").bias), "it has its initial values"


def test_an_embedding_without_a_classifier_in_the_file(
    values: Values, x: np.ndarray, answers: tuple[np.ndarray, ...], tmp_path: Path
) -> None:
    """As the triplet loss trains it."""
    alone = {name: value for name, value in values.items() if not name.startswith("Logits")}
    path = write_v2(tmp_path / "triplets", alone)
    pooled = {"include_top": False, "pooling": "avg", "embedding": UNITS}
    assert_same(InceptionResNetV1(**NARROW, weights=path, **pooled)(x), answers[1])
    with pytest.raises(WeightsError, match=r"Missing: logits/kernel \(Logits/weights\)"):
        InceptionResNetV1(**NARROW, weights=path, embedding=UNITS)


@pytest.mark.parametrize("form", ["again", "own.weights.h5", "own.safetensors"])
def test_it_is_written_for_others_and_comes_back(
    form: str, checkpoint: Path, x: np.ndarray, answers: tuple[np.ndarray, ...], tmp_path: Path
) -> None:
    how = {"embedding": UNITS, "classes": CLASSES, "classifier_activation": None}
    save_weights(InceptionResNetV1(**NARROW, weights=checkpoint, **how), tmp_path / form)
    assert_same(InceptionResNetV1(**NARROW, weights=tmp_path / form, **how)(x), answers[2])


def test_the_python_of_the_page_on_weights_gives_embeddings(
    values: Values, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, an eighth as wide."""
    page = (Path(__file__).parents[2] / "docs/weights.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "20180402-114759").mkdir()
    write_v2(tmp_path / "20180402-114759" / "model-20180402-114759.ckpt-275", values)
    narrow = functools.partial(InceptionResNetV1, width=WIDTH)
    monkeypatch.setattr("keras_inception.InceptionResNetV1", narrow)
    given = {"images": np.pad(x, ((0, 0), (32, 32), (32, 32), (0, 0)))}
    exec(block, given)
    assert given["vectors"].shape == (2, UNITS)
    np.testing.assert_allclose(np.linalg.norm(given["vectors"], axis=1), 1, rtol=1e-5)
    _, embedding, _ = Facenet(values)(tf.constant(given["images"]))
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(given["vectors"], embedding / lengths, atol=1e-4)


def test_what_does_not_fit_is_named(checkpoint: Path) -> None:
    pooled = {"include_top": False, "pooling": "avg"}
    with pytest.raises(WeightsError, match=r"Of another shape: .*bottleneck/kernel.*\(224, 8\)"):
        InceptionResNetV1(**NARROW, weights=checkpoint, embedding=8, **pooled)
    with pytest.raises(ValueError, match="`embedding` must be a whole number of at least 1"):
        InceptionResNetV1(**NARROW, embedding=0, **pooled)
    with pytest.raises(ValueError, match="`embedding` stands on a pooled feature map"):
        InceptionResNetV1(**NARROW, embedding=8, include_top=False)
    model = InceptionResNetV1(**NARROW, embedding=8, **pooled)
    assert load_weights(model, checkpoint, skip="bottleneck*") == [
        "bottleneck/kernel",
        *(f"bottleneck_bn/{part}" for part in ("beta", "moving_mean", "moving_variance")),
    ]


@pytest.mark.slow
def test_it_is_verified_and_converted_with_its_bottleneck(tmp_path: Path) -> None:
    """At its full width, as the commands do."""
    noting = Facenet(width=1)
    noting(tf.zeros((1, 96, 96, 3)))
    theirs = write_v2(tmp_path / "model.ckpt-7", random_values(noting.shapes))
    assert convert_weights(theirs, tmp_path / "own.weights.h5", "InceptionResNetV1") == []
    found = verify_weights(theirs, "InceptionResNetV1")
    assert (found.source, found.classes, found.proved_by) == ("slim", 7, "facenet-pytorch 2.6.0")
    assert found.difference is not None and found.difference < 1e-4
    assert len(found.names) == len(noting.shapes)
    again = verify_weights(tmp_path / "own.weights.h5", "InceptionResNetV1")
    assert again.recorded and len(again.names) == len(found.names)


def test_its_files_do_not_tell_how_pixels_were_scaled(checkpoint: Path) -> None:
    """facenet's trainer has two ways: by 127.5 and 128, or by each image's own deviation."""
    entry = find("InceptionResNetV1")
    assert told_by_file(entry, open_for(entry, checkpoint), 160) is None
