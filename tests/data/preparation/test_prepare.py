"""What training is given, and what it is told."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files
from keras_inception.data.preparation import prepare as preparing
from keras_inception.data.preparation.balance import class_weights, draw_counts, uneven
from keras_inception.data.preparation.prepare import CheckImages, prepare


def names(examples: Examples) -> list[str]:
    return [examples.images.name(index) for index in range(len(examples))]


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    return shutil.copytree(photos, tmp_path / "photos")


def prepared_of(*arguments, **settings):
    """What came out, and everything that was said, a line each."""
    said: list[str] = []
    prepared = prepare(*arguments, log=said.append, **settings)
    return prepared, "\n".join(said)


def test_images_are_set_apart_and_counted(photos: Path) -> None:
    prepared, said = prepared_of(photos)
    assert (len(prepared.training), len(prepared.validation)) == (36, 4)
    assert not set(names(prepared.training)) & set(names(prepared.validation))
    assert "36 training and 4 validation images of 2 classes; 18 to 18 training images" in said
    assert prepared.record["training"] == str(photos)
    again, _ = prepared_of(photos)
    assert again.record == prepared.record
    other, _ = prepared_of(photos, seed=1)
    assert other.record["fingerprint"] != prepared.record["fingerprint"]


def test_bad_images_are_named_and_left_out(folder: Path) -> None:
    (folder / "dawn" / "text.jpg").write_text("I am text.")
    palette = Image.new("P", (8, 8))
    palette.putpalette([200, 30, 90] * 256)
    palette.save(folder / "dusk" / "palette.bmp")
    prepared, said = prepared_of(folder)
    assert [Path(image.name).name for image in prepared.bad] == ["text.jpg", "palette.bmp"]
    assert "text.jpg: it is text, not an image" in said and "Left out." in said
    assert len(prepared.training) + len(prepared.validation) == 40
    assert len(prepared.record["left_out"]) == 2
    for index, number in enumerate(prepared.validation_indices):
        everything = preparing.open_source(folder)
        assert prepared.validation.images.name(index) == everything.images.name(int(number))
    with pytest.raises(DataError, match=r"2 files are no images"):
        prepare(folder, on_bad_image="refuse")
    with pytest.raises(DataError, match="they must be looked at"):
        prepare(folder, on_bad_image="refuse", check_images="none")


def test_of_many_images_only_some_are_inspected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dawn" / "text.jpg").write_text("I am text.")
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(12):
        Image.new("RGB", (8, 8)).save(folder / "dusk" / f"turned{number}.jpg", exif=exif)
    monkeypatch.setattr(preparing, "_FEW", 50)
    monkeypatch.setattr(preparing, "_SAMPLE", 30)
    prepared, said = prepared_of(folder)
    assert not prepared.inspected
    assert not prepared.bad
    assert "53 images are not looked at one by one" in said
    assert "EXIF orientation: " in said and " of 30 looked at" in said
    assert len(prepared_of(folder, check_images="all")[0].bad) == 1
    prepared, said = prepared_of(folder, check_images="none")
    assert "EXIF" not in said


@pytest.mark.parametrize("check_images", ["auto", "none"])
def test_of_many_images_those_to_validate_on_are_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, check_images: CheckImages
) -> None:
    for path in (folder / "dawn").glob("*.png"):
        path.write_text("I am text.")
    monkeypatch.setattr(preparing, "_FEW", 30)
    prepared, said = prepared_of(folder, validation_fraction=0.5, check_images=check_images)
    left_out = [Path(image.name).name for image in prepared.bad]
    assert 0 < len(left_out) < 4 and "Left out." in said
    assert len(prepared.validation) == len(prepared.validation_indices) == 20 - len(left_out)
    assert not [name for name in names(prepared.validation) if Path(name).name in left_out]
    everything = preparing.open_source(folder).take(prepared.validation_indices)
    assert names(everything) == names(prepared.validation)


def test_copies_stay_on_one_side_and_are_told(folder: Path) -> None:
    for number in range(10):
        shutil.copy(folder / "dawn" / "00.jpg", folder / "dawn" / f"copy{number}.jpg")
    shutil.copy(folder / "dawn" / "01.png", folder / "dusk" / "dawn.png")
    for seed in range(4):
        prepared, said = prepared_of(folder, seed=seed, validation_fraction=0.3)
        sides = [
            {Path(name).read_bytes() for name in names(side)}
            for side in (prepared.training, prepared.validation)
        ]
        assert not sides[0] & sides[1]
        assert len(prepared.validation) > 8
    assert "Copies of other images: 11, such as" in said
    assert "same image has different classes" in said and "dusk/dawn.png" in said


def test_validation_images_that_are_training_images_are_named(photos: Path, folder: Path) -> None:
    other = folder.parent / "other"
    for label in ("dawn", "dusk"):
        (other / label).mkdir(parents=True)
        Image.effect_noise((20, 20), 50).save(other / label / "1.png")
    shutil.copy(photos / "dawn" / "00.jpg", other / "dawn" / "seen.jpg")
    prepared, said = prepared_of(photos, other)
    assert (len(prepared.training), len(prepared.validation)) == (40, 3)
    assert "training images too: 1 of 3" in said
    assert "seen.jpg" in said
    assert prepared.record["validation_source"] == str(other)


def test_a_table_of_one_group_has_no_validation_part_and_says_so(
    photos: Path, tmp_path: Path
) -> None:
    names = sorted(photos.glob("*/*"))
    lines = [f"{name},{name.parent.name},one" for name in names]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label,group", *lines]))
    prepared, said = prepared_of(tmp_path / "photos.csv", validation_fraction=0.25)
    assert len(prepared.validation) == 0
    assert "No images are set apart to validate on, since all are of one group: training" in said
    _, said = prepared_of(tmp_path / "photos.csv", validation_fraction=0)
    assert "are set apart" not in said


def test_orientations_are_told_once_with_their_number(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(3):
        Image.effect_noise((20, 20), 50).save(folder / "dawn" / f"x{number}.jpg", exif=exif)
    _, said = prepared_of(folder)
    assert said.count("EXIF") == 1
    assert "Images with an EXIF orientation: 3, such as" in said


def test_uneven_classes_are_drawn(folder: Path) -> None:
    for path in sorted((folder / "dusk").iterdir())[5:]:
        path.unlink()
    prepared, said = prepared_of(folder, validation_fraction=0)
    assert "classes are uneven" in said
    assert uneven(prepared.training)
    lines = draw_counts(prepared.training).splitlines()
    assert [line.split()[0] for line in lines] == ["dawn", "dusk"]
    assert lines[0].count("█") > 3.5 * lines[1].count("█")


def test_bars_begin_in_one_column_of_a_terminal() -> None:
    """Where Chinese signs take two, and a mark that stands above another letter takes none."""
    labels = ("cafe\u0301", "dog", "\u72d7", "\u732b\u548c\u72d7")
    targets = np.repeat(np.arange(4), [9, 8, 8, 7])
    lines = draw_counts(Examples(labels, Files.of("", ["x"] * 32), targets)).splitlines()
    before = [line[: line.index("\u2588")] for line in lines]
    wide = {"\u72d7": 2, "\u732b": 2, "\u548c": 2, "\u0301": 0}
    assert {sum(wide.get(sign, 1) for sign in each) for each in before} == {2 + 6 + 2}


def test_many_classes_are_drawn_shortened() -> None:
    counts = np.arange(1, 101)
    targets = np.repeat(np.arange(100), counts)
    labels = tuple(f"class {number}" for number in range(100))
    lines = draw_counts(Examples(labels, Files.of("", ["x"] * len(targets)), targets)).splitlines()
    assert len(lines) == 13
    assert lines[0].endswith(" 100") and lines[-1].endswith(" 1") and "88 more" in lines[6]


def test_class_weights_make_classes_count_alike() -> None:
    targets = np.repeat([0, 1, 2], [10, 30, 60])
    files = Files.of("", ["x"] * 100)
    weights = class_weights(Examples(tuple("abcd"), files, targets))
    assert weights.dtype == np.float32
    assert weights[3] == 0
    np.testing.assert_allclose(weights[:3] * [10, 30, 60], 100 / 3, rtol=1e-6)
    assert weights[targets].mean() == pytest.approx(1)
    several = np.zeros((100, 2), bool)
    several[:80, 0] = several[60:, 1] = True
    weights = class_weights(Examples(tuple("ab"), files, several))
    assert (weights * [80, 40]).tolist() == pytest.approx([60, 60])


def test_a_csv_brings_its_own_validation_images_and_groups(photos: Path, tmp_path: Path) -> None:
    lines = ["path,labels,group,split"]
    for index, path in enumerate(sorted(photos.rglob("*.*"))):
        split = "validation" if index % 4 == 0 else "train"
        several = f"{path.parent.name}|{'even' if index % 2 else 'odd'}"
        lines.append(f"{path},{several},{index // 3},{split}")
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(lines) + "\n")
    prepared, said = prepared_of(table)
    assert (len(prepared.training), len(prepared.validation)) == (30, 10)
    assert prepared.validation.multi_label
    assert f"the images of {table}/validation" in said
    assert "Groups both among the training and the validation images" in said
    assert "any number of them an image" in said


def test_validation_of_one_class_each_fits_training_of_several(
    photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "photos.csv"
    rows = [f"{path},{path.parent.name}\n" for path in sorted(photos.rglob("*.*"))]
    table.write_text("path,labels\n" + "".join(rows))
    prepared, _ = prepared_of(table, photos)
    assert prepared.validation.targets.shape == (40, 2)
    assert prepared.validation.counts().tolist() == [20, 20]
    with pytest.raises(DataError, match="Validation images have several classes"):
        prepare(photos, table, log=lambda line: None)


def test_arrays_in_memory_are_compared_too() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8), np.uint8)
    images[30:] = images[:10]
    labels = np.arange(40) % 2
    prepared, said = prepared_of((images, labels), validation_fraction=0.25)
    assert "Copies of other images: 10, such as image 30 of image 0" in said
    assert prepared.record["training"] is None
    kept = images[prepared.validation_indices]
    assert not {image.tobytes() for image in kept} & {
        images[index].tobytes() for index in prepared.training.images.indices
    }
    encoded = prepared.validation.images.encoded(0)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), kept[0])
