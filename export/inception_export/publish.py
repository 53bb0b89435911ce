"""Export a trained network as a version that TF Serving picks up: whole, checked, or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from inception_export.folding import fold_batch_norm
from inception_export.parity import TOLERANCE, largest_difference, sample_images
from inception_export.signatures import Servable
from inception_export.warmup import write_warmup_requests
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.training.run import open_run, versions

WARMUP_BATCH_SIZES = (1, 8)


class ExportError(ValueError):
    """The network is not exported, and nothing was left behind; the message says why."""


def export_run(run_path: str | Path, base: str | Path, name: str, **options: Any) -> Path:
    """Export a finished run; the options are those of :func:`export_saved_model`.

    Raises:
        RunError: there is no run, or it has not finished.
        ExportError: see :func:`export_saved_model`.
    """
    run = open_run(run_path)
    model = run.load_model()
    record = {
        "recipe": dataclasses.asdict(run.recipe),
        "metrics": run.record.get("validation", {}),
    }
    return export_saved_model(
        model,
        base,
        name,
        labels=run.labels,
        preprocessing=run.preprocessing,
        record=record,
        **options,
    )


def export_saved_model(
    model: keras.Model,
    base: str | Path,
    name: str,
    *,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    version: int | None = None,
    top: int = 5,
    record: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Write ``base/name/version``, a SavedModel with preprocessing and labels inside.

    It is written beside, loaded again and compared with ``model`` on sample images; only then is
    it renamed into place. A server that watches the folder never sees a part of it.

    Args:
        model: from float32 [batch, size, size, 3] to probabilities [batch, classes], without
            auxiliary heads.
        base: the folder of all models.
        name: the model's name in requests, and its folder's.
        labels: the class names, in the order of the outputs.
        preprocessing: the input protocol.
        version: a whole number, at least 1; by default one more than the largest there.
        top: how many classes ``serving_default`` answers; all of them if there are fewer.
        record: what else the manifest says of the model.
        say: takes each line about the export.

    Returns:
        The version's folder.

    Raises:
        ExportError: an argument breaks its rule, the version exists, the folder can't be written,
            or the written model answers otherwise than ``model``.
    """
    _check(model, name, labels, version, top)
    home = Path(base) / name
    version = version or next_version(home)
    target = home / str(version)
    if target.exists():
        raise ExportError(
            f"{target} exists already, and a version is never overwritten."
            f" The next free one is {next_version(home)}."
        )
    # A name that is no number: no server takes it for a version.
    hidden = home / f".tmp-{version}-{uuid.uuid4().hex[:8]}"
    made = _make_folders(home)
    try:
        hidden.mkdir()
        images = sample_images()
        folded = fold_batch_norm(model)
        _write(hidden, folded, preprocessing, labels, min(top, len(labels)))
        write_warmup_requests(hidden, name, images, WARMUP_BATCH_SIZES)
        difference = largest_difference(hidden, model, preprocessing, labels, images)
        say(f"Largest difference of a probability from the Keras model: {difference:.1e}")
        if not difference <= TOLERANCE:
            raise ExportError(
                f"The written model's probabilities differ from the Keras model's by up to"
                f" {difference:.3g}, more than {TOLERANCE:g}; nothing was published."
            )
        manifest = {
            "model": model.name,
            "classes": len(labels),
            "preprocessing": dataclasses.asdict(preprocessing),
            "parity": {"probabilities": difference, "tolerance": TOLERANCE},
            "versions": versions(),
        } | (record or {})
        (hidden / "assets.extra" / "keras_inception.json").write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8"
        )
        _sync(hidden)
        hidden.rename(target)
    except BaseException as error:
        shutil.rmtree(hidden, ignore_errors=True)
        for folder in made:
            folder.rmdir()
        if isinstance(error, OSError):
            raise ExportError(f"{target} can't be written: {error.strerror or error}.") from error
        raise
    say(f"Published {target}")
    return target


def next_version(home: str | Path) -> int:
    """One more than the largest version in a model's folder; 1 if there is none."""
    home = Path(home)
    names = [child.name for child in home.iterdir()] if home.is_dir() else []
    return max((int(each) for each in names if re.fullmatch(r"\d+", each)), default=0) + 1


def _check(
    model: keras.Model, name: str, labels: tuple[str, ...], version: int | None, top: int
) -> None:
    if keras.config.backend() != "tensorflow":
        raise ExportError(
            "A SavedModel is written by Keras's TensorFlow backend: set KERAS_BACKEND=tensorflow."
            f" Received: {keras.config.backend()}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ExportError(
            "A model's name is made of letters, digits, '_', '-' and '.', and starts with a letter,"
            f" a digit or '_'. Received: name={name!r}"
        )
    if version is not None and version < 1:
        raise ExportError(f"A version is a whole number of at least 1. Received: version={version}")
    if top < 1:
        raise ExportError(f"`top` must be at least 1. Received: top={top}")
    if isinstance(model.output, (dict, list, tuple)):
        raise ExportError(
            "A model with auxiliary heads is not exported: take its predictions alone."
        )
    if model.output_shape[-1] != len(labels):
        raise ExportError(
            f"There must be one label for each of the model's {model.output_shape[-1]} classes."
            f" Received: {len(labels)} labels"
        )


def _make_folders(home: Path) -> list[Path]:
    """Make the model's folder; the folders that were not there, innermost first."""
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{home} can't be made: {error.strerror or error}.") from error
    return missing


def _write(
    folder: Path, network: keras.Model, how: Preprocessing, labels: tuple[str, ...], top: int
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        labels_file = Path(scratch) / "labels.txt"
        labels_file.write_text("".join(f"{label}\n" for label in labels), "utf-8")
        servable = Servable(network, how, labels, top, str(labels_file))
        tf.saved_model.save(servable, str(folder), signatures=servable.endpoints)


def _sync(folder: Path) -> None:
    """Bring every file and folder to disk, so that the rename never outruns them."""
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
