"""Images as callers have them, as they are sent."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inception_serving.client.images import encode
from inception_serving.errors import ImageError


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


RAMP = np.arange(0, 65536, 16, np.uint16).reshape(64, 64)


@pytest.mark.parametrize(
    "image",
    [RAMP, RAMP[..., np.newaxis], np.dstack([RAMP] * 3), np.dstack([RAMP] * 4), RAMP.astype(">u2"),
     Image.fromarray(RAMP), Image.fromarray(RAMP.astype(np.int32))],
    ids=["grey", "one channel", "colour", "with alpha", "big-endian", "PIL, I;16", "PIL, I"],
)  # fmt: skip
def test_sixteen_bits_are_scaled_and_not_clipped(image: Any) -> None:
    sent = decoded(encode(image))
    assert sent.dtype == np.uint8
    np.testing.assert_array_equal(sent[..., 0], RAMP >> 8)


@pytest.mark.parametrize(
    ("image", "message"),
    [(np.full((8, 8), 200, np.uint16), "received at most 200, which would be black"),
     (Image.new("F", (8, 8), 0.5), "one of floats, mode 'F'"),
     (Image.new("I", (8, 8), 70_000), "received 70000 to 70000")],
)  # fmt: skip
def test_pixels_of_an_unknown_range_are_refused(image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        encode(image)


def closed() -> Any:
    file = io.BytesIO(b"")
    file.close()
    return file


def truncated() -> Any:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(file, "JPEG")
    return Image.open(io.BytesIO(file.getvalue()[:1500]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (closed, "The open file cannot be read: I/O operation on closed file"),
        (truncated, "The PIL image cannot be made a PNG: image file is truncated"),
        (
            lambda: Image.new("RGB", (0, 0)),
            "The PIL image cannot be made a PNG: cannot write empty",
        ),
        (lambda: Image.new("La", (3, 3)), "The PIL image cannot be made a PNG: conversion from La"),
        (lambda: Image.new("F", (3, 3)), "^Expected a PIL image of whole numbers"),
    ],
)
def test_what_cannot_be_read_is_told(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        encode(make())


def test_a_path_of_another_kind() -> None:
    class Entry:
        def __fspath__(self) -> bytes:
            return b"/nowhere/a.png"

    with pytest.raises(ImageError, match=r"/nowhere/a\.png cannot be read: No such file"):
        encode(Entry())


def test_alpha_is_sent_for_the_model_to_decide() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    grey = Image.fromarray(pixels).convert("LA")
    for image in (pixels, Image.fromarray(pixels)):
        np.testing.assert_array_equal(decoded(encode(image)), pixels)
    assert decoded(encode(grey)).shape == (8, 8, 4)
    palette = Image.fromarray(pixels[..., :3]).convert("P")
    assert decoded(encode(palette)).shape == (8, 8, 3)
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert decoded(encode(palette))[0, 0, 3] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", r"it is HEIC, which is not read; convert it first,"
      r" with ImageMagick: mogrify -format jpg \*\.heic\.$"),
     (b"\0\0\0\x20ftypavif", "it is AVIF, which is not read"),
     (b"II*\0", "it is TIFF, which is not read"), (b"\xff\x0aA@", "it is JPEG XL"),
     (b"<svg ", "it is SVG"), (b"\xef\xbb\xbf<svg ", "it is SVG"),
     (b"<html>", "it is an HTML page"), (b"", r"it is empty\.$"),
     (b"# notes", r"it is text, not an image: '# notes'\.$"),
     (b"RIFF\0\0\0\0AVI LIST", "it is a film")],
)  # fmt: skip
def test_what_is_not_read_is_named_as_training_does(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    for image in (content, file):
        with pytest.raises(
            ImageError, match=f"JPEG, PNG, GIF, BMP or WebP (file|image): {message}"
        ):
            encode(image)
