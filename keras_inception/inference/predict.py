"""Predictions for image files by a run, an exported SavedModel or a server, all asked alike.

A person needs no server to try a model, and needs to change nothing but the address to use one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inception_serving.predictions.image_files import list_images
from inception_serving.predictions.prediction import Prediction, predict_batch
from inception_serving.predictions.prediction_files import (
    Written,
    check_output,
    write_predictions,
)
from keras_inception.data.text import one_form, printable
from keras_inception.data.types import Advance, Log
from keras_inception.inference.predictors import open_predictor


def predict(
    images: Sequence[str | Path],
    using: str | Path,
    *,
    top: int = 5,
    threshold: float | None = None,
    crops: int = 1,
    batch_size: int = 16,
    advance: Advance = lambda images: None,
) -> list[Prediction]:
    """Predict image files.

    Args:
        images: files; folders stand for all files below them.
        using: a run's folder, a SavedModel's, or ``HOST:PORT/NAME`` of a server.
        top: classes for each image, at most; an export answers no more than were chosen then.
        threshold: leave out classes whose score is lower; by default than those that a run or an
            export has from ``fit_thresholds``, and without these none.
        crops: cut from each image, their scores averaged: 1; of a run also 2 (with its mirror
            image), 10 or 144, see ``evaluation/crops.py``.
        batch_size: images a call.
        advance: is told after each call how many images it took, for a progress bar.

    Returns:
        One prediction for each image, in order. One that can't be decoded has its error there.

    Raises:
        PredictionError: an image or ``using`` does not exist, or does not take several crops.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    paths = list_images(images)
    with open_predictor(using, crops=crops) as predictor:
        predictions: list[Prediction] = []
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            predictions += predict_batch(predictor, batch, top, threshold)
            advance(len(batch))
    return predictions


def predict_to_file(
    images: Sequence[str | Path],
    using: str | Path,
    output: str | Path,
    *,
    top: int = 5,
    threshold: float | None = None,
    crops: int = 1,
    batch_size: int = 16,
    progress: Callable[[int], Any] | None = None,
    log: Log = lambda line: None,
) -> Written:
    """Predict image files into a CSV, JSON Lines or Parquet file, by the end of its name.

    A run that was stopped goes on; see ``inception_serving.predictions.prediction_files``.

    Args:
        images, using, top, threshold, crops, batch_size: see :func:`predict`.
        output: the file; it must not be there yet.
        progress: makes a bar for so many images: a context manager that gives a function to be
            told how many more are done.
        log: is told what was left out of folders, and what was predicted before.

    Raises:
        PredictionError: the file is there, or has another end, or what was begun is of other
            settings; an image or ``using`` does not exist.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    check_output(Path(output))
    paths = list_images(images, log)
    with open_predictor(using, crops=crops) as predictor:
        return write_predictions(
            predictor,
            paths,
            Path(output),
            using=str(using) if crops == 1 else f"{using}, {crops} crops",
            top=top,
            threshold=threshold,
            batch_size=batch_size,
            progress=progress,
            log=log,
        )


def draw_predictions(predictions: Sequence[Prediction], output: str | Path) -> None:
    """Draw the images in a grid, each under its best class and score, as a PNG.

    Where an image can be of several classes, those with a score of at least 0.5, or of the
    threshold fitted in training, stand above it.

    Where an image's folder bears the name of one of the classes seen, that is taken for the truth:
    right is green, wrong is red.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    from keras_inception.report.fonts import drawable

    shown = [each for each in predictions if each.labels]
    known = {label for each in shown for label in each.labels}
    columns = min(8, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    colors = [_color(each, known) for each in shown]
    with drawable(known):
        figure = Figure(figsize=(1.6 * columns, 1.9 * rows), layout="constrained")
        for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
            axes.axis("off")
        for axes, each, color in zip(grid.flat, shown, colors, strict=False):
            with Image.open(each.image) as image:
                axes.imshow(image.convert("RGB"), interpolation="nearest")
            # More than one class that reaches it: the model scores each by itself.
            lowest = each.thresholds or (0.5,) * len(each.scores)
            lines = [
                f"{label}  {score:.0%}"
                for label, score, least in zip(each.labels, each.scores, lowest, strict=True)
                if score >= least
            ]
            lines = lines or [f"{each.labels[0]}  {each.scores[0]:.0%}"]
            axes.set_title("\n".join(lines), fontsize=9, color=color)
        if {"green", "red"} & set(colors):
            figure.supxlabel("green: the class\nof its folder\nred: another", fontsize=7)
        figure.savefig(output, dpi=110)


def _color(prediction: Prediction, known: set[str]) -> str:
    """Green where an image's folder bears the name of its best class, red where of another."""
    truth = one_form(printable(Path(prediction.image).absolute().parent.name))
    names = {one_form(label) for label in known}
    if truth not in names:
        return "black"
    return "green" if truth == one_form(prediction.labels[0]) else "red"
