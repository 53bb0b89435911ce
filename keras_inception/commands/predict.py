"""``keras-inception predict``."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
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
from keras_inception.data.text import printable

if TYPE_CHECKING:
    from keras_inception.inference.predict import Prediction


def add(commands: Any) -> None:
    """Declare it."""
    predict = add_command(
        commands, "predict", run, "classify images by a run, an export or a server"
    )
    predict.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE_OR_FOLDER",
        help="image files, and folders for all files below them",
    )
    predict.add_argument(
        "--with",
        dest="using",
        required=True,
        metavar=USING,
        help="what predicts: a run's folder, an export's, or a model on a server",
    )
    predict.add_argument(
        "--top", type=positive, default=3, help="classes for each image, at most (%(default)s)"
    )
    predict.add_argument(
        "--threshold",
        type=_share,
        metavar="SCORE",
        help="leave out classes with a lower score; by default than those that a run or an export"
        " has from training with --fit-thresholds, and without these none; 0.5 is usual where an"
        " image can be of several classes",
    )
    predict.add_argument(
        "--crops",
        type=int,
        choices=[1, 2, 10, 144],
        default=1,
        help="crops of each image, whose scores are averaged, 2 being the image and its mirror"
        " image; more than 1 of a run only (%(default)s)",
    )
    predict.add_argument(
        "--batch-size", type=positive, default=16, help="images a call (%(default)s)"
    )
    printed = predict.add_mutually_exclusive_group()
    printed.add_argument(
        "--format",
        choices=["table", "json", "csv"],
        default="table",
        help="how the predictions are printed (%(default)s)",
    )
    printed.add_argument(
        "--output",
        type=_predictions_file,
        metavar="FILE",
        help="write the predictions to a new .csv, .jsonl or .parquet file instead, of any number"
        " of images; the same command goes on after it was stopped",
    )
    predict.add_argument(
        "--figure",
        type=picture_file,
        metavar="PNG",
        help="the file to draw the images with their best classes to",
    )


def run(options: argparse.Namespace) -> int:
    """Predict, print, and name the images that could not be decoded."""
    if options.output and options.figure:
        raise ValueError("--figure draws predictions that are printed: leave out --output.")
    load_tensorflow_quietly()
    if options.output:
        return _write(options)
    from keras_inception.inference.predict import draw_predictions, list_images, predict

    images = list_images(options.images, lambda line: print(line, file=sys.stderr))
    with progress(len(images)) as advance:
        predictions = predict(
            images,
            options.using,
            top=options.top,
            threshold=options.threshold,
            crops=options.crops,
            batch_size=options.batch_size,
            advance=advance,
        )
    if options.format == "json":
        rows = [dataclasses.asdict(each) | {"image": printable(each.image)} for each in predictions]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif options.format == "csv":
        from keras_inception.inference.prediction_files import csv_rows

        csv.writer(sys.stdout).writerows(csv_rows(predictions))
    else:
        print_predictions(predictions)
    if options.figure:
        draw_predictions(predictions, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    return _list_failed([each for each in predictions if each.error])


def _write(options: argparse.Namespace) -> int:
    from keras_inception.inference.prediction_files import predict_to_file

    written = predict_to_file(
        options.images,
        options.using,
        options.output,
        top=options.top,
        threshold=options.threshold,
        batch_size=options.batch_size,
        progress=progress,
        log=lambda line: print(line, file=sys.stderr),
    )
    failed = len(written.failed)
    print(f"Written: {written.path}, {written.images} images, of which {failed} failed")
    return _list_failed(written.failed, 20)


def _list_failed(failed: Sequence[Prediction], most: int | None = None) -> int:
    """Name them; the exit code."""
    for each in failed[:most]:
        name = printable(each.image)
        print(f"keras-inception predict: {name}: {each.error}", file=sys.stderr)
    if most is not None and len(failed) > most:
        print(f"and {len(failed) - most} more, which the file has", file=sys.stderr)
    return 1 if failed else 0


def print_predictions(
    predictions: Sequence[Prediction], truths: Sequence[str] | None = None
) -> None:
    """A table: image, true label if known, best classes with scores, milliseconds."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("image")
    if truths:
        table.add_column("true")
    best = max((len(each.labels) for each in predictions), default=0) or 1
    for rank in range(1, best + 1):
        table.add_column(f"top {rank}")
    table.add_column("ms", justify="right")
    for index, each in enumerate(predictions):
        cells = [
            f"{escape(label)}  {score:.3f}"
            for label, score in zip(each.labels, each.scores, strict=True)
        ] or ["[dim]none[/dim]"]
        if each.error:
            cells = ["[red]no image[/red]"]
        cells += [""] * (best - len(cells))
        truth = [escape(truths[index])] if truths else []
        table.add_row(escape(printable(each.image)), *truth, *cells, f"{each.milliseconds:.1f}")
    print_table(table)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no score, from 0 to 1")
    return value


def _predictions_file(text: str) -> str:
    if Path(text).suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .csv, .jsonl or .parquet")
    return output_file(text)
