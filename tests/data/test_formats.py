"""Files of formats that are not read are called by their names."""

import gzip
import io
import re
import struct
from pathlib import Path

import pytest
from PIL import Image

from inception_serving.formats import is_image, unread_format
from keras_inception.data.images import Files
from keras_inception.data.preparation.inspection import find_bad_images


def encoded(kind: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, kind, **settings)
    return file.getvalue()


def tiff(tag: int, value: int) -> bytes:
    """The beginning of one, with one tag, a LONG (4)."""
    return b"II*\0" + struct.pack("<IHHHII", 8, 1, tag, 4, 1, value) + bytes(4)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
ANIMATION = {"save_all": True, "append_images": [Image.new("RGB", (16, 16), "blue")]}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf", "it is HEIC, .*: mogrify -format jpg \\*.heic"),
     (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "it is HEIC"),
     (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "it is AVIF"),
     (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf", "it is AVIF, .*: mogrify -format jpg \\*.avif"),
     (encoded("TIFF"), "it is TIFF, .*: mogrify -format png \\*.tif"),
     (encoded("JPEG2000"), "it is JPEG 2000"),
     (b"\xff\x0aA@$", "it is JPEG XL"),
     (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "it is JPEG XL"),
     (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is SVG, .*: rsvg-convert -o a.png a.svg"),
     (b'\xef\xbb\xbf<?xml ?>\n<!-- a -->\n<!DOCTYPE svg PUBLIC "x">\n<svg >', "it is SVG"),
     (b"\xef\xbb\xbf" + SVG, "it is SVG"),
     (SVG.decode().encode("utf-16"), "it is SVG"),
     (gzip.compress(SVG, mtime=0), "it is SVG"),
     (b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY n 'x>'>]>\n" + SVG, "it is SVG"),
     (encoded("WEBP", **ANIMATION), "it is an animated WebP; .*: webpmux -get frame 1"),
     (encoded("ICO"), "it is ICO, .*: mogrify -format png \\*.ico"),
     (encoded("PPM"), "it is PPM, .*: mogrify -format png \\*.ppm"),
     (b"P5 1 1 255 x", "it is PGM, .*: mogrify -format png \\*.pgm"),
     (encoded("TGA"), "it is TGA"),
     (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", r"it is a camera's raw photo \(CR3\); .* a.cr3 a.jpg"),
     (b"II*\0\x10\0\0\0CR\2\0", r"it is a camera's raw photo \(CR2\)"),
     (tiff(254, 1), r"it is a camera's raw photo \(DNG, NEF, ARW or their like\)"),
     (tiff(50706, 1), r"it is a camera's raw photo \(DNG"),
     (tiff(254, 0), "it is TIFF"),
     (b"FUJIFILMCCD-RAW 0201", r"it is a camera's raw photo \(RAF\)"),
     (bytes(128) + b"DICM", "it is DICOM"),
     (b"", "it is empty$"),
     (b"I am text.", "it is text, not an image: 'I am text.'$"),
     (b"<!DOCTYPE html><html><svg>", "it is an HTML page, as a server answers"),
     (b"<?xml version='1.0'?><Error/>", "it is text of XML, not an image: "),
     (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS, .*lfs pull"),
     (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "it is a film; "),
     (b"RIFF\0\0\0\0AVI LIST", "it is a film; "),
     (b"\0\5\x16\7\0\2\0\0Mac OS X", "it is what a Mac keeps of a file"),
     (b"\x93\x01\x02", "it is none of JPEG, PNG, GIF, BMP and WebP, .*begins with 93 01 02$")],
)  # fmt: skip
def test_a_format_that_is_not_read_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    assert re.match(said, unread_format(content))
    (tmp_path / "a.jpg").write_bytes(content)
    (bad,) = find_bad_images(Files.of(tmp_path, ["a.jpg"]))
    assert bad.reason == unread_format(content)


def test_what_is_read_is_not_named() -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        content = encoded(kind)
        assert (unread_format(content), is_image(content)) == ("", True)
    assert unread_format(b"RIFF\0\0\0\0WEBPVP8X") == ""


def test_what_is_an_image_is_told_from_what_is_none() -> None:
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    for content in (b"", b"text", b"<html><svg>", film, b"PK\3\4", b"\0\0\0\x1cftyp", b"\x93\1"):
        assert not is_image(content)
    for content in (encoded("TIFF"), gzip.compress(SVG), b"\xff\x0a", b"\xff\xd8\xff\xe0"):
        assert is_image(content)
