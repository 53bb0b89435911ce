"""The learning rate, step by step."""

import numpy as np
import pytest

from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.recipe import Recipe
from keras_inception.training.optimization.schedule import Schedule


def rates(recipe: Recipe, steps: int = 5) -> np.ndarray:
    schedule = Schedule(recipe, steps, recipe.epochs)
    return np.array([float(schedule(step)) for step in range(steps * recipe.epochs + 1)])


def test_a_cosine_rises_and_falls() -> None:
    found = rates(Recipe(epochs=10, learning_rate=0.4, warmup_epochs=2))
    assert found[0] == 0
    np.testing.assert_allclose(found[:11], np.linspace(0, 0.4, 11), rtol=1e-6)
    assert found[30] == pytest.approx(0.2)
    assert found[50] == pytest.approx(0, abs=1e-7)
    assert (np.diff(found[10:]) < 0).all()


def test_slims_staircase() -> None:
    """0.94 every two epochs, from the first step on."""
    found = rates(RECIPES["slim"].with_changes({"epochs": 7}))
    np.testing.assert_allclose(found[:10], 0.01, rtol=1e-6)
    np.testing.assert_allclose(found[10:20], 0.0094, rtol=1e-6)
    np.testing.assert_allclose(found[30:], 0.01 * 0.94**3, rtol=1e-6)


@pytest.mark.parametrize("every", [3, 7, 333, 40036])
def test_each_stair_is_as_long(every: int) -> None:
    """No rounding makes one a step longer, up to millions of steps."""
    recipe = Recipe(epochs=1, schedule="exponential", decay_epochs=1, warmup_epochs=0)
    schedule = Schedule(recipe, every, 1)
    for stair in (1, 2, 10, 59, 97):
        before, at = (float(schedule(stair * every + shift)) for shift in (-1, 0))
        assert at == pytest.approx(0.1 * 0.94**stair, rel=1e-5)
        assert before == pytest.approx(0.1 * 0.94 ** (stair - 1), rel=1e-5)


def test_a_constant_stays_after_the_warm_up() -> None:
    found = rates(Recipe(epochs=4, schedule="constant", warmup_epochs=1))
    np.testing.assert_allclose(found[:5], [0, 0.02, 0.04, 0.06, 0.08], rtol=1e-6)
    np.testing.assert_allclose(found[5:], 0.1, rtol=1e-6)


def test_a_run_shorter_than_its_warm_up_has_a_schedule() -> None:
    assert np.isfinite(rates(Recipe(epochs=1, warmup_epochs=5), steps=1)).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "from 0 to 0.1 in 5 steps, then by a cosine to 0 at step 50"),
        ({"schedule": "exponential", "warmup_epochs": 0}, "0.1, then times 0.94 every 10 steps"),
        ({"schedule": "constant"}, "from 0 to 0.1 in 5 steps, then level"),
    ],
)
def test_it_says_what_it_does(changes: dict, text: str) -> None:
    recipe = Recipe(epochs=10).with_changes(changes)
    assert Schedule(recipe, 5, 10).describe() == text


def test_a_polynomial_is_caffes_poly() -> None:
    recipe = Recipe(
        schedule="polynomial", decay_power=0.5, learning_rate=0.01, warmup_epochs=0, epochs=10
    )
    schedule = Schedule(recipe, 100, 10)
    steps = np.array([0, 250, 750, 999])
    expected = 0.01 * (1 - steps / 1000) ** 0.5
    np.testing.assert_allclose([float(schedule(step)) for step in steps], expected, rtol=1e-5)
    assert float(schedule(1000)) == 0
    assert "to 0 at step 1000 by the power 0.5" in schedule.describe()
