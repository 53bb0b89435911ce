"""A run's validation images are found again, whatever they are kept in."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files
from keras_inception.data.preparation.prepare import Prepared, prepare
from keras_inception.data.sources.listing import read_list, write_list
from keras_inception.data.sources.write_records import write_records


def again(prepared: Prepared, path: Path) -> Examples:
    write_list(path, prepared.validation, prepared.validation_indices)
    return read_list(path, prepared.training.labels, prepared.record["validation_source"])


def same(one: Examples, other: Examples) -> None:
    assert one.labels == other.labels
    assert one.targets.tolist() == other.targets.tolist()
    assert [one.images.encoded(index) for index in range(len(one))] == [
        other.images.encoded(index) for index in range(len(other))
    ]
    if one.groups is not None:
        assert other.groups is not None and one.groups.tolist() == other.groups.tolist()


def prepared_of(*arguments, **settings) -> Prepared:
    return prepare(*arguments, log=lambda line: None, **({"validation_fraction": 0.25} | settings))


def test_files_are_listed_by_path(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(folder / "dawn" / "00.jpg", folder / "dawn" / ' odd, "name"\n.jpg')
    (folder / "dusk" / "a|b").mkdir()
    prepared = prepared_of(folder, validation_fraction=0.6)
    same(again(prepared, tmp_path / "list.csv"), prepared.validation)
    assert (tmp_path / "list.csv").read_text().startswith("path,label\n")


def test_several_classes_and_groups_are_kept(photos: Path, tmp_path: Path) -> None:
    rows = [
        f"{path},{'dawn' if index % 3 else ''}{'|dusk' if index % 2 else ''},{index // 4}\n"
        for index, path in enumerate(sorted(photos.rglob("*.*")))
    ]
    (tmp_path / "photos.csv").write_text("path,labels,group\n" + "".join(rows))
    prepared = prepared_of(tmp_path / "photos.csv")
    assert len(prepared.validation) > 4
    same(again(prepared, tmp_path / "list.csv"), prepared.validation)
    assert "dawn|dusk" in (tmp_path / "list.csv").read_text()


def test_classes_with_a_bar_in_their_name_are_kept(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn").rename(folder / "dawn|early")
    prepared = prepared_of(folder)
    same(again(prepared, tmp_path / "list.csv"), prepared.validation)


def test_records_and_arrays_are_listed_by_number(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn" / "000.jpg").write_text("I am text.")
    everything = prepared_of(folder, validation_fraction=0)
    write_records({"train": everything.training}, tmp_path / "records")
    prepared = prepared_of(tmp_path / "records")
    same(again(prepared, tmp_path / "list.csv"), prepared.validation)

    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(40) % 3)
    prepared = prepared_of(tmp_path / "x.npz")
    same(again(prepared, tmp_path / "list.csv"), prepared.validation)
    assert (tmp_path / "list.csv").read_text().startswith("number,label\n")
    np.savez(tmp_path / "x.npz", x=images[:20], y=np.arange(20) % 3)
    with pytest.raises(DataError, match="20 images now, fewer than there were"):
        read_list(tmp_path / "list.csv", ("0", "1", "2"), str(tmp_path / "x.npz"))


def test_arrays_in_memory_can_not_be_found_again(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    prepared = prepared_of((images, np.arange(40) % 2))
    with pytest.raises(DataError, match=r"arrays in memory.*Name the data"):
        again(prepared, tmp_path / "list.csv")


def test_nothing_set_apart_is_an_empty_list(photos: Path, tmp_path: Path) -> None:
    prepared = prepared_of(photos, validation_fraction=0)
    assert len(again(prepared, tmp_path / "list.csv")) == 0
    empty = Examples(("a",), Files.of("", []), np.zeros((0, 1), bool))
    write_list(tmp_path / "list.csv", empty, np.zeros(0, np.int64))
    assert read_list(tmp_path / "list.csv", ("a",), None).multi_label
