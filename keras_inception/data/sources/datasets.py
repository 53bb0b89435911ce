"""Data sets by name: those of ``keras.datasets`` and of TensorFlow Datasets."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.sources.arrays import read_arrays
from keras_inception.data.sources.record_labels import Keys
from keras_inception.data.sources.records import read_records

# The data sets of images in `keras.datasets`.
_KERAS = ("mnist", "fashion_mnist", "cifar10", "cifar100")


def read_keras(name: str) -> Examples:
    """``NAME``, its training images, or ``NAME/test``; downloaded by Keras on first use.

    Raises:
        DataError: there is no such data set, or it can't be downloaded.
    """
    name, _, split = name.partition("/")
    if name not in _KERAS or split not in ("", "train", "test"):
        raise DataError(
            f"keras: stands before one of {', '.join(_KERAS)}, and after it may stand /test."
            f" Received: {'/'.join(filter(None, [name, split]))!r}"
        )
    try:
        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras lets through what the network and the files give
        raise DataError(f"keras.datasets.{name} can't be had: {error}") from None
    examples = read_arrays(*(test if split == "test" else train))
    return dataclasses.replace(examples, splits=("train",) if split == "test" else ("test",))


def read_tfds(name: str) -> Examples:
    """``NAME``, its split ``train``, or ``NAME/SPLIT``; prepared by TensorFlow Datasets.

    Its files are read by number, like any TFRecords.

    Raises:
        DataError: TensorFlow Datasets isn't installed, has no such data set or split, or the data
            set has no images with classes.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"tfds: needs TensorFlow Datasets ({error}): pip install tensorflow-datasets"
        ) from None
    builder, split = _builder(tfds, name)
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever the network and the data set's own program raise
        raise DataError(f"tfds:{name} can't be prepared: {error}") from None
    info = builder.info
    if split not in info.splits:
        raise DataError(
            f"tfds:{name} has no split {split!r}. Its splits are: {listed(list(info.splits))}."
        )
    if info.file_format is None or info.file_format.value != "tfrecord":
        raise DataError(f"tfds:{name} must be prepared as TFRecords, file_format='tfrecord'.")
    features = dict(info.features.items())
    keys = info.supervised_keys
    image, label = keys if keys and set(keys) <= set(features) else ("image", "label")
    names = getattr(features.get(label), "names", None)
    if image not in features or names is None:
        raise DataError(
            f"tfds:{name} must have an image and a class label."
            f" Its features are: {listed(list(features))}."
        )
    files = [str(path) for path in info.splits[split].filepaths]
    others = tuple(sorted(other for other in info.splits if other != split))
    return read_records(files, others, names, Keys(image, label, "text"))


def _builder(tfds: Any, name: str) -> tuple[Any, str]:
    """What stands before the last slash may be a data set or one with its configuration."""
    base, slash, last = name.rpartition("/")
    error: Exception
    try:
        return tfds.builder(name), "train"
    except Exception as first:  # of many kinds
        error = first
    if slash:
        try:
            return tfds.builder(base), last
        except Exception as second:
            error = second
    message = str(error).strip().splitlines() or [type(error).__name__]
    raise DataError(f"TensorFlow Datasets has no {name!r}: {message[0]}")
