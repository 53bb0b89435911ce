"""Predictions of image files, by whatever predicts: a server here, a run or an export elsewhere."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from inception_serving.formats import unread_format

_IN_FLIGHT = 4  # batches that a server is asked about at a time


class PredictionError(ValueError):
    """There is nothing that could predict, or an image can't be predicted."""


class Ranked(Protocol):
    """The best classes for one image, the best first."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def scores(self) -> tuple[float, ...]: ...


class ImagePredictor(Protocol):
    """What predicts encoded images."""

    @property
    def about(self) -> dict[str, Any]:
        """What it is: its `kind`, and more."""
        ...

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The score from which each class is predicted, where that was fitted; else empty."""
        ...

    def best(self, encoded: Sequence[bytes]) -> Sequence[Ranked]:
        """The best classes of encoded images, of all classes or of those that it answers."""
        ...

    def refusal(self, error: Exception) -> str | None:
        """What `best` has against an image, by the error that it raised; None for another error."""
        ...


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


def predict_each(
    predictor: ImagePredictor,
    paths: Sequence[str],
    *,
    top: int,
    threshold: float | None,
    batch_size: int,
) -> Iterator[Prediction]:
    """One prediction for each file, in order, of as many as there are.

    A server is asked about several batches at a time.

    Args:
        top: classes for each image, at most.
        threshold: leave out classes whose score is lower; by default than the predictor's own.
        batch_size: images a call.
    """
    in_flight = _IN_FLIGHT if predictor.about.get("kind") == "server" else 1
    batches = (paths[start : start + batch_size] for start in range(0, len(paths), batch_size))
    window: deque[Future[list[Prediction]]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="predict")
    try:
        for batch in batches:
            if len(window) == in_flight:
                yield from window.popleft().result()
            window.append(pool.submit(predict_batch, predictor, batch, top, threshold))
        while window:
            yield from window.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # so that Ctrl+C waits for no server


def predict_batch(
    predictor: ImagePredictor, batch: Sequence[str], top: int, threshold: float | None
) -> list[Prediction]:
    """One prediction for each file, asked about in one call where all can be decoded."""
    try:
        encoded = [Path(path).read_bytes() for path in batch]
    except OSError as error:
        if len(batch) == 1:
            return [Prediction(batch[0], (), (), 0.0, f"can't be read: {error.strerror or error}")]
        return _one_by_one(predictor, batch, top, threshold)
    start = perf_counter()
    try:
        ranked = predictor.best(encoded)
    except Exception as error:
        reason = predictor.refusal(error)
        if reason is None:
            raise
        if len(batch) == 1:
            reason = unread_format(encoded[0]) or reason.removeprefix("images[0]: ")
            return [Prediction(batch[0], (), (), 0.0, reason)]
        # One bad image fails its batch: find it, and predict the others.
        return _one_by_one(predictor, batch, top, threshold)
    milliseconds = (perf_counter() - start) * 1000 / len(batch)
    return [
        _select(predictor, path, each, top, threshold, milliseconds)
        for path, each in zip(batch, ranked, strict=True)
    ]


def _select(
    predictor: ImagePredictor,
    path: str,
    ranked: Ranked,
    top: int,
    threshold: float | None,
    milliseconds: float,
) -> Prediction:
    """The best classes of one image that reach their thresholds."""
    if any(map(math.isnan, ranked.scores)):
        return Prediction(path, (), (), milliseconds, "the model answers scores that are NaN")
    fitted = [predictor.thresholds[label] for label in ranked.labels if predictor.thresholds]
    lowest = fitted or [-math.inf] * len(ranked.labels)
    if threshold is not None:
        lowest = [threshold] * len(ranked.labels)
    reached = [row for row, score in enumerate(ranked.scores) if score >= lowest[row]][:top]
    return Prediction(
        path,
        tuple(ranked.labels[row] for row in reached),
        tuple(ranked.scores[row] for row in reached),
        milliseconds,
        thresholds=tuple(fitted[row] for row in reached if fitted),
    )


def _one_by_one(
    predictor: ImagePredictor, batch: Sequence[str], top: int, threshold: float | None
) -> list[Prediction]:
    return [each for path in batch for each in predict_batch(predictor, [path], top, threshold)]
