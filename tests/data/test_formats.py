"""Files of formats that are not read are called by their names."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from keras_inception.data.formats import unread_format
from keras_inception.data.images import Files
from keras_inception.data.preparation.inspection import find_bad_images


def encoded(kind: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, kind, **settings)
    return file.getvalue()


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
     (encoded("WEBP", **ANIMATION), "it is an animated WebP; .*: webpmux -get frame 1")],
)  # fmt: skip
def test_a_format_that_is_not_read_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    assert re.match(said, unread_format(content))
    (tmp_path / "a.jpg").write_bytes(content)
    (bad,) = find_bad_images(Files.of(tmp_path, ["a.jpg"]))
    assert bad.reason == unread_format(content)


def test_what_is_read_and_what_is_nothing_has_no_name() -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        assert unread_format(encoded(kind)) == ""
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    for content in (b"", b"text", b"<html><svg>", film, b"RIFF\0\0\0\0WEBPVP8X", b"\0\0\0\x1cftyp"):
        assert unread_format(content) == ""
