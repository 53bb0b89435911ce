"""The balance of the classes: a drawing of how many images each has, and weights to make up."""

from __future__ import annotations

import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.text import columns_of

_BAR = 30
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def class_weights(examples: Examples) -> np.ndarray:
    """What an image of each class counts, so that every class counts alike.

    Returns:
        float32 [classes], images / (classes * images of the class), so the mean over the images
        (over their labels, where an image can have several) is 1; 0 for a class without images.
    """
    counts = examples.counts()
    there = counts > 0
    weights = counts.sum() / (max(there.sum(), 1) * np.maximum(counts, 1))
    return np.where(there, weights, 0).astype(np.float32)


def label_weights(examples: Examples) -> np.ndarray:
    """What an image counts in each class's part of the loss, where it can be of several classes.

    So that in every part the images of the class count as much together as all others, and every
    part as much as any other: images / (2 * images of the class), and likewise of the others.

    Returns:
        float32 [2, classes], of images that are not of the class, and of those that are; the mean
        of each class over the images is 1. Where all or none are of it, 1.
    """
    counts = examples.counts()
    both = np.stack([len(examples) - counts, counts])
    there = (both > 0).all(axis=0)
    return np.where(there, len(examples) / (2 * np.maximum(both, 1)), 1).astype(np.float32)


def uneven(examples: Examples) -> bool:
    """Whether the largest class has over three times the images of the smallest."""
    counts = examples.counts()
    return bool(counts.max() > 3 * counts.min())


def draw_counts(examples: Examples, most: int = 12) -> str:
    """A bar of text for each class, the largest first; the middle left out where there are many."""
    counts = examples.counts()
    order = np.argsort(-counts, kind="stable").tolist()
    shown: list[int | None] = [*order]
    if len(order) > most:
        shown = [*order[: most // 2], None, *order[-(most // 2) :]]
    width = max(columns_of(examples.labels[target]) for target in shown if target is not None)
    lines = []
    for target in shown:
        if target is None:
            lines.append(f"  {'...':{width}}  {len(order) - most // 2 * 2} more")
            continue
        eighths = round(8 * _BAR * counts[target] / max(counts.max(), 1))
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        label = examples.labels[target]
        lines.append(f"  {label}{' ' * (width - columns_of(label))}  {bar} {counts[target]}")
    return "\n".join(lines)
