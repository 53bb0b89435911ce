"""Folders as people have them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.examples import DataError, Examples, Files
from keras_inception.data.sources import find_bad_images, read_folder, split, without


def names(examples: Examples) -> list[str]:
    return [examples.images.name(index) for index in range(len(examples))]


def test_classes_are_the_folders_in_order(photos: Path) -> None:
    examples = read_folder(photos)
    assert examples.labels == ("dawn", "dusk")
    assert len(examples) == 40
    assert examples.counts().tolist() == [20, 20]
    for path, target in zip(names(examples), examples.targets, strict=True):
        assert Path(path).parent.name == examples.labels[target]


def test_debris_and_hidden_files_are_no_images(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / ".git").mkdir()
    (folder / "dawn" / ".DS_Store").write_bytes(b"x")
    (folder / "dawn" / "Thumbs.db").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    assert len(read_folder(folder)) == 40


def test_images_in_folders_within_a_class_belong_to_it(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn" / "monday").mkdir()
    shutil.move(folder / "dawn" / "00.jpg", folder / "dawn" / "monday" / "00.jpg")
    assert read_folder(folder).counts().tolist() == [20, 20]


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "holds no images"),
     (["1.jpg", "2.jpg"], "holds no images"),
     (["cat/1.jpg"], "at least two classes"),
     (["train/cat/1.jpg", "test/cat/1.jpg"], r"parts of a data set \(test, train\)")],
)  # fmt: skip
def test_folders_that_are_no_data_set_are_refused(
    tmp_path: Path, files: list[str], message: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path)


def test_an_empty_class_is_named(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "noon").mkdir()
    with pytest.raises(DataError, match="without any: noon"):
        read_folder(folder)
    assert read_folder(folder, ("dawn", "dusk", "noon")).counts().tolist() == [20, 20, 0]


def test_classes_that_the_model_does_not_know_are_named(photos: Path) -> None:
    with pytest.raises(DataError, match=r"does not know: dusk.*knows: dawn, noon"):
        read_folder(photos, ("dawn", "noon"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        read_folder(tmp_path / "nowhere")


def test_bad_images_are_found_and_named(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn" / "text.jpg").write_text("I am text.")
    (folder / "dusk" / "empty.png").write_bytes(b"")
    whole = (folder / "dawn" / "00.jpg").read_bytes()
    (folder / "dusk" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    examples = read_folder(folder)
    bad = find_bad_images(examples.images)
    assert [Path(image.name).name for image in bad] == ["text.jpg", "cut.jpg", "empty.png"]
    assert "Unknown image file format" in bad[0].reason
    assert bad[2].reason == "the file is empty"
    assert len(without(examples, bad, "skip")) == 40
    with pytest.raises(DataError, match=r"3 files are no images[\s\S]*text\.jpg"):
        without(examples, bad, "refuse")


def test_a_class_with_only_bad_images_is_named(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "noon").mkdir()
    (folder / "noon" / "1.jpg").write_bytes(b"x")
    examples = read_folder(folder)
    with pytest.raises(DataError, match="can be decoded of: noon"):
        without(examples, find_bad_images(examples.images), "skip")


def made(*counts: int) -> Examples:
    targets = np.repeat(np.arange(len(counts)), counts)
    files = Files.of("", [f"{index}.png" for index in range(len(targets))])
    return Examples(tuple("abc"[: len(counts)]), files, targets)


def test_split_takes_the_same_share_of_each_class_every_time() -> None:
    examples = made(50, 100, 10)
    larger, apart = split(examples, 0.2, seed=3)
    assert apart.counts().tolist() == [10, 20, 2]
    assert sorted(names(larger) + names(apart)) == sorted(names(examples))
    assert names(split(examples, 0.2, seed=3)[1]) == names(apart)
    assert names(split(examples, 0.2, seed=4)[1]) != names(apart)


def test_split_leaves_something_on_both_sides() -> None:
    larger, apart = split(made(2, 3, 1), 0.1, seed=0)
    assert apart.counts().tolist() == [1, 1, 0]
    assert larger.counts().tolist() == [1, 2, 1]


def test_split_of_nothing_is_empty() -> None:
    larger, apart = split(made(5, 5), 0.0, seed=0)
    assert (len(larger), len(apart)) == (10, 0)
