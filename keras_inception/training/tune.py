"""A search for a recipe's settings, by Optuna where that is installed: ``keras-inception tune``.

OUTPUT/
  study.db        Optuna's, so that a search that was stopped goes on, and its own tools can look
  trial-0/ ...    a run each
  best.yaml       the recipe of the best
"""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import keras

from keras_inception.data.sources.source import Source
from keras_inception.runs.fields import RecipeError, check_known, choices_of
from keras_inception.runs.packages import check_installed
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, RunError, open_run
from keras_inception.training.best_epoch import BestEpochMetric, best_epoch_metric
from keras_inception.training.train import train

FORM = "LOW..HIGH, LOW..HIGH:log, or VALUE,VALUE,..."


@dataclass(frozen=True)
class Dimension:
    """What a setting may be in a search.

    Args:
        name: of the setting.
        low, high: of a range; whole numbers where the setting is one.
        log: whether factors count and not differences, as for learning rates.
        choices: in place of a range.
    """

    name: str
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the setting is a whole number."""
        return int in choices_of(get_type_hints(Recipe)[self.name])

    @property
    def ends(self) -> tuple[Any, ...]:
        """What is tried before the search: all choices, or both ends."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def suggest(self, trial: Any) -> Any:
        """A value, from an ``optuna.Trial``."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


def parse_space(space: Mapping[str, str], recipe: Recipe) -> list[Dimension]:
    """The dimensions of a search from text, each of its ends tried in the recipe.

    Raises:
        RecipeError: there is no such setting, the text is of another form, or a value breaks the
            setting's rule.
    """
    if not space:
        raise RecipeError("A search needs at least one setting: --search learning_rate=0.01..1:log")
    hints = get_type_hints(Recipe)
    check_known(space, hints)
    dimensions = [_parse(name, text) for name, text in space.items()]
    for dimension in dimensions:
        for value in dimension.ends:
            recipe.with_changes({dimension.name: value})
    return dimensions


def _parse(name: str, text: str) -> Dimension:
    bounds, _, scale = text.partition(":")
    low, dots, high = bounds.partition("..")
    if not dots:
        choices = tuple(part.strip() for part in text.split(","))
        if len(choices) > 1 and all(choices):
            return Dimension(name, choices=choices)
    elif scale in ("", "log"):
        try:
            dimension = Dimension(name, float(low), float(high), scale == "log")
        except ValueError:
            pass
        else:
            if (0 if dimension.log else -math.inf) < dimension.low < dimension.high < math.inf:
                return dimension
    raise RecipeError(
        f"What is searched must be {FORM}, a range rising and with log above 0."
        f" Received: {name}={text}"
    )


class _Report(keras.callbacks.Callback):
    """Tell a trial how bad each epoch is, and end it where Optuna's pruner says so."""

    def __init__(self, trial: Any, metric: BestEpochMetric, pruned: type[Exception]) -> None:
        super().__init__()
        self.trial = trial
        self.metric = metric
        self.pruned = pruned
        self.lowest = math.inf

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        cost = self.metric.cost(logs or {})
        self.lowest = min(self.lowest, cost)
        self.trial.report(cost, epoch)
        if self.trial.should_prune():
            raise self.pruned


def tune(
    data: Source,
    output: str | Path,
    recipe: Recipe,
    space: Mapping[str, str],
    *,
    trials: int = 20,
    hours: float | None = None,
    log: Callable[[str], None] = print,
    **options: Any,
) -> Run:
    """Search for the settings at which a recipe's ``best_epoch_metric`` is best.

    Each trial is a run of its own, ended early where it falls behind the others (the median of them
    at its epoch). A search in a folder of one goes on with it.

    Args:
        data: the images, as ``train`` takes them; their split is the recipe's seed's in each trial.
        output: the folder of the search.
        recipe: what is not searched.
        space: the settings that are, each ``"LOW..HIGH"``, ``"LOW..HIGH:log"`` or
            ``"VALUE,VALUE,..."``: ``{"learning_rate": "0.01..1:log", "optimizer": "sgd,adamw"}``.
        trials: how many, with those that the folder holds already.
        hours: after which no other is begun; by default never.
        log: takes each line.
        options: of each :func:`~keras_inception.training.train.train`.

    Returns:
        The run of the best trial, whose measures are of images by which it was chosen.

    Raises:
        RecipeError: Optuna is not installed, or the space is none for the recipe.
        RunError: no trial came to its end.
        ValueError: what ``train`` raises, but that the loss is no number, which ends a trial only.
    """
    check_installed("optuna", "A search for settings")
    dimensions = parse_space(space, recipe)
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="recipe",
        storage=f"sqlite:///{output.resolve() / 'study.db'}",
        sampler=optuna.samplers.TPESampler(seed=recipe.seed),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )

    def one(trial: Any) -> float:
        chosen = {each.name: each.suggest(trial) for each in dimensions}
        told = ", ".join(f"{name} {_short(value)}" for name, value in chosen.items())
        log(f"Trial {trial.number}: {told}")
        changed = recipe.with_changes(chosen)
        report = _Report(trial, best_epoch_metric(changed), optuna.TrialPruned)
        place = output / f"trial-{trial.number}"
        shutil.rmtree(place, ignore_errors=True)  # what a search that was killed left of it
        try:
            train(data, place, changed, callbacks=[report], log=log, **options)
        except RunError as error:
            log(str(error))
            raise optuna.TrialPruned from error
        finally:
            keras.utils.clear_session()
        return report.lowest

    missing = trials - len([each for each in study.trials if each.state.is_finished()])
    if missing > 0:
        study.optimize(one, n_trials=missing, timeout=None if hours is None else 3600 * hours)
    return _best(study, output, log)


def _best(study: Any, output: Path, log: Callable[[str], None]) -> Run:
    """The run of the best trial; its recipe is written, and the best five are told."""
    complete = [each for each in study.trials if each.value is not None]
    if not complete:
        raise RunError(f"No trial of the search in {output} has come to its end.")
    ranked = sorted(complete, key=lambda each: each.value)
    runs = [open_run(output / f"trial-{each.number}") for each in ranked[:5]]
    for trial, run in zip(ranked, runs, strict=False):
        told = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
        metric = best_epoch_metric(run.recipe)
        value = trial.value if metric.lower_is_better else -trial.value
        log(f"Trial {trial.number}: {metric.column} {value:.4f} with {told}")
    runs[0].recipe.save(output / "best.yaml")
    log(f"The best recipe is {output / 'best.yaml'}: of {len(study.trials)} trials")
    return runs[0]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
