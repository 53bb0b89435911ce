"""Settings of a training checked by themselves, before an image is looked at."""

from __future__ import annotations

import contextlib
import io

import keras

from keras_inception.data.examples import Examples
from keras_inception.models.catalogue import find
from keras_inception.models.weight_files import open_for
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import run_of
from keras_inception.training.best_epoch import check_validation
from keras_inception.training.devices.distribution import Devices
from keras_inception.training.network import build, preprocessing_for
from keras_inception.training.optimization.distillation import check_teacher
from keras_inception.training.optimization.losses import check_loss


def check_settings(
    recipe: Recipe, training: Examples, validation: int, devices: Devices | None = None
) -> None:
    """Refuse what would be refused after the images were decoded, which may take minutes.

    The network is built as shapes, without values, and its weights are matched with it. Published
    ones are downloaded here.

    Args:
        training: the images to train on, and perhaps to validate on.
        validation: about how many there will be to validate on.
        devices: to train on; by default one.

    Raises:
        RecipeError: a setting breaks its rule.
        DeviceError: the batch can't be shared out evenly.
        ValueError: there is no such network, or it refuses a setting or the weights.
        DownloadError: a download failed.
    """
    check_validation(recipe, training.multi_label, validation)
    check_loss(recipe, training.multi_label)
    check_teacher(recipe, training)
    if devices is not None:
        devices.check_accumulation(recipe.gradient_accumulation_steps)
        devices.check_batch_norm(recipe.sync_batch_norm)
        if recipe.batch_size <= len(training) - validation:
            devices.check_batch(recipe.batch_size)
    entry = find(recipe.model)
    if recipe.weights is not None and run_of(recipe.weights) is None:
        open_for(entry, recipe.weights)
    with (
        keras.StatelessScope(initialize_variables=False),
        contextlib.redirect_stderr(io.StringIO()),  # what is told when it is built with values
    ):
        model = build(recipe, len(training.labels), momentum=0.99)
    preprocessing_for(recipe, model.input_shape[1])
