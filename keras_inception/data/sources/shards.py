"""TFRecord shards by their names: ``train-00000-of-00010`` and its like."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Sequence

from keras_inception.data.errors import DataError
from keras_inception.data.examples import listed
from keras_inception.data.sources.split_names import SPLIT_NAMES

# Compressed ones are known by their names, too, so that they are refused for what they are.
_SHARD = re.compile(
    r"(?P<stem>.*?)[-.](?P<number>\d{5})-of-(?P<count>\d{5})(\.tfrecords?)?(\.gz|\.zlib)?"
)


def find_shards(source: str, split: str | None) -> tuple[list[str], tuple[str, ...]]:
    """The shards that a folder, a pattern such as ``train-*``, or a file's name stands for.

    Args:
        split: which one to take; by default ``"train"`` where the shards' names tell splits.

    Returns:
        The shards in order, and the names of the other splits.

    Raises:
        DataError: there is none, or one of a folder's shards is missing.
    """
    folder = os.path.isdir(source)
    matching = glob.glob(os.path.join(glob.escape(source), "*") if folder else source)
    files = sorted(file for file in matching if os.path.isfile(file))
    # A pattern may name files of any name, but means the shards where it finds some.
    found = [file for file in files if is_shard(file)] or ([] if folder else files)
    if not found:
        raise DataError(f"There are no TFRecord files {source}.")
    splits: dict[str | None, list[str]] = defaultdict(list)
    for file in found:
        splits[_split_of(file)].append(file)
    wanted = split
    if split is None:
        wanted = "train" if "train" in splits else next(iter(splits))
        if len(splits) > 1 and wanted != "train":
            names = listed(sorted(map(str, splits)))
            raise DataError(f"{source} has the splits {names}: name one.")
    if wanted not in splits:
        raise DataError(f"{source} has no split {split!r}.")
    if folder:
        _check_complete(splits[wanted])
    return splits[wanted], tuple(sorted(name for name in splits if name and name != wanted))


def is_shard(file: str) -> bool:
    """Whether a file is TFRecords by its name: x.tfrecord, or train-00000-of-00010."""
    name = os.path.basename(file)
    return bool(re.search(r"\.tfrecords?(\.gz|\.zlib)?$", name) or _SHARD.fullmatch(name))


def stem(file: str) -> str:
    """What the names of all shards of a set begin with."""
    match = _SHARD.fullmatch(os.path.basename(file))
    return match["stem"] if match else os.path.basename(file)


def _split_of(file: str) -> str | None:
    words = re.split(r"[-_.]", stem(file).lower())
    named = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    return named[-1] if named else None


def _check_complete(files: Sequence[str]) -> None:
    """Every shard of those that the names count must be there."""
    sets: dict[tuple[str, int], set[int]] = defaultdict(set)
    for file in files:
        match = _SHARD.fullmatch(os.path.basename(file))
        if match:
            sets[match["stem"], int(match["count"])].add(int(match["number"]))
    for (name, count), numbers in sets.items():
        missing = sorted(set(range(count)) - numbers)
        if missing:
            names = listed([f"{name}-{number:05d}-of-{count:05d}" for number in missing], 3)
            raise DataError(
                f"{len(missing)} of {count} shards are missing in {os.path.dirname(files[0])}:"
                f" {names}. To use those that are there, name them by a pattern:"
                f" {os.path.join(os.path.dirname(files[0]), name)}-*"
            )
