"""Evaluation of a run, an export or a server: the same numbers whichever it is."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.sources.source import Source, open_source
from keras_inception.data.types import Advance
from keras_inception.evaluation.evaluate_model import score_against_truth
from keras_inception.evaluation.measures import Result
from keras_inception.inference.predictor import Predictor, no_own_images
from keras_inception.inference.predictors import open_predictor
from keras_inception.runs.run import is_run, versions


@contextlib.contextmanager
def _no_progress(images: int) -> Iterator[Advance]:
    yield lambda done: None


def evaluate(
    using: str | Path,
    data: Source | None = None,
    *,
    crops: int = 1,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    export: str | Path | None = None,
    batch_size: int = 32,
    in_flight: int = 4,
    check: Callable[[Predictor], None] = lambda predictor: None,
    progress: Callable[[int], AbstractContextManager[Advance]] = _no_progress,
) -> Result:
    """Measure a run, an export or a server on images of known classes.

    Args:
        using: a run's folder, a SavedModel's, or ``HOST:PORT/NAME`` of a server.
        data: a source of images with their classes, see ``open_source``; of a run, by default the
            images that it was validated on.
        crops: cut from each image, their scores averaged: 1; of a run also 2, 10 or 144, see
            ``evaluation/crops.py``.
        labels: the class names in the order of the model's outputs, for a model that does not
            tell them: one on a server, or another's. Without effect where the model tells them.
        activation: ``"softmax"`` or ``"sigmoid"``, for such a model.
        export: the folder of the export that a server serves, which tells labels, activation,
            thresholds and preprocessing.
        batch_size: images a request, or network inputs at a time.
        in_flight: requests under way at a time.
        check: is called with what predicts before an image is measured, and may refuse it.
        progress: makes a bar for so many images: a context manager that gives a function to be
            told how many more are done.

    Returns:
        An ``Evaluation``; where the model scores each class by itself a ``MultiLabelEvaluation``.
        Images that can't be decoded are left out and named.

    Raises:
        DataError: the images can't be used, or are of classes that the model does not know.
        PredictionError: ``using`` is nothing that predicts, can't do what is asked of it, or does
            not tell its class names and activation, which must then be given.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    if data is None and not is_run(using):
        raise no_own_images(using)  # before a server is looked for
    with open_predictor(
        using, labels=labels, activation=activation, export=export, in_flight=in_flight
    ) as predictor:
        check(predictor)
        examples = predictor.own_images if data is None else open_source(data, predictor.labels)
        notes = list(examples.notes)
        multi_label = predictor.activation == "sigmoid"
        with progress(len(examples)) as advance:
            scored = predictor.score_examples(
                examples, crops=crops, batch_size=batch_size, advance=advance
            )
        record = {
            "model": {"using": str(using), **predictor.about},
            "data": {"source": _source(data)} | ({"notes": notes} if notes else {}),
            "protocol": _protocol(predictor, crops * predictor.about.get("views", 1)),
            "versions": versions(),
        }
        of, labels = predictor.thresholds, predictor.labels
        thresholds = np.array([of[label] for label in labels]) if of and multi_label else None
        return score_against_truth(
            examples, labels, scored,
            multi_label=multi_label, thresholds=thresholds, record=record,
        )  # fmt: skip


def _source(data: Source | None) -> str:
    if data is None:
        return "the run's own validation images"
    return "examples in memory" if isinstance(data, (Examples, tuple)) else str(data)


def _protocol(predictor: Predictor, crops: int) -> dict[str, Any]:
    if predictor.preprocessing is None:
        note = "resized and cropped by the model, which does not tell how"
        return {"crops": crops, "preprocessing": None, "note": note}
    return {"crops": crops, "preprocessing": dataclasses.asdict(predictor.preprocessing)}
