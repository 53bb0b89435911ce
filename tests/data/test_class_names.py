"""Every form of a file of class names gives the same names; what could shift them is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_inception.data.class_names import read_class_names, write_class_names
from keras_inception.data.errors import DataError
from keras_inception.data.errors import DataError as DataErrorOfOld

NAMES = ("cat", "dog", "barn owl")
PLAIN = "\n".join(NAMES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.txt"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param((PLAIN + "\n").encode(), id="newline at the end"),
        pytest.param(PLAIN.encode(), id="no newline at the end"),
        pytest.param((PLAIN + "\n\n").encode(), id="empty line at the end"),
        pytest.param((PLAIN + "\n\n \n\t\n").encode(), id="empty lines at the end"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), id="byte order mark"),
        pytest.param("\r\n".join([*NAMES, ""]).encode(), id="CRLF"),
        pytest.param("\r\n".join(NAMES).encode(), id="CRLF, none at the end"),
        pytest.param("\r".join(NAMES).encode(), id="CR"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xfe\xff" + PLAIN.encode("utf-16-be"), id="UTF-16, big end first"),
        pytest.param(
            b"\xff\xfe" + "\r\n".join([*NAMES, ""]).encode("utf-16-le"), id="UTF-16, CRLF"
        ),
        pytest.param(b"0:cat\n1:dog\n2:barn owl\n", id="0:name"),
        pytest.param(b"0: cat\r\n1: dog\r\n2: barn owl", id="0: name"),
        pytest.param(b"0 cat\n1 dog\n2 barn owl\n\n", id="0 name"),
        pytest.param(b"00\tcat\n01\tdog\n02\tbarn owl\n", id="00, a tab, name"),
        pytest.param(b"\xef\xbb\xbf0:cat\r\n1:dog\r\n2:barn owl\r\n", id="as Windows numbers them"),
        pytest.param(b" cat\ndog  \n\tbarn owl\n", id="spaces around"),
    ],
)
def test_every_form_gives_the_same_names(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert read_class_names(file) == NAMES
    assert read_class_names(str(file), classes=3) == NAMES


@pytest.mark.parametrize(
    "names",
    [
        ("0", "1", "2"),  # digits are names
        ("10 euro", "20 euro"),
        ("12:30", "12:45"),
        ("0 cat", "2 dog"),
        ("0 cat", "dog"),
        ("a:b", "c:d"),
        ("0x cat", "1x dog"),
        ("12:30", "1:dog"),
        ("Katze", "Hündin", "貓", "🦉"),
        ("a\u2028b", "c\x85d", "e\x0cf"),  # no ends of lines in a text file
        ("one",),
    ],
)
def test_other_names_are_taken_as_they_stand(file: Path, names: tuple[str, ...]) -> None:
    file.write_text("\n".join(names), "utf-8", newline="")
    assert read_class_names(file) == names


@pytest.mark.parametrize(
    ("content", "classes", "message"),
    [
        (b"a\nb\nc", 2, r"each of the model's 2 classes.*Received: 3 names, from 'a' to 'c'\.$"),
        (b"a\nb\n", 3, r"each of the model's 3 classes.*Received: 2 names"),
        (b"background\na\nb", 2, "Received: 3 names.*'background', is no class of the model"),
        (b"a\n\nb\n", None, "Line 2 has none"),
        (b"a\r\n\r\nb\r\n", None, "Line 2 has none"),
        (b"\na\nb\n", None, "Line 1 has none"),
        (b"0:a\n1:\n2:b\n", None, "Line 2 has none"),
        (b"1 a\n2 b\n", None, "from 0 in order. Line 1 is '1 a'"),
        (b"2:a\n0:b\n1:c\n", 3, "from 0 in order. Line 1 is '2:a'"),
        (b"0:a\n1:b\n3:c\n", 3, "from 0 in order. Line 3 is '3:c'"),
        (b"0:a\n\n1:b\n", 3, "Line 2 has none"),
        ("K\u00e4fer\nKa\u0308fer\n".encode(), None, "Lines 1 and 2 both say"),
        (b"a\nb\nc\nb\n", None, "Lines 2 and 4 both say 'b'"),
        (b"0:a\n1:a\n", None, "Lines 1 and 2 both say 'a'"),
        (b"a\na \n", None, "Lines 1 and 2 both say 'a'"),
        (b"", None, "one a line. It has none"),
        (b"\n \n\r\n", None, "one a line. It has none"),
        (b"\xef\xbb\xbf", 2, "one a line. It has none"),
        (b"a\nb\nH\xfcndin\n", None, "line 3 has the byte 0xfc"),
        ("cat\ndog".encode("utf-16-le"), None, "is UTF-16-LE without the byte order mark"),
        ("\u732b\n\u72d7\n".encode("utf-16-be"), None, "is UTF-16-BE without"),
        (b"cat\n\0dog\n", None, "line 2 has a zero byte"),
        (b"PK\3\4\x14\0", None, "ZIP archive, as workbooks"),
        (b"\xff\xfec\0a", None, "neither"),
    ],
)
def test_what_could_shift_the_names_is_refused(
    file: Path, content: bytes, classes: int | None, message: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        read_class_names(file, classes)
    assert str(refused.value).startswith(str(file))


def test_empty_lines_do_not_count_where_the_names_are_enough(file: Path) -> None:
    file.write_text("\ncat\n\ndog\n  \nbarn owl\n", "utf-8")
    assert read_class_names(file, 3) == NAMES


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"labels\.txt"):
        read_class_names(file)


@pytest.mark.parametrize(
    "names",
    [NAMES, ("0 cat", "1 dog"), ("0:cat", "1:dog"), (" a", "a "), ("a\u2028b", "c"), ("貓", "🦉")],
)
def test_what_is_written_is_read_back_as_it_was(file: Path, names: tuple[str, ...]) -> None:
    write_class_names(file, names)
    assert read_class_names(file, verbatim=True) == names
    assert file.read_bytes() == "".join(f"{name}\n" for name in names).encode()


def test_an_old_run_with_a_name_twice_still_opens(file: Path) -> None:
    """ImageNet has two classes `crane`, and TFRecords brought both."""
    file.write_text("crane\ncat\ncrane\n")
    assert read_class_names(file, 3, verbatim=True) == ("crane", "cat", "crane")
    with pytest.raises(DataError, match="each of the model's 2 classes"):
        read_class_names(file, 2, verbatim=True)


def test_the_error_is_the_datas_and_reading_loads_no_tensorflow() -> None:
    assert DataErrorOfOld is DataError
    script = (
        "import sys, keras_inception.data.class_names;"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2], timeout=60
    )


@pytest.mark.parametrize(
    ("encoding", "names", "shown"),
    [("gbk", "\u98df\u54c1\n\u732b\n", "as gbk \u98df\u54c1, \u732b"),
     ("gbk", "\u98df\u54c1\ndog\n", "as gbk \u98df\u54c1"),  # whose bytes are UTF-8 too
     ("cp1252", "K\u00e4fer\nSpinne\n", "as cp1252 K\u00e4fer")],
)  # fmt: skip
def test_how_other_encodings_would_read_the_names_is_shown(
    tmp_path: Path, encoding: str, names: str, shown: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(names.encode(encoding))
    with pytest.raises(DataError) as caught:
        read_class_names(path)
    assert shown in str(caught.value)
    if "dog" in names:
        path.write_text("\u02b3\u01b7\ndog\n", "utf-8-sig")
        assert read_class_names(path) == ("\u02b3\u01b7", "dog")
        path.write_text("\u02b3\u01b7\ndog\n", "utf-8")
        assert read_class_names(path, verbatim=True) == ("\u02b3\u01b7", "dog")
