"""A search for a recipe's settings, by Optuna where that is installed: ``keras-inception tune``.

OUTPUT/
  study.db        Optuna's, so that a search that was stopped goes on, and its own tools can look
  trial-0/ ...    a run each
  best.yaml       the recipe of the best
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import keras
import numpy as np

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.preparation.prepare import set_apart
from keras_inception.data.sources.source import Source, open_source
from keras_inception.runs.fields import RecipeError, check_known, choices_of
from keras_inception.runs.packages import check_installed
from keras_inception.runs.recipe import Recipe, check_recipe
from keras_inception.runs.run import Run, RunError, Terminated, open_run
from keras_inception.training.best_epoch import BestEpochMetric, best_epoch_metric
from keras_inception.training.train import train
from keras_inception.weights.loading import WeightsError

FORM = "LOW..HIGH, LOW..HIGH:log, or VALUE,VALUE,..."

# What trials are compared by, and the images that they are compared on.
_NOT_SEARCHED = ("best_epoch_metric", "validation_fraction", "folds", "fold", "seed")
# What the loss of the validation images is: one without smoothing is always the lower.
_OF_THE_LOSS = ("label_smoothing", "loss", "focal_gamma", "positive_weight", "class_weights")
# Which variables a network has, and so whether weights fit it: where none of these is searched,
# all trials have the same.
_OF_THE_WEIGHTS = ("model", "variant", "weights", "skip", "stem", "width", "aux", "image_size")
_GIVE_OTHERS = "Give others to validate on: validation_data, --validation-data DATA."


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
        RecipeError: there is no such setting, the text is of another form, a value breaks the
            setting's rule, or trials with different values can't be compared.
    """
    if not space:
        raise RecipeError("A search needs at least one setting: --search learning_rate=0.01..1:log")
    hints = get_type_hints(Recipe)
    check_known(space, hints)
    for name, text in space.items():
        if name in _NOT_SEARCHED:
            raise RecipeError(
                f"`{name}` can't be searched, since trials are compared by one measure of the same"
                f" validation images. Received: {name}={text}"
            )
        if name in _OF_THE_LOSS and recipe.best_epoch_metric == "loss":
            raise RecipeError(
                f"`best_epoch_metric` must be another than loss, such as cross_entropy or accuracy,"
                f" to search {name}, which changes what the loss is. Received:"
                " best_epoch_metric=loss"
            )
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
        if len(choices) == len(set(choices)) > 1 and all(choices):
            return Dimension(name, choices=choices)
    elif scale in ("", "log"):
        try:
            dimension = Dimension(name, float(low), float(high), scale == "log")
        except ValueError:
            pass
        else:
            rises = (0 if dimension.log else -math.inf) < dimension.low < dimension.high < math.inf
            if rises and not (dimension.whole and {dimension.low % 1, dimension.high % 1} != {0.0}):
                return dimension
    raise RecipeError(
        f"What is searched must be {FORM}, a range rising, with log above 0 and of whole numbers"
        f" where the setting is one, and no value twice. Received: {name}={text}"
    )


class _Report(keras.callbacks.Callback):
    """Tell a trial how bad each epoch is, and end it where Optuna's pruner says so.

    Args:
        run: the folder of the trial's.
    """

    def __init__(
        self, trial: Any, metric: BestEpochMetric, pruned: type[Exception], run: Path
    ) -> None:
        super().__init__()
        self.trial = trial
        self.metric = metric
        self.pruned = pruned
        self.run = run
        self.lowest = math.inf

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        # Known only now: all may be copies of one image, or none that can be decoded.
        if not open_run(self.run).record["data"]["validation_images"]:
            raise DataError(
                "No image is left to validate on, by which trials are compared: copies and groups"
                f" stay together, and what can't be decoded is left out. {_GIVE_OTHERS}"
            )

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
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
    **options: Any,
) -> Run:
    """Search for the settings at which a recipe's ``best_epoch_metric`` is best.

    Each trial is a run of its own, ended early where it falls behind the others (the median of them
    at its epoch). A search in a folder of one goes on with it; a trial that was stopped is then
    left as it is, and does not count.

    Args:
        data: the images, as ``train`` takes them; their split is the recipe's seed's in each trial.
        output: the folder of the search.
        recipe: what is not searched.
        space: the settings that are, each ``"LOW..HIGH"``, ``"LOW..HIGH:log"`` or
            ``"VALUE,VALUE,..."``: ``{"learning_rate": "0.01..1:log", "optimizer": "sgd,adamw"}``.
        trials: how many, with those that the folder holds already.
        hours: after which no other is begun; by default never.
        callbacks: of each run too, see :func:`~keras_inception.training.train.train`.
        log: takes each line.
        options: others of it.

    Returns:
        The run of the best trial, whose measures are of images by which it was chosen.

    Raises:
        RecipeError: Optuna is not installed, the space is none for the recipe, or there are no
            images to compare the trials on.
        RunError: no trial came to its end, or the folder holds another search.
        DataError: no image is left to compare them on once the images are looked at.
        Terminated: on SIGTERM.
        ValueError: what ``train`` raises, but that the loss is no number, which ends a trial only,
            as does a combination of settings that the recipe, the network or the devices refuse.
    """
    check_recipe(recipe)
    check_installed("optuna", "A search for settings")
    dimensions = parse_space(space, recipe)
    examples = open_source(data)
    _check_validation(recipe, examples, options.get("validation_data"))
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what ends the search is told by others
    output = Path(output)
    images = {"classes": list(examples.labels), "training images": len(examples)}
    now = {"recipe": dataclasses.asdict(recipe), "space": dict(space), "images": images}
    study = _open_study(optuna, output, recipe.seed, now)

    refused = (RecipeError, WeightsError) if set(space) & {*_OF_THE_WEIGHTS} else (RecipeError,)

    def one(trial: Any) -> float:
        chosen = {each.name: each.suggest(trial) for each in dimensions}
        told = ", ".join(f"{name} {_short(value)}" for name, value in chosen.items())
        log(f"Trial {trial.number}: {told}")
        try:
            changed = recipe.with_changes(chosen)
            folder = output / f"trial-{trial.number}"
            report = _Report(trial, best_epoch_metric(changed), optuna.TrialPruned, folder)
            train(
                data, folder, changed,
                callbacks=[report, *callbacks], log=log, **options,
            )  # fmt: skip
        except Terminated:
            raise Terminated(output, "the same command") from None
        except refused as error:
            trial.set_user_attr("refused", str(error))
            log(f"Trial {trial.number} is refused: {error}")
            raise optuna.TrialPruned from error
        except RunError as error:
            log(str(error))
            raise optuna.TrialPruned from error
        finally:
            keras.utils.clear_session()
        return report.lowest

    missing = trials - len(list(_ended(study, "COMPLETE", "PRUNED")))
    if missing > 0:
        study.optimize(one, n_trials=missing, timeout=None if hours is None else 3600 * hours)
    return _best(study, output, log)


