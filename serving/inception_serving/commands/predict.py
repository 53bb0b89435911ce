"""The subcommand ``predict``."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inception_serving.commands.arguments import (
    add_command,
    add_connection,
    connection,
    output_file,
    positive,
    score,
)
from inception_serving.commands.table import print_table
from inception_serving.predictions.image_files import list_images
from inception_serving.predictions.prediction import Prediction, predict_each
from inception_serving.predictions.prediction_files import (
    FORMATS,
    Written,
    check_output,
    csv_rows,
    write_predictions,
)
from inception_serving.predictions.served import parse_served
from inception_serving.text import one_line, printable

_MOST_NAMED = 20  # of the images that failed, where a file has them all


def add(commands: Any) -> None:
    """Declare it."""
    predict = add_command(commands, "predict", run, "classify images by a model on a server")
    add_options(
        predict,
        "HOST:PORT/NAME",
        "the model, over gRPC; with http:// before it, over REST; with /VERSION behind it, that"
        " version",
        "by default none",
    )
    add_connection(predict)


def add_options(
    predict: argparse.ArgumentParser, using: str, about_using: str, about_threshold: str
) -> None:
    """Declare what every `predict` takes, whatever predicts."""
    predict.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE_OR_FOLDER",
        help="image files, and folders for all files below them",
    )
    predict.add_argument("--with", dest="using", required=True, metavar=using, help=about_using)
    predict.add_argument(
        "--top", type=positive, default=3, help="classes for each image, at most (%(default)s)"
    )
    predict.add_argument(
        "--threshold",
        type=score,
        metavar="SCORE",
        help=f"leave out classes with a lower score; {about_threshold}; 0.5 is usual where an image"
        " can be of several classes",
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


def run(options: argparse.Namespace) -> int:
    """Predict, print, and name the images that could not be decoded."""
    from inception_serving import Client
    from inception_serving.predictions.server_predictor import ServerPredictor

    address, model, version = parse_served(options.using)
    if options.output:
        check_output(Path(options.output))
    paths = list_images(options.images, note)
    how = {name: getattr(options, name) for name in ("top", "threshold", "batch_size")}
    with Client(address, model=model, version=version, **connection(options)) as client:
        predictor = ServerPredictor(client)
        if not options.output:
            return show(list(predict_each(predictor, paths, **how)), options)
        written = write_predictions(
            predictor,
            paths,
            Path(options.output),
            using=options.using,
            **how,
            progress=progress,
            log=note,
        )
    return report_written(written, options)


def note(line: str) -> None:
    """Tell something beside the predictions, in one line whatever names are in it."""
    print(one_line(line), file=sys.stderr)


@contextlib.contextmanager
def progress(images: int) -> Iterator[Callable[[int], None]]:
    """A line with the images done and left on a terminal's standard error; elsewhere nothing.

    Yields:
        A function to be told how many more images are done.
    """
    done, begun, shown = 0, time.monotonic(), 0.0

    def advance(more: int) -> None:
        nonlocal done, shown
        done += more
        now = time.monotonic()
        if now - shown > 0.2:
            shown = now
            rate = done / max(now - begun, 1e-9)
            sys.stderr.write(f"\r{done} of {images} images, {rate:.1f} a second\x1b[K")
            sys.stderr.flush()

    shows = sys.stderr.isatty()
    try:
        yield advance if shows else lambda more: None
    finally:
        if shows:
            sys.stderr.write("\r\x1b[K")


def show(predictions: Sequence[Prediction], options: argparse.Namespace) -> int:
    """Print predictions as the options say, and name the images that failed; the exit code."""
    if options.format == "json":
        rows = [dataclasses.asdict(each) | {"image": printable(each.image)} for each in predictions]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif options.format == "csv":
        csv.writer(sys.stdout).writerows(csv_rows(predictions))
    else:
        print_predictions(predictions)
    return _name_failed([each for each in predictions if each.error], options)


def report_written(written: Written, options: argparse.Namespace) -> int:
    """Say what a file holds, and name the first images that failed; the exit code."""
    failed = len(written.failed)
    print(f"Written: {written.path}, {written.images} images, of which {failed} failed")
    code = _name_failed(written.failed[:_MOST_NAMED], options)
    if failed > _MOST_NAMED:
        print(f"and {failed - _MOST_NAMED} more, which the file has", file=sys.stderr)
    return code


def _name_failed(failed: Sequence[Prediction], options: argparse.Namespace) -> int:
    for each in failed:
        text = f"{options.prog}: {one_line(each.image)}: {one_line(each.error)}"
        print(text, file=sys.stderr)
    return 1 if failed else 0


def print_predictions(
    predictions: Sequence[Prediction], truths: Sequence[str] | None = None
) -> None:
    """A table: image, true label if known, best classes with scores, milliseconds."""
    best = max((len(each.labels) for each in predictions), default=0) or 1
    tops = [f"top {rank}" for rank in range(1, best + 1)]
    rows = []
    for index, each in enumerate(predictions):
        ranked = zip(each.labels, each.scores, strict=True)
        cells = [f"{label}  {value:.3f}" for label, value in ranked] or ["none"]
        if each.error:
            cells = ["no image"]
        cells += [""] * (best - len(cells))
        truth = [truths[index]] if truths else []
        rows.append([each.image, *truth, *cells, f"{each.milliseconds:.1f}"])
    headings = ["image", *(["true"] if truths else []), *tops, "ms"]
    print_table(headings, rows, right=["ms"])


def _predictions_file(text: str) -> str:
    if Path(text).suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .csv, .jsonl or .parquet")
    return output_file(text)
