"""A recipe is data: named, from YAML, from the command line, each value checked."""

import dataclasses
from pathlib import Path

import pytest

from keras_inception.cli import main
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.named_recipes import RECIPES, load_recipe
from keras_inception.runs.recipe import GROUPS, Recipe


@pytest.mark.parametrize("setting", dataclasses.fields(Recipe), ids=lambda each: each.name)
def test_what_help_says_of_a_setting_stands_alone(setting: dataclasses.Field) -> None:
    about = setting.metadata["doc"]
    assert about.split()[0] not in {"of", "in", "on", "at", "to", "from", "between", "above"}
    assert not {"these", "this", "they"} & set(about.replace(",", "").split())


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
        (
            {"epoch": 3},
            "There is no setting 'epoch'. Did you mean 'epochs'?",
        ),
        ({"zzz": 3}, "There is no setting 'zzz'. The settings are: model, image_size"),
        ({"batch_norm_momentum": "low"}, "must be one of a number, auto. Received: batch_norm"),
        ({"batch_norm_momentum": 1}, "must be at least 0 and below 1. Received: batch_norm_m"),
        ({"epsilon": 1.0}, "`epsilon` must be left out with optimizer=sgd. Received: epsilon=1.0"),
        ({"optimizer": "adam", "momentum": 0.9}, "`momentum` must be left out with optimizer=adam"),
        ({"optimizer": "adam", "momentum": 0}, "`momentum` must be left out with optimizer=adam"),
        (
            {"optimizer": "rmsprop", "nesterov": True},
            "`nesterov` must be false with optimizer=rmsprop",
        ),
        ({"decay_rate": 0.9}, "`decay_rate` must be left out with schedule=cosine"),
        ({"decay_epochs": 2}, "`decay_epochs` must be left out with schedule=cosine"),
        ({"head_epochs": 3}, "`head_epochs` must be 0 without weights"),
        ({"weights": "w", "head_epochs": 101}, "at most epochs, which is 100"),
        ({"head_learning_rate": 0.1}, "`head_learning_rate` must be left out without head_epochs"),
        ({"trainable_from": "mixed_6a"}, "`trainable_from` must be left out without weights"),
        ({"freeze_batch_norm": True}, "`freeze_batch_norm` must be false without weights"),
        (
            {"weights": "w", "freeze_batch_norm": True, "recalibrate": True},
            "`recalibrate` must be false with freeze_batch_norm",
        ),
        ({"epochs": "three"}, "`epochs` must be a whole number. Received: epochs='three'"),
        ({"epochs": 2.5}, "`epochs` must be a whole number"),
        ({"epochs": 0}, "`epochs` must be at least 1. Received: epochs=0"),
        ({"aux": "maybe"}, "`aux` must be true or false"),
        ({"stem": "tiny"}, "`stem` must be one of imagenet, small. Received: stem='tiny'"),
        ({"optimizer": None}, "`optimizer` must be one of sgd, rmsprop, adam, adamw"),
        ({"crop": 0}, "`crop` must be above 0 and at most 1"),
        ({"learning_rate": "nan"}, "`learning_rate` must be finite and above 0"),
        ({"augment_crop_aspect": 1.5}, "left out without augment_crop_area below 1"),
        ({"augment_any_resize": True}, "`augment_any_resize` must be false without augment_crop_a"),
        ({"augment_rand_strength": 0.2}, "must be left out without augment_rand_operations"),
        ({"image_size": 28, "augment_shift_pixels": 28}, "below image_size, which is 28"),
        ({"batch_size": 1, "augment_mixup_alpha": 0.2}, "must be 0 with a batch_size of 1"),
        ({"batch_size": 1, "augment_cutmix_alpha": 0.2}, "must be 0 with a batch_size of 1"),
        ({"width": True}, "`width` must be a number"),
        ({"fold": 2}, "`fold` must be left out without folds"),
        ({"folds": 3, "fold": 4}, "and at most folds with them: folds=3. Received: fold=4"),
        ({"folds": 1}, "`folds` must be at least 2"),
        ({"focal_gamma": 2}, "`focal_gamma` must be left out with loss=cross_entropy"),
        ({"class_weights": True, "positive_weight": 3}, "must be left out with class_weights"),
        ({"class_weights": True, "oversample": 0.5}, "`oversample` must be 0 with class_weights"),
        ({"positive_weight": "many"}, "must be one of a number, balanced. Received: positive_w"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        Recipe().with_changes(changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: [", "not valid YAML"),
        ("just words", "must hold settings"),
        ("recipe: 5", "must be the name of a recipe or a YAML file. Received: recipe=5"),
        ("recipe: bad.yaml", "starts from itself"),
    ],
)
def test_files_that_are_no_recipe_are_refused(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "bad.yaml"))


def test_an_unknown_recipe_is_refused_with_the_choices() -> None:
    with pytest.raises(
        RecipeError, match=r"'smal'\. Did you mean 'small'\? The recipes are: default, finetune"
    ):
        load_recipe("smal")


def test_recipes_are_as_their_sources_have_them() -> None:
    """Where each differed from its source at first."""
    tpu, v1, slim, best = (RECIPES[name] for name in ("tpu-v3", "paper-v1", "slim", "best-v3"))
    assert tpu.learning_rate == pytest.approx(0.66)  # 0.165 * 1024 / 256
    for recipe in (tpu, slim):  # TF-Slim's fast mode
        assert not recipe.augment_any_resize
        assert (recipe.augment_contrast, recipe.augment_hue) == (0, 0)
        assert (recipe.augment_brightness, recipe.augment_saturation) == (32 / 255, 0.5)
        assert recipe.augment_crop_area == 0.1
    assert (v1.epochs, v1.decay_rate, v1.decay_epochs) == (250, 0.96, 8)
    assert v1.augment_crop_evenly and best.augment_crop_evenly
    assert (best.augment_brightness_factor, best.augment_saturation) == (0.4, 0.4)
    assert (best.augment_contrast, best.augment_pca_noise, best.dropout) == (0.4, 0.1, 0.5)
    quick = v1.with_changes(
        {
            "schedule": "polynomial",
            "decay_power": 0.5,
            "decay_rate": None,
            "decay_epochs": None,
            "epochs": 60,
        }
    )
    assert quick.schedule == "polynomial"


@pytest.mark.parametrize("name", [*(f"paper-v{number}" for number in (1, 3, 4)), "slim", "tpu-v3"])
def test_the_papers_recipes_compute_in_float32(name: str) -> None:
    assert RECIPES[name].precision == "float32"
    assert Recipe().precision == "auto"


def test_help_shows_the_settings_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    titles = [f"recipe: {title}" for title in GROUPS.values()]
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    assert set(GROUPS) <= {field.name for field in dataclasses.fields(Recipe)}
