"""A search for settings, by a stand-in of Optuna and, where it is installed, by Optuna."""

import dataclasses
import enum
import importlib.machinery
import importlib.util
import json
import re
import shlex
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_inception.cli import main
from keras_inception.data.errors import DataError
from keras_inception.data.images import Pixels
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.named_recipes import load_recipe
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, RunError, Terminated, open_run
from keras_inception.training.tune import parse_space, tune
from tests.training.test_documented import ROOT, SMALL
from tests.training.test_fit import RECIPE, data, history, terminate_at
from tests.training.test_train import one_convolution


class TrialPruned(Exception):
    pass


class State(enum.Enum):
    RUNNING = enum.auto()
    COMPLETE = enum.auto()
    PRUNED = enum.auto()
    FAIL = enum.auto()


class Trial:
    """Draws at random; is pruned where its third epoch is worse than the first trial's."""

    def __init__(self, number: int, study: "Study") -> None:
        self.number = number
        self.random = study.sampler
        self.study = study
        self.params: dict[str, Any] = {}
        self.user_attrs: dict[str, Any] = {}
        self.value: float | None = None
        self.costs: list[float] = []
        self.state = State.RUNNING

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        drawn = self.random.uniform(*(np.log([low, high]) if log else (low, high)))
        self.params[name] = float(np.exp(drawn) if log else drawn)
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, log: bool) -> int:
        self.params[name] = int(self.random.integers(low, high + 1))
        return self.params[name]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.params[name] = choices[int(self.random.integers(len(choices)))]
        return self.params[name]

    def set_user_attr(self, name: str, value: Any) -> None:
        self.user_attrs[name] = value

    def report(self, value: float, step: int) -> None:
        assert step == len(self.costs)
        self.costs.append(value)

    def should_prune(self) -> bool:
        first = self.study.trials[0]
        return self is not first and len(self.costs) == 3 and self.costs[2] > first.costs[2]


class Study:
    """A trial that is pruned has the cost of its last epoch for a value, as Optuna's has."""

    def __init__(self) -> None:
        self.sampler = np.random.default_rng()
        self.trials: list[Trial] = []
        self.user_attrs: dict[str, Any] = {}

    def set_user_attr(self, name: str, value: Any) -> None:
        self.user_attrs[name] = json.loads(json.dumps(value))

    def optimize(self, one: Callable[[Trial], float], n_trials: int, timeout: float | None) -> None:
        for _ in range(n_trials):
            trial = Trial(len(self.trials), self)
            self.trials.append(trial)
            try:
                trial.value, trial.state = one(trial), State.COMPLETE
            except TrialPruned:
                trial.value, trial.state = (trial.costs or [None])[-1], State.PRUNED
            except BaseException:
                trial.state = State.FAIL
                raise


class Optuna(types.ModuleType):
    """As much of it as is used, its studies kept by where they are stored."""

    TrialPruned = TrialPruned

    def __init__(self) -> None:
        super().__init__("optuna")
        self.__spec__ = importlib.machinery.ModuleSpec("optuna", None)
        self.studies: dict[str, Study] = {}
        self.logging = types.SimpleNamespace(set_verbosity=lambda level: None, ERROR=40)
        self.samplers = types.SimpleNamespace(TPESampler=np.random.default_rng)
        self.pruners = types.SimpleNamespace(MedianPruner=lambda: None)

    def create_study(self, *, storage: str, load_if_exists: bool, **others: Any) -> Study:
        assert storage.startswith("sqlite:////") and load_if_exists
        return self.studies.setdefault(storage, Study())


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)


@pytest.fixture(params=["stand-in", "optuna"])
def optuna(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "optuna", Optuna())
    elif importlib.util.find_spec("optuna") is None:
        pytest.skip("Optuna is not installed")


