"""Cross-validation: a run for each fold of the images, and all images measured by runs new to them.

OUTPUT/
  fold-1/ ...     a run each, validated on its fold
  folds.json      their measures, and those of all images together
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.sources.source import Source
from keras_inception.evaluation.evaluate_model import evaluate_model
from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation, Result
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.files import atomic_write
from keras_inception.runs.recipe import Recipe, check_recipe
from keras_inception.runs.run import Run
from keras_inception.training.train import train


@dataclass(frozen=True)
class CrossValidation:
    """What the folds of a data set gave.

    Args:
        runs: one a fold, in their order.
        pooled: every image measured by the run that was not trained on it; ``None`` where the
            images are in memory only, so that they can't be read again.
    """

    runs: tuple[Run, ...]
    pooled: Result | None

    @property
    def folds(self) -> dict[str, list[float]]:
        """Each measure that all runs have, a value a fold."""
        measured = [run.record["validation"] for run in self.runs]
        common = [name for name in measured[0] if all(name in each for each in measured)]
        return {name: [each[name] for each in measured] for name in common}

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """Of each measure of the folds the mean, the range and the standard deviation of folds."""
        return {
            name: {
                "mean": float(np.mean(values)),
                "lowest": min(values),
                "highest": max(values),
                "standard_deviation": float(np.std(values, ddof=1)),
            }
            for name, values in self.folds.items()
        }

    @property
    def lines(self) -> list[str]:
        """In words: mean and standard deviation over the folds, and of all images together."""
        lines = [
            f"{name.replace('_', ' ')}: {of['mean']:.4f}, from {of['lowest']:.4f} to"
            f" {of['highest']:.4f} (standard deviation {of['standard_deviation']:.4f})"
            for name, of in self.summary.items()
        ]
        if self.pooled is not None:
            intervals = self.pooled.intervals
            told = [
                f"{name.replace('_', ' ')} {self.pooled.metrics[name]:.4f}, {low:.4f} to {high:.4f}"
                for name, (low, high) in intervals.items()
            ]
            lines.append(
                f"All {self.pooled.images} images, each by the run that is new to it, with 95 %"
                f" intervals: {'; '.join(told)}"
            )
        return lines


def cross_validate(
    data: Source,
    output: str | Path,
    recipe: Recipe,
    *,
    log: Callable[[str], None] = print,
    **options: Any,
) -> CrossValidation:
    """Train a run on all folds but one, for each of them, and measure every image by a new run.

    What is measured so says how good the recipe is on images such as these, of which a single
    split of a few hundred says little. The network to use is then trained on all of them.

    Args:
        data: the images, as ``train`` takes them.
        output: the folder of the runs.
        recipe: with ``folds``; the seed decides the folds.
        log: takes each line.
        options: of each :func:`~keras_inception.training.train.train`, such as ``resume=True``,
            which leaves the runs that have finished as they are.

    Raises:
        ValueError: what ``train`` raises.
    """
    check_recipe(recipe)
    if recipe.folds is None:
        raise RecipeError("`folds` must be at least 2 for cross-validation. Received: folds=None")
    output = Path(output)
    runs = []
    for fold in range(1, recipe.folds + 1):
        log(f"Fold {fold} of {recipe.folds}")
        one = recipe.with_changes({"fold": fold})
        runs.append(train(data, output / f"fold-{fold}", one, log=log, **options))
        keras.utils.clear_session()
    result = CrossValidation(tuple(runs), _pooled(runs))
    pooled = None if result.pooled is None else result.pooled.as_dict()
    measures = {"folds": result.folds, "summary": result.summary, "pooled": pooled}
    with atomic_write(output / "folds.json", "w") as file:
        json.dump(measures, file, indent=1, ensure_ascii=False)
    for line in result.lines:
        log(line)
    return result


def _pooled(runs: list[Run]) -> Result | None:
    try:
        results = [
            evaluate_model(run.load_model(), run.labels, run.preprocessing, run.validation)
            for run in runs
        ]
    except DataError:
        return None
    labels = runs[0].labels
    targets, scores = (
        np.concatenate([getattr(each, name) for each in results]) for name in ("targets", "scores")
    )
    indices = np.arange(len(targets))
    left_out = tuple(bad for each in results for bad in each.left_out)
    if isinstance(results[0], MultiLabelEvaluation):
        return MultiLabelEvaluation(labels, indices, targets, scores, left_out)
    return Evaluation(labels, indices, targets, scores, left_out)
