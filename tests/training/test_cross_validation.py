"""A run for each fold, and every image measured by the run that is new to it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from keras_inception.cli import main
from keras_inception.data.sources.source import open_source
from keras_inception.evaluation.intervals import wilson
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.run import open_run
from keras_inception.training.cross_validation import cross_validate
from tests.training.test_documented import SMALL, shown
from tests.training.test_fit import RECIPE, data, go

pytestmark = pytest.mark.usefixtures("fast")


def test_every_image_is_measured_by_a_run_that_is_new_to_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command; a second time, with --resume, nothing is trained again."""
    output = tmp_path / "folds"
    places = {"DATA": str(photos), "runs/folds": str(output)}
    shown_there = [places.get(each, each) for each in shown("docs/training.md", "--folds")]
    arguments = [*shown_there, *SMALL, "--folds", "2", "--seed", "3", "--precision", "float32"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    runs = [open_run(output / f"fold-{fold}") for fold in (1, 2)]
    names = [run.validation.images.name(i) for run in runs for i in range(len(run.validation))]
    everything = open_source(photos).images
    assert sorted(names) == sorted(everything.name(index) for index in range(len(everything)))
    kept = json.loads((output / "folds.json").read_text())
    accuracies = [run.record["validation"]["accuracy"] for run in runs]
    assert kept["folds"]["accuracy"] == accuracies
    sizes = [len(run.validation) for run in runs]
    assert kept["pooled"]["accuracy"] == pytest.approx(np.average(accuracies, weights=sizes))
    assert kept["pooled"]["images"] == 40
    right = round(kept["pooled"]["accuracy"] * 40)
    assert kept["pooled"]["intervals"]["accuracy"] == pytest.approx(wilson(right, 40))
    deviation = np.std(accuracies, ddof=1)
    assert kept["summary"]["accuracy"] == pytest.approx(
        {
            "mean": np.mean(accuracies),
            "lowest": min(accuracies),
            "highest": max(accuracies),
            "standard_deviation": deviation,
        }
    )
    assert f"accuracy: {np.mean(accuracies):.4f}" in said
    assert f"(standard deviation {deviation:.4f})" in said
    before = [run.model_path.stat().st_mtime_ns for run in runs]
    assert main([*arguments, "--resume"]) == 0
    assert [run.model_path.stat().st_mtime_ns for run in runs] == before


def test_images_in_memory_have_no_whole_but_their_folds(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"folds": 2, "epochs": 1})
    found = cross_validate(
        data(), tmp_path / "folds", recipe, check_images="none", log=lambda line: None
    )
    assert found.pooled is None and len(found.folds["accuracy"]) == 2
    assert [run.record["data"]["validation_images"] for run in found.runs] == [16, 16]


def test_folds_in_place_of_a_share_are_told_and_both_as_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recipe with a share of its own is given folds for a cross-validation."""
    said: list[str] = []
    recipe = RECIPE.with_changes({"folds": 4, "fold": 3, "epochs": 1})
    go(tmp_path / "run", recipe, log=said.append)
    assert "Set apart is fold 3 of 4, not validation_fraction=0.25, of the images." in said
    both = ["--folds", "4", "--validation-fraction", "0.1"]
    assert main(["train", "nowhere", "--output", str(tmp_path / "folds"), *both]) == 1
    assert capsys.readouterr().err == (
        "keras-inception train: --validation-fraction must be left out with --folds, which set"
        " images apart in its place. Received: --folds 4 --validation-fraction 0.1\n"
    )


def test_what_folds_can_not_be_is_refused(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"folds": 2})
    with pytest.raises(RecipeError, match="`fold` must be one of 1 to 2 for one run"):
        go(tmp_path / "run", recipe)
    one = recipe.with_changes({"fold": 1})
    with pytest.raises(RecipeError, match="`folds` must be left out with images to validate on"):
        go(tmp_path / "run", one, validation_data=data())
    with pytest.raises(RecipeError, match="`folds` must be at least 2 for cross-validation"):
        cross_validate(data(), tmp_path / "run", RECIPE)
    many = RECIPE.with_changes({"folds": 33, "fold": 1})
    with pytest.raises(RecipeError, match="`folds` must be at most 32, the number of images"):
        go(tmp_path / "run", many)
    grouped = dataclasses.replace(data(), groups=np.arange(32) // 8)
    with pytest.raises(RecipeError, match="`folds` must be at most 4, the number of groups"):
        go(tmp_path / "run", many.with_changes({"folds": 5}), data=grouped)
    copies = data().take(np.repeat([0, 1], 4))
    with pytest.raises(RecipeError, match="`folds` must be fewer: no image is left for fold 2"):
        go(
            tmp_path / "run",
            many.with_changes({"folds": 5, "fold": 2}),
            data=copies,
            check_images="all",
        )
    assert not (tmp_path / "run").exists()


def test_what_was_stopped_goes_on_by_the_command_that_it_says(
    photos: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its settings, since there is no run in the folder above the folds."""

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_inception.training.cross_validation.train", interrupted)
    arguments = ["train", str(photos), *SMALL, "--folds", "2", "--output", str(tmp_path / "folds")]
    assert main(arguments) == 130
    assert capsys.readouterr().err.endswith("To go on: the same command with --resume\n")
