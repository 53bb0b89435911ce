"""Predictions for image files by a run, an exported SavedModel or a server, all asked alike.

A person needs no server to try a model, and needs to change nothing but the address to use one.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from inception_serving.formats import unread_format
from keras_inception.data.sources.walk import Walk
from keras_inception.data.text import one_form, printable
from keras_inception.data.types import Advance, Log
from keras_inception.inference.predictor import PredictionError, Predictor, decoder_reason
from keras_inception.inference.predictors import open_predictor

_IN_FLIGHT = 4  # batches that a server is asked about at a time


@dataclass(frozen=True)
class Prediction:
    """What was predicted for one image.

    Args:
        image: its file.
        labels: class names, the best first; empty if the image could not be decoded, or if no
            class reaches the threshold asked for.
        scores: their probabilities.
        milliseconds: the time of the image's batch, divided by the images in it.
        error: why there is no prediction; empty if there is one.
        thresholds: the score from which each of ``labels`` is predicted, where that was fitted in
            training; else empty.
    """

    image: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    milliseconds: float
    error: str = ""
    thresholds: tuple[float, ...] = ()


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
            predictions += _predict_batch(predictor, batch, top, threshold)
            advance(len(batch))
    return predictions


def predict_each(
    predictor: Predictor,
    paths: Sequence[str],
    *,
    top: int,
    threshold: float | None,
    batch_size: int,
) -> Iterator[Prediction]:
    """One prediction for each file, in order, of as many as there are; see :func:`predict`.

    A server is asked about several batches at a time.
    """
    in_flight = _IN_FLIGHT if predictor.about.get("kind") == "server" else 1
    batches = (paths[start : start + batch_size] for start in range(0, len(paths), batch_size))
    window: deque[Future[list[Prediction]]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="predict")
    try:
        for batch in batches:
            if len(window) == in_flight:
                yield from window.popleft().result()
            window.append(pool.submit(_predict_batch, predictor, batch, top, threshold))
        while window:
            yield from window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def list_images(places: Sequence[str | Path], log: Log = lambda line: None) -> list[str]:
    """Image files named one by one, or those below the folders named, in order.

    In folders the same is left out as in training.

    Args:
        log: is told of each folder what was left out.

    Raises:
        PredictionError: a place does not exist, or holds no file.
    """
    paths: list[str] = []
    if "" in places:
        raise PredictionError("An image or folder needs a name. Received: ''")
    for place in map(Path, places):
        if place.is_dir():
            walk = Walk(place)
            found = walk.files()
            if not found:
                raise PredictionError(f"{place} holds no images. {walk.note()}".rstrip())
            if walk.left_out:
                log(f"In {place}: {walk.note()}")
            paths += [os.path.join(place, os.fsdecode(name)) for name in found]
        elif place.is_file():
            paths.append(str(place))
        else:
            raise PredictionError(f"There is no image or folder {place}.")
    return paths


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


def _predict_batch(
    predictor: Predictor, batch: Sequence[str], top: int, threshold: float | None
) -> list[Prediction]:
    try:
        encoded = [Path(path).read_bytes() for path in batch]
    except OSError as error:
        if len(batch) == 1:
            return [Prediction(batch[0], (), (), 0.0, f"can't be read: {error.strerror or error}")]
        return _one_by_one(predictor, batch, top, threshold)
    start = time.perf_counter()
    try:
        ranked = predictor.best(encoded)
    except Exception as error:
        reason = decoder_reason(error)
        if reason is None:
            raise
        if len(batch) == 1:
            reason = unread_format(encoded[0]) or reason.removeprefix("images[0]: ")
            return [Prediction(batch[0], (), (), 0.0, reason)]
        # One bad image fails its batch: find it, and predict the others.
        return _one_by_one(predictor, batch, top, threshold)
    milliseconds = (time.perf_counter() - start) * 1000 / len(batch)
    predictions = []
    for path, each in zip(batch, ranked, strict=True):
        fitted = [predictor.thresholds[label] for label in each.labels if predictor.thresholds]
        lowest = fitted or [0.0] * len(each.labels)
        if threshold is not None:
            lowest = [threshold] * len(each.labels)
        reached = [row for row, score in enumerate(each.scores) if score >= lowest[row]][:top]
        predictions.append(
            Prediction(
                path,
                tuple(each.labels[row] for row in reached),
                tuple(each.scores[row] for row in reached),
                milliseconds,
                thresholds=tuple(fitted[row] for row in reached if fitted),
            )
        )
    return predictions


def _one_by_one(
    predictor: Predictor, batch: Sequence[str], top: int, threshold: float | None
) -> list[Prediction]:
    return [each for path in batch for each in _predict_batch(predictor, [path], top, threshold)]
