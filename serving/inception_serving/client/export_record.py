"""An export's record of what it answered to a few pictures when it was written.

`inception_export` writes it into the SavedModel's folder, all that is known of an export here:

    BASE/NAME/VERSION/saved_model.pb
                      assets.extra/keras_inception.json      the manifest
                      assets.extra/samples/answers.npz       and the pictures beside it
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANIFEST = Path("assets.extra", "keras_inception.json")
ANSWERS = Path("assets.extra", "samples", "answers.npz")
# The manifest's; one of a later number may say something else by the same words.
FORMAT = 1


@dataclass(frozen=True)
class RecordedAnswers:
    """What an export answered to a few pictures when it was written.

    Attributes:
        pictures: encoded images.
        pixels: the same decoded, uint8 [height, width, 3] each, since decoders differ.
        answers: by signature and output: [pictures, ...], float32, or bytes of a fixed length.
    """

    pictures: tuple[bytes, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    answers: dict[str, dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class ExportRecord:
    """An export as far as a client needs it.

    Attributes:
        path: the version's folder.
        version: its name, where that is a number.
        precision: of its arithmetic, such as "float32".
        recorded: its answers.
    """

    path: Path
    version: int | None
    precision: str
    recorded: RecordedAnswers


def read_export_record(place: str | Path) -> ExportRecord:
    """The record of the export in a folder.

    Args:
        place: BASE/NAME/VERSION, or BASE/NAME for the largest version there.

    Raises:
        ValueError: it is no export, is none of ours, is of a later format, or has no record.
    """
    path = _find(Path(place))
    manifest = _read_manifest(path)
    recorded = read_recorded_answers(path)
    if recorded is None:
        raise ValueError(_no_record(path, ours=bool(manifest)))
    version = int(path.name) if re.fullmatch(r"\d+", path.name) else None
    return ExportRecord(path, version, manifest.get("precision", "float32"), recorded)


def read_recorded_answers(folder: Path) -> RecordedAnswers | None:
    """The answers that a version's folder records; None if it has no record.

    Raises:
        ValueError: the record is damaged.
    """
    path = folder / ANSWERS
    if not path.is_file():
        return None
    try:
        with np.load(path) as arrays:  # which refuses pickled objects
            record = dict(arrays)
        names = [str(name) for name in record.pop("pictures")]
        if not names:
            raise ValueError("it names no picture")
        pictures = tuple((path.parent / Path(name).name).read_bytes() for name in names)
        pixels = tuple(record.pop(f"pixels/{name}") for name in names)
        answers: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in record.items():
            signature, output = name.split("/")
            answers.setdefault(signature, {})[output] = array
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return RecordedAnswers(pictures, pixels, answers)


def _find(place: Path) -> Path:
    versions = sorted(
        (each for each in place.glob("*") if re.fullmatch(r"\d+", each.name)),
        key=lambda each: int(each.name),
        reverse=True,
    )
    for folder in (place, *versions):
        if (folder / "saved_model.pb").is_file():
            return folder
    raise ValueError(
        f"{place} is no export: it has neither a saved_model.pb nor a version, a folder whose name"
        " is a number, that has one. An export is the folder that `keras-inception export` made."
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    """What the export says of itself; empty for another's SavedModel."""
    file = path / MANIFEST
    if not file.is_file():
        return {}
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    kinds = {"format": int, "precision": str}
    if not isinstance(manifest, dict) or not all(
        isinstance(manifest.get(name, kind()), kind) for name, kind in kinds.items()
    ):
        raise ValueError(f"{file} is damaged: it is no object with a number as its format.")
    if manifest.get("format", FORMAT) > FORMAT:
        raise ValueError(
            f"{file} was written by a later version: its format is {manifest['format']}, and this"
            f" version reads formats up to {FORMAT}. Upgrade inception-serving."
        )
    return manifest


def _no_record(path: Path, *, ours: bool) -> str:
    if not ours:
        return f"{path} is no export of ours, so it records no answers to compare a server's with."
    return (
        f"{path} records no answers to compare a server's with: it was exported before there was"
        " a record, or has too many classes for one (over 1 MB a picture). Export the network"
        " again: keras-inception export. `keras-inception evaluate HOST:PORT/NAME` measures the"
        " server's accuracy meanwhile."
    )
