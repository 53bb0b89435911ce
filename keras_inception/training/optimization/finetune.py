"""Training from weights: what is trained when, and batch norm's momentum.

Batch norm is what goes wrong (good in training, random in validation): while training it sees each
batch's own statistics, afterwards moving ones, which on a small set never come to the new images.
docs/training.md has the ways out and when to take which.
"""

from __future__ import annotations

from typing import Literal

import keras

from keras_inception.models.endpoints import endpoints
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe

Phase = Literal["head", "all"]


def phase_of(recipe: Recipe, epoch: int) -> Phase:
    """What an epoch, counted from 0, trains: the classifier alone, or all that may learn."""
    return "head" if epoch < recipe.head_epochs else "all"


def set_trainable(model: keras.Model, recipe: Recipe, phase: Phase) -> None:
    """Freeze what the recipe says; to take effect, ``compile`` must follow.

    Raises:
        RecipeError: the network has no end point of the name ``trainable_from``.
    """
    frozen = _before(model, recipe.trainable_from) if recipe.trainable_from else set()
    for layer in model.layers:
        layer.trainable = (
            (phase == "all" or layer.name.endswith("logits"))
            and layer.name not in frozen
            and not (
                recipe.freeze_batch_norm and isinstance(layer, keras.layers.BatchNormalization)
            )
        )


def learning_rate_factors(model: keras.Model, decay: float) -> list[float]:
    """Layer-wise learning rates: what each trainable variable's is multiplied by.

    The classifier's is 1, that of the layers which lead to the last end point ``decay``, and so on
    towards the image (ULMFiT, arXiv:1801.06146, section 3.2; timm's ``--layer-decay``). What leads
    to none, the auxiliary heads, is a classifier too.

    Returns:
        In the order of ``model.trainable_variables``.
    """
    stages: dict[str, int] = {}
    body = [
        tensor
        for name, tensor in endpoints(model).items()
        if not name.startswith(("aux", "logits", "predictions"))
    ]
    for stage, tensor in enumerate(body):
        for layer in keras.Model(model.input, tensor).layers:
            stages.setdefault(layer.name, stage)
    factors = {
        id(variable): decay ** (len(body) - stages.get(layer.name, len(body)))
        for layer in model.layers
        for variable in layer.trainable_variables
    }
    return [factors[id(variable)] for variable in model.trainable_variables]


def momentum(recipe: Recipe, steps_per_epoch: int) -> float:
    """Batch norm's momentum: the recipe's, or by the number of steps.

    The moving statistics average over about 1 / (1 - momentum) steps. By the number of steps they
    do so over a tenth of an epoch, but no less than 10 and no more than 100 steps, and never over
    more than a tenth of the run: so they keep up with the weights from one validation to the next,
    and in a short run have forgotten where they started from.
    """
    if recipe.batch_norm_momentum != "auto":
        return recipe.batch_norm_momentum
    steps = min(max(steps_per_epoch / 10, 10), 100, steps_per_epoch * recipe.epochs / 10)
    return 1 - 1 / max(steps, 1)


def _before(model: keras.Model, first: str) -> set[str]:
    """The names of the layers that lead to an end point, itself left out."""
    choices = endpoints(model)
    if first not in choices:
        raise RecipeError(
            f"`trainable_from` must be an end point of {model.name}: {', '.join(choices)}."
            f" Received: trainable_from={first!r}"
        )
    up_to = keras.Model(model.input, choices[first])
    return {layer.name for layer in up_to.layers if not layer.name.startswith(first)}
