"""Images that grow while a network is trained: small and quick at first, of full size at the end.

Tan and Le, "EfficientNetV2", arXiv:2104.00298, section 4, algorithm 1: the epochs fall into stages,
and the size goes from the first to the last in equal steps.
"""

from __future__ import annotations

import keras

from keras_inception.runs.recipe import Recipe

STAGES = 4  # as there, section 5.1


def stages(recipe: Recipe) -> int:
    """How many sizes there are."""
    if recipe.image_size_start is None:
        return 1
    return min(recipe.image_size_stages or STAGES, recipe.epochs)


def size_in(recipe: Recipe, epoch: int, size: int) -> int:
    """The height and width in pixels of the images of an epoch, counted from 0.

    Args:
        size: at the end.
    """
    count = stages(recipe)
    if recipe.image_size_start is None or count == 1:
        return size
    stage = epoch * count // recipe.epochs
    return round(recipe.image_size_start + (size - recipe.image_size_start) * stage / (count - 1))


def end_of_stage(recipe: Recipe, epoch: int) -> int:
    """The epoch, counted from 0, with which images of another size begin, or the run's end."""
    count = stages(recipe)
    stage = epoch * count // recipe.epochs
    return -(-(stage + 1) * recipe.epochs // count)


def of_any_size(model: keras.Model) -> keras.Model:
    """The same network, its weights with it, for images of any size."""
    open_input = keras.Input((None, None, model.input.shape[-1]), name=model.input.name)
    copy = keras.models.clone_model(model, input_tensors=open_input)
    copy.set_weights(model.get_weights())
    return copy
