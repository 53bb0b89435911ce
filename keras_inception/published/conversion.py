"""Weights converted from one form into another, and verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.models.catalogue import Entry, find
from keras_inception.models.weight_files import build_for, open_for, save_weights
from keras_inception.weights import proof
from keras_inception.weights.file import FileError
from keras_inception.weights.loading import Weights, assign_weights

_RECORDED = 6  # logits of each head


@dataclass(frozen=True)
class Verification:
    """What a file of weights holds, all of it in its place and its answers as recorded.

    Args:
        format: of the file, in words.
        source: whose names it has: ``"slim"``, ``"keras"``, ``"torch"`` or ``"ours"``.
        variant: of the network, which the weights need.
        classes: of the classifier; ``None`` without one.
        aux: whether there are auxiliary heads.
        sha256: of each file.
        names: each of our variables with the file's name and its shape there.
        ignored: names in the file that are no weights.
        proved_by: with whose answers the table of names was compared, and
        difference: how far ours were off, in standard deviations of the logits; ``None`` for a
            file of our own, whose names need no table.
        logits: the first logits of each head for a fixed image, by output.
        recorded: whether these are compared with what was written down when the file was
            converted.
    """

    format: str
    source: str
    variant: str
    classes: int | None
    aux: bool
    sha256: dict[str, str]
    names: dict[str, tuple[str, tuple[int, ...]]]
    ignored: tuple[str, ...]
    proved_by: str | None
    difference: float | None
    logits: dict[str, list[float]]
    recorded: bool


def convert_weights(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    network: str,
    *,
    ema: bool = False,
    skip: str | Iterable[str] = (),
) -> list[str]:
    """Read a file of weights and write it in another form.

    Args:
        source: as :func:`keras_inception.load_weights` reads it, published weights too.
        target: as :func:`keras_inception.save_weights` writes it.
        network: ``"InceptionV3"``.
        ema: take the moving averages of the weights that training kept beside them.
        skip: names, ours or the file's, that are left out; ``*`` stands for anything.

    Returns:
        The names that were skipped, sorted.

    Raises:
        ValueError: the file does not fit the network, or the other form has no place for it.
        FileExistsError: the target exists.
        DownloadError: a download failed.
    """
    skip = [skip] if isinstance(skip, str) else list(skip)
    for path in (Path(target), Path(f"{target}.index")):
        if path.exists():
            raise FileExistsError(f"{path} exists; it is not overwritten.")
    entry = find(network)
    opened = open_for(entry, source, ema=ema)
    model = build_for(entry, opened)
    skipped = assign_weights(opened, model.layers, skip)
    notes = {"logits": _logits(model)} if opened.classes else {}
    save_weights(model, target, skip=skip, notes=notes)
    return skipped


def verify_weights(
    weights: str | os.PathLike[str], network: str, *, ema: bool = False
) -> Verification:
    """Check a file of weights: its names, its place in the network, and numbers.

    Two things are computed. The table of names that the file is read by is filled with known
    values, and the network's answer compared with that of the implementation it came from. And the
    file's own answer is computed, and compared with what was written down at its conversion, if it
    is one of ours.

    Args:
        weights: as :func:`keras_inception.load_weights` reads it, published weights too.
        network: ``"InceptionV3"``.
        ema: take the moving averages of the weights that training kept beside them.

    Raises:
        ValueError: the file does not fit the network, or a number is not what it was.
        DownloadError: a download failed.
    """
    entry = find(network)
    opened = open_for(entry, weights, ema=ema)
    model = build_for(entry, opened)
    assign_weights(opened, model.layers)
    logits = _logits(model) if opened.classes else {}
    recorded = _recorded(opened)
    if recorded is not None and _apart(logits, recorded) > proof.TOLERANCE:
        raise ValueError(
            f"{opened.file.path} does not give the answer that was written down when it was"
            " converted: weights in it have changed, or changed places."
        )
    proved_by, difference = _prove(opened, entry)
    return Verification(
        format=opened.file.format,
        source=opened.source.name,
        variant=opened.variant,
        classes=opened.classes,
        aux=opened.has_aux,
        sha256=sha256(opened.file.path),
        names={
            ours: (place.name, opened.file.shapes[place.name])
            for ours, place in opened.source.places.items()
            if place.name in opened.file.shapes
        },
        ignored=tuple(sorted(opened.source.ignored)),
        proved_by=proved_by,
        difference=difference,
        logits=logits,
        recorded=recorded is not None,
    )


def _prove(opened: Weights, entry: Entry) -> tuple[str | None, float | None]:
    """Whose answers the file's table of names was compared with, and how far ours are off."""
    key = opened.source.name, entry.name
    if key not in proof.PROVED:
        return None, None
    proved, source = proof.PROVED[key], proof.source_of(*key)
    model = entry.builder()(
        classes=proved.classes,
        aux=bool(proved.aux),
        variant=source.variant,
        embedding=proved.embedding,
    )
    difference = proof.difference(model, source, entry.name)
    if difference > proof.TOLERANCE:
        raise ValueError(
            f"The table of {opened.source.name}'s names for {entry.name} is wrong: with known"
            f" values the answer is {difference:.2g} standard deviations off {proved.by}'s."
        )
    return proved.by, difference


def _logits(model: Any) -> dict[str, list[float]]:
    answers = proof.first_logits(model, _RECORDED)
    return {output: [float(logit) for logit in logits] for output, logits in answers.items()}


def _recorded(opened: Weights) -> dict[str, list[float]] | None:
    """The answer that was written down when the file was converted."""
    noted = opened.file.notes.get("logits")
    if noted is None:
        return None
    try:
        return {str(output): [float(logit) for logit in logits] for output, logits in noted.items()}
    except (AttributeError, TypeError, ValueError):
        raise FileError(f"{opened.file.path} is damaged: its notes are no answer.") from None


def _apart(logits: dict[str, list[float]], recorded: dict[str, list[float]]) -> float:
    """The largest difference of two answers, in standard deviations of the recorded logits."""
    counts = [{output: len(each) for output, each in some.items()} for some in (logits, recorded)]
    if counts[0] != counts[1]:
        return np.inf
    return max(
        float(np.abs(np.subtract(logits[output], recorded[output])).max())
        / max(float(np.std(recorded[output])), 1e-6)
        for output in recorded
    )


def sha256(path: Path) -> dict[str, str]:
    """The hash of a file of weights, or of each file of a checkpoint, by the files' names."""
    files = [path] if path.is_file() else sorted(path.parent.glob(f"{path.name}.*"))
    found = {}
    for file in files:
        with open(file, "rb") as stream:
            found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
