"""Lengths and labels of TFRecords, for which all of them are read through once."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from inception_serving.formats import is_image, unread_format
from keras_inception.data.errors import DataError
from keras_inception.data.examples import listed
from keras_inception.data.progress import bar
from keras_inception.data.types import Tensor

# What stands around a record's data: its length and that number's checksum, and a checksum.
BEFORE, AFTER = 12, 4
_BACKGROUND = {"background", "unused background", "dummy"}
_FROM_ONE = "Labels go from 1: class 0, the background, has no images and is left out."


class Keys(NamedTuple):
    """What the features of a record are called."""

    image: str
    label: str
    text: str


KEYS = (
    Keys("image/encoded", "image/class/label", "image/class/text"),
    Keys("image", "label", "text"),  # TensorFlow Datasets
)


class Scan(NamedTuple):
    """What the records of some shards hold besides their images.

    Args:
        counts: how many records each shard has.
        lengths: uint32 [images], of the records' data in bytes.
        numbers: int64, the labels of all one after another.
        how_many: int64 [images], labels of each.
        texts: int64 [images], which of ``words`` each has; -1 for none.
        words: class names as the records have them.
        groups: int64 [images], or empty.
    """

    counts: list[int]
    lengths: np.ndarray
    numbers: np.ndarray
    how_many: np.ndarray
    texts: np.ndarray
    words: tuple[str, ...]
    groups: np.ndarray


def find_keys(file: str) -> Keys:
    """What the features are called, from the first record.

    Raises:
        DataError: the file holds no records, or no images with labels.
    """
    try:
        first = next(iter(tf.data.TFRecordDataset(file).as_numpy_iterator()), None)
    except tf.errors.OpError as error:
        raise DataError(_damage(file, error)) from None
    if first is None:
        return KEYS[0]
    try:
        names = set(tf.train.Example.FromString(first).features.feature)
    except Exception:  # protobuf's own kind differs between its implementations
        raise DataError(f"{file} holds records that are no tf.Example.") from None
    for keys in KEYS:
        if keys.image in names and names & {keys.label, keys.text}:
            return keys
    raise DataError(
        f"{file} must have the features image/encoded and image/class/label, or image and label."
        f" It has: {listed(sorted(names)) or 'none'}"
    )


def scan_records(files: Sequence[str], keys: Keys) -> Scan:
    """Read every record once, its checksum included.

    Raises:
        DataError: a shard is damaged; the message says where.
    """
    features = {
        "label": tf.io.RaggedFeature(tf.int64, keys.label),
        "text": tf.io.RaggedFeature(tf.string, keys.text),
        "group": tf.io.RaggedFeature(tf.int64, "image/group"),
    }

    def parse(batch: Tensor) -> tuple[Tensor, ...]:
        parsed = tf.io.parse_example(batch, features)
        label, text = parsed["label"], parsed["text"]
        # Where there are several, none is the name of a class by itself.
        only = tf.where(text.row_lengths() == 1, text.to_tensor("", shape=[None, 1])[:, 0], "")
        lengths = tf.strings.length(batch)
        return lengths, label.values, label.row_lengths(), only, parsed["group"].values

    advance = bar("Reading the records once", sum(map(os.path.getsize, files)) >> 20, "MB")
    words = {b"": -1}
    batches: list[tuple[np.ndarray, ...]] = []
    counts = []
    megabytes, size = 0, 0
    for file in files:
        count = 0
        try:
            for batch in tf.data.TFRecordDataset(file).batch(64).map(parse).as_numpy_iterator():
                lengths, numbers, how_many, texts, groups = batch
                codes = np.array([words.setdefault(text, len(words) - 1) for text in texts])
                lengths = lengths.astype(np.uint32)
                batches.append((lengths, numbers, how_many, codes, groups))
                count += len(lengths)
                size += int(lengths.sum()) + (BEFORE + AFTER) * len(lengths)
                advance((size >> 20) - megabytes)
                megabytes = size >> 20
        except tf.errors.OpError as error:
            raise DataError(_damage(file, error)) from None
        counts.append(count)
    columns = zip(*batches, strict=True) if batches else [[np.zeros(0, np.int64)]] * 5
    lengths, numbers, how_many, texts, groups = map(np.concatenate, columns)
    names = tuple(word.decode("utf-8", "replace") for word in words if word)
    return Scan(counts, lengths, numbers, how_many, texts, names, groups)


def classes(
    scan: Scan, labels: Sequence[str] | None, file: str
) -> tuple[tuple[str, ...], np.ndarray, str]:
    """The class names, the targets, and a note for the user, ``""`` for none.

    Args:
        labels: the names, if known, in the order of the numbers.
        file: the first shard, for messages.

    Raises:
        DataError: labels are missing, or don't fit the names or the texts.
    """
    if not len(scan.numbers):
        return *_classes_of_texts(scan, labels, file), ""
    many = bool((scan.how_many > 1).any())
    if not many and (scan.how_many == 0).any():
        raise DataError(f"{file} or another shard has records without a label.")
    names, numbers, note = _names(scan, labels, file, many)
    if not many:
        return tuple(names), numbers, note
    targets = np.zeros((len(scan.how_many), len(names)), bool)
    targets[np.repeat(np.arange(len(targets)), scan.how_many), numbers] = True
    return tuple(names), targets, note


def _names(
    scan: Scan, labels: Sequence[str] | None, file: str, many: bool
) -> tuple[Sequence[str], np.ndarray, str]:
    """Class names, and the numbers as indices into them."""
    least, most = int(scan.numbers.min()), int(scan.numbers.max())
    if least < 0:
        raise DataError(f"{file} or another shard has the label {least}; labels go from 0.")
    if labels is None:
        used = np.unique(scan.numbers)
        numbers = np.searchsorted(used, scan.numbers)
        if not many and (scan.texts >= 0).all():
            return _texts_of_numbers(scan, used, file), numbers, ""
        return [str(number) for number in used], numbers, _FROM_ONE if least == 1 else ""
    background = labels[0].lower() in _BACKGROUND
    if least >= 1 and (most == len(labels) or (background and most < len(labels))):
        return labels[1:] if background else labels, scan.numbers - 1, _FROM_ONE
    if most >= len(labels):
        raise DataError(
            f"{file} or another shard has the label {most}, but there are {len(labels)} names:"
            f" {listed(labels)}."
        )
    return labels, scan.numbers, ""


def _texts_of_numbers(scan: Scan, used: np.ndarray, file: str) -> list[str]:
    """The text of each number that is used; they must go together one to one."""
    pairs = np.unique(np.stack([scan.numbers, scan.texts], axis=1), axis=0)
    names = [scan.words[text] for text in pairs[:, 1]]
    twice = [number for number in used if (pairs[:, 0] == number).sum() > 1]
    if twice:
        own = [name for name, number in zip(names, pairs[:, 0], strict=True) if number == twice[0]]
        raise DataError(f"{file} or another shard calls label {twice[0]} by {listed(own)}.")
    if len(set(names)) < len(names):
        both = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file} or another shard has several labels with the text {both!r}.")
    return names


def _classes_of_texts(
    scan: Scan, labels: Sequence[str] | None, file: str
) -> tuple[tuple[str, ...], np.ndarray]:
    if (scan.texts < 0).any():
        raise DataError(f"{file} or another shard has records without a label.")
    names = list(labels) if labels else sorted(scan.words)
    unknown = sorted(set(scan.words) - set(names))
    if unknown:
        raise DataError(f"labels.txt has no {listed(unknown)}, which {file} or another shard has.")
    order = np.array([names.index(word) for word in scan.words], np.int64)
    return tuple(names), order[scan.texts]


def _compressed(file: str) -> str:
    """What to do if a shard is compressed as a whole; ``""`` if it is not."""
    with open(file, "rb") as shard:
        start = shard.read(1024)
    for kind, window, module in (("GZIP", 31, "gzip"), ("ZLIB", 15, "zlib")):
        try:
            content = zlib.decompressobj(window).decompress(start)
        except zlib.error:
            continue
        if content:
            return (
                f"{file} is compressed ({kind}), and so its records can't be read by number."
                f" Decompress it: python -c 'import {module}, sys; sys.stdout.buffer.write("
                f"{module}.decompress(sys.stdin.buffer.read()))' < {file} > NEW.tfrecord"
            )
    return ""


def _no_records(file: str) -> str:
    """What a file is that never held records, and what helps; ``""`` if it may be damaged ones."""
    with open(file, "rb") as shard:
        start = shard.read(4096)
    # A record begins with its length, of 8 bytes, which is below 4 GB.
    if start[4:8] == bytes(4):
        return ""
    if is_image(start):
        return f"{file} is an image, not TFRecords. Images are in folders of classes or in a CSV."
    reason = unread_format(start)
    return "" if "nor another format" in reason else f"{file} is no TFRecords: {reason}."


def _damage(file: str, error: tf.errors.OpError) -> str:
    """Where a shard breaks off, and why."""
    if other := _compressed(file) or _no_records(file):
        return other
    count, offset = 0, 0
    try:
        for data in tf.data.TFRecordDataset(file).as_numpy_iterator():
            count, offset = count + 1, offset + len(data) + BEFORE + AFTER
    except tf.errors.OpError:
        return (
            f"{file} is damaged in record {count + 1}, at byte {offset} of"
            f" {os.path.getsize(file)}: a wrong checksum, or it is cut off. Write it again."
        )
    return f"{file} has records that are no tf.Example: {str(error.message).splitlines()[0]}"
