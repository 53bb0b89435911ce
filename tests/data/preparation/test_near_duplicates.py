"""Images that look alike, whatever their files are; and those that only seem to."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from keras_inception.cli import main
from keras_inception.data.images import Files, Pixels
from keras_inception.data.preparation.near_duplicates import find_near_duplicates, looks_of

ROOT = Path(__file__).parents[3]


def scene(seed: int) -> Image.Image:
    """Coarse shapes over noise, 120 x 160, no two alike."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3)).astype(np.uint8))
    pixels = np.asarray(coarse.resize((160, 120), Image.Resampling.BICUBIC), np.float32)
    pixels += random.normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def again(image: Image.Image, how: str) -> Image.Image:
    if how == "smaller":
        return image.resize((64, 48), Image.Resampling.LANCZOS)
    if how == "jpeg":
        file = io.BytesIO()
        image.save(file, "JPEG", quality=30)
        return Image.open(file)
    if how == "brighter":
        return ImageEnhance.Brightness(image).enhance(1.2)
    if how == "grey":
        return image.convert("L")
    if how == "blurred":
        return image.filter(ImageFilter.GaussianBlur(1.5))
    return image.resize((150, 120))  # "stretched"


HOW = ("smaller", "jpeg", "brighter", "grey", "blurred", "stretched")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 scenes; six of them a second time, each otherwise; and two of one colour."""
    path = tmp_path_factory.mktemp("scenes")
    for seed in range(40):
        scene(seed).save(path / f"{seed:02d}.png")
    for seed, how in enumerate(HOW):
        again(scene(seed), how).save(path / f"again_{seed:02d}.png")
    for name, grey in (("flat_a", 100), ("flat_b", 140)):
        Image.new("RGB", (80, 60), (grey, grey, grey)).save(path / f"{name}.png")
    (path / "no_image.png").write_bytes(b"\x89PNG broken")
    return path


def test_an_image_made_otherwise_is_found_and_no_other(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    looks = looks_of(Files.of(folder, names))
    found = {(names[one], names[other]) for one, other in find_near_duplicates(looks)}
    assert found == {(f"{seed:02d}.png", f"again_{seed:02d}.png") for seed in range(len(HOW))}


def test_another_set_is_compared_with(folder: Path) -> None:
    first = Files.of(folder, [f"{seed:02d}.png" for seed in range(40)])
    test = Files.of(folder, ["again_03.png", "07.png", "flat_a.png"])
    assert find_near_duplicates(looks_of(test), looks_of(first)) == [(0, 3), (1, 7)]


def test_the_hash_is_imagehashs() -> None:
    """`str(imagehash.dhash(image))` of version 4.3.2, for this image."""
    row, column = np.mgrid[:64, :72]
    waves = ((row * row * 3 + column * column * 5 + row * column * 2) // 40 % 256).astype(np.uint8)
    (bits,) = looks_of(Pixels.of(waves[np.newaxis])).bits
    number = int("".join("1" if bit > 0 else "0" for bit in bits), 2)
    assert f"{number:016x}" == "f2f6f5e5ca9a356d"


def test_data_check_names_them(folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "b").mkdir()
    (tmp_path / "test" / "a").mkdir(parents=True)
    for seed in range(8):
        scene(seed).save(tmp_path / "photos" / "ab"[seed % 2] / f"{seed}.png")
    again(scene(2), "smaller").save(tmp_path / "photos" / "b" / "2 smaller.png")
    again(scene(5), "grey").save(tmp_path / "test" / "a" / "5 grey.png")
    photos, test = str(tmp_path / "photos"), str(tmp_path / "test")
    places = {"PHOTOS": photos, "TEST_PHOTOS": test}
    page = (ROOT / "docs/data.md").read_text("utf-8")
    commands = re.findall(r"^    keras-inception (data check .*--near-dup.*)$", page, re.MULTILINE)
    among, between = ([places.get(word, word) for word in line.split()] for line in commands)
    assert main(among) == 0
    said = capsys.readouterr().out.replace(photos + "/", "")
    assert "1 pair of images looks alike:\n  a/2.png and b/2 smaller.png\n" in said
    assert "of other classes: 1" in said
    assert main(between) == 0
    said = capsys.readouterr().out
    assert "1 pair of images looks alike, one here and one there:\n" in said
    assert f"  {photos}/b/5.png and {test}/a/5 grey.png\n" in said
