"""Evaluation of a run, an export or a server: the same numbers whichever it is.

A run is measured as a Keras model. An export answers requests for images; what it says of the best
classes by name and of all classes without names is put together in ``columns.py``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.data.examples import DataError, Examples
from keras_inception.data.preparation.inspection import BadImage
from keras_inception.data.sources.source import open_source
from keras_inception.evaluation.crops import check_crops
from keras_inception.evaluation.evaluate_model import (
    evaluate_model,
    find_unreadable,
    no_images,
    score_against_truth,
)
from keras_inception.evaluation.measures import Result
from keras_inception.inference.columns import Columns, NoNames, best_only, sigmoid
from keras_inception.inference.predictors import (
    PredictionError,
    Predictor,
    decoder_reason,
    open_predictor,
)
from keras_inception.runs.run import open_run, versions

Advance = Callable[[int], None]

_RETRIES = 3  # of an image that was refused


@contextlib.contextmanager
def _no_progress(images: int) -> Iterator[Advance]:
    yield lambda done: None


def evaluate(
    using: str | Path,
    data: str | Path | Examples | None = None,
    *,
    crops: int = 1,
    labels: Sequence[str] | None = None,
    batch_size: int = 32,
    in_flight: int = 4,
    progress: Callable[[int], AbstractContextManager[Advance]] = _no_progress,
) -> Result:
    """Measure a run, an export or a server on images of known classes.

    Args:
        using: a run's folder, a SavedModel's, or ``HOST:PORT/NAME`` of a server.
        data: a source of images with their classes, see ``open_source``; of a run, by default the
            images that it was validated on.
        crops: cut from each image, their scores averaged: 1; of a run also 2, 10 or 144, see
            ``evaluation/crops.py``.
        labels: the class names in the order of the model's outputs, for a server, which does not
            tell them. Without them they are learned from its answers.
        batch_size: images a request, or network inputs at a time.
        in_flight: requests under way at a time.
        progress: makes a bar for so many images: a context manager that gives a function to be
            told how many more are done.

    Returns:
        An ``Evaluation``; where the model scores each class by itself a ``MultiLabelEvaluation``.
        Images that can't be decoded are left out and named.

    Raises:
        DataError: the images can't be used, or are of classes that the model does not know.
        PredictionError: ``using`` is nothing that predicts, or can't do what is asked of it.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    record: dict[str, Any] = {"model": {"using": str(using)}, "data": {"source": _source(data)}}
    if (Path(using) / "run.json").is_file():
        run = open_run(using)
        examples = run.validation if data is None else open_source(data, run.labels)
        if not len(examples):
            raise DataError(
                f"The run {using} set no images apart: name a folder or another source of images"
                " to evaluate it on."
            )
        preprocessing = run.preprocessing
        check_crops(crops, preprocessing)
        record["model"]["kind"] = "run"
        record["protocol"] = {"crops": crops, "preprocessing": dataclasses.asdict(preprocessing)}
        with progress(len(examples)) as advance:
            return evaluate_model(
                run.load_model(),
                run.labels,
                preprocessing,
                examples,
                crops=crops,
                batch_size=batch_size,
                advance=advance,
                record=record | {"versions": versions()},
            )
    if data is None:
        raise DataError(
            f"Name a folder to evaluate {using} on, FOLDER/CLASS/IMAGE, or another source of"
            " images."
        )
    if crops != 1:
        raise PredictionError(
            "Only a run takes several crops: an export resizes and crops inside its graph, so no"
            f" crop of ours would reach its network as it is. Received: crops={crops} for {using}"
        )
    with open_predictor(using, in_flight=in_flight) as predictor:
        names = predictor.labels or labels
        examples = open_source(data, names)
        record["model"] |= predictor.about
        record["protocol"] = {"crops": 1, "preprocessing": predictor.preprocessing}
        if predictor.preprocessing is None:
            record["protocol"]["note"] = "resized and cropped by the model, which does not tell how"
        with progress(len(examples)) as advance:
            return _evaluate_served(
                predictor, names, examples, batch_size, in_flight, advance,
                record | {"versions": versions()},
            )  # fmt: skip


