"""The images that a run's export in int8 is calibrated and measured on, unless others are given."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from inception_export.export import ExportError
from inception_export.int8.quantize import MOST_IMAGES, spread_places
from inception_export.samples import EncodedImages
from keras_inception.data.errors import DataError
from keras_inception.data.sources.source import open_source
from keras_inception.runs.run import Run

MOST_MEASURED = 1000


def training_images(run: Run) -> EncodedImages:
    """Up to 256 of the images that a run was trained on, evenly from the first to the last.

    Raises:
        ExportError: they can't be read any more.
    """
    data = run.record["data"]
    if data.get("training") is None:
        raise ExportError(
            f"int8 is calibrated on training images, and those of {run.path} were arrays in memory,"
            " which a run does not keep. Give some: --calibration FOLDER"
        )
    try:
        images = open_source(data["training"], run.labels).images
        others = run.validation.images
    except (DataError, OSError) as error:
        raise ExportError(
            f"int8 is calibrated on training images, and those of {run.path} can't be read: {error}"
            " Give some: --calibration FOLDER"
        ) from error

    def name(of: Any, index: int) -> str:
        return os.path.abspath(of.name(index)) if of.root is not None else of.name(index)

    left_out = {name(others, index) for index in range(len(others))} | set(data["left_out"])
    kept = [
        index
        for index in range(len(images))
        if name(images, index) not in left_out and images.name(index) not in left_out
    ]
    places = spread_places(len(kept), MOST_IMAGES)
    return EncodedImages(images.take(np.array(kept, np.int64)[places]), "training images")


def validation_samples(run: Run, log: Callable[[str], None]) -> dict[str, Any]:
    """``samples`` and ``sample_classes`` of ``ExportOptions``: up to 1000 of a run's validation."""
    try:
        examples = run.validation
        examples = examples.take(spread_places(len(examples), MOST_MEASURED))
        for index in range(len(examples)):  # a file may be gone, which its list does not tell
            examples.images.encoded(index)
    except (DataError, OSError) as error:
        log(f"int8: the run's validation images can't be read: {error}")
        return {}
    samples = {"samples": EncodedImages(examples.images, "validation images")}
    if examples.multi_label or not len(examples):
        log("int8: none of the run's validation images has a single known class")
        return samples if len(examples) else {}
    return samples | {"sample_classes": [run.labels[target] for target in examples.targets]}
