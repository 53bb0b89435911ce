"""The worst mistakes as pictures, with where the network saw what it said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import matplotlib
import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing, decode
from keras_inception.data.text import printable
from keras_inception.evaluation.crops import crop_batches
from keras_inception.evaluation.gradcam import grad_cam as explain
from keras_inception.evaluation.measures import Evaluation, Result
from keras_inception.report.template import Picture, picture


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for something else.

    Args:
        image: as it is kept, smaller.
        lines: what it was taken for and what it is, each with its class of the style sheet.
        file_name: of the image.
        heat_map: where the network saw the class that it got wrong; ``None`` if not asked for.
    """

    image: Picture
    lines: list[tuple[str, str]]
    file_name: str
    heat_map: Picture | None


def worst_mistakes(
    result: Result,
    examples: Examples,
    model: keras.Model,
    preprocessing: Preprocessing,
    *,
    grad_cam: bool = False,
    most: int = 24,
) -> list[Mistake]:
    """The mistakes of the highest loss, the worst first.

    Args:
        result: what the model gave on ``examples``.
        preprocessing: the model's input protocol.
        grad_cam: show with each where the network saw the class that it got wrong.
        most: so many mistakes at most.
    """
    rows = result.worst(most)
    if not rows:
        return []
    indices = result.indices[rows]
    heat_maps: list[Picture | None] = [None] * len(rows)
    if grad_cam:
        explained = [_explained(result, row) for row in rows]
        heat_maps = [
            *_heat_maps(examples.take(indices), model, preprocessing, explained, result.labels)
        ]
    mistakes = []
    for row, index, heat_map in zip(rows, indices.tolist(), heat_maps, strict=True):
        name = printable(examples.images.name(index))
        encoded = examples.images.encoded(index)
        image = picture(decode(encoded, preprocessing).numpy(), name)
        mistakes.append(Mistake(image, _lines(result, row), Path(name).name, heat_map))
    return mistakes


def _lines(result: Result, row: int) -> list[tuple[str, str]]:
    scores, labels = result.scores[row], result.labels
    if isinstance(result, Evaluation):
        best, true = int(result.predicted[row]), int(result.targets[row])
        return [
            (f"taken for {labels[best]} ({scores[best]:.1%})", "wrong"),
            (f"is {labels[true]} ({scores[true]:.1%})", "right"),
        ]
    lines = []
    for column in np.flatnonzero(result.predicted[row] & ~result.targets[row]):
        lines.append((f"taken for {labels[column]} ({scores[column]:.1%})", "wrong"))
    for column in np.flatnonzero(result.targets[row]):
        missed = "" if result.predicted[row, column] else ", missed"
        lines.append((f"is {labels[column]} ({scores[column]:.1%}{missed})", "right"))
    return lines


def _explained(result: Result, row: int) -> int:
    """The class that was got wrong."""
    if isinstance(result, Evaluation):
        return int(result.predicted[row])
    return int(np.abs(result.scores[row] - result.targets[row]).argmax())


def _heat_maps(
    examples: Examples,
    model: keras.Model,
    preprocessing: Preprocessing,
    classes: list[int],
    labels: tuple[str, ...],
) -> list[Picture]:
    (inputs,) = [
        images.numpy()[:, 0]
        for _, images in crop_batches(examples, preprocessing, 1, len(examples))
    ]
    heat = explain(model, inputs, classes)
    pixels = (
        inputs * np.array(preprocessing.std, np.float32) + np.array(preprocessing.mean, np.float32)
    ).clip(0, 255)
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    weight = 0.65 * heat[..., np.newaxis]
    mixed = (pixels * (1 - weight) + colours * weight).astype(np.uint8)
    return [
        picture(image, f"heat map for {labels[chosen]}")
        for image, chosen in zip(mixed, classes, strict=True)
    ]
