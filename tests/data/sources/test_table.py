"""CSV files of images and labels, as people write them."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_inception.cli import _parser as build_parser
from keras_inception.commands.data import given_source
from keras_inception.data.errors import DataError
from keras_inception.data.preparation.prepare import prepare
from keras_inception.data.sources import open_source
from keras_inception.data.sources.source import split_of
from keras_inception.data.sources.table import Table


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
    blank = open_source(table(tmp_path, text.replace("rex", "") + "d.jpg,dog,\n")).groups
    assert blank is not None
    assert blank[0] == blank[2] and len({*blank.tolist()}) == 3


def test_names_that_look_like_several_are_said(tmp_path: Path) -> None:
    text = 'path,label\na.jpg,cat\nb.jpg,dog\nc.jpg,"dog, cat"\nd.jpg,"Smith, J."\n'
    (note,) = open_source(table(tmp_path, text)).notes
    assert note.startswith("Classes that look like several: 'dog, cat'. Several labels of an image")


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
     ("filename, Cat, Dog\na.jpg, 1, 0\n", r"If 'filename' is the path, call it so\.$"),  # Roboflow
     ("id,image,choice\n1,a.jpg,cat\n", "If 'image' is the path, .* 'choice' is the label,"),
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


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("path;label\r\na.jpg;K\u00e4tzchen\r\nb.jpg;Hund\r\n;\r\n;\r\n", "utf-8-sig"),
     ("sep=;\r\npath;label\r\na.jpg;K\u00e4tzchen\r\nb.jpg;Hund\r\n", "utf-8"),
     ("path\tlabel\r\na.jpg\tK\u00e4tzchen\r\nb.jpg\tHund\r\n", "utf-16"),
     ("path;label;;\r\na.jpg;K\u00e4tzchen;;\r\nb.jpg;Hund;;;;\r\n", "utf-8"),
     ("path,label,remark\n.\\a.jpg,K\u00e4tzchen,\nb.jpg,Hund\n", "utf-8")],
    ids=["empty lines", "sep", "Unicode text", "empty columns", "backslash and a cell short"],
)  # fmt: skip
def test_what_excel_writes_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    examples = open_source(table(tmp_path, text, "photos.txt", encoding))
    assert examples.labels == ("Hund", "K\u00e4tzchen")
    assert examples.targets.tolist() == [1, 0]
    assert [examples.images.encoded(index) for index in (0, 1)] == [b"a", b"b"]


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 6: the label is empty"):
        open_source(table(tmp_path, "sep=;\npath;label\na.jpg;cat\n;\n\nb.jpg;\n"))


@pytest.mark.parametrize(
    ("encoding", "label", "shown"),
    [("cp1252", "K\u00e4tzchen", "as cp1252 K\u00e4tzchen"),
     ("gbk", "\u732b\u54aa", "as gbk \u732b\u54aa"),
     ("gbk", "\u98df\u54c1", "as gbk \u98df\u54c1"),  # whose bytes are UTF-8 of two letters
     ("big5", "\u8c93\u54aa", "as big5 \u8c93\u54aa"),
     ("shift_jis", "\u306d\u3053", "as shift_jis \u306d\u3053"),
     ("euc_kr", "\uace0\uc591\uc774", "as euc_kr \uace0\uc591\uc774")],
)  # fmt: skip
def test_another_encoding_is_refused_and_read_when_it_is_named(
    tmp_path: Path, encoding: str, label: str, shown: str
) -> None:
    path = table(tmp_path, f"path,label\na.jpg,{label}\nb.jpg,dog\n", encoding=encoding)
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert shown in str(caught.value)
    assert "--encoding" in str(caught.value)
    assert set(open_source(Table(str(path), encoding)).labels) == {"dog", label}
    if label == "\u98df\u54c1":
        assert open_source(Table(str(path), "utf-8")).labels == ("dog", "\u02b3\u01b7")


@pytest.mark.parametrize(
    "label", ["c\u01a1m", "\u0219ofer", "\u0254ka", "\u043a\u043e\u0442", "Kätzchen", "食品"]
)
def test_names_in_utf_8_are_not_taken_for_another_encoding(tmp_path: Path, label: str) -> None:
    path = table(tmp_path, f"path,label\na.jpg,{label}\nb.jpg,dog\n")
    assert label in open_source(path).labels


def test_an_encoding_that_is_none_or_another_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na.jpg,K\u00e4tzchen\nb.jpg,dog\n", encoding="cp1252")
    with pytest.raises(DataError, match="Received: 'klingon'"):
        open_source(Table(str(path), "klingon"))
    with pytest.raises(DataError, match="line 2: this is not ascii"):
        open_source(Table(str(path), "ascii"))
    with pytest.raises(DataError, match="An encoding is for tables"):
        open_source(Table(str(tmp_path), "gbk"))
    text = table(tmp_path, "path,label\na.jpg,cat\nb.jpg,dog\n", encoding="utf-16-le")
    with pytest.raises(DataError, match="is UTF-16-LE without the byte order mark"):
        open_source(text)
    assert open_source(Table(str(text), "utf-16-le")).labels == ("cat", "dog")


def test_a_split_has_the_encoding_of_its_table(tmp_path: Path) -> None:
    text = "path,label,split\na.jpg,K\u00e4tzchen,train\nb.jpg,Hund,train\n"
    text += "c.jpg,Hund,val\nd.jpg,K\u00e4tzchen,val\n"
    source = Table(str(table(tmp_path, text, encoding="cp1252")), "cp1252")
    prepared = prepare(source, check_images="none", log=lambda line: None)
    assert prepared.training.labels == ("Hund", "K\u00e4tzchen")
    assert prepared.record["validation_source"] == f"{source}/validation"


def test_names_of_files_that_are_no_text_are_read_as_they_are(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"M\xfcller.jpg")
    odd.write_bytes(b"x")
    path = table(tmp_path, "path,label\na.jpg,cat\n")
    path.write_bytes(path.read_bytes() + b"M\xfcller.jpg,dog\n")
    for source in (path, Table(str(path), "cp1252")):
        assert open_source(source).images.encoded(1) == b"x"
    odd.unlink()
    with pytest.raises(DataError, match=r"line 3 has the byte 0xfc\. .* as cp1252 M\u00fcller"):
        open_source(path)
    (tmp_path / "M\u00fcller.jpg").write_bytes(b"y")
    assert open_source(Table(str(path), "cp1252")).images.encoded(1) == b"y"


def test_a_column_for_each_class(tmp_path: Path) -> None:
    examples = open_source(table(tmp_path, "path,dog,Cat\na.jpg,1,1\nb.jpg,0,1\nc.jpg,0,0\n"))
    assert examples.labels == ("Cat", "dog")
    assert examples.targets.tolist() == [[True, True], [True, False], [False, False]]
    one_each = table(tmp_path, "dog;cat;path;Age;split\n1;0;a.jpg;7;train\n0.0;1.0;b.jpg;8;train\n")
    examples = open_source(one_each)
    assert (examples.labels, examples.targets.tolist()) == (("cat", "dog"), [1, 0])
    assert examples.notes == (
        "Classes are the columns of 0 and 1: dog, cat. --label-columns NAME,NAME says which columns"
        " are classes.",
        "Columns that are no classes, since they hold more than 0 and 1: Age",
    )


CHOSEN = ["--label-columns", '"cat, tabby", dog']
ODD_COLUMNS = (
    "path,cat,dog,flip,is_valid,camera,boxes\na.jpg,1,0,1,0,1,3\nb.jpg,0,1,1,0,1,0\n"
    "c.jpg,0,1,0,1,1,2\nd.jpg,1,0,0,0,1,7\n"
)


def test_other_columns_of_0_and_1_are_said_and_left_out_where_they_are_no_classes(
    tmp_path: Path,
) -> None:
    path = table(tmp_path, ODD_COLUMNS)
    examples = open_source(path)
    assert examples.labels == ("cat", "dog", "flip")
    assert examples.targets.sum(axis=0).tolist() == [2, 2, 2]
    assert examples.notes[1:] == (
        "Columns that are no classes, since they hold one value only: camera",
        "Columns that are no classes, since they hold a split: is_valid",
        "Every image is of exactly one of cat, dog. If these are the classes, and flip none:"
        " --label-columns cat,dog",
        "Columns that are no classes, since they hold more than 0 and 1: boxes",
    )
    chosen = open_source(Table(str(path), label_columns=("dog", "cat")))
    assert (chosen.labels, chosen.targets.tolist()) == (("cat", "dog"), [0, 1, 1, 0])
    assert chosen.notes == ()
    assert open_source(Table(str(path), label_columns=("is_valid",))).targets.sum() == 1
    # Of a model that exists, its classes are the columns, whatever they hold.
    known = open_source(path, ["camera", "cat"])
    assert known.targets.tolist() == [[True, True], [True, False], [True, False], [True, True]]


def test_columns_are_chosen_from_the_command_line(tmp_path: Path) -> None:
    path = table(tmp_path, ODD_COLUMNS.replace("cat,dog", '"cat, tabby",dog'))
    options = build_parser().parse_args(["data", "check", str(path), *CHOSEN])
    chosen = given_source(options.source, options)
    assert open_source(chosen).labels == ("cat, tabby", "dog")
    assert split_of(chosen, "test") == Table(f"{path}/test", None, ("cat, tabby", "dog"))
    with pytest.raises(DataError, match=r"Columns of labels are for tables \(.csv"):
        open_source(Table(str(tmp_path), label_columns=("cat",)))


def test_row_numbers_of_pandas_are_no_column(tmp_path: Path) -> None:
    text = ",Unnamed: 0,path,cat,dog\n0,0,a.jpg,1,0\n1,1,b.jpg,0,1\n2,2,c.jpg,1,0\n3,3,d.jpg,0,1\n"
    examples = open_source(table(tmp_path, text))
    assert (examples.labels, examples.targets.tolist()) == (("cat", "dog"), [0, 1, 0, 1])
    assert len(examples.notes) == 1


def test_a_label_is_passed_over_for_columns_that_are_chosen(tmp_path: Path) -> None:
    text = "path,label,cat,dog\na.jpg,x,1,0\nb.jpg,x,0,1\n"
    examples = open_source(Table(str(table(tmp_path, text)), label_columns=("cat", "dog")))
    assert (examples.labels, examples.targets.tolist()) == (("cat", "dog"), [0, 1])


@pytest.mark.parametrize(
    ("text", "chosen", "message"),
    [("path,cat,dog\na.jpg,1,0\nb.jpg,,1\n", (),
      r"line 3: .* 0 or 1 in every row\. Received: '' in column 'cat'\. If .* --label-columns"),
     ("path,cat,dog\na.jpg,1,\nb.jpg,,1\nc.jpg,,1\nd.jpg,,1\n", (),
      "line 3: .*Received: '' in column 'cat'"),
     ("path,cat,dog\na.jpg,1,0\nb.jpg,0,-1\nc.jpg,0,1\n", (), "line 3.*: '-1' in column 'dog'"),
     ("path,cat,dog\na.jpg,7,0\nb.jpg,8,1\n", ("cat",), "line 2: .*Received: '7' in column 'cat'"),
     ("path,cat,dog\na.jpg,1,0\nb.jpg,1,1\n", ("cat", "dog"),
      "must hold both 0 and 1. Received: 1 in every row of column 'cat'"),
     ("path,cat,dog\na.jpg,1,0\n", ("cat", "cow"),
      r"has no column cow\. Its columns are: path, cat, dog\.$"),
     ("path,cat,dog\na.jpg,1,0\nb.jpg,1,0\n", (), "One value only is in: cat, dog.")],
)  # fmt: skip
def test_a_cell_that_is_neither_0_nor_1_is_named(
    tmp_path: Path, text: str, chosen: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_source(Table(str(table(tmp_path, text)), label_columns=chosen))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32"])
@pytest.mark.parametrize("label", ["cat", "\u732b"])
def test_unicode_that_does_not_say_its_form_is_named(
    tmp_path: Path, encoding: str, label: str
) -> None:
    path = table(tmp_path, f"path,label\na.jpg,{label}\nb.jpg,dog\n", encoding=encoding)
    with pytest.raises(DataError, match=f"To read it: --encoding {encoding}; or save"):
        open_source(path)
    assert set(open_source(Table(str(path), encoding)).labels) == {"dog", label}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\3\4\x14\0\6\0", r"ZIP archive, as workbooks \(.xlsx, .ods\) are; save it as CSV, UTF-8"),
     (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"a workbook \(.xls\); save it as CSV, UTF-8"),
     (b"\x1f\x8b\x08\0", "compressed by gzip; unpack it first"),
     (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS, .*git lfs pull"),
     (b"<!DOCTYPE html>\n<html>", "an HTML page")],
)  # fmt: skip
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = table(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_source(path)
    path.rename(tmp_path / "photos.xlsx")
    with pytest.raises(DataError, match=r"is a workbook\..* CSV, UTF-8"):
        open_source(tmp_path / "photos.xlsx")


def test_a_mark_before_an_encoding_that_is_named_is_no_letter(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffpath,label\na.jpg,cat\nb.jpg,dog\n", encoding="utf-16-le")
    assert open_source(Table(str(path), "utf-16-le")).labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [("path,cat,dog\na.jpg,1,0\nb.jpg,0,2\nc.jpg,0,1\n", "line 3: .* 0 or 1 .*'2' in column 'dog'"),
     ("path,file\na.jpg,x\n", "no column label in its first line, and none of 0 and 1"),
     ("path,cat,cat\na.jpg,1,0\n", "one column 'cat'. It has several"),
     ("path,label,label\na.jpg,1,0\n", "one column 'label'. It has several")],
)  # fmt: skip
def test_columns_that_are_no_classes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(table(tmp_path, text))
