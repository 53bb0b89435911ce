"""A recipe is data: named, from YAML, from the command line, each value checked."""

import dataclasses
from pathlib import Path

import pytest

from keras_inception.training.recipe import RECIPES, Recipe, RecipeError, load_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    RECIPES[name].save(tmp_path / "recipe.yaml")
    assert load_recipe(str(tmp_path / "recipe.yaml")) == RECIPES[name]


def test_a_file_holds_differences_from_the_recipe_it_names(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("recipe: small\nepochs: 3\nimage_size: 48\n")
    expected = dataclasses.replace(RECIPES["small"], epochs=3, image_size=48)
    assert load_recipe(str(tmp_path / "mine.yaml")) == expected


def test_values_may_come_as_text() -> None:
    changes = {"epochs": "7", "learning_rate": "1e-3", "augment_flip": "true", "image_size": "none"}
    recipe = Recipe(image_size=64).with_changes(changes)
    assert recipe.epochs == 7
    assert recipe.learning_rate == 1e-3
    assert recipe.augment_flip is True
    assert recipe.image_size is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "There is no setting 'epoch'. The settings are: model, image_size"),
        ({"epochs": "three"}, "`epochs` must be a whole number. Received: epochs='three'"),
        ({"epochs": 2.5}, "`epochs` must be a whole number"),
        ({"epochs": 0}, "`epochs` must be at least 1. Received: epochs=0"),
        ({"aux": "maybe"}, "`aux` must be true or false"),
        ({"stem": "tiny"}, "`stem` must be one of imagenet, small. Received: stem='tiny'"),
        ({"optimizer": None}, "`optimizer` must be one of sgd, adamw"),
        ({"crop": 0}, "`crop` must be above 0 and at most 1"),
        ({"learning_rate": "nan"}, "`learning_rate` must be above 0"),
        ({"width": True}, "`width` must be a number"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe().with_changes(changes)


@pytest.mark.parametrize(
    ("text", "message"), [("epochs: [", "not valid YAML"), ("just words", "must hold settings")]
)
def test_files_that_are_no_recipe_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "bad.yaml"))


def test_an_unknown_recipe_is_refused_with_the_choices() -> None:
    with pytest.raises(
        RecipeError, match=r"'tiny'\. The recipes are: default, finetune, quick, small"
    ):
        load_recipe("tiny")
