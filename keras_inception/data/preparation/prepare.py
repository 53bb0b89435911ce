"""Preparation of what training learns from and is validated on: opened, checked, split."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Images
from keras_inception.data.preparation.folds import split_fold
from keras_inception.data.preparation.inspection import (
    BadImage,
    Inspection,
    Judge,
    decodable,
    describe_bad,
    find_bad_images,
    inspect,
)
from keras_inception.data.preparation.messages import (
    report_copies,
    report_counts,
    report_exif_rotated,
    report_kinds,
    report_none_apart,
    report_shared,
    report_shared_groups,
)
from keras_inception.data.preparation.splits import split
from keras_inception.data.progress import bar
from keras_inception.data.sources.source import PREFIXES, Source, open_source, split_of
from keras_inception.data.sources.table import Table
from keras_inception.data.types import Log

CheckImages = Literal["auto", "all", "none"]

# So many images are inspected before training; it takes about a minute. Of more, a sample is.
_FEW = 20_000
_FEW_BYTES = 1 << 30  # of images in memory, which are only compared
_SAMPLE = 1_000


@dataclass(frozen=True)
class Prepared:
    """Images ready to train on.

    Args:
        training: what the network learns from.
        validation: what it is measured on, of the same classes; may be empty.
        bad: images left out since they can't be decoded.
        record: what run.json says of the data.
        validation_indices: int64 [validation images], their places in the source that
            ``record["validation_source"]`` names.
        inspected: whether every training image is known to be decodable.
    """

    training: Examples
    validation: Examples
    bad: list[BadImage]
    record: dict[str, Any]
    validation_indices: np.ndarray
    inspected: bool = True


def prepare(
    data: Source,
    validation_data: Source | None = None,
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    check_images: CheckImages = "auto",
    fold: tuple[int, int] | None = None,
    exchange: bool = True,
    check: Callable[[Examples, int], None] = lambda training, validation: None,
    log: Log = print,
) -> Prepared:
    """Open the data, leave out what can't be decoded, and set images apart for validation.

    Copies of one image stay on one side of the split, as groups do.

    Args:
        data: a source of images, see :func:`~keras_inception.data.sources.source.open_source`.
        validation_data: images to validate on, with the same classes; by default the source's own
            split ``validation``, or else ``validation_fraction`` of each class is set apart.
        seed: of the split.
        on_bad_image: whether files that can't be decoded are left out and named, or refused.
        check_images: whether every image is decoded and compared with the others beforehand:
            ``"auto"`` does so up to 20,000 images. Of more, and with ``"none"``, only those to
            validate on are decoded, since every epoch decodes all of these.
        fold: which part of the images to validate on, from 1, of how many equal ones; in place of
            a share of them.
        exchange: see :func:`~keras_inception.data.preparation.splits.split`.
        check: is called before an image is looked at, with all that are not given to validate on
            and about how many there will be to validate on; it may refuse them.
        log: takes each line about the data.

    Raises:
        DataError: the images can't be used.
    """
    if on_bad_image == "refuse":
        if check_images == "none":
            raise DataError("To refuse bad images, they must be looked at: not check_images=none.")
        check_images = "all"
    everything = open_source(data)
    for note in everything.notes:
        log(note)
    own_split = validation_data is None and fold is None and "validation" in everything.splits
    if own_split:
        validation_data = split_of(data, "validation")
        log(f"To validate on, there are the images of {validation_data}.")
    others = None if validation_data is None else _open_validation(validation_data, everything)
    share = math.ceil((1 / fold[1] if fold else validation_fraction) * len(everything))
    check(everything, share if others is None else len(others))
    training = _check(everything, check_images, on_bad_image, log)
    together = report_copies(training.examples, training.digests, log)
    if others is None:
        part = fold or validation_fraction
        left, apart = set_apart(training.examples, part, seed, together, exchange)
        # What was found in the source is reported once, with the training images.
        validation = dataclasses.replace(training.take(apart), bad=[], inspection=Inspection())
        training = training.take(left)
        report_none_apart(training.examples, apart, part, log)
    else:
        validation = _check(others, check_images, on_bad_image, log)
        shared = np.isin(validation.digests, training.digests)
        report_shared(validation.examples, np.flatnonzero(shared), log)
        if own_split:
            report_shared_groups(training.examples, validation.examples, log)
    if not validation.complete:
        validation = _decoded(validation)
    if not len(training.examples):
        raise DataError("There are no images to train on.")
    kinds = report_kinds([training.inspection, validation.inspection], log)
    bad = training.bad + validation.bad
    if bad:
        log(describe_bad(bad).rstrip() + "\nLeft out.")
    report_counts(training.examples, validation.examples, log)
    sources = data, data if validation_data is None else validation_data
    return Prepared(
        training.examples,
        validation.examples,
        bad,
        _record(sources, training.examples, validation.examples, bad, kinds),
        validation.indices,
        training.complete,
    )


def set_apart(
    examples: Examples,
    part: tuple[int, int] | float,
    seed: int,
    keep_together: np.ndarray | None,
    exchange: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The indices of those that are left, and of those to validate on.

    Args:
        part: a fold, from 1, of how many, or a share.
        keep_together, exchange: see :func:`~keras_inception.data.preparation.splits.split`.
    """
    if isinstance(part, tuple):
        return split_fold(examples, *part, seed, keep_together)
    return split(examples, part, seed, keep_together, exchange=exchange)


