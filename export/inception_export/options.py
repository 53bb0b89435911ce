"""Options of an export, as data: the Python API and the command line read them here.

This module loads neither Keras nor TensorFlow, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from inception_export.export import ExportError

Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = typing.get_args(Precision)
Format = Literal["saved_model", "onnx", "litert", "openvino"]
FORMATS: tuple[Format, ...] = typing.get_args(Format)
MAX_ACCURACY_LOSS = 0.005


@dataclass(frozen=True)
class ExportOptions:
    """What may be chosen when a network is exported.

    Every option's meaning stands beside it and is what ``--help`` prints. ``samples`` and
    ``calibration`` are the bytes of image files; ``sample_classes``, which the command takes from
    the folders' names, the true class of each, or ``""``.

    Raises:
        ExportError: an option breaks its rule.
    """

    format: Format = field(
        default="saved_model",
        metadata={
            "doc": "saved_model, which is served; or BASE/NAME.onnx, .tflite or .xml for another"
            " engine, from pixels to scores, without resizing and labels, which a JSON beside it"
            " has"
        },
    )
    version: int | None = field(
        default=None,
        metadata={
            "doc": "the version, a whole number of at least 1; by default one more than the largest"
        },
    )
    top: int = field(
        default=5,
        metadata={"doc": "how many classes an answer names, at most, the best first"},
    )
    precision: Precision = field(
        default="float32",
        metadata={
            "doc": "the precision of weights and arithmetic; answers are float32 all the same. int8"
            " is for x86 processors with VNNI"
        },
    )
    mirror: bool = field(
        default=False,
        metadata={
            "doc": "answer the mean of the scores of an image and its mirror image, as `evaluate"
            " --crops 2` does: a little more accurate, twice the work"
        },
    )
    max_batch_size: int = field(
        default=8,
        metadata={"doc": "the largest batch that will be served; a server warms up with it"},
    )
    samples: Sequence[bytes] = field(
        default=(),
        metadata={
            "doc": "images to compare the export with the Keras model on, at most 32 of them; by"
            " default four made-up ones. Four at most are kept in the export, made small, for"
            " `verify-serving`. Of a folder of class folders the accuracy on all is measured, too"
        },
    )
    sample_classes: Sequence[str] = field(
        default=(), metadata={"doc": "the true class of each sample, as the labels have it"}
    )
    max_accuracy_fall: float = field(
        default=0.05,
        metadata={
            "doc": "how far the accuracy on the samples may lie below the one that the run"
            " recorded, or that the labels in another order would give, beyond what may be chance;"
            " 1 lets every export pass"
        },
    )

    calibration: Sequence[bytes] = field(
        default=(),
        metadata={
            "doc": "for int8: images as the model will see, from which the ranges of its tensors"
            " are taken, at most 256 of them; by default the run's training images"
        },
    )
    max_accuracy_loss: float = field(
        default=MAX_ACCURACY_LOSS,
        metadata={
            "doc": "for int8: how far its accuracy on the samples, by default the run's validation"
            " images, may lie below that of the Keras model on the same; 1 lets any loss pass"
        },
    )

    def __post_init__(self) -> None:
        self._check_format()
        for name in ("version", "top", "max_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ExportError(
                    f"`{name}` is a whole number of at least 1. Received: {name}={value}"
                )
        for name in ("max_accuracy_fall", "max_accuracy_loss"):
            if not 0 <= getattr(self, name) <= 1:
                raise ExportError(
                    f"`{name}` is a share, from 0 to 1. Received: {name}={getattr(self, name)}"
                )
        if self.sample_classes and len(self.sample_classes) != len(self.samples):
            raise ExportError(
                "`sample_classes` must have one name for each of the samples. Received:"
                f" {len(self.sample_classes)} for {len(self.samples)} samples"
            )
        if self.precision not in PRECISIONS:
            raise ExportError(
                f"`precision` must be one of {', '.join(map(repr, PRECISIONS))}."
                f" Received: precision={self.precision!r}"
            )
        of_int8 = {
            "calibration": bool(self.calibration),
            "max_accuracy_loss": self.max_accuracy_loss != MAX_ACCURACY_LOSS,
        }
        for name, given in of_int8.items():
            if given and self.precision != "int8":
                raise ExportError(
                    f"`{name}` is for int8 alone: precision='int8'."
                    f" Received: precision={self.precision!r}"
                )

    def _check_format(self) -> None:
        if self.format not in FORMATS:
            raise ExportError(
                f"`format` must be one of {', '.join(map(repr, FORMATS))}."
                f" Received: format={self.format!r}"
            )
        if self.format == "saved_model":
            return
        of_all = ("format", "samples", "sample_classes", "calibration")  # the last has its own rule
        for each in dataclasses.fields(self):
            if each.name not in of_all and getattr(self, each.name) != each.default:
                raise ExportError(
                    f"`{each.name}` is for a SavedModel alone: leave it out, or the format."
                    f" Received: format={self.format!r}, {each.name}={getattr(self, each.name)!r}"
                )