def _check_validation(recipe: Recipe, examples: Examples, validation_data: Source | None) -> None:
    """Refuse a search without images to compare the trials on, or on several sets of them."""
    if recipe.folds is not None and recipe.fold is None:
        raise RecipeError(
            f"`fold` must be one of 1 to {recipe.folds} for a search, whose trials are compared on"
            " one of the folds. Received: fold=None"
        )
    if validation_data is not None or (recipe.folds is None and "validation" in examples.splits):
        return
    if recipe.folds is None and not recipe.validation_fraction:
        raise RecipeError(
            "`validation_fraction` must be above 0 for a search without images to validate on,"
            " by which trials are compared. Received: validation_fraction=0.0"
        )
    part: tuple[int, int] | float = recipe.validation_fraction
    if recipe.folds is not None and recipe.fold is not None:
        part = recipe.fold, recipe.folds
    _, apart = set_apart(examples, part, recipe.seed, examples.groups, True)
    if not len(apart):
        received = f"{len(examples)} images"
        if examples.groups is not None:
            groups = len(np.unique(examples.groups))
            received += f" of {groups} {'group' if groups == 1 else 'groups'}"
        raise RecipeError(
            "Some images must be set apart to validate on, by which trials are compared, and none"
            " can be: a class keeps some to train on, and groups stay together."
            f" {_GIVE_OTHERS} Received: {received}"
        )


def _open_study(optuna: Any, output: Path, seed: int, now: Mapping[str, dict[str, Any]]) -> Any:
    """Optuna's study of a search, new or gone on with.

    Args:
        now: what all of its trials have in common.

    Raises:
        RunError: the folder holds trials of another one, or a file that is no study.
    """
    if output.exists() and not output.is_dir():
        raise RunError(f"{output} is a file, and a search is a folder of its own.")
    output.mkdir(parents=True, exist_ok=True)
    file = output.resolve() / "study.db"
    try:
        study = optuna.create_study(
            study_name="recipe",
            storage=f"sqlite:///{file}",
            pruner=optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
    except Exception as error:  # of SQLAlchemy, which is Optuna's, or SQLite's
        raise RunError(
            f"{file} can't be read as Optuna's study: {str(error).splitlines()[0]}. Choose another"
            " folder, or put back the file as it was."
        ) from error
    # Not the same seed again, whose first draws have been tried.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    if any(_ended(study, "COMPLETE", "PRUNED")):
        before = study.user_attrs.get("search", now)
        differ = [
            name
            for part in now
            if part in before  # not in a search of an earlier version
            for name in sorted({*before[part], *now[part]})
            if before[part].get(name) != now[part].get(name)
        ]
        if differ:
            raise RunError(
                f"The search in {output} was begun with other settings or images, and its trials"
                f" can't be compared with new ones: {', '.join(differ)}. Go on with its own, or"
                " begin another: --output ANOTHER"
            )
    elif not study.trials and (there := sorted(output.glob("trial-*"))):
        raise RunError(
            f"{there[0]} is of a search whose study.db is gone, and a run is never overwritten."
            " Choose another folder, or remove what is in this one."
        )
    study.set_user_attr("search", now)
    return study


def _ended(study: Any, *states: str) -> Iterator[Any]:
    """The trials that came to one of these ends."""
    return (each for each in study.trials if each.state.name in states)


def _best(study: Any, output: Path, log: Callable[[str], None]) -> Run:
    """The run of the best trial; its recipe is written, and the best five are told.

    One that was ended early has a value too, Optuna's note of its last epoch, and no network.
    """
    ranked = sorted(_ended(study, "COMPLETE"), key=lambda each: each.value)
    if not ranked:
        reasons = [each.user_attrs.get("refused") for each in _ended(study, "PRUNED")]
        if reasons and all(reasons):
            raise RunError(
                f"All {len(reasons)} trials of the search in {output} were refused, the last since"
                f" {reasons[-1]}"
            )
        raise RunError(f"No trial of the search in {output} has come to its end.")
    best = open_run(output / f"trial-{ranked[0].number}")
    metric = best_epoch_metric(best.recipe)
    for trial in ranked[:5]:
        told = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
        value = trial.value if metric.lower_is_better else -trial.value
        log(f"Trial {trial.number}: {metric.column} {value:.4f} with {told}")
    best.recipe.save(output / "best.yaml")
    log(f"The best recipe is {output / 'best.yaml'}: of {len(study.trials)} trials")
    return best


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
