"""The report of a run: one HTML file to read and to send; and its curves as a picture."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from markupsafe import Markup

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.types import Advance
from keras_inception.evaluation.calibration import Calibration
from keras_inception.evaluation.evaluate_model import evaluate_model
from keras_inception.evaluation.intervals import DEFINITION
from keras_inception.evaluation.measures import Evaluation, Result
from keras_inception.report.figures import as_svg, curves, heat_map, reliability
from keras_inception.report.mistakes import worst_mistakes
from keras_inception.report.template import Table, confusion_table, pairs, render, table
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run

_READABLE = 30  # classes up to which a confusion matrix is a table of numbers


def draw_curves(history: Path, output: Path) -> None:
    """Loss and accuracy by epoch, training beside validation, from a history.csv to a PNG."""
    curves(_read_history(history)).savefig(output, dpi=120)


def write_report(
    run: Run,
    output: str | Path | None = None,
    *,
    examples: Examples | None = None,
    model: keras.Model | None = None,
    result: Result | None = None,
    measured_on: str | None = None,
    grad_cam: bool = False,
    batch_size: int = 32,
    progress: Callable[[int], AbstractContextManager[Advance]] = lambda images: nullcontext(
        lambda done: None
    ),
) -> Path:
    """Write a run's report: one HTML file with everything in it.

    Args:
        run: a finished run.
        output: the file; by default ``report.html`` in the run's folder.
        examples: images to measure it on and take mistakes from; by default those that the run was
            validated on.
        model: the run's network, where it is loaded already.
        result: what it gave on ``examples``, where it is measured already.
        measured_on: what the report calls ``examples``.
        grad_cam: show with each mistake where the network saw the class that it got wrong.
        batch_size: network inputs at a time.
        progress: makes a progress bar, as for :func:`keras_inception.evaluate`.

    Returns:
        The file.

    Raises:
        RunError: the run has not finished.
    """
    model = model or run.load_model()
    if measured_on is None:
        measured_on = "the run's validation images" if examples is None else "images given to it"
    problem = "The run set no images apart to be measured on."
    try:
        examples = run.validation if examples is None else examples
        if result is None and len(examples):
            with progress(len(examples)) as advance:
                thresholds = [run.thresholds[label] for label in run.labels if run.thresholds]
                result = evaluate_model(
                    model, run.labels, run.preprocessing, examples,
                    batch_size=batch_size, advance=advance,
                    thresholds=np.array(thresholds) if thresholds else None,
                )  # fmt: skip
    except DataError as error:
        problem = str(error)
    preprocessing, size = run.preprocessing, run.preprocessing.size
    page = render(
        name=run.path.resolve().name,
        network=f"{run.recipe.model}, {len(run.labels)} classes, {size} x {size} pixels,"
        f" {model.count_params():,} parameters",
        figures=_figures(result) if result else {},
        intervals=DEFINITION if result else "",
        loss_floor=result.loss_floor.note if result and result.loss is not None else "",
        calibrated=_calibrated(run.temperature),
        curves=_curves(run.path / "history.csv"),
        problem=problem,
        measured=_measured(result, measured_on) if result else None,
        mistakes=worst_mistakes(result, examples, model, preprocessing, grad_cam=grad_cam)
        if result and examples is not None
        else None,
        grad_cam=grad_cam,
        data=_data(run.record, run.labels),
        recipe=_recipe(run.recipe, preprocessing),
        machine=_machine(run.record),
    )
    path = Path(output) if output is not None else run.path / "report.html"
    path.write_text(page, "utf-8", "backslashreplace")
    return path


def _read_history(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        try:
            return [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
            ]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not as training wrote it: {error}") from error


def _figures(result: Result) -> dict[str, str]:
    names = {
        "accuracy": "accuracy",
        "top5_accuracy": "top-5 accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "mean_roc_auc": "ROC AUC, mean over classes",
        "mean_average_precision": "mean average precision",
        "exact_match": "images with every class right",
        "loss": "loss",
        "ece": "expected calibration error",
    }
    figures = {}
    for name, value in result.metrics.items():
        if value is None:
            continue
        about = names[name]
        if name in result.intervals:
            low, high = result.intervals[name]
            about += f", {low:.1%} to {high:.1%}"
        share = name not in ("loss", "ece", "mean_roc_auc")
        figures[about] = f"{value:.2%}" if share else f"{value:.4f}"
    return figures | {"images measured": f"{result.images:,}"}


def _calibrated(temperature: float | None) -> str:
    """What a reader has to know of the scores of a calibrated run."""
    if temperature is None:
        return ""
    return (
        f"The logits are divided by a temperature of {temperature:.3g}, fitted on the run's"
        " validation images. Measured on those, the calibration error is smaller than on others."
    )


def _curves(path: Path) -> dict[str, Any] | None:
    """Drawn and in numbers; ``None`` without a history."""
    history = _read_history(path) if path.is_file() else []
    if not history:
        return None
    columns = list(history[0])
    rows = [[f"{row['epoch']:.0f}", *(row[name] for name in columns[1:])] for row in history]
    return {
        "drawn": as_svg(curves(history), f"Curves of {len(history)} epochs, in numbers below"),
        "epochs": table("Every epoch", columns, rows),
    }


def _measured(result: Result, measured_on: str) -> dict[str, Any]:
    single = result if isinstance(result, Evaluation) else None
    return {
        "classes": _classes(result, measured_on),
        "left_out": table(
            "They can't be read and decoded",
            ["image", "reason"],
            [[bad.name, bad.reason] for bad in result.left_out],
        ),
        "confusion": _confusion(single) if single else None,
        "reliability": _reliability(single.calibration) if single else None,
    }


def _classes(result: Result, measured_on: str) -> Table:
    per_class = result.per_class
    measures = [name for name in next(iter(per_class.values())) if name != "images"]
    order = sorted(
        per_class, key=lambda label: (per_class[label]["f1"] is None, per_class[label]["f1"])
    )
    rows = [
        [label, per_class[label]["images"], *(per_class[label][name] for name in measures)]
        for label in order
    ]
    words = {"f1": "F1", "average_precision": "average precision", "roc_auc": "ROC AUC"}
    head = ["class", "images", *(words.get(name, name) for name in measures)]
    text = f"Measured on {measured_on}, one crop each; the class with the lowest F1 first."
    if not isinstance(result, Evaluation):
        text += (
            " A class is predicted from a score of 0.5."
            if result.thresholds is None
            else " A class is predicted from its threshold, fitted on the validation images."
        )
    return table(text, head, rows, digits=3)


def _confusion(result: Evaluation) -> dict[str, Any]:
    """As numbers or, of many classes, as a picture; and of more than ten, what is frequent."""
    confusion, labels = result.confusion, result.labels
    readable = len(labels) <= _READABLE
    about = "Confusion matrix; its largest mistakes are below"
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[: 10 if len(labels) > 10 else 0]
    frequent = [
        [labels[true], labels[taken], int(wrong[true, taken])]
        for true, taken in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, taken]
    ]
    return {
        "counts": confusion_table(labels, confusion) if readable else None,
        "heat_map": None if readable else as_svg(heat_map(confusion), about),
        "frequent": table(
            "The most frequent mistakes", ["true class", "taken for", "images"], frequent
        ),
    }


def _reliability(calibration: Calibration) -> Markup:
    about = f"Reliability diagram, expected calibration error {calibration.ece:.4f}"
    return as_svg(reliability(calibration), about)


def _data(record: dict[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    data = dict(record.get("data", {}))
    counts = data.pop("training_counts", None) or []
    left_out = data.pop("left_out", [])
    values = {name.replace("_", " "): value for name, value in data.items()}
    return {
        "record": pairs(values | {"left out": len(left_out)}),
        "training_counts": table(
            "Training images of each class",
            ["class", "images"],
            zip(labels, counts, strict=True) if counts else [],
            shares=[count / (max(counts) or 1) for count in counts],
        ),
        "left_out": left_out,
    }


def _recipe(recipe: Recipe, preprocessing: Preprocessing) -> dict[str, Table]:
    default = Recipe()
    changed: dict[str, Any] = {}
    unchanged: dict[str, Any] = {}
    for setting in dataclasses.fields(Recipe):
        value = getattr(recipe, setting.name)
        where = unchanged if value == getattr(default, setting.name) else changed
        where[setting.name] = value
    return {
        "changed": pairs(changed, "Settings that are not the defaults"),
        "unchanged": pairs(unchanged),
        "preprocessing": pairs(dataclasses.asdict(preprocessing)),
    }


def _machine(record: dict[str, Any]) -> Table:
    machine = {name.replace("_", " "): value for name, value in record.get("machine", {}).items()}
    return pairs(machine | record.get("versions", {}))
