"""``keras-inception predict``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from inception_serving.commands.predict import add_options, note, report_written, show
from inception_serving.predictions.image_files import list_images
from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import USING, add_command, picture_file
from keras_inception.commands.console import progress


def add(commands: Any) -> None:
    """Declare it."""
    predict = add_command(
        commands, "predict", run, "classify images by a run, an export or a server"
    )
    add_options(
        predict,
        USING,
        "what predicts: a run's folder, an export's, or a model on a server",
        "by default than those that a run or an export has from training with --fit-thresholds, and"
        " without these none",
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
    from keras_inception.inference.predict import draw_predictions, predict

    images = list_images(options.images, note)
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
    code = show(predictions, options)
    if options.figure:
        draw_predictions(predictions, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    return code


def _write(options: argparse.Namespace) -> int:
    from keras_inception.inference.predict import predict_to_file

    written = predict_to_file(
        options.images,
        options.using,
        options.output,
        top=options.top,
        threshold=options.threshold,
        crops=options.crops,
        batch_size=options.batch_size,
        progress=progress,
        log=note,
    )
    return report_written(written, options)
