"""The worst mistakes as pictures, with where the network saw what it said."""

from __future__ import annotations

from pathlib import Path

import keras
import matplotlib
import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing, decode
from keras_inception.evaluation.crops import crop_batches
from keras_inception.evaluation.gradcam import grad_cam as explain
from keras_inception.evaluation.measures import Evaluation, Result
from keras_inception.report.template import paragraph, picture, section


def mistakes(
    result: Result,
    examples: Examples,
    model: keras.Model,
    preprocessing: Preprocessing,
    *,
    grad_cam: bool = False,
    most: int = 24,
) -> str:
    """A section with pictures of the mistakes of the highest loss.

    Args:
        result: what the model gave on ``examples``.
        preprocessing: the model's input protocol.
        grad_cam: show below each where the network saw the class that it got wrong.
        most: so many mistakes at most.
    """
    rows = result.worst(most)
    if not rows:
        return section("Mistakes", paragraph("There are none."))
    numbers = result.numbers[rows]
    heats: list[str] = []
    text = "The mistakes with the highest loss, the worst first."
    if grad_cam:
        explained = [_explained(result, row) for row in rows]
        heats = _heat_pictures(
            examples.take(numbers), model, preprocessing, explained, result.labels
        )
        text += (
            " Below each is what the network saw, warm where it found the class that it got wrong"
            " (Grad-CAM, arXiv:1610.02391)."
        )
    items = []
    for place, (row, number) in enumerate(zip(rows, numbers.tolist(), strict=True)):
        name = examples.images.name(number)
        image = picture(decode(examples.images.encoded(number)).numpy(), name)
        heat = heats[place] if heats else ""
        caption = _caption(result, row) + paragraph(Path(name).name, "soft")
        items.append(f"<li><figure>{image}{heat}<figcaption>{caption}</figcaption></figure></li>")
    return section(
        "Mistakes", paragraph(text, "soft"), f'<ul class="pictures">{"".join(items)}</ul>'
    )


def _caption(result: Result, row: int) -> str:
    scores, labels = result.scores[row], result.labels
    if isinstance(result, Evaluation):
        best, true = int(result.predicted[row]), int(result.targets[row])
        return paragraph(f"taken for {labels[best]} ({scores[best]:.1%})", "wrong") + paragraph(
            f"is {labels[true]} ({scores[true]:.1%})", "right"
        )
    lines = ""
    for column in np.flatnonzero(result.predicted[row] & ~result.targets[row]):
        lines += paragraph(f"taken for {labels[column]} ({scores[column]:.1%})", "wrong")
    for column in np.flatnonzero(result.targets[row]):
        missed = "" if result.predicted[row, column] else ", missed"
        lines += paragraph(f"is {labels[column]} ({scores[column]:.1%}{missed})", "right")
    return lines


def _explained(result: Result, row: int) -> int:
    """The class that was got wrong."""
    if isinstance(result, Evaluation):
        return int(result.predicted[row])
    return int(np.abs(result.scores[row] - result.targets[row]).argmax())


def _heat_pictures(
    examples: Examples,
    model: keras.Model,
    preprocessing: Preprocessing,
    classes: list[int],
    labels: tuple[str, ...],
) -> list[str]:
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
