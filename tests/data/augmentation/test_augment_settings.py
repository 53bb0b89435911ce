"""The recipe's settings of augmentation, and the picture of what they do."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception.cli import main
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.sources.source import open_source
from keras_inception.report import preview
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe


def test_a_recipe_holds_every_setting_and_the_same_defaults() -> None:
    settings = {field.name for field in dataclasses.fields(Recipe)}
    for field in dataclasses.fields(Augmentation):
        assert f"augment_{field.name}" in settings
    assert Augmentation(**Recipe().augmentation()) == Augmentation()
    given = Recipe(augment_crop_area=0.5, augment_crop_aspect=2.0, augment_hue=0.1)
    assert Augmentation(**given.augmentation()) == Augmentation(0.5, 2.0, hue=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment_crop_aspect": 2}, "must be left out without augment_crop_area below 1"),
        ({"augment_crop_area": 0.5, "augment_crop_aspect": 0.5}, "must be at least 1"),
        ({"augment_any_resize": True}, "must be false without augment_crop_area below 1"),
        ({"augment_shift_pixels": -1}, "must be at least 0"),
        ({"augment_shift_pixels": 32, "image_size": 32}, "must be below image_size, which is 32"),
        ({"augment_brightness": 2}, "at least 0 and at most 1. Received: augment_brightness=2.0"),
        ({"augment_saturation": -0.1}, "at least 0 and at most 1"),
        ({"augment_contrast": 1.5}, "at least 0 and at most 1"),
        ({"augment_hue": 0.6}, "at least 0 and at most 0.5"),
        ({"augment_rand_strength": 0.5}, "must be left out without augment_rand_operations"),
        ({"augment_rand_operations": 2, "augment_rand_strength": 9}, "at least 0 and at most 1"),
        ({"augment_erase": 1.2}, "at least 0 and at most 1"),
        ({"augment_mixup_alpha": 8}, "at least 0 and at most 1"),
        ({"augment_cutmix_alpha": 1, "batch_size": 1}, "must be 0 with a batch_size of 1"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe(**changes)


def test_the_preview_is_drawn_from_the_command_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "seen.png"
    command = ["augment-preview", photos, "--recipe", "small", "--augment-mixup-alpha", "0.5"]
    options = ["--images", "3", "--variants", "2", "--output", output]
    assert main([str(each) for each in command + options]) == 0
    assert capsys.readouterr().out == f"Written: {output}\n"
    with Image.open(output) as image:
        assert image.size[0] < image.size[1]
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 1000


def test_its_help_names_the_settings() -> None:
    command = [sys.executable, "-m", "keras_inception", "augment-preview", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in ("--images", "--variants", "--output", "--recipe", "--augment-cutmix-alpha"):
        assert option in said


def test_images_are_of_as_many_classes_as_there_are_and_bad_ones_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label in "abc":
        (tmp_path / label).mkdir()
        for number in range(4):
            pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    (tmp_path / "a" / "0.png").write_bytes(b"broken")
    examples = open_source(tmp_path)
    chosen, originals = preview._choose(examples, 6, seed=1)
    assert set(chosen.targets[:5].tolist()) == {0, 1, 2}
    assert all(original.shape == (20, 30, 3) for original in originals)
    assert len(preview._choose(examples, 99, seed=1)[0]) == 11


def test_nothing_but_bad_images_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    examples = Examples(("a", "b"), Files.of(tmp_path, ["a.png"]), np.array([0]))
    with pytest.raises(DataError, match="None of the 1 images can be decoded"):
        preview.draw_variants(examples, Preprocessing(24), Augmentation(), tmp_path / "out.png")


def test_shares_are_told_with_the_largest_first(photos: Path) -> None:
    examples = open_source(photos)
    assert preview._named(examples, np.array([0.3, 0.7]), shares=True) == "dusk 70%\ndawn 30%"
    assert preview._named(examples, np.array([1.0, 0.0])) == "dawn"
