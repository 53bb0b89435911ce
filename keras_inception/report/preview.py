"""A picture of what augmentation does: some images as they are, and as training varies them."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.pipeline import shuffled, training_batches
from keras_inception.data.preprocessing import Preprocessing, decode
from keras_inception.report.fonts import drawable


def draw_variants(
    examples: Examples,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    output: str | Path,
    *,
    images: int = 8,
    variants: int = 6,
    seed: int = 0,
) -> None:
    """Write a PNG, a row for each image: the whole image at the left, then its variants.

    They come from the same stream of batches as training's. Where images are mixed, it is with
    others of the picture, and the shares of the classes stand below.

    Args:
        images: how many, of as many classes as there are; fewer if there are no more.
        variants: of each.
        seed: of the choice and the variants.

    Raises:
        DataError: no image can be decoded.
        OSError: the PNG can't be written.
    """
    chosen, originals = _choose(examples, images, seed, preprocessing)
    count = len(chosen)
    stream = training_batches(
        chosen,
        preprocessing,
        augmentation,
        batch_size=count,
        epochs=variants,
        seed=seed,
        cache_megabytes=0,
    )
    mixed = bool(augmentation.mixup_alpha or augmentation.cutmix_alpha)
    height = (1.75 if mixed else 1.55) * count + 0.4
    with drawable(chosen.labels):
        figure = Figure(figsize=(1.5 * (variants + 1), height), layout="constrained")
        figure.suptitle(_title(preprocessing, augmentation), fontsize=9)
        axes = figure.subplots(count, variants + 1, squeeze=False)
        for row, original in enumerate(originals):
            _show(axes[row, 0], original, _named(chosen, _target(chosen, row)))
        for epoch, (batch, targets) in enumerate(stream):
            pixels = batch.numpy() * np.array(preprocessing.std) + np.array(preprocessing.mean)
            for at, row in enumerate(shuffled(count, seed, epoch).numpy()):
                below = _named(chosen, targets[at].numpy(), shares=True) if mixed else ""
                image = pixels[at].clip(0, 255).round().astype(np.uint8)
                _show(axes[row, 1 + epoch], image, below)
        figure.savefig(output, dpi=120, format="png")


def _choose(
    examples: Examples, most: int, seed: int, preprocessing: Preprocessing | None = None
) -> tuple[Examples, list[np.ndarray]]:
    """Some examples that can be decoded, each class's first before its second; their pixels."""
    order = np.random.default_rng(seed).permutation(len(examples))
    targets = examples.targets[order]
    classes = targets.argmax(axis=1) if examples.multi_label else targets
    turn = np.zeros(len(order), np.int64)
    for each in np.unique(classes):
        turn[classes == each] = np.arange(np.count_nonzero(classes == each))
    chosen: list[int] = []
    originals: list[np.ndarray] = []
    for index in order[np.argsort(turn, kind="stable")].tolist():
        if len(chosen) == most:
            break
        try:
            encoded = examples.images.encoded(index)
            originals.append(decode(encoded, preprocessing).numpy())
        except (tf.errors.OpError, OSError):
            continue
        chosen.append(index)
    if not chosen:
        raise DataError(f"None of the {len(examples)} images can be decoded.")
    return examples.take(np.array(chosen)), originals


def _target(examples: Examples, index: int) -> np.ndarray:
    if examples.multi_label:
        return examples.targets[index].astype(float)
    return np.eye(len(examples.labels))[examples.targets[index]]


def _named(examples: Examples, target: np.ndarray, shares: bool = False) -> str:
    """The classes in a target, the largest share first."""
    lines: list[str] = []
    for index in np.argsort(-target, kind="stable"):
        if target[index] >= 0.005 and len(lines) < 3:
            label = _shortened(examples.labels[index])
            lines.append(f"{label} {target[index]:.0%}" if shares else label)
    return "\n".join(lines)


def _shortened(label: str, most: int = 20) -> str:
    """A name that fits below a picture; East Asian signs are twice as wide as others."""
    widths = itertools.accumulate(1 + (east_asian_width(sign) in "WF") for sign in label)
    fitting = sum(width <= most for width in widths)
    return label if fitting == len(label) else f"{label[: fitting - 1].rstrip()}…"


def _title(preprocessing: Preprocessing, augmentation: Augmentation) -> str:
    """The settings that vary something."""
    neutral = dataclasses.asdict(Augmentation())
    changed = [
        f"{name} {value:.3g}" if not isinstance(value, bool) else name
        for name, value in dataclasses.asdict(augmentation).items()
        if value != neutral[name]
    ]
    size = preprocessing.size
    return f"{size} x {size} pixels: {', '.join(changed) or 'nothing is varied'}"


def _show(axes: Axes, image: np.ndarray, below: str) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(below, fontsize=7)
