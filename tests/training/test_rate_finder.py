"""The learning rate range test, on the small network and by the command."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception.cli import main
from keras_inception.runs.fields import RecipeError
from keras_inception.training.rate_finder import RateFinding, find_learning_rate
from keras_inception.training.train import train
from tests.training.test_documented import shown
from tests.training.test_fit import RECIPE, data, history
from tests.training.test_train import one_convolution


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)


def test_the_rate_found_trains_and_its_extremes_do_not(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"dropout": 0.0, "momentum": 0.9})
    said: list[str] = []
    folds = recipe.with_changes({"folds": 4})  # of which the first is as good as another
    found = find_learning_rate(data(), folds, check_images="none", log=said.append)
    assert found.rates[0] == 1e-5 and (np.diff(found.rates) > 0).all()
    np.testing.assert_allclose(found.rates[1:] / found.rates[:-1], 1e6 ** (1 / 99))
    assert found.losses[0] == pytest.approx(np.log(2), abs=0.4)
    assert found.losses[10:].min() < 0.8 * found.losses[0]
    assert 1e-4 < found.suggested < 1
    assert any(f"Learning rate {found.suggested:g}: a tenth" in line for line in said)
    results = {}
    for rate in (1e-5, found.suggested):
        changed = recipe.with_changes({"learning_rate": rate, "epochs": 4, "warmup_epochs": 0})
        run = train(data(), tmp_path / str(rate), changed, log=lambda line: None)
        results[rate] = history(run.path)[-1]["loss"]
    assert results[found.suggested] < 0.9 * results[1e-5]


def test_the_suggestion_is_a_tenth_of_the_lowest_points_rate() -> None:
    rates = np.geomspace(1e-4, 1, 81)
    losses = (np.log10(rates) + 1) ** 2  # lowest at 0.1
    found = RateFinding(rates, losses)
    assert found.smoothed[0] == losses[0]
    # The average comes to its lowest point some steps later.
    assert 0.01 <= found.suggested < 0.05


@pytest.mark.parametrize("wrong", [{"lowest": 0}, {"lowest": 11}, {"steps": 1}])
def test_rates_that_do_not_rise_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must rise from above 0"):
        find_learning_rate(data(), RECIPE, **wrong)


def test_where_the_loss_only_rises_no_rate_is_suggested() -> None:
    with pytest.raises(RecipeError, match=r"falls at no learning rate from 10000 to .* more steps"):
        find_learning_rate(
            data(), RECIPE, lowest=1e4, highest=1e5, steps=5, check_images="none",
            log=lambda line: None,
        )  # fmt: skip


def test_accumulated_gradients_are_refused(tmp_path: Path) -> None:
    recipe = RECIPE.with_changes({"gradient_accumulation_steps": 2})
    with pytest.raises(RecipeError, match="must be 1 to look for a learning rate"):
        find_learning_rate(data(), recipe, log=lambda line: None)


def test_the_command_of_the_page_draws_a_chart(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = tmp_path / "rates.png"
    places = {"DATA": str(photos), "rates.png": str(chart)}
    arguments = [
        places.get(each, each) for each in shown("docs/training.md", "--find-learning-rate")
    ]
    assert main([*arguments, *["--image-size", "28", "--stem", "small", "--batch-size", "8"]]) == 0
    assert re.search(r"Learning rate [\d.e-]+: a tenth", capsys.readouterr().out)
    with Image.open(chart) as drawn:
        assert drawn.size[0] > 500
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]