def test_the_best_of_the_trials_is_found_and_a_search_goes_on(optuna: None, tmp_path: Path) -> None:
    """At rates from next to nothing on; of accuracy, the higher the better."""
    space = {"learning_rate": "1e-7..0.1:log", "batch_size": "4..8", "optimizer": "sgd,adam"}
    recipe = RECIPE.with_changes({"best_epoch_metric": "accuracy", "dropout": 0.0})
    said: list[str] = []
    given: dict[str, Any] = {"check_images": "none", "log": said.append}
    tune(data(), tmp_path / "search", recipe, space, trials=2, **given)
    best = tune(data(), tmp_path / "search", recipe, space, trials=5, **given)
    assert [line.split(":")[0] for line in said if re.match(r"Trial \d: learning", line)] == [
        f"Trial {number}" for number in range(5)
    ]
    runs = [open_run(path) for path in sorted((tmp_path / "search").glob("trial-*"))]
    finished = [run for run in runs if run.finished]
    assert 1 <= len(finished) <= 5 == len(runs)
    highest = {
        str(run.path): max(row["val_accuracy"] for row in history(run.path)) for run in finished
    }
    assert highest[str(best.path)] == max(highest.values())
    assert len({run.recipe.learning_rate for run in runs}) == 5, "what was tried is tried again"
    kept = load_recipe(str(tmp_path / "search" / "best.yaml"))
    assert kept == best.recipe
    assert 1e-7 <= kept.learning_rate <= 0.1 and 4 <= kept.batch_size <= 8
    assert kept.dropout == 0.0 and kept.momentum is None


def test_a_trial_that_diverges_is_only_a_trial(optuna: None, tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"warmup_epochs": 0})
    said: list[str] = []
    with pytest.raises(RunError, match=r"No trial of the search in .* has come to its end"):
        tune(
            data(), tmp_path / "search", recipe, {"learning_rate": "1e29..1e30:log"},
            trials=2, check_images="none", log=said.append,
        )  # fmt: skip
    assert sum("no longer a number" in line for line in said) == 2


ONE_EPOCH = RECIPE.with_changes({"epochs": 1})


def search(output: Path, recipe: Recipe = ONE_EPOCH, trials: int = 2, **others: Any) -> Run:
    given = {"learning_rate": "0.001..0.1:log"}, {"check_images": "none", "log": lambda line: None}
    space = others.pop("space", given[0])
    return tune(data(), output, recipe, space, trials=trials, **given[1] | others)


