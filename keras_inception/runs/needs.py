"""Rules between settings of a recipe: what one needs of others to have an effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What must hold for a setting that is not at its default, and otherwise the rule that it breaks.
NEEDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_size_start": (
        lambda recipe: not recipe.aux,
        "left out with aux, whose heads are built for one size",
    ),
    "image_size_stages": (
        lambda recipe: recipe.image_size_start is not None,
        "left out without image_size_start",
    ),
    "skip": (lambda recipe: recipe.weights is not None, "left out without weights"),
    "head_epochs": (lambda recipe: recipe.weights is not None, "0 without weights"),
    "head_learning_rate": (lambda recipe: recipe.head_epochs > 0, "left out without head_epochs"),
    "trainable_from": (lambda recipe: recipe.weights is not None, "left out without weights"),
    "freeze_batch_norm": (lambda recipe: recipe.weights is not None, "false without weights"),
    "recalibrate": (lambda recipe: not recipe.freeze_batch_norm, "false with freeze_batch_norm"),
    "augment_crop_aspect": (
        lambda recipe: recipe.augment_crop_area < 1,
        "left out without augment_crop_area below 1",
    ),
    "augment_crop_evenly": (
        lambda recipe: recipe.augment_crop_area < 1,
        "false without augment_crop_area below 1",
    ),
    "augment_any_resize": (
        lambda recipe: recipe.augment_crop_area < 1,
        "false without augment_crop_area below 1",
    ),
    "augment_rand_strength": (
        lambda recipe: recipe.augment_rand_operations > 0,
        "left out without augment_rand_operations",
    ),
    "augment_mixup_alpha": (lambda recipe: recipe.batch_size > 1, "0 with a batch_size of 1"),
    "augment_cutmix_alpha": (lambda recipe: recipe.batch_size > 1, "0 with a batch_size of 1"),
    "fold": (
        lambda recipe: recipe.folds is not None and recipe.fold <= recipe.folds,
        "left out without folds, and at most folds with them: folds={recipe.folds}",
    ),
    "focal_gamma": (
        lambda recipe: recipe.loss == "focal",
        "left out with loss={recipe.loss}",
    ),
    "positive_weight": (
        lambda recipe: not recipe.class_weights,
        "left out with class_weights, which balance them already",
    ),
    "distill_alpha": (lambda recipe: recipe.teacher is not None, "left out without teacher"),
    "distill_temperature": (lambda recipe: recipe.teacher is not None, "left out without teacher"),
    "oversample": (
        lambda recipe: not recipe.class_weights,
        "0 with class_weights, which balance the classes already",
    ),
    "momentum": (
        lambda recipe: recipe.optimizer in ("sgd", "rmsprop"),
        "left out with optimizer={recipe.optimizer}",
    ),
    "nesterov": (
        lambda recipe: recipe.optimizer == "sgd" or not recipe.nesterov,
        "false with optimizer={recipe.optimizer}",
    ),
    "epsilon": (lambda recipe: recipe.optimizer != "sgd", "left out with optimizer=sgd"),
    "decay_rate": (
        lambda recipe: recipe.schedule == "exponential",
        "left out with schedule={recipe.schedule}",
    ),
    "decay_epochs": (
        lambda recipe: recipe.schedule == "exponential",
        "left out with schedule={recipe.schedule}",
    ),
    "decay_power": (
        lambda recipe: recipe.schedule == "polynomial",
        "left out with schedule={recipe.schedule}",
    ),
}
