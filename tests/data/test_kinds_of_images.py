"""Every row of the table "Images" in docs/data.md, with what becomes of such a file."""

import codecs
import gzip
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from keras_inception.commands.data import _refused_by_a_server
from keras_inception.data.images import Files
from keras_inception.data.preparation.prepare import inspect_all
from keras_inception.data.preprocessing import Preprocessing, decode

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    image.save(file := io.BytesIO(), kind, **settings)
    return file.getvalue()


def plain(mode: str = "RGB", colour: Any = RED, size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def bmp_with_alpha() -> bytes:
    """32 bits a pixel; red, with an alpha of 0, as most such files have it."""
    pixels = b"\0\0\xff\0" * 24
    header = struct.pack("<IiiHHIIiiII", 40, 6, 4, 1, 32, 0, len(pixels), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54) + header + pixels


def animated(kind: str) -> bytes:
    others = [plain(colour=BLUE)]
    return saved(plain(), kind, save_all=True, append_images=others, lossless=True)


@dataclass(frozen=True)
class Row:
    """Files, and what is made of them: of each the same.

    Args:
        files: their contents, made when asked for; ``None`` for one that is missing.
        refused: a pattern of the reason they are left out for; ``""`` if they are read.
        kinds: that they are counted as.
        colours: their upper left pixel after decoding, by the protocol's settings.
    """

    files: Callable[[], list[bytes | None]]
    refused: str = ""
    kinds: tuple[str, ...] = ()
    colours: dict[str, tuple[int, int, int]] = field(default_factory=lambda: {"": RED})
    turned: bool = False


def half_there(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    whole = saved(Image.fromarray(noise), kind)
    return whole[: len(whole) // 2]


def clear(kind: str) -> bytes:
    """Red that is transparent; the settings are WebP's, that it stays red."""
    return saved(plain("RGBA", (*RED, 0)), kind, exact=True, lossless=True)


def deep() -> bytes:
    image = np.full((4, 6, 3), [65535, 255, 0], np.uint16)  # 255 of 65535 is 0 of 255
    return bytes(tf.io.encode_png(image).numpy())


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
UNREAD = {
    "HEIC": [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"],
    "AVIF": [saved(plain(), "AVIF")],
    "TIFF": [saved(plain(), "TIFF")],
    "JPEG XL": [b"\xff\x0a" + bytes(20)],
    "JPEG 2000": [saved(plain(), "JPEG2000")],
    "PSD": [b"8BPS" + bytes(20)],
    "PDF": [saved(plain(), "PDF")],
    "SVG (in gzip, too)": [SVG, codecs.BOM_UTF8 + SVG, gzip.compress(SVG)],
    "ICO": [saved(plain(), "ICO")],
    "PPM": [saved(plain(), "PPM")],
    "a camera's raw photo": [b"\0\0\0\x18ftypcrx " + bytes(20), b"FUJIFILMCCD-RAW 0201"],
    "animated WebP": [animated("WEBP")],
}
OTHERS = {
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
    "an HTML page": b"<!DOCTYPE html>\n<html><svg>",
    "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "a film": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "an archive": b"PK\3\4" + bytes(20),
    "other text": b"Not found",
}


def bmp(bits: int, compression: int, header: int = 40) -> bytes:
    content = bytearray(saved(plain(), "BMP"))
    content[14], content[28], content[30] = header, bits, compression
    return bytes(content)


ROWS = {
    "empty, no image, cut off, missing, unreadable": Row(
        lambda: [b"", b"\1\2\3", half_there("JPEG"), half_there("PNG"), None], r"\w"
    ),
    f"{', '.join(UNREAD)}": Row(
        lambda: [content for contents in UNREAD.values() for content in contents],
        r"^it is (an? )?("
        + "|".join(name.removesuffix(" (in gzip, too)").removeprefix("a ") for name in UNREAD)
        + r").*(: |: \w+)",
    ),
    f"{', '.join(OTHERS)}": Row(
        lambda: [*OTHERS.values()],
        r"^it is (a pointer of Git LFS.*git lfs pull|an HTML page|text of XML|a film; .*ffmpeg"
        r"|a ZIP archive|text, not an image: 'Not found')",
    ),
    "BMP of two or sixteen colours, of 16 bits, compressed, or of OS/2": Row(
        lambda: [saved(plain("1", 1), "BMP"), bmp(4, 0), bmp(16, 0), bmp(8, 1), bmp(24, 0, 12)],
        "another kind than those that are read .*save it as PNG",
    ),
    "BMP with a palette that is not 256 greys": Row(
        lambda: [saved(plain().quantize(4), "BMP"), saved(plain().quantize(1), "BMP")],
        "another kind than those that are read .*save it as PNG",
    ),
    "CMYK JPEG": Row(
        lambda: [saved(plain("CMYK", (0, 255, 255, 0)), "JPEG", quality=100)],
        kinds=("CMYK",),
    ),
    "16 bits a channel": Row(lambda: [deep()], kinds=("16 bits",)),
    "palette": Row(lambda: [saved(plain().quantize(4), "PNG")], kinds=("palette",)),
    "animated GIF and PNG": Row(lambda: [animated("GIF"), animated("PNG")], kinds=("animated",)),
    "transparent PNG and WebP": Row(
        lambda: [clear("PNG"), clear("WEBP")],
        kinds=("transparent",),
        colours={"drop": RED, "white": (255, 255, 255), "black": (0, 0, 0)},
    ),
    "transparent GIF": Row(
        lambda: [saved(plain("P", 0), "GIF", transparency=0)],
        kinds=("transparent",),
        colours={"": (0, 0, 0)},
    ),
    "BMP with alpha": Row(lambda: [bmp_with_alpha()], colours={"drop": RED, "white": RED}),
    "EXIF orientation of a JPEG": Row(
        lambda: [saved(plain(), "JPEG", exif=turned(), quality=100)],
        colours={"ignore": (6, 4, 0), "apply": (4, 6, 0)},
        turned=True,
    ),
    "EXIF orientation of PNG and WebP": Row(
        lambda: [saved(plain(), kind, exif=turned(), lossless=True) for kind in ("PNG", "WEBP")],
        colours={"ignore": (6, 4, 0), "apply": (6, 4, 0)},
        turned=True,
    ),
    "more pixels than a server of ours takes (`max_image_pixels`), or of a form that it refuses": (
        Row(lambda: [saved(plain("L", 255, (8_200, 8_200)), "PNG")], colours={})
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_becomes_of_an_image(row: Row, tmp_path: Path) -> None:
    contents = row.files()
    for number, content in enumerate(contents):
        if content is not None:
            (tmp_path / str(number)).write_bytes(content)
    images = Files.of(tmp_path, [str(number) for number in range(len(contents))])
    bad, seen = inspect_all(images, _refused_by_a_server)
    if row.refused:
        assert [image.index for image in bad] == list(range(len(contents)))
        for image in bad:
            assert re.search(row.refused, image.reason), image.reason
        return
    assert bad == []
    assert {kind: seen.kinds[kind] for kind in row.kinds} == dict.fromkeys(row.kinds, len(images))
    assert bool(seen.exif_rotated) == row.turned
    assert len(seen.refused) == (0 if row.colours else len(images))
    for setting, expected in row.colours.items():
        protocol = Preprocessing(size=4)
        if setting in ("ignore", "apply"):
            protocol = Preprocessing(size=4, exif_orientation=setting)  # type: ignore[arg-type]
        elif setting:
            protocol = Preprocessing(size=4, alpha=setting)  # type: ignore[arg-type]
        for content in contents:
            image = decode(content, protocol).numpy()
            if row.turned:
                assert (image.shape[1], image.shape[0], 0) == expected
            else:
                np.testing.assert_allclose(image[0, 0], expected, atol=2)


def test_the_table_in_the_docs_has_these_rows() -> None:
    section = DOCS.read_text("utf-8").split("\n## Images\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| .* \|$", section, re.MULTILINE)
    assert set(rows) == {"image", "---", *ROWS}
