"""``keras-inception evaluate``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import (
    USING,
    add_command,
    output_file,
    picture_file,
    positive,
)
from keras_inception.commands.console import print_table, progress
from keras_inception.commands.data import add_encoding, given_source

if TYPE_CHECKING:
    from keras_inception.evaluation.measures import Evaluation, Result


def add(commands: Any) -> None:
    """Declare it."""
    evaluate = add_command(
        commands,
        "evaluate",
        run,
        "measure a run, an export or a server on images of known classes",
        "Prints accuracy, loss, calibration and a line for each class; the numbers are the same"
        " whichever of the three is measured. Images that can't be decoded are left out and named.",
    )
    evaluate.add_argument(
        "using", metavar=USING, help="a run's folder, an export's, or a model on a server"
    )
    evaluate.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="FOLDER/CLASS/IMAGE or another source of images, as `train` takes it; of a run, by"
        " default the images it was validated on",
    )
    evaluate.add_argument(
        "--crops",
        type=int,
        choices=[1, 2, 10, 144],
        default=1,
        help="crops of each image, whose scores are averaged; more than 1 of a run only"
        " (%(default)s)",
    )
    add_encoding(evaluate)
    evaluate.add_argument(
        "--json", type=output_file, metavar="FILE", help="the file to write all numbers to"
    )
    evaluate.add_argument(
        "--figure",
        type=picture_file,
        metavar="PNG",
        help="the file to draw the reliability diagram to: accuracy by confidence",
    )
    evaluate.add_argument(
        "--batch-size", type=positive, default=32, help="images a call (%(default)s)"
    )
    served = evaluate.add_argument_group(
        "for a server's model that has no signature `all_classes`, exported before there was any"
    )
    served.add_argument(
        "--labels",
        metavar="FILE",
        help="the model's class names in the order of its outputs, one a line, such as the"
        " labels.txt of its export",
    )
    served.add_argument(
        "--activation",
        choices=["softmax", "sigmoid"],
        help="softmax: the model chooses one class, and its scores add up to 1; sigmoid: it scores"
        " each class by itself",
    )
    served.add_argument(
        "--export",
        metavar="DIR",
        help="the export that the server serves, which tells labels and activation",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate, print, and name the images that were left out."""
    load_tensorflow_quietly()
    from keras_inception.data.class_names import read_class_names
    from keras_inception.evaluation.measures import Evaluation
    from keras_inception.inference.evaluate import evaluate
    from keras_inception.inference.predictor import Predictor

    def check(predictor: Predictor) -> None:
        if options.figure and predictor.activation == "sigmoid":
            raise ValueError(
                "--figure must be left out where the model scores each class by itself: a"
                " reliability diagram is of a model that chooses one class. Received:"
                f" --figure {options.figure}"
            )

    result = evaluate(
        options.using,
        given_source(options.data, options) if options.data else None,
        crops=options.crops,
        labels=read_class_names(options.labels) if options.labels else None,
        activation=options.activation,
        export=options.export,
        batch_size=options.batch_size,
        check=check,
        progress=progress,
    )
    if options.json:
        _write_json(Path(options.json), result.as_dict())
    print_evaluation(result)
    if options.figure and isinstance(result, Evaluation):
        _draw(result, options.figure)
    return 0


