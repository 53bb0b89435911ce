"""Temperature scaling: a network's scores made as sure as it is right.

Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2: all logits
are divided by one number, which changes no answer and no order, only the scores. Here the dense
layer's weights are, so that whatever is made of the network has it: the run's, an export's.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.evaluation.calibration import HOTTEST, calibrate, fit_temperature
from keras_inception.evaluation.evaluate_model import check_answered, score_examples


def scale_by_temperature(
    network: keras.Model,
    preprocessing: Preprocessing,
    examples: Examples,
    batch_size: int,
    log: Callable[[str], None],
) -> float:
    """Divide the logits of a network by the temperature that fits these images best.

    Args:
        network: whose dense layer is named ``logits``; it is changed.
        examples: images that it was not trained on, of its classes in their order.
        batch_size: network inputs at a time.
        log: takes a line.

    Returns:
        The temperature; 1, and the network as it was, where all images are right: the surer it is
        the less is their loss, without end.

    Raises:
        NoNumber: the network answers an image with nan.
    """
    layer = network.get_layer("logits")
    inner = keras.Model(network.input, layer.output)
    scored = score_examples(inner, preprocessing, examples, batch_size=batch_size)
    check_answered(examples, scored.indices, scored.scores)
    targets = examples.targets[scored.indices]
    if _all_right(scored.scores, targets):
        log(
            f"Not calibrated: all {len(targets)} validation images are right, so that they do not"
            " tell how sure the scores may be. More of them would."
        )
        return 1.0
    temperature = fit_temperature(scored.scores, targets)
    layer.set_weights([value / temperature for value in layer.get_weights()])
    line = f"Temperature {temperature:.3g}, fitted on the validation images"
    if not examples.multi_label:
        before, after = (_ece(scored.scores / each, targets) for each in (1.0, temperature))
        line += f": ece {before:.4f} before, {after:.4f} now"
    if temperature > 0.999 * HOTTEST:
        line += (
            ". No higher one is tried: the network is much surer than it is right; train it more"
        )
    log(line)
    return temperature


def _all_right(logits: np.ndarray, targets: np.ndarray) -> bool:
    """Whether the best class is the true one, or every class by itself is right."""
    several = targets.ndim == 2
    right = (logits > 0) == targets if several else logits.argmax(axis=1) == targets
    return bool(right.all())


def _ece(logits: np.ndarray, targets: np.ndarray) -> float:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return calibrate(shares.max(axis=1), logits.argmax(axis=1) == targets).ece