def _record(
    sources: tuple[Source, Source],
    training: Examples,
    validation: Examples,
    bad: list[BadImage],
    kinds: dict[str, int],
) -> dict[str, Any]:
    return {
        "training": source_name(sources[0]),
        "validation_source": source_name(sources[1]),
        "training_images": len(training),
        "training_counts": training.counts().tolist(),
        "validation_images": len(validation),
        "left_out": [image.name for image in bad],
        "read_otherwise": kinds,
        "fingerprint": _fingerprint(training),
    }


def source_name(source: Source) -> str | None:
    """A source as text that opens it from any folder; ``None`` for what is only in memory."""
    if isinstance(source, (str, Path, Table)):
        text = os.fspath(source)
        return text if text.startswith(tuple(PREFIXES)) else os.path.abspath(text)
    return None


def _open_validation(source: Source, training: Examples) -> Examples:
    validation = open_source(source, training.labels)
    if validation.multi_label and not training.multi_label:
        raise DataError(
            "Validation images have several classes each, but training images have one."
        )
    if training.multi_label and not validation.multi_label:
        one_each = np.eye(len(training.labels), dtype=bool)[validation.targets]
        validation = dataclasses.replace(validation, targets=one_each)
    return validation


@dataclass(frozen=True)
class _Checked:
    """Images of a source that are not known to be bad.

    Args:
        examples: these images.
        indices: int64 [examples], their places in the source.
        bad: the source's images that can't be decoded.
        inspection: of all the source's images; empty if they were not inspected.
        complete: whether every example is known to be decodable.
    """

    examples: Examples
    indices: np.ndarray
    bad: list[BadImage]
    inspection: Inspection
    complete: bool

    @property
    def digests(self) -> np.ndarray:
        """Of the examples' contents: uint64 [examples]; or empty if that isn't known."""
        digests = self.inspection.digests
        return digests[self.indices] if len(digests) else digests

    def take(self, places: np.ndarray) -> _Checked:
        """Some of the examples, by their places among them."""
        return dataclasses.replace(
            self, examples=self.examples.take(places), indices=self.indices[places]
        )


def _check(
    examples: Examples,
    check: CheckImages,
    on_bad_image: Literal["skip", "refuse"],
    log: Log,
) -> _Checked:
    """Inspect a source's images, or of too many a sample."""
    images = examples.images
    if check == "all" or (check == "auto" and _few(images)):
        bad, inspection = inspect_all(images)
        report_exif_rotated(images, inspection.exif_rotated, log)
        kept = decodable(examples, bad, on_bad_image)
        return _Checked(examples.take(kept), kept, bad, inspection, complete=True)
    if not images.decoded:
        log(f"{len(images)} images are not looked at one by one: bad ones show in training.")
        if check == "auto":
            some = np.linspace(0, len(images) - 1, _SAMPLE).astype(np.int64)
            exif_rotated = some[inspect(images.take(some)).exif_rotated].tolist()
            report_exif_rotated(images, exif_rotated, log, of=_SAMPLE)
    everything = np.arange(len(examples))
    return _Checked(examples, everything, [], Inspection(), complete=images.decoded)


def _few(images: Images) -> bool:
    """Whether it takes no more than about a minute to inspect them all."""
    if images.decoded:
        return len(images) * memoryview(images.content(0)).nbytes <= _FEW_BYTES
    return len(images) <= _FEW


def _decoded(checked: _Checked) -> _Checked:
    """Those that can be decoded; what is bad would show only at an epoch's end, and end the run."""
    images = checked.examples.images
    found = find_bad_images(images, bar("Decoding the validation images once", len(images)))
    kept = np.delete(np.arange(len(images)), [image.index for image in found])
    return dataclasses.replace(checked.take(kept), bad=checked.bad + found, complete=True)


def inspect_all(
    images: Images, judge: Judge = lambda content: ""
) -> tuple[list[BadImage], Inspection]:
    """Decode all and read their headers, with bars on a terminal: it may take minutes.

    Args:
        judge: is asked of each file that can be decoded.
    """
    bad = find_bad_images(images, bar("Decoding every image once", len(images)))
    skip = frozenset(image.index for image in bad)
    inspection = inspect(images, bar("Comparing the images", len(images)), skip, judge)
    return bad, inspection


def _fingerprint(examples: Examples) -> str:
    """Equal for the same images with the same classes in the same order, wherever they lie."""
    digest = blake2b(digest_size=8)
    digest.update(repr(examples.labels).encode("utf-8", "backslashreplace"))
    digest.update(examples.targets.tobytes())
    for part in examples.images.identity():
        digest.update(part)
    return digest.hexdigest()
