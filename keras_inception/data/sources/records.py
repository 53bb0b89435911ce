"""TFRecord shards, read by number.

TFRecords are made to be read from their beginning; an index of where each record stands makes
them images by number like any others. It is made by reading the shards once, checksums included,
and kept in a file beside them where :func:`write_index` has put it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from keras_inception.data.class_names import read_class_names
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.sources import shards
from keras_inception.data.sources.record_labels import (
    AFTER,
    BEFORE,
    KEYS,
    Keys,
    classes,
    find_keys,
    scan_records,
)
from keras_inception.data.types import Tensor


@dataclass(frozen=True)
class Records:
    """Images in TFRecords.

    Args:
        files: the shards.
        starts: int64 [files], where each would begin if all were one file.
        offsets: int64 [images], where each record's data begins, in the same numbers.
        lengths: uint32 [images], of the data in bytes.
        key: the feature with the encoded image.
    """

    files: tuple[str, ...]
    starts: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    key: str
    root: ClassVar = None
    decoded: ClassVar = False

    @classmethod
    def of(
        cls,
        files: Sequence[str],
        counts: Sequence[int],
        lengths: np.ndarray,
        key: str = KEYS[0].image,
    ) -> Records:
        """All records of shards: how many each has, and how long each record's data is."""
        whole = lengths.astype(np.int64) + BEFORE + AFTER
        begins = np.concatenate([[0], np.cumsum(whole)])
        first = np.concatenate([[0], np.cumsum(counts[:-1], dtype=np.int64)]).astype(np.int64)
        return cls(tuple(map(str, files)), begins[first], begins[:-1] + BEFORE, lengths, key)

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, indices: np.ndarray) -> Records:
        offsets, lengths = self.offsets[indices], self.lengths[indices]
        return Records(self.files, self.starts, offsets, lengths, self.key)

    def name(self, index: int) -> str:
        file, offset = self._place(index)
        where = f"{file} at byte {offset - BEFORE}"
        try:
            features = tf.train.Example.FromString(self._data(index)).features.feature
            (inside,) = features["image/filename"].bytes_list.value
        except Exception:  # there is no such feature, or the record is damaged
            return where
        return f"{inside.decode('utf-8', 'replace')} in {where}"

    def encoded(self, index: int) -> bytes:
        try:
            example = tf.train.Example.FromString(self._data(index))
        except OSError:
            raise
        except Exception:  # protobuf's own kind differs between its implementations
            raise DataError("the record is no tf.Example") from None
        values: Sequence[bytes] = example.features.feature[self.key].bytes_list.value
        if not values:
            raise DataError(f"the record has no {self.key}")
        return values[0]

    content = encoded

    def identity(self) -> Iterator[bytes]:
        for array in (self.starts, self.offsets, self.lengths):
            yield array.tobytes()

    def reader(self) -> Callable[[Tensor], Tensor]:
        spec = {self.key: tf.io.FixedLenFeature([], tf.string)}

        def read(index: Tensor) -> Tensor:
            # TensorFlow has no operation that reads a piece of a file.
            data = tf.numpy_function(self._data, [index], tf.string, stateful=False)
            return tf.io.parse_single_example(tf.ensure_shape(data, []), spec)[self.key]

        return read

    def _place(self, index: int) -> tuple[str, int]:
        offset = self.offsets[index]
        shard = int(np.searchsorted(self.starts, offset, "right")) - 1
        return self.files[shard], int(offset - self.starts[shard])

    def _data(self, index: int) -> bytes:
        file, offset = self._place(index)
        descriptor = os.open(file, os.O_RDONLY)
        try:
            data = os.pread(descriptor, int(self.lengths[index]), offset)
        finally:
            os.close(descriptor)
        if len(data) < self.lengths[index]:
            raise OSError(f"{file} is shorter than when its index was made")
        return data


def read_records(
    files: Sequence[str],
    splits: tuple[str, ...] = (),
    labels: Sequence[str] | None = None,
    keys: Keys | None = None,
) -> Examples:
    """Open shards whose records have an encoded image and its class.

    The features are ``image/encoded``, ``image/class/label`` (several numbers where an image can
    be of several classes) and ``image/class/text``, or ``image`` and ``label``. The class names
    are those of a labels.txt beside the shards, or else the texts, or else the numbers. Where the
    numbers go from 1 to as many as there are names, 0 is TF-Slim's background and left out.

    Args:
        splits: the names of the source's other splits.
        labels: the class names, if not those beside the shards.
        keys: what the features are called; found out by default.

    Raises:
        DataError: a shard is damaged, or the labels don't fit each other.
    """
    indexed = _read_index(files, splits)
    if indexed is not None:
        return indexed
    keys = keys or find_keys(files[0])
    scan = scan_records(files, keys)
    if not len(scan.lengths):
        raise DataError(f"There are no records in {listed(files, 3)}.")
    if labels is None:
        beside = [Path(files[0]).with_name(name) for name in ("labels.txt", "label.labels.txt")]
        labels = next((read_class_names(path) for path in beside if path.is_file()), None)
    names, targets, note = classes(scan, labels, files[0])
    groups = scan.groups if len(scan.groups) == len(scan.lengths) else None
    images = Records.of(files, scan.counts, scan.lengths, keys.image)
    return Examples(names, images, targets, groups, splits, (note,) if note else ())


def write_index(examples: Examples) -> Path:
    """Keep the index of a split's shards beside them, so that opening them again is instant.

    Args:
        examples: all of the shards' records, in their order.

    Raises:
        DataError: the images are no records.
    """
    images = examples.images
    if not isinstance(images, Records):
        raise DataError(f"The source of {images.name(0)} is no folder or pattern of TFRecords.")
    arrays: dict[str, Any] = {
        "files": [os.path.basename(file) for file in images.files],
        "sizes": [os.path.getsize(file) for file in images.files],
        "starts": images.starts,
        "offsets": images.offsets,
        "lengths": images.lengths,
        "key": images.key,
        "labels": list(examples.labels),
        "targets": examples.targets,
        "notes": np.array(examples.notes, str),
    }
    if examples.groups is not None:
        arrays["groups"] = examples.groups
    path = _index_path(images.files)
    beside = path.with_name(f".{path.name}")
    np.savez(beside, **arrays)
    beside.replace(path)
    return path


def _read_index(files: Sequence[str], splits: tuple[str, ...]) -> Examples | None:
    """What :func:`write_index` kept, if it is of these shards and their sizes are the same."""
    path = _index_path(files)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as index:
        names = [os.path.basename(file) for file in files]
        sizes = [os.path.getsize(file) for file in files]
        if index["files"].tolist() != names or index["sizes"].tolist() != sizes:
            return None
        return Examples(
            tuple(index["labels"].tolist()),
            Records(
                tuple(map(str, files)),
                index["starts"],
                index["offsets"],
                index["lengths"],
                str(index["key"]),
            ),
            index["targets"],
            index["groups"] if "groups" in index.files else None,
            splits,
            tuple(index["notes"].tolist()),
        )


def _index_path(files: Sequence[str]) -> Path:
    return Path(files[0]).with_name(f"{shards.stem(files[0])}.index.npz")
