"""What can't be sized is refused, in every format and in every wrapper."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest

from benchmarks import attack_bombs as bombs
from inception_serving import errors
from inception_serving.server.model.image_size import (
    DECODED_AT_A_TIME,
    check_images,
    find_images,
)
from inception_serving.server.wire import Steps

LIMIT = 1 << 26
PNG = bombs.png(20_000, 20_000)
UNSIZABLE = {
    "a chunk before the header": PNG.replace(
        bombs.PNG_START, bombs.PNG_START + bombs.png_chunk(b"teSt", bytes(13)), 1
    ),
    "scans": bombs.progressive_jpeg(64, 64, 200),
    "segments": b"\xff\xd8" + b"\xff\xfe\0\2" * 10_000 + bombs.encoded("JPEG", 8, 8)[2:],
    "blocks": bombs.gif(1, 1)[:-1] + b"!\xfe" + b"\1\0" * 1_000_000,
    "an animation": bombs.webp(8, 8, flags=2),
    "another WebP": bombs.webp(8, 8, kind=b"VP8Z"),
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "JPEG XL in its box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20),
}
TOO_LARGE = {
    "PNG": PNG,
    "JPEG behind bytes that are no marker": bombs.encoded("JPEG", 10_000, 8_000).replace(
        b"\xff\xdb", b"\0\0\xff\xff\xdb", 1
    ),
    "GIF of a large frame": bombs.gif(9_000, 9_000),
    "GIF of a later large frame": bombs.gif(1, 1)[:-1] + bombs.gif(9_000, 9_000)[19:],
    "GIF of many frames": bombs.gif(1_000, 1_000, frames=100),
    "BMP": bombs.bmp(30_000, -30_000),
    "WebP": bombs.webp(1 << 24, 1 << 24),
}
WRAPPERS = {
    "bare": lambda image: image,
    "example": bombs.example,
    "name of no text": lambda image: bombs.example(image, before=bombs.feature(b"\xff", b"x")),
    "twice": lambda image: bombs.example(image, after=bombs.feature(b"image/encoded", b"x")),
    "unknown fields": lambda image: b"\x7a\0" * 99 + bombs.example(image),
    "a damaged end": lambda image: bombs.example(image) + b"\xff",
    "sequence": bombs.sequence_example,
}


def check(data: bytes) -> int:
    return check_images({"image_bytes": np.array([data], object)}, LIMIT)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("what", UNSIZABLE)
def test_what_cannot_be_sized(what: str, wrapper: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="does not decode"):
        check(WRAPPERS[wrapper](UNSIZABLE[what]))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_is_too_large(what: str, wrapper: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="pixels"):
        check(WRAPPERS[wrapper](TOO_LARGE[what]))


def test_every_size_is_that_of_the_decoder() -> None:
    import tensorflow as tf

    for image in (
        bombs.png(9, 7),
        bombs.encoded("JPEG", 9, 7),
        bombs.progressive_jpeg(9, 7, 3),
        bombs.gif(9, 7, frames=3),
        bombs.encoded("BMP", 9, 7),
        bombs.encoded("WEBP", 9, 7),
    ):
        (size,) = find_images(image, Steps())
        pixels = tf.io.decode_image(image, expand_animations=True)

        assert (size.height, size.width) == tuple(pixels.shape[-3:-1])
        assert size.frames == (pixels.shape[0] if pixels.shape.rank == 4 else 1)


def test_memory_is_that_of_the_largest() -> None:
    images = np.array([bombs.png(100, 100)] * 30 + [bombs.png(200, 200)], object)

    assert check_images({"x": images}, LIMIT) == 4 * ((DECODED_AT_A_TIME - 1) * 100**2 + 200**2)


def test_several_scans_take_memory_for_coefficients() -> None:
    assert check(bombs.progressive_jpeg(100, 100, 3)) == 10 * 100**2


def test_padding_does_not_take_long() -> None:
    """Linear in the bytes, whatever they are, and not longer than it takes to refuse them."""
    for data in (
        b"\xff\xd8" + b"\xff" * 3_000_000 + b"\0",
        b"\xff\xd8" + b"\xff\0" * 3_000_000,
        b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"!\xfe" + b"\xff" * 3_000_000,
        b"\x0a" * 3_000_000,
    ):
        with contextlib.suppress(errors.InvalidArgumentError):
            check(data)
