"""The metric of the validation images by which epochs are compared, better and worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe

_NAMES = {"mean_average_precision": "average_precision"}  # in the history, where it is another
_LOWER_IS_BETTER = ("loss", "cross_entropy")


@dataclass(frozen=True)
class BestEpochMetric:
    """A column of the history.

    Args:
        column: its name, such as ``"val_loss"``.
        lower_is_better: whether it is a loss.
    """

    column: str
    lower_is_better: bool = True

    def cost(self, epoch: Mapping[str, float]) -> float:
        """How bad an epoch is: its metric or the negative of it; infinite if it is no number."""
        value = epoch[self.column]
        if math.isnan(value):
            return math.inf
        return value if self.lower_is_better else -value

    def best(self, history: Sequence[Mapping[str, float]]) -> int:
        """The number of the best epoch, from 1: the first of those that cost least.

        While no epoch's metric is a number, the last is the best.
        """
        lowest = self.lowest(history)
        if lowest == math.inf:
            return len(history)
        return next(index for index, row in enumerate(history, 1) if self.cost(row) == lowest)

    def lowest(self, history: Sequence[Mapping[str, float]]) -> float:
        """The cost of the best epoch so far; infinite while there is none."""
        return min(map(self.cost, history), default=math.inf)


def best_epoch_metric(recipe: Recipe) -> BestEpochMetric:
    """The recipe's, as Keras calls it in the history."""
    name = recipe.best_epoch_metric
    output = "predictions_" if recipe.aux else ""
    return BestEpochMetric(f"val_{output}{_NAMES.get(name, name)}", name in _LOWER_IS_BETTER)


def check_validation(recipe: Recipe, multi_label: bool, validation: int) -> None:
    """Refuse what the images to validate on can't be used for.

    Args:
        multi_label: whether an image can be of several classes.
        validation: how many images there are to validate on.

    Raises:
        RecipeError: with the rule.
    """
    for name in ("best_epoch_metric", "early_stopping_epochs", "calibrate", "fit_thresholds"):
        value = getattr(recipe, name)
        if not validation and value not in ("loss", None, False):
            raise RecipeError(f"`{name}` needs validation images. Received: {name}={value}")
    if recipe.folds is not None and not validation:
        raise RecipeError(
            f"`folds` must be fewer: no image is left for fold {recipe.fold}, since groups and"
            f" copies stay together. Received: folds={recipe.folds}"
        )
    if recipe.fit_thresholds and not multi_label:
        raise RecipeError(
            "`fit_thresholds` must be false where every image is of one class, the best."
            " Received: fit_thresholds=True"
        )
    if recipe.best_epoch_metric == "mean_average_precision" and not multi_label:
        raise RecipeError(
            "`best_epoch_metric` must be loss, cross_entropy, accuracy or macro_f1 where every"
            " image is of one class. Received: best_epoch_metric=mean_average_precision"
        )
