"""ImageNet's classes and preprocessing, at both ends of a published network."""

from __future__ import annotations

import hashlib
import json
from importlib import resources

import numpy as np
import pytest

from keras_inception import decode_predictions, preprocess_input
from keras_inception.published.classes import imagenet_classes, imagenet_labels
from keras_inception.published.imagenet import preprocessing_of


def test_the_classes_are_those_that_keras_publishes() -> None:
    """To the byte: the hash is keras.applications's of its imagenet_class_index.json."""
    index = {str(number): list(each) for number, each in enumerate(imagenet_classes())}
    digest = hashlib.md5(json.dumps(index).encode()).hexdigest()
    assert digest == "c2c37ea517e94d9795004a39431a14cb"


def test_every_label_is_there_once() -> None:
    labels = imagenet_labels()
    assert len(set(labels)) == len(labels) == 1000
    names = [name.replace("_", " ") for _, name in imagenet_classes()]
    told_apart = {
        (number, label)
        for number, (label, name) in enumerate(zip(labels, names, strict=True))
        if label != name
    }
    assert told_apart == {(134, "crane bird"), (639, "maillot tank suit")}


def test_wordnets_licence_is_in_the_package() -> None:
    text = resources.files("keras_inception.published").joinpath("WORDNET_LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in text
    assert "that the same appear on ALL copies of the software, database" in text


def test_preprocess_input() -> None:
    images = np.array([[[[0, 127.5, 255]]]], np.float32)
    before = images.copy()
    np.testing.assert_array_equal(preprocess_input(images), [[[[-1, 0, 1]]]])
    np.testing.assert_array_equal(images, before)
    as_bytes = preprocess_input(np.full((2, 2, 3), 255, np.uint8), "some/file.ckpt")
    assert as_bytes.dtype == np.float32 and (as_bytes == 1).all()
    gluon = preprocess_input(images, "imagenet:timm/inception_v3.gluon_in1k")
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(gluon, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"3 channels, last.*Received: shape \(3, 2\)"):
        preprocess_input(np.zeros((3, 2)))


def test_decode_predictions() -> None:
    rows = np.zeros((2, 1000))
    rows[0, 7], rows[1, 3], rows[1, 4] = 1.0, 0.25, 0.5
    assert decode_predictions(rows, top=1) == [
        [("n01514668", "cock", 1.0)],
        [("n01494475", "hammerhead", 0.5)],
    ]
    behind = np.concatenate([np.full((2, 1), 0.75), rows], axis=1)
    assert decode_predictions(behind, top=2)[1] == [
        ("background", "background", 0.75),
        ("n01494475", "hammerhead", 0.5),
    ]
    assert decode_predictions([[0.2, 0.8]], labels=["cat", "dog"]) == [
        [("dog", "dog", 0.8), ("cat", "cat", 0.2)]
    ]
    with pytest.raises(ValueError, match=r"a column for each of the labels.*shape \(1, 2\)"):
        decode_predictions([[0.2, 0.8]], labels=["cat"])
    with pytest.raises(ValueError, match=r"come with their `labels`.*shape \(2, 10\)"):
        decode_predictions(rows[:, :10])


@pytest.mark.parametrize(
    ("network", "resize"),
    [
        ("InceptionV1", "stretch"),
        ("InceptionV2", "stretch"),
        ("InceptionV3", "shorter_side"),
        ("InceptionV4", "stretch"),
        ("InceptionResNetV2", "shorter_side"),
    ],
)
def test_imagenet_is_each_networks_own_protocol(network: str, resize: str) -> None:
    """TF-Slim's for v1, v2 and v4, where it was Keras's."""
    protocol = preprocessing_of("imagenet", 299, network)
    assert (protocol.resize, protocol.antialias) == (resize, resize == "shorter_side")
    with pytest.raises(ValueError, match="none were ever published"):
        preprocessing_of("imagenet", 299, "InceptionResNetV1")
