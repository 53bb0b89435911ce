"""Folders copied, with what is not read converted."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inception_serving.formats import unread_format
from keras_inception.cli import main
from keras_inception.data.errors import DataError
from keras_inception.data.preparation.convert import convert_folder
from keras_inception.data.sources import open_source

RAMP = np.mgrid[0:64:4, 0:96:4].transpose(1, 2, 0)
PIXELS = np.dstack([RAMP, RAMP[..., :1] + 90]).astype(np.uint8)  # [16, 24, 3]


def saved(kind: str, image: Image.Image | None = None, **settings: Any) -> bytes:
    (image or Image.fromarray(PIXELS)).save(file := io.BytesIO(), kind, **settings)
    return file.getvalue()


def put(folder: Path, **contents: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_bytes(content)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_what_is_not_read_is_converted_and_all_else_is_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, copy = tmp_path / "photos", tmp_path / "copy"
    clear = Image.fromarray(np.dstack([PIXELS, RAMP[..., 0].astype(np.uint8)]))
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256 + 7)
    put(folder / "cat", a__jpg=saved("JPEG"), a__avif=saved("AVIF", quality=100))
    put(
        folder / "cat" / "deeper",
        b__tif=saved("TIFF", exif=turned()),
        deep__tif=saved("TIFF", deep),
    )
    palette = Image.fromarray(PIXELS).quantize(4)
    put(folder / "dog", c__bmp=saved("BMP", palette), clear__tif=saved("TIFF", clear))
    put(folder / "dog", raw__dng=saved("TIFF", tiffinfo={254: 1}), text__jpg=b"text", x__txt=b"x")
    odd = os.path.join(os.fsencode(folder), b"dog", b"M\xfcller.ppm")
    with open(odd, "wb") as file:
        file.write(saved("PPM"))
    assert main(["data", "convert", str(folder), str(copy)]) == 1
    said = capsys.readouterr().out
    assert "Left out: 1 of other kinds by their names (such as dog/x.txt)." in said
    assert f"{copy}: 1 files copied, 6 converted\n" in said
    assert "2 files are no images that can be decoded" in said
    assert "raw.dng: it is a camera's raw photo" in said and "text.jpg: it is text" in said
    assert (copy / "cat" / "a.jpg").read_bytes() == (folder / "cat" / "a.jpg").read_bytes()
    found = open_source(copy)
    names = [os.path.relpath(found.images.name(index), copy) for index in range(len(found))]
    assert names == ["cat/a.avif.jpg", "cat/a.jpg", "cat/deeper/b.png", "cat/deeper/deep.png",
                     "dog/M\udcfcller.png", "dog/c.png", "dog/clear.png"]  # fmt: skip
    pixels = [np.asarray(Image.open(found.images.name(index))) for index in range(len(found))]
    assert np.abs(pixels[0].astype(int) - PIXELS).max() < 12
    np.testing.assert_array_equal(pixels[2], np.rot90(PIXELS, -1))
    np.testing.assert_array_equal(pixels[3], PIXELS[..., 0])
    np.testing.assert_array_equal(pixels[4], PIXELS)
    np.testing.assert_array_equal(pixels[5], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(pixels[6], np.asarray(clear))
    assert main(["data", "check", str(copy)]) == 0
    assert main(["data", "check", str(folder)]) == 1
    assert "To convert them all: keras-inception data convert" in capsys.readouterr().out


def test_heic_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "photos", a__heic=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    said: list[str] = []
    done = convert_folder(tmp_path / "photos", tmp_path / "copy", said.append)
    assert said == ["To convert HEIC: pip install pillow-heif"]
    assert (done.copied, done.converted, len(done.left)) == (0, 0, 1)


def test_heic_is_converted(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(PIXELS)).save(file, quality=100)
    assert unread_format(file.getvalue()).startswith("it is HEIC")
    put(tmp_path / "photos", a__heic=file.getvalue())
    assert convert_folder(tmp_path / "photos", tmp_path / "copy").converted == 1
    converted = np.asarray(Image.open(tmp_path / "copy" / "a.jpg")).astype(int)
    assert np.abs(converted - PIXELS).max() < 16


def test_folders_that_would_be_overwritten_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "photos", a__jpg=saved("JPEG"))
    put(tmp_path / "full", a__jpg=b"x")
    for output, message in (
        (tmp_path / "full", "is not empty, and nothing is overwritten"),
        (tmp_path / "photos" / "copy", "must lie outside of"),
    ):
        with pytest.raises(DataError, match=message):
            convert_folder(tmp_path / "photos", output)
    with pytest.raises(DataError, match="must be a folder of images"):
        convert_folder(tmp_path / "photos" / "a.jpg", tmp_path / "copy")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["full", "photos"]
