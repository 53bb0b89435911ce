"""``keras-inception evaluate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import USING, add_command, positive
from keras_inception.commands.console import progress

if TYPE_CHECKING:
    from keras_inception.data.examples import Examples
    from keras_inception.training.evaluate import Evaluation


def add(commands: Any) -> None:
    """Declare it."""
    evaluate = add_command(
        commands,
        "evaluate",
        run,
        "measure a run, an export or a server on images of known classes",
    )
    evaluate.add_argument("using", metavar=USING)
    evaluate.add_argument(
        "folder",
        nargs="?",
        help="FOLDER/CLASS/IMAGE; of a run, by default the images it was validated on",
    )
    evaluate.add_argument("--json", metavar="FILE", help="write all numbers there")
    evaluate.add_argument(
        "--batch-size", type=positive, default=32, help="images a call (%(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Predict every image, and print how often that was right."""
    load_tensorflow_quietly()
    from keras_inception.data.sources import describe_bad, find_bad_images, without
    from keras_inception.prediction import open_predictor
    from keras_inception.training.evaluate import evaluate

    with open_predictor(options.using) as predict:
        examples = _examples(options)
        bad = find_bad_images(examples.images)
        if bad:
            print(describe_bad(bad).rstrip() + "\nLeft out.")
            examples = without(examples, bad, "skip")
        with progress(len(examples)) as advance:
            result = evaluate(predict, examples, batch_size=options.batch_size, advance=advance)
    if options.json:
        Path(options.json).write_text(
            json.dumps(result.as_dict(), indent=1, ensure_ascii=False), "utf-8"
        )
    print_evaluation(result)
    return 0


def _examples(options: argparse.Namespace) -> Examples:
    from keras_inception.data.examples import DataError
    from keras_inception.data.sources import read_folder
    from keras_inception.prediction import find_saved_model
    from keras_inception.training.run import open_run, read_labels

    using = Path(options.using)
    if (using / "run.json").is_file():
        run = open_run(using)
        if options.folder:
            return read_folder(options.folder, run.labels)
        if not len(run.validation):
            raise DataError(f"The run {using} set no images apart: name a folder to evaluate on.")
        return run.validation
    if not options.folder:
        raise DataError(f"Name a folder to evaluate {using} on, FOLDER/CLASS/IMAGE.")
    saved_model = find_saved_model(using)
    if saved_model is not None:
        return read_folder(options.folder, read_labels(saved_model / "assets" / "labels.txt"))
    return read_folder(options.folder)  # a server's classes show in its answers


def print_evaluation(result: Evaluation) -> None:
    """A line for each class, what it was taken for, and the accuracy."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("class")
    for heading in ("images", "recall", "precision"):
        table.add_column(heading, justify="right")
    table.add_column("taken for")
    for row, label in enumerate(result.labels):
        mistaken = [
            f"{result.labels[column]} ({count})"
            for column, count in enumerate(result.confusion[row])
            if count and column != row
        ]
        table.add_row(
            label,
            str(result.confusion[row].sum()),
            f"{result.recall[row]:.3f}",
            f"{result.precision[row]:.3f}",
            ", ".join(mistaken),
        )
    Console().print(table)
    hits = int(result.confusion.trace())
    line = f"Accuracy {result.accuracy:.4f} ({hits} of {result.images} images)"
    if result.top5_accuracy is not None:
        line += f", top 5 {result.top5_accuracy:.4f}"
    print(line)
