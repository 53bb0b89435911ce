"""The export of a network: a version that TF Serving picks up, whole and checked or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import keras
import tensorflow as tf

from inception_export.card.model_card import write_model_card
from inception_export.export import FORMAT, MANIFEST, ExportError
from inception_export.formats.portable import write_portable
from inception_export.int8.images import training_images, validation_samples
from inception_export.int8.quantize import quantize
from inception_export.int8.support import check_machine, check_runs
from inception_export.options import ExportOptions
from inception_export.parity import TOLERANCES, answers_of, compare, run_in_a_process, sample_images
from inception_export.pixel_range import check_range
from inception_export.samples import (
    MORE_IMAGES,
    choose_recorded,
    measure_samples,
    record_answers,
    shown_samples,
    spread,
)
from inception_export.saved_model import write_saved_model
from inception_export.serving_graph import activation_name, make_serving_graph, split
from inception_export.versions import next_version
from inception_export.warmup import write_warmup_requests
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.models.nested import flatten
from keras_inception.renamed import renamed
from keras_inception.runs.run import Run, open_run, versions

__all__ = ["ExportError", "ExportOptions", "export_run", "export_saved_model"]


@renamed(say="log")
def export_run(
    run_path: str | Path,
    base: str | Path,
    name: str,
    *,
    options: ExportOptions | None = None,
    log: Callable[[str], None] = print,
    **changes: Any,
) -> Path:
    """Export a finished run, with its labels and preprocessing.

    Args:
        run_path: the run's folder.
        base, name, options, log, changes: as :func:`export_saved_model` has them.

    Returns:
        The version's folder.

    Raises:
        RunError: there is no run, or it has not finished.
        ExportError: see :func:`export_saved_model`.
    """
    run = open_run(run_path)
    options = dataclasses.replace(options or ExportOptions(), **changes)
    if options.precision == "int8":
        options = _with_images(run, options, log)
    return export_saved_model(
        run.load_model(),
        base,
        name,
        labels=run.labels,
        preprocessing=run.preprocessing,
        options=options,
        record={
            "recipe": dataclasses.asdict(run.recipe),
            "metrics": run.record.get("validation", {}),
            "intervals": run.record.get("validation_intervals", {}),
            "data": _data(run),
            **({"thresholds": run.thresholds} if run.thresholds else {}),
            **({"temperature": run.temperature} if run.temperature is not None else {}),
            "weights": {"file": str(run.model_path.resolve()), "sha256": _sha256(run.model_path)},
        },
        log=log,
    )


def _with_images(run: Run, options: ExportOptions, log: Callable[[str], None]) -> ExportOptions:
    """The options with the run's own images, where none were given."""
    check_machine()
    changes: dict[str, Any] = {}
    if not options.calibration:
        changes["calibration"] = training_images(run)
    if not options.samples:
        changes |= validation_samples(run, log)
    return dataclasses.replace(options, **changes)


@renamed(say="log")
def export_saved_model(
    model: keras.Model,
    base: str | Path,
    name: str,
    *,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    options: ExportOptions | None = None,
    record: dict[str, Any] | None = None,
    log: Callable[[str], None] = print,
    **changes: Any,
) -> Path:
    """Write ``base/name/version``, a SavedModel with preprocessing and labels inside.

    It is written beside, loaded again in a process of its own and compared with ``model`` on
    sample images; only then is it renamed into place. A server that watches the folder never sees
    a part of it, and a process killed at any moment leaves nothing that a server would load.

    Args:
        model: functional or sequential, perhaps with models inside, from float32
            [batch, height, width, 3] to [batch, classes], ending in a dense layer and its
            activation (none is taken for softmax), without auxiliary heads.
        base: the folder of all models.
        name: the model's name in requests, and its folder's.
        labels: the class names, in the order of the outputs.
        preprocessing: the input protocol. Of a model that scales pixels itself, one that leaves
            them in [0, 255].
        options: version, precision and the like, see :class:`ExportOptions`; its defaults if not
            given.
        record: what else the manifest says of the model; the accuracy among its ``"metrics"`` is
            what that on samples of known classes is compared with.
        log: takes each line about the export.
        changes: of ``options``, by their names: ``top=3, precision="bfloat16"``.

    Returns:
        The version's folder; of another ``format`` than a SavedModel, the file.

    Raises:
        ExportError: an argument breaks its rule, the version exists, another export of the model
            is under way, the folder can't be written, or the written model answers otherwise than
            ``model`` or less rightly than was recorded.
        TypeError: there is no option of a name in ``changes``.
    """
    options = dataclasses.replace(options or ExportOptions(), **changes)
    labels = tuple(labels)
    check_place(base, name, options.version)
    flat = _check(model, labels, preprocessing)
    home, record = Path(base) / name, record or {}
    if options.format != "saved_model":
        return write_portable((model, flat), home, labels, preprocessing, options, record, log)
    _check_int8(options, log)
    made = _make_folders(home)
    target = home / str(options.version or next_version(home))
    try:
        with _lock(home):
            if target.exists():
                raise ExportError(
                    f"{target} exists already, and a version is never overwritten."
                    f" The next free one is {next_version(home)}."
                )
            _check_disk_space(home, model, options.precision)
            # A name that is no number: no server takes it for a version.
            hidden = home / f".tmp-{target.name}"
            try:
                hidden.mkdir()
                manifest = _write(hidden, name, (model, flat), labels, preprocessing, options, log)
                exported, recorded = (model, labels, preprocessing), record.get("metrics", {})
                manifest |= measure_samples(
                    hidden, exported, recorded.get("accuracy"), options, log
                )
                text = json.dumps(manifest | record, indent=1, ensure_ascii=False)
                (hidden / MANIFEST).write_text(text, "utf-8")
                write_model_card(hidden, name, int(target.name))
                _sync(hidden)
                hidden.rename(target)
                _sync_one(home)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
    except OSError as error:
        raise ExportError(f"{target} can't be written: {error.strerror or error}.") from error
    except tf.errors.ResourceExhaustedError as error:  # TensorFlow's word for a full disk
        reason = str(error.message).rpartition("; ")[2]
        raise ExportError(f"{target} can't be written: {reason}.") from error
    except ValueError as error:
        raise error if isinstance(error, ExportError) else ExportError(str(error)) from error
    finally:
        if not target.exists():
            _remove_empty(made)
    log(f"Published {target}")
    return target


