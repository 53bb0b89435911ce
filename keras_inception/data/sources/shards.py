"""TFRecord shards by their names: ``train-00000-of-00010`` and its like."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Sequence

from keras_inception.data.examples import DataError, listed
from keras_inception.data.sources.table import PARTS

_SHARD = re.compile(r"(?P<stem>.*?)[-.](?P<number>\d{5})-of-(?P<count>\d{5})(\.tfrecords?)?")


def find_shards(source: str, part: str | None) -> tuple[list[str], tuple[str, ...]]:
    """The shards that a folder, a pattern such as ``train-*``, or a file's name stands for.

    Args:
        part: which part of the data; by default ``"train"`` where the shards' names tell parts.

    Returns:
        The shards in order, and what other parts there are.

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
    parts: dict[str | None, list[str]] = defaultdict(list)
    for file in found:
        parts[_part_of(file)].append(file)
    wanted = part
    if part is None:
        wanted = "train" if "train" in parts else next(iter(parts))
        if len(parts) > 1 and wanted != "train":
            raise DataError(f"{source} has the parts {listed(sorted(map(str, parts)))}: name one.")
    if wanted not in parts:
        raise DataError(f"{source} has no part {part!r}.")
    if folder:
        _check_complete(parts[wanted])
    return parts[wanted], tuple(sorted(name for name in parts if name and name != wanted))


def is_shard(file: str) -> bool:
    """Whether a file is TFRecords by its name: x.tfrecord, or train-00000-of-00010."""
    name = os.path.basename(file)
    return name.endswith((".tfrecord", ".tfrecords")) or bool(_SHARD.fullmatch(name))


def stem(file: str) -> str:
    """What the names of all shards of a set begin with."""
    match = _SHARD.fullmatch(os.path.basename(file))
    return match["stem"] if match else os.path.basename(file)


def _part_of(file: str) -> str | None:
    words = [PARTS[word] for word in re.split(r"[-_.]", stem(file).lower()) if word in PARTS]
    return words[-1] if words else None


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
