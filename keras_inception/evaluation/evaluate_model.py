"""The measurement of a Keras model on images whose classes are known.

A network's answers, wherever it runs, become one table of scores, images by classes; everything
else is counted from that, so a run, its export and a server are measured alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.preparation.inspection import BadImage, bad_image
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.text import printable
from keras_inception.data.types import Advance
from keras_inception.evaluation.crops import check_crops, crop_batches, crop_weights
from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation, Result


class NoNumber(DataError):
    """A model answers images with no number, nan."""


class Scored(NamedTuple):
    """The scores of a set of images.

    Args:
        indices: int64 [scored], which of the images each row is of.
        scores: float32 [scored, classes]; nan where the model does not tell one.
        left_out: the images that can't be decoded.
    """

    indices: np.ndarray
    scores: np.ndarray
    left_out: list[BadImage]


def evaluate_model(
    model: keras.Model,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    examples: Examples,
    *,
    crops: int = 1,
    batch_size: int = 32,
    advance: Advance = lambda images: None,
    thresholds: np.ndarray | None = None,
    record: dict[str, Any] | None = None,
) -> Result:
    """Measure a Keras model that is at hand, on any backend.

    Args:
        model: from float32 [batch, size, size, 3] to scores [batch, classes]: by a sigmoid where
            an image can be of several classes, else by a softmax.
        labels: the class names, in the order of its outputs.
        preprocessing: the input protocol.
        examples: images with their true classes, which are matched by name.
        crops: cut from each image, 1, 2, 10 or 144; their scores are averaged.
        batch_size: network inputs at a time.
        advance: is told after each batch how many more images are done.
        thresholds: float64 [classes], the score from which each class is predicted where an image
            can be of several; 0.5 by default.
        record: what else the result's record says.

    Raises:
        DataError: no image can be decoded, or one is of a class that the model does not know.
        ValueError: ``crops`` is none of the choices.
    """
    scored = score_examples(
        model, preprocessing, examples, crops=crops, batch_size=batch_size, advance=advance
    )
    multi_label = ends_in_sigmoid(model)
    return score_against_truth(
        examples, labels, scored,
        multi_label=multi_label, thresholds=thresholds, record=record or {},
    )  # fmt: skip


def score_examples(
    model: keras.Model,
    preprocessing: Preprocessing,
    examples: Examples,
    *,
    crops: int = 1,
    batch_size: int = 32,
    advance: Advance = lambda images: None,
) -> Scored:
    """Every image's scores by a Keras model; the arguments are :func:`evaluate_model`'s.

    Raises:
        DataError: no image can be decoded.
        ValueError: ``crops`` is none of the choices.
    """
    check_crops(crops, preprocessing)
    weights = crop_weights(crops)
    rows = max(1, min(batch_size, len(examples) * len(weights)))
    indices: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for batch, inputs in crop_batches(examples, preprocessing, crops, batch_size):
        answered = predict_rows(
            model, inputs.numpy().reshape(-1, preprocessing.size, preprocessing.size, 3), rows
        )
        views = answered.reshape(len(batch), len(weights), -1)
        scores.append(np.einsum("bvc,v->bc", views, weights))
        indices.append(batch.numpy())
        advance(len(batch))
    left_out = find_unreadable(examples, indices)
    advance(len(left_out))
    if not indices:
        raise no_images(left_out)
    return Scored(np.concatenate(indices), np.concatenate(scores), left_out)


def check_answered(examples: Examples, indices: np.ndarray, scores: np.ndarray) -> None:
    """Refuse scores, as in :class:`Scored`, of which an image has none.

    Raises:
        NoNumber: all of an image's are nan.
    """
    unanswered = np.flatnonzero(np.isnan(scores).all(axis=1))
    if len(unanswered):
        name = printable(examples.images.name(int(indices[unanswered[0]])))
        raise NoNumber(
            f"The model answers {len(unanswered)} of {len(indices)} images with no number (nan),"
            f" the first of them {name}: its weights, or its arithmetic in half precision, have"
            " overflowed."
        )


def score_against_truth(
    examples: Examples,
    labels: Sequence[str],
    scored: Scored,
    *,
    multi_label: bool,
    thresholds: np.ndarray | None = None,
    record: dict[str, Any],
) -> Result:
    """Scores set beside the true classes, matched by name.

    Args:
        examples: the images with their true classes.
        labels: the model's class names, of the columns of the scores.
        scored: the model's scores of these examples.
        multi_label: whether each class is scored by itself.
        thresholds: float64 [classes], the score from which each is then predicted; by default 0.5.
        record: what was measured and how, kept with the result.

    Raises:
        DataError: an image is of a class that is not among ``labels``, or of several classes
            where the scores allow one; or the model answers an image with no number.
    """
    if examples.multi_label and not multi_label:
        raise DataError(
            "The images can be of several classes each, but the model chooses one: its scores add"
            " up to 1. Train it with a sigmoid, or evaluate it on images of one class each."
        )
    column = {label: place for place, label in enumerate(labels)}
    known = [label in column for label in examples.labels]
    unknown = [
        label
        for label, images, is_known in zip(examples.labels, examples.counts(), known, strict=True)
        if images and not is_known
    ]
    if unknown:
        raise DataError(
            f"There are images of classes that the model does not know: {', '.join(unknown[:10])}."
            f" It knows: {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}."
        )
    indices, scores, left_out = scored
    check_answered(examples, indices, scores)
    columns = np.array([column.get(label, -1) for label in examples.labels], np.int64)
    if multi_label:
        targets = np.zeros(scores.shape, bool)
        if examples.multi_label:
            targets[:, columns[known]] = examples.targets[indices][:, known]
        else:
            targets[np.arange(len(indices)), columns[examples.targets[indices]]] = True
    else:
        targets = columns[examples.targets[indices]]
    kept = tuple(labels), indices, targets, scores, tuple(left_out), record
    return MultiLabelEvaluation(*kept, thresholds) if multi_label else Evaluation(*kept)


def find_unreadable(examples: Examples, read: Sequence[np.ndarray]) -> list[BadImage]:
    """The images that are not among those that were read, each with the reason.

    Args:
        read: indices of those that were, in batches.
    """
    missing = np.ones(len(examples), bool)
    for indices in read:
        missing[indices] = False
    return [bad_image(examples.images, index) for index in np.flatnonzero(missing).tolist()]


def no_images(left_out: Sequence[BadImage]) -> DataError:
    """The error for data of which nothing is left to measure."""
    first = f" The first, {left_out[0].name}: {left_out[0].reason}" if left_out else ""
    return DataError(f"There is no image to evaluate on that can be decoded.{first}")


def ends_in_sigmoid(model: keras.Model) -> bool:
    """Whether a model scores each class by itself."""
    return getattr(model.layers[-1], "activation", None) is keras.activations.sigmoid


def predict_rows(model: keras.Model, inputs: np.ndarray, rows: int) -> np.ndarray:
    """A model's answers, always on as many rows at a time, so that it is compiled once.

    Args:
        inputs: float32 [batch, size, size, 3].

    Returns:
        float32 [batch, classes].
    """
    answers = []
    for start in range(0, len(inputs), rows):
        batch = inputs[start : start + rows]
        missing = rows - len(batch)
        if missing:
            batch = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
        answers.append(np.asarray(model.predict_on_batch(batch), np.float32)[: rows - missing])
    return np.concatenate(answers)
