"""What training learns from and is validated on: found, checked, split and told."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_inception.data.examples import DataError, Examples, Files, Images, Pixels
from keras_inception.data.preparation.inspection import (
    BadImage,
    Inspection,
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
    report_shared,
    report_shared_groups,
)
from keras_inception.data.preparation.splits import split
from keras_inception.data.progress import bar
from keras_inception.data.sources.source import Source, open_source

CheckImages = Literal["auto", "all", "none"]

# So many images are looked at before training; it takes about a minute. Of more, a sample is.
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
        validation_numbers: int64 [validation images], their numbers in the source that
            ``record["validation_source"]`` names.
        looked_at: whether every training image is known to be good.
    """

    training: Examples
    validation: Examples
    bad: list[BadImage]
    record: dict[str, Any]
    validation_numbers: np.ndarray
    looked_at: bool = True


def prepare(
    data: Source,
    validation_data: Source | None = None,
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    check_images: CheckImages = "auto",
    log: Callable[[str], None] = print,
) -> Prepared:
    """Open the data, leave out what can't be decoded, and set images apart for validation.

    Copies of one image stay on one side of the split, as groups do.

    Args:
        data: a source of images, see :func:`~keras_inception.data.sources.source.open_source`.
        validation_data: images to validate on, with the same classes; by default the source's own
            part ``validation``, or else ``validation_fraction`` of each class is set apart.
        seed: of the split.
        on_bad_image: whether files that can't be decoded are left out and named, or refused.
        check_images: whether every image is decoded and compared with the others beforehand:
            ``"auto"`` does so up to 20,000 images. Of more, and with ``"none"``, only those to
            validate on are decoded, since every epoch decodes all of these.
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
    own_part = validation_data is None and "validation" in everything.parts
    if own_part:
        validation_data = f"{data}/validation"
        log(f"To validate on, there are the images of {validation_data}.")
    checked = _check(everything, check_images, on_bad_image, log)
    training, looks, bad = everything.take(checked.kept), [checked.seen], checked.bad
    together = report_copies(training, checked.digests(), log)
    if validation_data is None:
        larger, apart = split(training, validation_fraction, seed, together)
        validation, validation_numbers = training.take(apart), checked.kept[apart]
        training = training.take(larger)
        decoded = checked.complete
    else:
        others = _open_validation(validation_data, training)
        checked_others = _check(others, check_images, on_bad_image, log)
        looks.append(checked_others.seen)
        bad = bad + checked_others.bad
        validation_numbers = checked_others.kept
        validation = others.take(validation_numbers)
        decoded = checked_others.complete
        both = np.isin(checked_others.digests(), checked.digests())
        report_shared(validation, np.flatnonzero(both), log)
        if own_part:
            report_shared_groups(training, validation, log)
    if not decoded:
        # What is bad among them would show only at an epoch's end, and end the run.
        images = validation.images
        found = find_bad_images(images, bar("Decoding the validation images once", len(images)))
        whole = np.delete(np.arange(len(validation)), [image.index for image in found])
        validation, validation_numbers = validation.take(whole), validation_numbers[whole]
        bad = bad + found
    if not len(training):
        raise DataError("There are no images to train on.")
    kinds = report_kinds([seen for seen in looks if seen is not None], log)
    if bad:
        log(describe_bad(bad).rstrip() + "\nLeft out.")
    report_counts(training, validation, log)
    record = {
        "training": source_name(data),
        "validation_source": source_name(data if validation_data is None else validation_data),
        "training_images": len(training),
        "training_counts": training.counts().tolist(),
        "validation_images": len(validation),
        "left_out": [image.name for image in bad],
        "read_otherwise": kinds,
        "fingerprint": _fingerprint(training),
    }
    return Prepared(training, validation, bad, record, validation_numbers, checked.complete)


def source_name(source: Source) -> str | None:
    """A source as text that opens it from any folder; ``None`` for what is only in memory."""
    if isinstance(source, (str, Path)):
        text = os.fspath(source)
        return text if text.startswith(("keras:", "tfds:")) else os.path.abspath(text)
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
    """The numbers of the good images, the bad ones, and what all are if they were looked at.

    Args:
        complete: whether every image is known to be good.
    """

    kept: np.ndarray
    bad: list[BadImage]
    seen: Inspection | None
    complete: bool

    def digests(self) -> np.ndarray:
        """Of the good images; none if they were not looked at."""
        return np.zeros(0, np.uint64) if self.seen is None else self.seen.digests[self.kept]


def _check(
    examples: Examples,
    check: CheckImages,
    on_bad_image: Literal["skip", "refuse"],
    log: Callable[[str], None],
) -> _Checked:
    images = examples.images
    if isinstance(images, Pixels):
        few = len(images) * int(np.prod(images.tensor.shape[1:])) <= _FEW_BYTES
    else:
        few = len(images) <= _FEW
    if check == "all" or (check == "auto" and few):
        bad, seen = inspect_all(images)
        report_exif_rotated(images, seen.exif_rotated, log)
        return _Checked(decodable(examples, bad, on_bad_image), bad, seen, True)
    if not isinstance(images, Pixels):
        log(f"{len(images)} images are not looked at one by one: bad ones show in training.")
        if check == "auto":
            some = np.linspace(0, len(images) - 1, _SAMPLE).astype(np.int64)
            exif_rotated = [int(some[place]) for place in inspect(images.take(some)).exif_rotated]
            report_exif_rotated(images, exif_rotated, log, of=_SAMPLE)
    return _Checked(np.arange(len(examples)), [], None, isinstance(images, Pixels))


def inspect_all(images: Images) -> tuple[list[BadImage], Inspection]:
    """Decode all and read their headers, with bars on a terminal: it may take minutes."""
    bad = find_bad_images(images, bar("Decoding every image once", len(images)))
    numbers = frozenset(image.index for image in bad)
    seen = inspect(images, bar("Comparing the images", len(images)), numbers)
    return sorted(bad + seen.misread, key=lambda image: image.index), seen


def _fingerprint(examples: Examples) -> str:
    """Equal for the same images with the same classes in the same order, wherever they lie."""
    digest = blake2b(digest_size=8)
    digest.update(repr(examples.labels).encode("utf-8", "backslashreplace"))
    digest.update(examples.targets.tobytes())
    images: Any = examples.images
    if isinstance(images, Files):
        for start in range(0, len(images.names.blocks), 1000):
            for block in images.names.blocks[start : start + 1000].numpy():
                digest.update(block)
    for entry in dataclasses.fields(images) if dataclasses.is_dataclass(images) else ():
        value = getattr(images, entry.name)
        if isinstance(value, np.ndarray):
            digest.update(value.tobytes())
    return digest.hexdigest()
