"""A published network in one command: found, downloaded, exported, served, asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_inception
from inception_export import open_export
from inception_serving import ModelServer
from keras_inception.cli import main
from keras_inception.data.preprocessing import named, preprocess_encoded
from keras_inception.published.classes import imagenet_labels
from keras_inception.published.network import open_network
from tests.weights.checkpoints import random_values, released, write_v1
from tests.weights.mirror import archived, mirror, publish
from tests.weights.server import Server


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TF-Slim's Inception v1 with random values, 1001 classes."""
    values = random_values(released("inception_v1"))
    return write_v1(tmp_path_factory.mktemp("slim") / "inception_v1.ckpt", values)


@pytest.fixture
def server(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A mirror that has it."""
    with mirror(monkeypatch, tmp_path / "keras") as served:
        publish(archived(checkpoint), served, monkeypatch, hashed=True)
        yield served


def picture(folder: Path) -> Path:
    path = folder / "cat.jpg"
    pixels = np.random.default_rng(3).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    image = tf.image.resize(pixels, (180, 240), "bicubic")
    path.write_bytes(tf.io.encode_jpeg(tf.cast(tf.clip_by_value(image, 0, 255), "uint8")).numpy())
    return path


def test_a_network_by_its_name(server: Server, checkpoint: Path, tmp_path: Path) -> None:
    """Labels, preprocessing and the background dropped, against the network with 1001 classes."""
    network = open_network("imagenet:InceptionV1")
    assert network.labels == imagenet_labels()
    assert network.preprocessing == named("slim", 224)
    assert network.about["name"] == "imagenet:slim/inception_v1"
    assert len(server.requests) == 1
    with_background = keras_inception.InceptionV1(
        classes=1001, weights=checkpoint, classifier_activation=None
    )
    encoded = picture(tmp_path).read_bytes()
    inputs = preprocess_encoded(tf.constant([encoded]), named("slim", 224))
    expected = keras.ops.softmax(with_background(inputs, training=False)[:, 1:])
    np.testing.assert_allclose(network.model(inputs, training=False), expected, atol=1e-6)
    # A file of TF-Slim's tells the same.
    of_file = open_network(checkpoint, "InceptionV1")
    assert (of_file.labels, of_file.preprocessing) == (network.labels, network.preprocessing)


def test_what_is_not_known_is_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    model = keras_inception.InceptionV1(classes=3, width=0.125, variant="torchvision")
    keras_inception.save_weights(model, tmp_path / "three.safetensors")
    body = keras_inception.InceptionV1(include_top=False, width=0.125)
    body.save(tmp_path / "body.keras")
    three, labels = tmp_path / "three.safetensors", ("cat", "dog", "owl")
    for arguments, message in (
        ((checkpoint,), r"must say which network the file .* is of.* Received: None"),
        ((three, "InceptionV1"), "has 3 classes, which it does not name: give their names"),
        ((checkpoint, "InceptionV1", ("cat",)), "has 1001 classes. Received: 1 labels"),
        ((three, "InceptionV1", labels), "does not tell the range of pixels.*--preprocessing"),
        ((three, "InceptionV1", labels, "x"), "must be one of 'default', .* Received: name='x'"),
        ((tmp_path / "body.keras", "InceptionV1"), "has no classifier"),
        (("imagenet:InceptionV1", "InceptionV3"), "is of InceptionV1: leave `network`"),
        (("imagenet:InceptionV9",), "with one of InceptionV1, InceptionV2"),
    ):
        weights, *rest = arguments
        given = dict(zip(("network", "labels", "preprocessing"), rest, strict=False))
        with pytest.raises(ValueError, match=message):
            open_network(weights, **given)


@pytest.mark.slow
def test_three_commands(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Export, serve, predict; and predict without any of it, the same answer."""
    image = str(picture(tmp_path))
    base = str(tmp_path / "models")
    assert main(["export", "imagenet:InceptionV1", base, "--name", "v1"]) == 0
    export = open_export(tmp_path / "models" / "v1")
    assert export.labels == imagenet_labels()
    assert export.preprocessing == named("slim", 224)
    assert export.manifest["weights"]["name"] == "imagenet:slim/inception_v1"
    capsys.readouterr()

    def ask(using: str) -> tuple[list[str], list[float]]:
        assert main(["predict", image, "--with", using, "--format", "json"]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        return answer["labels"], answer["scores"]

    with ModelServer(base) as served:
        labels, scores = ask(f"{served.address}/v1")
    at_once = ask("imagenet:InceptionV1")
    assert labels == at_once[0] and set(labels) <= set(imagenet_labels())
    np.testing.assert_allclose(scores, at_once[1], atol=1e-4)
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_checkpoint_and_its_mistakes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(tmp_path / "models")
    command = ["export", str(checkpoint), base, "--name", "v1"]
    assert main(command) == 1
    assert "say of which network: --model NETWORK" in capsys.readouterr().err
    assert not Path(base).exists()
    assert main([*command, "--model", "InceptionV1", "--preprocessing", "tf-hub"]) == 0
    export = open_export(tmp_path / "models" / "v1")
    assert export.preprocessing == named("tf-hub", 224)
    (digest,) = export.manifest["weights"]["sha256"].values()
    assert len(digest) == 64


def test_models_shows_the_weights_and_what_images_they_want(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "imagenet:slim/inception_v4 (imagenet:InceptionV4): preprocessing slim" in lines
    assert "ImageNet weights of InceptionResNetV1: none" in lines
    assert main(["models", "inception_resnet_v2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    timm = lines.index("imagenet:timm/inception_resnet_v2.tf_in1k")
    assert lines[timm + 1].strip() == (
        "shorter side, centre 0.8975 to 299 pixels, bicubic, antialiased; [-1, 1]"
    )
    assert main(["models", "InceptionV3"]) == 0
    assert "less 0.485, 0.456, 0.406, by 0.229, 0.224, 0.225" in capsys.readouterr().out
    assert main(["models", "InceptionResNetV1"]) == 0
    assert "were ever published" in capsys.readouterr().out
