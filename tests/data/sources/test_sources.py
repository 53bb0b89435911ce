"""Folders as people have them, and what is no source."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.sources import open_source


def names(examples: Examples) -> list[str]:
    return [examples.images.name(index) for index in range(len(examples))]


def test_classes_are_the_folders_in_order(photos: Path) -> None:
    examples = open_source(photos)
    assert examples.labels == ("dawn", "dusk")
    assert len(examples) == 40
    assert examples.counts().tolist() == [20, 20]
    for path, target in zip(names(examples), examples.targets, strict=True):
        assert Path(path).parent.name == examples.labels[target]
    assert names(examples) == sorted(names(examples))


def test_debris_and_hidden_files_are_no_images(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / ".git").mkdir()
    (folder / "dawn" / ".DS_Store").write_bytes(b"x")
    (folder / "dawn" / "Thumbs.db").write_bytes(b"x")
    (folder / "dawn" / ".cache").mkdir()
    (folder / "dawn" / ".cache" / "1.jpg").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    assert len(open_source(folder)) == 40


def test_images_in_folders_within_a_class_belong_to_it(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn" / "monday").mkdir()
    shutil.move(folder / "dawn" / "00.jpg", folder / "dawn" / "monday" / "00.jpg")
    assert open_source(folder).counts().tolist() == [20, 20]


def test_linked_files_and_class_folders_are_followed(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    (folder / "dusk").mkdir(parents=True)
    (folder / "dawn").symlink_to(photos / "dawn")
    (folder / "dusk" / "1.jpg").symlink_to(photos / "dusk" / "00.jpg")
    assert open_source(folder).counts().tolist() == [20, 1]


def test_names_that_are_no_text_are_read(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    odd = os.fsencode(folder / "dawn") + b"/\xff.jpg"
    shutil.copy(os.fsencode(folder / "dawn" / "00.jpg"), odd)
    examples = open_source(folder)
    (index,) = [place for place, name in enumerate(names(examples)) if os.fsencode(name) == odd]
    assert examples.images.encoded(index) == Path(folder / "dawn" / "00.jpg").read_bytes()
    assert examples.images.reader()(np.int64(index)).numpy() == examples.images.encoded(index)


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "holds no images"),
     (["1.jpg", "2.jpg"], r"holds 2 images \(1.jpg, 2.jpg\), but no folder for each class"),
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
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz", "photos.7z", "photos.csv.gz"])
def test_an_archive_is_to_be_unpacked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"is an archive\. Unpack it, and name"):
        open_source(tmp_path / name)


def test_classes_that_differ_in_capitals_or_spaces_are_said(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(photos / "dawn", folder / "Dawn ")
    examples = open_source(folder)
    assert examples.labels == ("Dawn ", "dawn", "dusk")
    assert examples.notes == (
        "Classes whose names differ in capitals or spaces only: 'Dawn ', 'dawn'.",
    )


def test_an_empty_folder_is_no_class(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "noon").mkdir()
    examples = open_source(folder)
    assert examples.labels == ("dawn", "dusk")
    assert examples.notes == ("Folders without an image, which are no classes: noon",)
    assert open_source(folder, ("dawn", "dusk", "noon")).counts().tolist() == [20, 20, 0]


def test_classes_that_the_model_does_not_know_are_named(photos: Path) -> None:
    with pytest.raises(DataError, match=r"does not know: dusk.*knows: dawn, noon"):
        open_source(photos, ("dawn", "noon"))
    examples = open_source(photos, ("dusk", "noon", "dawn"))
    assert examples.counts().tolist() == [20, 0, 20]
    assert Path(examples.images.name(0)).parent.name == "dawn"
    assert examples.labels[examples.targets[0]] == "dawn"


def test_names_of_classes_are_the_same_in_either_form_of_unicode(tmp_path: Path) -> None:
    """As a Mac writes them, and as a model that was trained elsewhere knows them."""
    for name in ("Ka\u0308fer", "Spinne"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"x")
    assert open_source(tmp_path).labels == ("K\u00e4fer", "Spinne")
    for known in ("K\u00e4fer", "Ka\u0308fer"):
        examples = open_source(tmp_path, ("Spinne", known))
        assert examples.labels == ("Spinne", known)
        assert examples.targets.tolist() == [1, 0]
    table = tmp_path / "photos.csv"
    table.write_text("path,labels\nSpinne/1.jpg,K\u00e4fer|Ka\u0308fer\n", "utf-8")
    examples = open_source(table)
    assert (examples.labels, examples.targets.tolist()) == (("K\u00e4fer",), [[True]])


@pytest.mark.parametrize(
    ("source", "message"),
    [("nowhere", "nowhere does not exist"),
     ("photo.jpg", "none of what images come from"),
     ("nothing-*", "no TFRecord files"),
     ("dawn/test", "does not exist")],
)  # fmt: skip
def test_what_is_no_source_is_named(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / source)


def test_a_part_of_what_has_no_parts_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match="has no splits, so not 'test'"):
        open_source(photos / "test")
