"""The quantization of a model's body: planned, calibrated on images, and said what it is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.export import ExportError
from inception_export.folding import fold_batch_norm
from inception_export.int8.calibration import METHODS, choose_ranges
from inception_export.int8.network import Network, make_network
from inception_export.int8.operations import Tensor
from inception_export.int8.plan import make_plan
from inception_export.int8.program import record
from inception_export.int8.statistics import measure
from inception_export.serving_graph import split
from keras_inception.data.preprocessing import Preprocessing, preprocess_encoded

MOST_IMAGES = 256
FEW_IMAGES = 64
_BATCH = 8
# One image of so many is set apart to choose the method on.
_APART = 4


def quantize(
    model: keras.Model,
    preprocessing: Preprocessing,
    images: Sequence[bytes],
    log: Callable[[str], None],
) -> tuple[Network, dict[str, Any]]:
    """A classifier's body in int8.

    Args:
        model: flat, as :func:`~inception_export.serving_graph.split` takes it.
        images: encoded, at least two, to calibrate on; of more than :data:`MOST_IMAGES`, some
            that lie evenly among them.

    Returns:
        The body, and what the manifest says of it.

    Raises:
        ExportError: nothing of it can be in int8, or all images are one.
    """
    body, dense, _ = split(model)
    folded = fold_batch_norm(body, "float32")
    program = record(folded)
    plan = make_plan(program, image_signed=any(preprocessing.mean))
    if not any(step.kind == "conv" for step in plan.steps):
        raise ExportError(
            f"int8 is for convolutions, and {model.name} has none that TensorFlow has an operation"
            " in int8 for: Conv2D without groups or dilation, of one stride. Nothing was published."
        )
    images = [images[place] for place in spread_places(len(images), MOST_IMAGES).tolist()]
    digests = [hashlib.sha256(image).digest() for image in images]
    if len(set(digests)) == 1:
        raise ExportError(
            "int8 takes the ranges of its tensors from images that differ, and these"
            f" {len(images)} are one and the same: --calibration FOLDER. Nothing was published."
        )
    apart = images[::_APART]
    seen_images = [image for place, image in enumerate(images) if place % _APART]
    few = " (few: some hundred are better)" if len(images) < FEW_IMAGES else ""
    log(
        f"int8: calibrated on {len(seen_images)} images, the method chosen on {len(apart)}"
        f" more{few}"
    )
    seen = measure(program, plan, _batches(seen_images, preprocessing))
    weights = dense.kernel.value.numpy()
    apart_batches = list(_batches(apart, preprocessing))
    expected = [folded(batch, training=False).numpy() @ weights for batch in apart_batches]

    losses: dict[str, float] = {}
    networks = {}
    for method in METHODS:
        network = make_network(plan, choose_ranges(method, plan, seen), seen.means)
        losses[method] = _loss(network, weights, apart_batches, expected)
        networks[method] = network
    best = min(losses, key=losses.__getitem__)
    in_int8, of_all = seen.multiply_adds
    share = in_int8 / (of_all + weights.size)
    log(
        f"int8: {share:.1%} of the multiply-adds; ranges by {best}, which changes the logits by"
        f" {losses[best]:.2g} of their variance"
    )
    return networks[best], {
        "multiply_adds": share,
        "method": best,
        "loss": losses,
        "calibration_images": len(seen_images),
        "images_set_apart": len(apart),
        "calibration_sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
    }


def spread_places(count: int, most: int) -> np.ndarray:
    """The places of all, or of many ``most``, evenly from the first to the last: int64 [places]."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _batches(images: Sequence[bytes], preprocessing: Preprocessing) -> Iterator[Tensor]:
    for start in range(0, len(images), _BATCH):
        yield preprocess_encoded(tf.constant(images[start : start + _BATCH]), preprocessing)


def _loss(
    network: Network, weights: np.ndarray, batches: list[Tensor], expected: list[np.ndarray]
) -> float:
    """The mean squared change of the logits, as a share of their variance."""
    spec = tf.TensorSpec([None, *batches[0].shape[1:]], tf.float32)
    run = tf.function(lambda images: network(images), autograph=False).get_concrete_function(spec)
    logits = np.concatenate(expected)
    changed = np.concatenate([run(batch).numpy() @ weights for batch in batches])
    return float(np.square(changed - logits).mean() / max(logits.var(), 1e-12))
