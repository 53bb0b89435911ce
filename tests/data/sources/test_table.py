"""CSV files of images and labels, as people write them."""

from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.errors import DataError
from keras_inception.data.sources import open_source


def table(folder: Path, text: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
    """A CSV beside the images a.jpg to f.jpg."""
    for letter in "abcdef":
        (folder / f"{letter}.jpg").write_bytes(letter.encode())
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_paths_are_from_the_csv_and_classes_in_order(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\nb.jpg,dog\na.jpg,cat\n")
    examples = open_source(path)
    assert examples.labels == ("cat", "dog")
    assert examples.targets.tolist() == [1, 0]
    assert [examples.images.encoded(index) for index in (0, 1)] == [b"b", b"a"]
    assert examples.groups is None and not examples.multi_label


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("label;width;path\ncat;3;a.jpg\ndog;4;b.jpg\n", "utf-8"),
     ("path\tlabel\r\na.jpg\tcat\r\nb.jpg\tdog\r\n", "utf-8"),
     ('Path, Label\n"a.jpg", cat\nb.jpg , dog\n\n', "utf-8-sig")],
)  # fmt: skip
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    examples = open_source(table(tmp_path, text, encoding=encoding))
    assert examples.labels == ("cat", "dog")
    assert examples.images.encoded(1) == b"b"


def test_absolute_paths_may_stand_among_others(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.jpg").write_bytes(b"x")
    path = table(tmp_path, f"path,label\n{elsewhere}/x.jpg,cat\nb.jpg,dog\n")
    examples = open_source(path)
    assert [examples.images.encoded(index) for index in (0, 1)] == [b"x", b"b"]
    read = examples.images.reader()
    assert [read(np.int64(index)).numpy() for index in (0, 1)] == [b"x", b"b"]


def test_several_labels_in_a_cell_make_it_multi_label(tmp_path: Path) -> None:
    examples = open_source(table(tmp_path, "path,label\na.jpg,dog|cat\nb.jpg,\nc.jpg,dog\n"))
    assert examples.labels == ("cat", "dog")
    assert examples.targets.tolist() == [[True, True], [False, False], [False, True]]
    assert examples.counts().tolist() == [1, 2]


def test_a_column_labels_makes_it_multi_label_whatever_it_holds(tmp_path: Path) -> None:
    examples = open_source(table(tmp_path, "path,labels\na.jpg,cat\nb.jpg,dog\n"))
    assert examples.targets.tolist() == [[True, False], [False, True]]
    one_class = open_source(table(tmp_path, "path,labels\na.jpg,cat\nb.jpg,\n"))
    assert one_class.labels == ("cat",)


def test_groups_are_equal_where_their_names_are(tmp_path: Path) -> None:
    text = "path,label,group\na.jpg,cat,tom\nb.jpg,dog,rex\nc.jpg,cat,tom\n"
    groups = open_source(table(tmp_path, text)).groups
    assert groups is not None
    assert groups[0] == groups[2] != groups[1]


def test_a_column_split_makes_parts(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "path,label,split\na.jpg,cat,train\nb.jpg,dog,Train\nc.jpg,cat,val\nd.jpg,dog,test\n",
    )
    train = open_source(path)
    assert [train.images.encoded(index) for index in range(len(train))] == [b"a", b"b"]
    assert train.splits == ("test", "validation")
    validation = open_source(f"{path}/validation", train.labels)
    assert validation.images.encoded(0) == b"c"
    assert open_source(f"{path}/test", train.labels).targets.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no column path and no column label"),
     ("file,class\na.jpg,cat\n", "no column path and no column label.*file, class.*split"),
     ("path,label\n", "lists no images"),
     ("path,label\na.jpg,cat\nb.jpg,\n", "line 3: the label is empty.*`labels`"),
     ("path,label\na.jpg\n", "line 2: 1 cells where the first line has 2"),
     ("path,label\n,cat\na.jpg,dog\n", "line 2: the path is empty"),
     ("path,label\nimages/a.jpg,cat\n", r"names images/a.jpg, and there is no file .*images/a.jpg"),
     ("path,label\na.jpg,cat\nb.jpg,cat\na.jpg,dog\n", r"a.jpg stands in line 2 and in line 4"),
     ("path,label\na.jpg,cat\n", "at least two classes"),
     ("path,label,split\na.jpg,cat,train\nb.jpg,dog,half\n", "line 3: `split` must be .*'half'"),
     ("path,label,split\na.jpg,cat,test\nb.jpg,dog,test\n", "no images whose `split` is train"),
     ("path,label,split\na.jpg,cat,train\nb.jpg,dog,test\n", "without any: dog"),
     ('path,label\n"a.jpg,cat\n', "line 2")],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(table(tmp_path, text))


def test_a_part_needs_the_column(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na.jpg,cat\nb.jpg,dog\n")
    with pytest.raises(DataError, match="no column `split` and so no split 'test'"):
        open_source(f"{path}/test")