def print_evaluation(result: Result) -> None:
    """A line for each class, the figures of the whole, how they were taken, what was left out."""
    from rich.markup import escape
    from rich.table import Table

    from keras_inception.evaluation.measures import Evaluation

    single = isinstance(result, Evaluation)
    table = Table()
    table.add_column("class")
    measures = list(next(iter(result.per_class.values())))
    for heading in measures:
        table.add_column(_WORDS.get(heading, heading), justify="right")
    if single:
        table.add_column("taken for")
    for row, (label, values) in enumerate(result.per_class.items()):
        cells = [str(values["images"])]
        cells += [_text(values[name], 3) for name in measures[1:]]
        if isinstance(result, Evaluation):
            cells.append(escape(_taken_for(result, row)))
        table.add_row(escape(label), *cells)
    print_table(table)
    if isinstance(result, Evaluation):
        hits = int(result.confusion.trace())
        figures = [f"Accuracy {result.accuracy:.4f} ({hits} of {result.images} images)"]
        if result.top5_accuracy is not None:
            figures.append(f"top 5 {result.top5_accuracy:.4f}")
        if result.loss is not None:
            figures.append(f"loss {result.loss:.4f}")
        figures.append(f"calibration error {result.calibration.ece:.4f}")
        print(", ".join(figures))
        figures = [
            f"Balanced accuracy {result.balanced_accuracy:.4f}",
            f"macro F1 {result.macro_f1:.4f}",
        ]
        if result.mean_roc_auc is not None:
            figures.append(f"ROC AUC {result.mean_roc_auc:.4f}")
        print(", ".join(figures))
    else:
        by = "a score of 0.5" if result.thresholds is None else "their thresholds"
        print(
            f"Mean average precision {_text(result.mean_average_precision, 4)},"
            f" every class right {result.exact_match:.4f}, loss {_text(result.loss, 4)}"
            f" ({result.images} images, classes from {by})"
        )
        print(f"Macro F1 {_text(result.macro_f1, 4)}, ROC AUC {_text(result.mean_roc_auc, 4)}")
    if result.loss is not None and result.loss_floor.note:
        print(result.loss_floor.note)
    for line in result.not_known:
        print(f"Not known: {line}")
    print(_describe_intervals(result))
    print(describe_protocol(result.record["protocol"]))
    for note in result.record["data"].get("notes", ()):
        print(note)
    if result.left_out:
        from keras_inception.data.preparation.inspection import describe_bad

        print(f"Left out: {describe_bad(result.left_out).rstrip()}", file=sys.stderr)


def _describe_intervals(result: Result) -> str:
    told = [
        f"{_FIGURES[name]} {low:.4f} to {high:.4f}"
        for name, (low, high) in result.intervals.items()
    ]
    return (
        f"95 % intervals: {', '.join(told)} (of shares of images Wilson's, of the others by"
        " bootstrap)"
    )


def describe_protocol(protocol: dict[str, Any]) -> str:
    """How the images were resized and cropped, in a line."""
    preprocessing, crops = protocol["preprocessing"], protocol["crops"]
    if preprocessing is None:
        return f"Protocol: {protocol['note']}"
    edge = preprocessing["size"] / preprocessing["crop"]
    resized = (
        f"shorter side to {edge:.4g} pixels"
        if preprocessing["resize"] == "shorter_side"
        else f"stretched to {edge:.4g} x {edge:.4g} pixels"
    )
    if crops == 144:
        resized = "four scales"
    cut = {1: "the centre", 2: "the centre and its mirror image"}.get(crops, f"{crops} crops")
    antialias = ", antialiased" if preprocessing["antialias"] else ""
    return (
        f"Protocol: {resized}, {cut} of {preprocessing['size']} x {preprocessing['size']},"
        f" {preprocessing['interpolation']}{antialias}"
    )


_WORDS = {"f1": "F1", "average_precision": "average precision", "roc_auc": "ROC AUC"}
_FIGURES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top 5",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "mean_roc_auc": "ROC AUC",
    "mean_average_precision": "mean average precision",
    "exact_match": "every class right",
}


def _taken_for(result: Evaluation, row: int) -> str:
    counts = result.confusion[row].copy()
    counts[row] = 0
    mistaken = counts.argsort(kind="stable")[::-1][: int((counts > 0).sum())]
    shown = [f"{result.labels[column]} ({counts[column]})" for column in mistaken[:5]]
    return ", ".join(shown) + (f" and {len(mistaken) - 5} more" if len(mistaken) > 5 else "")


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _write_json(path: Path, values: dict[str, Any]) -> None:
    # A line for each entry: a confusion matrix of a thousand classes has a million numbers.
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
             for name, value in values.items()]  # fmt: skip
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8", "backslashreplace")


def _draw(result: Evaluation, path: str) -> None:
    from keras_inception.report.figures import reliability

    reliability(result.calibration).savefig(path, dpi=120)
    print(f"Drawn: {path}", file=sys.stderr)
