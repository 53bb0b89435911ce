"""Settings of a training checked by themselves, before an image is looked at."""

from __future__ import annotations

import contextlib
import io

import keras
import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.models.catalogue import find
from keras_inception.models.weight_files import open_for
from keras_inception.runs.fields import RecipeError
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
    _check_folds(recipe, training)
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


def _check_folds(recipe: Recipe, training: Examples) -> None:
    """Refuse more folds than there are images, or groups of them, to share out."""
    if recipe.folds is None:
        return
    groups = training.groups
    parts, what = (
        (len(training), "images")
        if groups is None
        else (len(np.unique(groups)), "groups of images")
    )
    if recipe.folds > parts:
        raise RecipeError(
            f"`folds` must be at most {parts}, the number of {what}. Received: folds={recipe.folds}"
        )


def check_changes(recipe: Recipe, steps: int) -> None:
    """Refuse to accumulate gradients over more batches than there are to train by.

    Args:
        steps: an epoch.

    Raises:
        RecipeError: the weights would not change once, of all layers or of the classifier alone.
    """
    for epochs in (recipe.head_epochs, recipe.epochs - recipe.head_epochs):
        if 0 < epochs * steps < recipe.gradient_accumulation_steps:
            raise RecipeError(
                f"`gradient_accumulation_steps` must be at most {epochs * steps}, the number of"
                f" batches in {epochs} epochs, or the weights never change. Received:"
                f" gradient_accumulation_steps={recipe.gradient_accumulation_steps}"
            )