def _source(data: str | Path | Examples | None) -> str:
    if data is None:
        return "the run's own validation images"
    return "examples in memory" if isinstance(data, Examples) else str(data)


def _evaluate_served(
    predictor: Predictor,
    names: Sequence[str] | None,
    examples: Examples,
    batch_size: int,
    in_flight: int,
    advance: Advance,
    record: dict[str, Any],
) -> Result:
    done = 0

    def note(images: int) -> None:
        # What is asked for a second time does not show on the bar.
        nonlocal done
        advance(max(0, min(images, len(examples) - done)))
        done += images

    if predictor.logits is not None:
        columns = Columns(names)
        logits = predictor.logits

        def every(encoded: Sequence[bytes]) -> Sequence[np.ndarray]:
            values = logits(encoded)
            if columns.wants_names(values):
                columns.learn(values, predictor.best(encoded))
            return list(values)

        try:
            numbers, rows, bad = _ask(every, examples, batch_size, in_flight, note)
            labels, scores = columns.table(np.stack(rows), examples)
            return score_against_truth(
                examples, labels, numbers, scores, bad,
                multi_label=columns.activation is sigmoid, record=record,
            )  # fmt: skip
        except NoNames:
            pass
    numbers, answers, bad = _ask(predictor.best, examples, batch_size, in_flight, note)
    labels, scores = best_only(answers, names or examples.labels)
    complete = bool(np.isfinite(scores).all())
    if examples.multi_label and not complete:
        raise PredictionError(
            "The images can be of several classes each, so every class's score is needed, but the"
            " model answers only the best few. It has no signature `logits`, as our exports have,"
            " that could be used."
        )
    return score_against_truth(
        examples, labels, numbers, scores, bad, multi_label=examples.multi_label, record=record
    )


def _ask(
    answer: Callable[[Sequence[bytes]], Sequence[Any]],
    examples: Examples,
    batch_size: int,
    in_flight: int,
    advance: Advance,
) -> tuple[np.ndarray, list[Any], list[BadImage]]:
    """Every image's answer, several batches under way at a time.

    Returns:
        The numbers of the images answered, int64, their answers, and the images that can't be.
    """

    def ask(numbers: Sequence[int]) -> tuple[list[int], list[Any], int]:
        read, encoded = [], []
        for number in numbers:
            # What can't be read is found and named at the end.
            with contextlib.suppress(OSError):
                encoded.append(examples.images.encoded(number))
                read.append(number)
        return *_answered(answer, read, encoded), len(numbers)

    batches = [
        range(start, min(start + batch_size, len(examples)))
        for start in range(0, len(examples), batch_size)
    ]
    numbers: list[int] = []
    answers: list[Any] = []
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="evaluate")
    try:
        for which, answered, images in pool.map(ask, batches):
            numbers += which
            answers += answered
            advance(images)
    finally:
        pool.shutdown(cancel_futures=True)
    # A server that merges requests fails all of a batch for one bad image in it, whoever sent it.
    # So an image that was refused is asked about again, with none of ours beside it.
    for number in sorted(set(range(len(examples))) - set(numbers)):
        for _ in range(_RETRIES):
            which, answered, _ = ask([number])
            numbers += which
            answers += answered
            if which:
                break
    bad = find_unreadable(examples, [np.array(numbers, np.int64)])
    if not numbers:
        raise no_images(bad)
    order = np.argsort(numbers)
    return np.array(numbers, np.int64)[order], [answers[place] for place in order], bad


def _answered(
    answer: Callable[[Sequence[bytes]], Sequence[Any]],
    numbers: list[int],
    encoded: list[bytes],
) -> tuple[list[int], list[Any]]:
    if not numbers:
        return [], []
    try:
        return numbers, list(answer(encoded))
    except Exception as error:
        if decoder_reason(error) is None:
            raise
    if len(numbers) == 1:
        return [], []
    # One bad image fails its batch: find it, and ask about the others.
    found: list[int] = []
    answers: list[Any] = []
    for number, one in zip(numbers, encoded, strict=True):
        which, answered = _answered(answer, [number], [one])
        found += which
        answers += answered
    return found, answers
