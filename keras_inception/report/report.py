"""What a run gave, as one file to look at and to send: report.html, and its curves as a picture."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.data.examples import DataError, Examples
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.evaluation.evaluate_model import evaluate_model
from keras_inception.evaluation.measures import Evaluation, Result
from keras_inception.report.figures import as_svg, curves, heat_map, reliability
from keras_inception.report.mistakes import mistakes
from keras_inception.report.template import (
    beside,
    cards,
    confusion_table,
    details,
    header,
    page,
    pairs,
    paragraph,
    row,
    section,
    table,
)
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run

_READABLE = 30  # classes up to which a confusion matrix is a table of numbers

Advance = Callable[[int], None]


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
                result = evaluate_model(
                    model, run.labels, run.preprocessing, examples,
                    batch_size=batch_size, advance=advance,
                )  # fmt: skip
    except DataError as error:
        problem = str(error)
    record, recipe, preprocessing = run.record, run.recipe, run.preprocessing
    parts = [
        header(
            run.path.resolve().name,
            f"{recipe.model}, {len(run.labels)} classes,"
            f" {preprocessing.size} x {preprocessing.size} pixels,"
            f" {model.count_params():,} parameters",
        ),
        cards(_figures(result)) if result else "",
        _curves(run),
    ]
    if result is None:
        parts.append(section("Measured", paragraph(problem)))
    else:
        parts += [
            row(_classes(result, measured_on), _confusion(result)),
            _calibration(result),
            section("Mistakes", paragraph(problem))
            if examples is None
            else mistakes(result, examples, model, preprocessing, grad_cam=grad_cam),
        ]
    parts += [row(_data(record, run.labels), _recipe(recipe, preprocessing), _machine(record))]
    path = Path(output) if output is not None else run.path / "report.html"
    path.write_text(page(f"{run.path.resolve().name} - report", *parts), "utf-8")
    return path


def _read_history(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _figures(result: Result) -> dict[str, str]:
    names = {
        "accuracy": "accuracy",
        "top5_accuracy": "top-5 accuracy",
        "mean_average_precision": "mean average precision",
        "exact_match": "images with every class right",
        "loss": "loss",
        "ece": "expected calibration error",
    }
    figures = {
        names[name]: f"{value:.4f}" if name == "ece" or "loss" in name else f"{value:.2%}"
        for name, value in result.metrics.items()
        if value is not None
    }
    return figures | {"images measured": f"{result.images:,}"}


def _curves(run: Run) -> str:
    path = run.path / "history.csv"
    history = _read_history(path) if path.is_file() else []
    if not history:
        return ""
    figure = as_svg(curves(history), f"Curves of {len(history)} epochs, in numbers below")
    columns = list(history[0])
    rows = [[f"{row['epoch']:.0f}", *(row[name] for name in columns[1:])] for row in history]
    numbers = table("Every epoch", columns, rows)
    return section("Training", figure, details("The curves in numbers", numbers))


def _classes(result: Result, measured_on: str) -> str:
    per_class = result.per_class
    measures = [name for name in next(iter(per_class.values())) if name != "images"]
    order = sorted(
        per_class, key=lambda label: (per_class[label]["f1"] is None, per_class[label]["f1"])
    )
    rows = [
        [label, per_class[label]["images"], *(per_class[label][name] for name in measures)]
        for label in order
    ]
    words = {"f1": "F1", "average_precision": "average precision"}
    head = ["class", "images", *(words.get(name, name) for name in measures)]
    text = f"Measured on {measured_on}, one crop each; the class with the lowest F1 first."
    if not isinstance(result, Evaluation):
        text += " A class is predicted from a score of 0.5."
    left = ""
    if result.left_out:
        rows_left = [[bad.name, bad.reason] for bad in result.left_out]
        left = details(
            f"Images left out: {len(result.left_out)}",
            table("They can't be read and decoded", ["image", "reason"], rows_left),
        )
    return section("Classes", table(text, head, rows, digits=3), left)


def _confusion(result: Result) -> str:
    if not isinstance(result, Evaluation):
        return ""
    confusion, labels = result.confusion, result.labels
    if len(labels) <= _READABLE:
        drawn = confusion_table(labels, confusion)
    else:
        drawn = as_svg(heat_map(confusion), "Confusion matrix; its largest mistakes are below")
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    rows = [
        [labels[true], labels[taken], int(wrong[true, taken])]
        for true, taken in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, taken]
    ]
    often = table("The most frequent mistakes", ["true class", "taken for", "images"], rows)
    return section("Confusion", drawn, often if rows and len(labels) > 10 else "")


def _calibration(result: Result) -> str:
    if not isinstance(result, Evaluation):
        return ""
    figure = as_svg(
        reliability(result.calibration),
        f"Reliability diagram, expected calibration error {result.calibration.ece:.4f}",
    )
    text = (
        "Of images to which the network gives a confidence, the share that it gets right: where the"
        " bars reach the dotted line, it can be taken at its word. The expected calibration error"
        " is the mean distance to the line (15 bins of equal width, arXiv:1706.04599)."
    )
    return section("Confidence", beside(figure, paragraph(text, "soft")))


def _data(record: dict[str, Any], labels: tuple[str, ...]) -> str:
    data = dict(record.get("data", {}))
    counts = data.pop("training_counts", None)
    left_out = data.pop("left_out", [])
    values = {name.replace("_", " "): value for name, value in data.items()}
    parts = [pairs("", values | {"left out": len(left_out)})]
    if counts is not None:
        most = max(counts) or 1
        rows = [[label, count] for label, count in zip(labels, counts, strict=True)]
        parts.append(
            table(
                "Training images of each class",
                ["class", "images"],
                rows,
                shares=[count / most for count in counts],
            )
        )
    if left_out:
        parts.append(details("Images left out", "".join(map(paragraph, left_out))))
    return section("Data", *parts)


def _recipe(recipe: Recipe, preprocessing: Preprocessing) -> str:
    default = Recipe()
    changed: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for setting in dataclasses.fields(Recipe):
        value = getattr(recipe, setting.name)
        where = others if value == getattr(default, setting.name) else changed
        where[setting.name] = value
    return section(
        "Recipe",
        pairs("Settings that are not the defaults", changed),
        details("All other settings", pairs("", others)),
        details(
            "How images become the network's input", pairs("", dataclasses.asdict(preprocessing))
        ),
    )


def _machine(record: dict[str, Any]) -> str:
    machine = record.get("machine", {})
    values = {name.replace("_", " "): value for name, value in machine.items()}
    return section("Machine and versions", pairs("", values | record.get("versions", {})))
