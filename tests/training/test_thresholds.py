"""The score from which each class is predicted, fitted at the end of a training."""

import dataclasses
from pathlib import Path

import pytest

from keras_inception.evaluation.thresholds import fit_thresholds
from keras_inception.inference.evaluate import evaluate
from keras_inception.runs.fields import RecipeError
from keras_inception.training.train import train
from tests.training.test_fit import RECIPE, data
from tests.training.test_train import one_convolution


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)


def test_thresholds_are_fitted_on_the_validation_images(tmp_path: Path) -> None:
    several = data(3, multi_label=True)
    recipe = RECIPE.with_changes({"fit_thresholds": True, "epochs": 1, "calibrate": True})
    said: list[str] = []
    finished = train(several, tmp_path / "run", recipe, validation_data=several, log=said.append)
    assert list(finished.thresholds) == list(finished.labels)
    result = evaluate(finished.path, several)
    expected = fit_thresholds(result.targets, result.scores)
    assert [*finished.thresholds.values()] == pytest.approx(expected.tolist(), abs=1e-5)
    recorded = finished.record["validation"]
    assert recorded["macro_f1"] == pytest.approx(result.macro_f1)
    assert recorded["macro_f1"] > dataclasses.replace(result, thresholds=None).macro_f1
    assert any(line.startswith("Thresholds: ") for line in said)


def test_where_one_class_is_chosen_there_are_none(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"fit_thresholds": True})
    with pytest.raises(RecipeError, match="`fit_thresholds` must be false where every image is"):
        train(data(), tmp_path / "run", recipe, log=lambda line: None)
    assert not (tmp_path / "run").exists()
