"""What training learns from and is validated on: found, checked, split and told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras

from keras_inception.data.examples import Examples
from keras_inception.data.sources import (
    BadImage,
    describe_bad,
    find_bad_images,
    open_source,
    split,
    without,
)

Source = str | Path | Examples


@dataclass(frozen=True)
class Prepared:
    """Images ready to train on.

    Args:
        training: what the network learns from.
        validation: what it is measured on, of the same classes; may be empty.
        bad: images left out since they can't be decoded.
        record: what run.json says of the data.
    """

    training: Examples
    validation: Examples
    bad: list[BadImage]
    record: dict[str, Any]


def prepare(
    data: Source,
    validation_data: Source | None = None,
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    say: Callable[[str], None] = print,
) -> Prepared:
    """Open the data, leave out what can't be decoded, and set images apart for validation.

    Args:
        data: a source of images, see :func:`~keras_inception.data.sources.open_source`.
        validation_data: images to validate on, with the same classes; by default
            ``validation_fraction`` of each class is set apart.
        seed: of the split.
        on_bad_image: whether files that can't be decoded are left out and named, or refused.
        say: takes each line about the data.

    Raises:
        DataError: the images can't be used.
    """
    training = open_source(data)
    bad = _find_bad_images(training)
    training = without(training, bad, on_bad_image)
    if validation_data is None:
        training, validation = split(training, validation_fraction, seed)
    else:
        validation = open_source(validation_data, training.labels)
        bad_validation = _find_bad_images(validation)
        validation = without(validation, bad_validation, on_bad_image)
        bad = bad + bad_validation
    if bad:
        say(describe_bad(bad).rstrip() + "\nLeft out.")
    counts = training.counts()
    say(
        f"{len(training)} training and {len(validation)} validation images of"
        f" {len(training.labels)} classes; {counts.min()} to {counts.max()} training images each"
    )
    record = {
        "training": str(Path(data).resolve()) if isinstance(data, (str, Path)) else None,
        "training_images": len(training),
        "validation_images": len(validation),
        "left_out": [image.name for image in bad],
    }
    return Prepared(training, validation, bad, record)


def _find_bad_images(examples: Examples) -> list[BadImage]:
    """Every image decoded once, with a bar on a terminal: it may take minutes."""
    if not sys.stdout.isatty():
        return find_bad_images(examples.images)
    print("Looking at every image")
    bar = keras.utils.Progbar(len(examples), unit_name="image")
    return find_bad_images(examples.images, bar.add)