def test_a_search_that_was_stopped_goes_on_and_the_trial_does_not_count(
    optuna: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM ends the search, not its trial alone."""
    output = tmp_path / "search"
    search(output, trials=1)
    with monkeypatch.context() as patch:
        terminate_at(patch, 2)
        with pytest.raises(Terminated, match="To go on: the same command"):
            search(output, trials=3)
    assert sorted(each.name for each in output.glob("trial-*")) == ["trial-0", "trial-1"]
    search(output, trials=3)
    runs = [open_run(path) for path in sorted(output.glob("trial-*"))]
    assert len(runs) == 4 and not runs[1].finished
    assert len({run.recipe.learning_rate for run in runs}) == 4


def test_the_best_is_a_trial_that_came_to_its_end(
    optuna: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that had the lowest cost and then diverged."""

    class Spoilt(keras.callbacks.Callback):
        """In the second trial: its first epoch is the best there was, then there is no loss."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if "trial-1" in [each.name for each in output.glob("trial-*")] and epoch == 1:
                self.model.get_layer("logits").bias.assign([np.nan, 0])

    output = tmp_path / "search"
    monkeypatch.setattr("keras_inception.training.tune.BestEpochMetric.cost", cost_of(output))
    two = RECIPE.with_changes({"epochs": 2})
    assert search(output, two, callbacks=[Spoilt()]).path.name == "trial-0"


def cost_of(output: Path) -> Callable[[Any, Any], float]:
    return lambda metric, epoch: 1.0 - (output / "trial-1").exists()


def test_a_search_of_other_settings_is_another(optuna: None, tmp_path: Path) -> None:
    """Accuracies and losses have no order, and nothing of a run is overwritten."""
    output = tmp_path / "search"
    search(output, trials=1)
    with pytest.raises(RunError, match=r"compared with new ones: best_epoch_metric\. Go on with"):
        search(output, ONE_EPOCH.with_changes({"best_epoch_metric": "accuracy"}))
    with pytest.raises(RunError, match=r"compared with new ones: epochs, learning_rate\."):
        search(output, space={"epochs": "1..3"})
    (output / "study.db").unlink(missing_ok=True)
    place = output.rename(tmp_path / "other")
    with pytest.raises(RunError, match=r"trial-0 is of a search whose study\.db is gone"):
        search(place)
    assert open_run(place / "trial-0").finished


@pytest.mark.parametrize(
    ("space", "rule"),
    [
        ({"optimizer": "adam,adamw", "momentum": "0.5..0.9"}, "`momentum` must be left out with"),
        ({"image_size": "16,20"}, r"needs images of at least 28 x 28 pixels\. Received"),
        ({"image_size_start": "28,48"}, "`image_size_start` must be at least 28 and below 28"),
        ({"gradient_accumulation_steps": "900..999"}, "`gradient_accumulation_steps` must be at"),
    ],
)
def test_a_combination_that_is_refused_is_only_a_trial(
    optuna: None, space: dict[str, str], rule: str, tmp_path: Path
) -> None:
    said: list[str] = []
    with pytest.raises(
        RunError, match=f"^All 2 trials of the search in .* the last since .*{rule}"
    ):
        search(tmp_path / "search", space=space, log=said.append)
    for number in range(2):
        assert sum(bool(re.match(f"Trial {number} is refused: .*{rule}", each)) for each in said)


def test_a_search_goes_on_after_a_trial_that_is_refused(optuna: None, tmp_path: Path) -> None:
    """Twelve changes of the weights are needed, and three made in an epoch."""
    said: list[str] = []
    space = {"gradient_accumulation_steps": "1,12"}
    best = search(tmp_path / "search", space=space, trials=8, log=said.append)
    assert best.recipe.gradient_accumulation_steps == 1
    assert 0 < sum("is refused: `gradient_acc" in each for each in said) < 8


def test_what_all_trials_share_ends_the_search(
    optuna: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = ONE_EPOCH.with_changes({"weights": str(tmp_path / "none.npz")})
    said: list[str] = []
    with pytest.raises((ValueError, OSError), match=r"none\.npz"):
        search(tmp_path / "search", missing, log=said.append)
    assert len([each for each in said if each.startswith("Trial")]) == 1


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"validation_fraction": 0}, "`validation_fraction` must be above 0 for a search"),
        ({"folds": 4}, "`fold` must be one of 1 to 4 for a search"),
    ],
)
def test_trials_need_images_to_be_compared_on(
    optuna: None, settings: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=re.escape(rule)):
        search(tmp_path / "search", RECIPE.with_changes(settings))
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("groups", "settings", "received"),
    [
        (np.zeros(32, int), {}, "32 images of 1 group"),
        (np.arange(32) % 2, {}, "32 images of 2 groups"),  # of a class each
        (np.zeros(32, int), {"folds": 4, "fold": 1}, "32 images of 1 group"),
    ],
)
def test_images_of_which_none_can_be_set_apart_are_told_before_the_first_trial(
    optuna: None, groups: np.ndarray, settings: dict[str, Any], received: str, tmp_path: Path
) -> None:
    given = dataclasses.replace(data(), groups=groups)
    recipe, space = ONE_EPOCH.with_changes(settings), {"learning_rate": "0.001..0.1:log"}
    with pytest.raises(RecipeError, match=f"groups stay together.*DATA. Received: {received}$"):
        tune(given, tmp_path / "search", recipe, space, trials=2)
    assert not (tmp_path / "search").exists()
    others = ONE_EPOCH if settings else recipe
    best = tune(
        given, tmp_path / "search", others, space, trials=1, validation_data=data(),
        check_images="none", log=lambda line: None,
    )  # fmt: skip
    assert best.finished


def test_copies_that_leave_no_image_to_validate_on_end_the_search(
    optuna: None, tmp_path: Path
) -> None:
    """They are found when the images are looked at, in the first trial: before its first epoch."""
    one = np.zeros((32, 30, 30, 3), np.uint8)
    said: list[str] = []
    with pytest.raises(DataError, match=r"No image is left to validate on.*--validation-data DATA"):
        tune(
            dataclasses.replace(data(), images=Pixels.of(one)), tmp_path / "search", ONE_EPOCH,
            {"learning_rate": "0.001..0.1:log"}, trials=2, log=said.append,
        )  # fmt: skip
    assert len([each for each in said if re.match(r"Trial \d|Epoch", each)]) == 1


def test_images_that_are_not_there_are_told_in_a_line(
    optuna: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tune", str(tmp_path / "none"), "--output", str(tmp_path / "search")]
    assert main([*arguments, "--search", "learning_rate=0.01..1"]) == 1
    assert capfd.readouterr().err.count("\n") == 1
    assert not (tmp_path / "search").exists()


def test_a_folder_that_is_none_or_holds_no_study_is_told_so(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file is a file, and a search is a folder"):
        search(tmp_path / "file")
    (tmp_path / "study.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(RunError, match=r"study\.db can't be read as Optuna's study: .*database"):
        search(tmp_path)


def test_a_search_goes_on_with_its_own_images(optuna: None, tmp_path: Path) -> None:
    search(tmp_path / "search", trials=1)
    with pytest.raises(RunError, match=r"other settings or images.*: classes\."):
        tune(
            data(3), tmp_path / "search", ONE_EPOCH, {"learning_rate": "0.001..0.1:log"}, trials=2,
            check_images="none", log=print,
        )  # fmt: skip


def test_sigterm_ends_the_command_with_its_code(
    optuna: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminate_at(monkeypatch, 1)
    arguments = ["tune", str(photos), "--output", str(tmp_path / "search"), *SMALL]
    assert main([*arguments, "--search", "learning_rate=0.01..1"]) == 143


def test_a_search_that_is_interrupted_says_how_it_goes_on(
    optuna: None, photos: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_inception.training.tune.train", interrupted)
    arguments = ["tune", str(photos), "--output", str(tmp_path / "search"), *SMALL]
    assert main([*arguments, "--search", "learning_rate=0.01..1"]) == 130
    assert capsys.readouterr().err.endswith("Stopped. To go on: the same command\n")


@pytest.mark.parametrize(
    ("space", "rule"),
    [
        ({}, "needs at least one setting"),
        ({"lerning_rate": "0.1..1"}, "Did you mean 'learning_rate'"),
        ({"learning_rate": "1..0.1"}, "must be LOW..HIGH, LOW..HIGH:log, or VALUE,VALUE,..."),
        ({"learning_rate": "0..1:log"}, "with log above 0 and of whole numbers"),
        ({"learning_rate": "0.1..1:lin"}, "must be LOW..HIGH"),
        ({"optimizer": "sgd"}, "must be LOW..HIGH"),
        ({"optimizer": "sgd,adam,sgd"}, "no value twice. Received: optimizer=sgd,adam,sgd"),
        ({"epochs": "2..3.5"}, "of whole numbers where the setting is one"),
        ({"optimizer": "sgd,lion"}, "`optimizer` must be one of sgd, rmsprop, adam, adamw"),
        ({"dropout": "0..1"}, "`dropout` must be at least 0 and below 1"),
        ({"label_smoothing": "0..0.2"}, "`best_epoch_metric` must be another than loss"),
        ({"loss": "cross_entropy,focal"}, "to search loss, which changes what the loss is"),
        ({"best_epoch_metric": "loss,accuracy"}, "`best_epoch_metric` can't be searched"),
        ({"seed": "0..9"}, "compared by one measure of the same validation images"),
    ],
)
def test_a_space_that_is_none_is_refused(space: dict[str, str], rule: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(rule)):
        parse_space(space, RECIPE)


def test_a_range_of_whole_numbers_is_of_whole_numbers() -> None:
    (epochs,) = parse_space({"epochs": "3..9"}, RECIPE)
    assert epochs.whole and epochs.ends == (3, 9)


def test_the_command_of_the_page_searches(
    optuna: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/training.md").read_text("utf-8")
    (command,) = re.findall(r"^    keras-inception (tune .*\\\n.*)$", page, re.MULTILINE)
    places = {"DATA": str(photos), "runs/search": str(tmp_path / "search"), "20": "2"}
    arguments = [places.get(each, each) for each in shlex.split(command.replace("\\\n", " "))]
    assert main([*arguments, *SMALL]) == 0
    assert "The best run is" in capsys.readouterr().out
    assert load_recipe(str(tmp_path / "search" / "best.yaml")).model == "InceptionV1"


def test_without_optuna_the_command_says_what_to_install(
    photos: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    output = tmp_path / "search"
    arguments = ["tune", str(photos), "--output", str(output), "--search", "epochs=1..2"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said == (
        "keras-inception tune: keras-inception tune needs a package that is not installed:"
        " pip install optuna\n"
    )
    assert not output.exists()
