"""Images written as TFRecord shards, as any reader of TFRecords knows them.

FOLDER/
  train-00000-of-00008.tfrecord   image/encoded, image/format, image/filename, image/class/label,
                                  image/class/text, and image/group where there are groups
  validation-00000-of-...         where images were set apart
  labels.txt                      the class names, one a line, from class 0 on
  train.index.npz                 where each record stands, so that opening takes no time
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_inception.data.class_names import write_class_names
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.headers import read_header
from keras_inception.data.sources.record_labels import AFTER, BEFORE
from keras_inception.data.sources.records import Records, write_index
from keras_inception.data.types import Advance

_IMAGES_A_SHARD, _MOST_SHARDS = 1_000, 1_024


def write_records(
    splits: Mapping[str, Examples],
    output: str | Path,
    *,
    shards: int | None = None,
    seed: int = 0,
    advance: Advance = lambda images: None,
) -> dict[str, list[Path]]:
    """Write examples as TFRecords, the bytes of image files as they are.

    Each shard is written beside and renamed into place, so a shard that is there is whole, and a
    second call with the same images goes on where the first was stopped. The order is shuffled,
    for readers that go from the first record to the last.

    Args:
        splits: examples by the name of their split, such as ``"train"``; all of the same classes.
        output: a folder, made here.
        shards: of the first split, others in proportion; by default one for 1,000 images.
        seed: of the order.
        advance: is told how many more images are done.

    Returns:
        The shards of each split.

    Raises:
        DataError: ``output`` holds something else, or there are more shards than images.
    """
    output = Path(output)
    first = next(iter(splits.values()))
    if shards is not None and not 1 <= shards <= len(first):
        raise DataError(f"There must be 1 to {len(first)} shards. Received: shards={shards}")
    plan = _plan(splits, seed)
    output.mkdir(parents=True, exist_ok=True)
    _claim(output, plan)
    written = {}
    for split, examples in splits.items():
        count = -(-len(examples) // _IMAGES_A_SHARD)
        if shards is not None:
            count = round(shards * len(examples) / len(first))
        count = min(max(count, 1), _MOST_SHARDS if shards is None else len(examples))
        written[split] = _write_split(split, examples, output, count, seed, advance)
    write_class_names(output / "labels.txt", first.labels)
    (output / _PLAN).unlink()
    return written


_PLAN = ".writing"


def _claim(output: Path, plan: str) -> None:
    """Begin in an empty folder, or go on with the same images."""
    begun = output / _PLAN
    if begun.exists():
        if begun.read_text() != plan:
            raise DataError(
                f"{output} holds the beginning of other records. Choose another folder, or remove"
                " this one."
            )
        return
    if any(output.iterdir()):
        raise DataError(f"{output} is not empty, and records are never overwritten.")
    begun.write_text(plan)


def _plan(splits: Mapping[str, Examples], seed: int) -> str:
    digest = blake2b(repr(seed).encode(), digest_size=16)
    for split, examples in splits.items():
        digest.update(repr((split, len(examples), examples.labels)).encode("utf-8", "replace"))
        digest.update(examples.targets.tobytes())
        for index in range(len(examples)):
            digest.update(os.fsencode(examples.images.name(index)))
    return digest.hexdigest()


def _write_split(
    split: str,
    examples: Examples,
    output: Path,
    count: int,
    seed: int,
    advance: Advance,
) -> list[Path]:
    order = np.random.default_rng(seed).permutation(len(examples))
    paths, lengths, counts = [], [], []
    for number, indices in enumerate(np.array_split(order, count)):
        path = output / f"{split}-{number:05d}-of-{count:05d}.tfrecord"
        if not path.exists():
            beside = output / f".{path.name}"
            with tf.io.TFRecordWriter(str(beside)) as writer:
                for index in indices:
                    writer.write(record(examples, int(index)))
                    advance(1)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(path)
        else:
            advance(len(indices))
        paths.append(path)
        counts.append(len(indices))
        lengths.append(_lengths(path))
    images = Records.of([str(path) for path in paths], counts, np.concatenate(lengths))
    kept = examples.take(order)
    write_index(Examples(examples.labels, images, kept.targets, kept.groups))
    return paths


def record(examples: Examples, index: int) -> bytes:
    """One example as a serialized tf.Example."""
    encoded = examples.images.encoded(index)
    header = read_header(encoded)
    name, root = examples.images.name(index), examples.images.root
    if root is not None:
        name = os.path.relpath(name, root or "/")
    target = examples.targets[index]
    targets = np.flatnonzero(target).tolist() if examples.multi_label else [int(target)]
    example = tf.train.Example()
    features = example.features.feature
    features["image/encoded"].bytes_list.value.append(encoded)
    features["image/format"].bytes_list.value.append((header.format if header else "").encode())
    features["image/filename"].bytes_list.value.append(os.fsencode(name))
    features["image/class/label"].int64_list.value.extend(targets)
    features["image/class/text"].bytes_list.value.extend(
        examples.labels[each].encode() for each in targets
    )
    if examples.groups is not None:
        features["image/group"].int64_list.value.append(int(examples.groups[index]))
    content: bytes = example.SerializeToString()
    return content


def _lengths(path: Path) -> np.ndarray:
    """How long each record's data is: uint32 [records], read from what stands before them."""
    lengths, offset = [], 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while offset < size:
            length = int.from_bytes(os.pread(file.fileno(), 8, offset), "little")
            lengths.append(length)
            offset += BEFORE + length + AFTER
    return np.array(lengths, np.uint32)