def _write(
    folder: Path,
    name: str,
    models: tuple[keras.Model, keras.Model],
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    options: ExportOptions,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Write everything but the manifest, compare, and return what the manifest says of it.

    Args:
        models: the model as it was given, to compare with, and flat, to export.
    """
    model, flat = models
    images = spread(options.samples or options.calibration) or sample_images()
    body, about = None, None
    if options.precision == "int8":
        body, about = quantize(flat, preprocessing, options.calibration, log)
    network = make_serving_graph(flat, options.precision, options.mirror, body)
    before, after = network.operations
    folded = f", {before - after} fewer by folding batch norm" if after < before else ""
    log(f"The network's graph: {after} operations{folded}")
    top = min(options.top, len(labels))
    write_saved_model(folder, network, preprocessing, labels, top)
    shown = shown_samples(options) or sample_images()
    write_warmup_requests(folder, name, shown, sorted({1, options.max_batch_size}))
    recorded = choose_recorded(shown)
    asked = [*images, *(each for each in recorded if each not in images)]
    # Beside each other: the process takes seconds to start.
    with ThreadPoolExecutor(1) as pool:
        process = pool.submit(run_in_a_process, folder, asked)
        expected = answers_of(model, preprocessing, images, options.mirror)
        written = process.result()
    compared = [{name: rows[: len(images)] for name, rows in each.items()} for each in written]
    differences = compare(compared, expected, labels)
    places = [asked.index(each) for each in recorded]
    # As the session answers, since TF Serving runs one.
    record_answers(folder, recorded, {name: rows[places] for name, rows in written[1].items()})
    log(_told(differences))
    tolerance = _check_differences(differences, options.precision)
    return {
        "format": FORMAT,
        "model": model.name,
        "classes": len(labels),
        # A softmax makes scores that add up to 1; a sigmoid scores each class by itself.
        "activation": activation_name(flat),
        "top": top,
        "precision": options.precision,
        "mirror": options.mirror,
        "parameters": model.count_params(),
        "operations": {"before_folding": before, "after_folding": after},
        "preprocessing": dataclasses.asdict(preprocessing),
        "max_batch_size": options.max_batch_size,
        **({"int8": about} if about else {}),
        "parity": {"images": len(images), "tolerance": tolerance, **differences},
        "fingerprint": _fingerprint(folder),
        "versions": versions(),
    }


def _check_differences(differences: dict[str, float], precision: str) -> float:
    """Refuse answers that are too far from the Keras model's; how far they may be."""
    tolerance = TOLERANCES[precision]
    if not differences["probabilities"] <= tolerance:
        instead = f" {MORE_IMAGES}" if precision == "int8" else ""
        raise ExportError(
            "The written model's probabilities differ from the Keras model's by up to"
            f" {differences['probabilities']:.3g}, more than {tolerance:g} ({precision});"
            f" nothing was published.{instead}"
        )
    return tolerance


def _told(differences: dict[str, float]) -> str:
    return (
        "Largest differences from the Keras model:"
        f" probabilities {differences['probabilities']:.1e},"
        f" {differences['mean_probabilities']:.1e} on average;"
        f" logits {differences['logits']:.1e} and features {differences['features']:.1e}"
        f" of their standard deviation; same best class {differences['top1']:.0%}"
    )


def _check_int8(options: ExportOptions, log: Callable[[str], None]) -> None:
    """Refuse what int8 can't be made of, or where it doesn't run."""
    if options.precision != "int8":
        return
    count = len(options.calibration)
    if count < 2:
        raise ExportError(
            "int8 takes the ranges of its tensors from images as the model will see, some hundred"
            f" of them, at least two: --calibration FOLDER. Received: {count or 'none'}"
        )
    check_runs(log)


def _data(run: Run) -> dict[str, Any]:
    """What a run says of its data, of those left out only how many."""
    data: dict[str, Any] = run.record["data"]
    return data | {"left_out": len(data.get("left_out", ()))}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(folder: Path) -> dict[str, str]:
    """What TensorFlow computes of graph and weights, in hexadecimal: the identity of a build."""
    fingerprint = tf.saved_model.experimental.read_fingerprint(str(folder))
    return {
        "graph_def_program_hash": f"{fingerprint.graph_def_program_hash:016x}",
        "checkpoint_hash": f"{fingerprint.checkpoint_hash:016x}",
    }


def check_place(base: str | Path, name: str, version: int | None = None) -> None:
    """Refuse, before any work, a name or a place that no version can be written to.

    Raises:
        ExportError: the name breaks its rule, the version is there already, or the folder can't be
            made or written to.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ExportError(
            "A model's name is made of letters, digits, '_', '-' and '.', and starts with a letter,"
            f" a digit or '_'. Received: name={name!r}"
        )
    home = Path(base) / name
    if version is not None and (home / str(version)).exists():
        raise ExportError(
            f"{home / str(version)} exists already, and a version is never overwritten."
            f" The next free one is {next_version(home)}."
        )
    above = next(each for each in (home, *home.absolute().parents) if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ExportError(f"{home} can't be made: {above} is no folder to be written to.")


def _check(
    model: keras.Model, labels: tuple[str, ...], preprocessing: Preprocessing
) -> keras.Model:
    """Refuse what breaks a rule; the model, flat."""
    if keras.config.backend() != "tensorflow":
        raise ExportError(
            "A SavedModel is written by Keras's TensorFlow backend: set KERAS_BACKEND=tensorflow."
            f" Received: {keras.config.backend()}"
        )
    try:
        model = flatten(model)
        split(model)
    except ValueError as error:
        raise ExportError(str(error)) from error
    if model.output_shape[-1] != len(labels):
        raise ExportError(
            f"There must be one label for each of the model's {model.output_shape[-1]} classes."
            f" Received: {len(labels)} labels"
        )
    if len(set(labels)) != len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise ExportError(f"Every label must be there once. Twice or more: {', '.join(twice[:5])}")
    size, channels = model.input_shape[1:3], model.input_shape[3]
    if channels != 3 or any(side not in (None, preprocessing.size) for side in size):
        raise ExportError(
            f"The model's input is {model.input_shape[1:]}, but the preprocessing makes"
            f" ({preprocessing.size}, {preprocessing.size}, 3)."
        )
    check_range(model, preprocessing)
    return model


def _check_disk_space(home: Path, model: keras.Model, precision: str) -> None:
    """Refuse at once what there is no room for."""
    need = model.count_params() * {"float32": 4, "int8": 1}.get(precision, 2)  # bytes
    free = shutil.disk_usage(home).free
    if free < need:
        raise ExportError(
            f"The weights take {need / 1e6:,.0f} MB, and the disk of {home} has"
            f" {free / 1e6:,.0f} MB left. Make room, or choose another folder."
        )


_LOCK = ".export.lock"


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Let one export at a time write a model; clean up what a killed one left."""
    try:
        with filelock.FileLock(home / _LOCK, timeout=0):
            for left in home.glob(".tmp-*"):
                shutil.rmtree(left)
            yield
    except filelock.Timeout:
        raise ExportError(f"Another export is writing {home}; try again after it.") from None


def _make_folders(home: Path) -> list[Path]:
    """Make the model's folder; the folders that were not there, innermost first."""
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{home} can't be made: {error.strerror or error}.") from error
    return missing


def _remove_empty(made: Sequence[Path]) -> None:
    """Remove the folders that were made here, as far as they hold nothing."""
    for folder in made:
        with contextlib.suppress(OSError):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()


def _sync(folder: Path) -> None:
    """Bring every file and folder to disk, so that the rename never outruns them."""
    for path in folder.rglob("*"):
        _sync_one(path)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
