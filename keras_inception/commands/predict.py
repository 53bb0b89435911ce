"""``keras-inception predict``."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import USING, add_command, picture_file, positive
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
    predict.add_argument(
        "--format",
        choices=["table", "json", "csv"],
        default="table",
        help="how the predictions are printed (%(default)s)",
    )
    predict.add_argument(
        "--figure",
        type=picture_file,
        metavar="PNG",
        help="the file to draw the images with their best classes to",
    )


def run(options: argparse.Namespace) -> int:
    """Predict, print, and name the images that could not be decoded."""
    load_tensorflow_quietly()
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
        writer = csv.writer(sys.stdout)
        writer.writerow(["image", "rank", "label", "score"])
        for each in predictions:
            for rank, (label, score) in enumerate(zip(each.labels, each.scores, strict=True), 1):
                writer.writerow([printable(each.image), rank, label, f"{score:.6f}"])
    else:
        print_predictions(predictions)
    if options.figure:
        draw_predictions(predictions, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    failed = [each for each in predictions if each.error]
    for each in failed:
        name = printable(each.image)
        print(f"keras-inception predict: {name}: {each.error}", file=sys.stderr)
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
