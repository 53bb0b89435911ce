"""What can't be sized is refused, in every format and in every wrapper."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import attack_bombs as bombs
from inception_serving import errors, messages
from inception_serving.server.model.image_size import (
    DECODED_AT_A_TIME,
    check_images,
    find_images,
)
from inception_serving.server.model.webp import TooManyBlocks, _Bits, _count_blocks, webp_size
from inception_serving.server.received.wire import Steps

LIMIT = 1 << 26
PNG = bombs.png(20_000, 20_000)


class Bits:
    """Bits, the lowest of a byte first."""

    def __init__(self) -> None:
        self.value = self.count = 0

    def add(self, *parts: tuple[int, int]) -> None:
        """Numbers, each with how many bits it has."""
        for value, count in parts:
            self.value |= value << self.count
            self.count += count

    def bytes(self) -> bytes:
        return self.value.to_bytes(self.count // 8 + 16, "little")


def lossless(width: int, height: int, *, side: int, groups: int) -> bytes:
    """A lossless image of blocks of 2**side, in so many groups of codes of one symbol each.

    The blocks' groups are written in codes of 8 bits for the lower byte and of none for the
    upper one; see https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification.
    """
    one = ((1, 1), (0, 1), (0, 1), (0, 1))
    bits = Bits()
    bits.add((0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 4))  # no alpha, version 0
    bits.add((0, 1), (0, 1), (1, 1), (side - 2, 3), (0, 1))  # nothing but blocks
    # Of the code's lengths two occur, 8 and a run of zeros (18); each has a code of one bit.
    bits.add((0, 1), (8, 4), *[(1 if symbol in (18, 8) else 0, 3) for symbol in _ORDER[:12]])
    bits.add((0, 1), *[(0, 1)] * 256, (1, 1), (24 - 11, 7))
    for _ in range(4):
        bits.add(*one)
    blocks = (width + 2**side - 1 >> side) * (height + 2**side - 1 >> side)
    for block in range(blocks):
        bits.add((int(f"{block % groups:08b}"[::-1], 2), 8))
    for _ in range(groups):
        bits.add(*one * 5)
    return bits.bytes()


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP"
    for kind, data in chunks:
        body += kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8)
BLOCKS = lossless(1024, 1024, side=2, groups=200)
VP8X = b"\x10\0\0\0" + struct.pack("<I", 1023)[:3] * 2
UNSIZABLE = {
    "many compressed texts": bombs.png(8, 8)[:33]
    + bombs.png_chunk(b"zTXt", b"") * 17
    + bombs.png(8, 8)[33:],
    "many chunks": bombs.PNG_START + bombs.png(8, 8)[8:33] + bombs.png_chunk(b"tEXt", b"") * 9_000,
    "a WebP of many blocks": riff((b"VP8L", BLOCKS)),
    "alpha of many blocks": riff((b"VP8X", VP8X), (b"ALPH", b"\1" + BLOCKS[5:]), (b"VP8 ", b"")),
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


@pytest.mark.parametrize(
    ("mode", "options", "scans", "pixel_bytes"),
    [
        ("L", {}, None, 4),
        ("RGB", {}, None, 4),
        ("L", {"progressive": True}, None, 6),
        ("RGB", {"progressive": True}, None, 10),
        ("RGB", {"progressive": True}, 1, 10),
        ("CMYK", {"progressive": True}, None, 12),
    ],
)
def test_scans_take_memory_for_coefficients(
    mode: str, options: dict[str, Any], scans: int | None, pixel_bytes: int
) -> None:
    file = io.BytesIO()
    Image.new(mode, (100, 100)).save(file, "JPEG", **options)
    parts = file.getvalue().split(b"\xff\xda")
    image = b"\xff\xda".join(parts[: None if scans is None else 1 + scans])

    assert check(image) == pixel_bytes * 100**2


def test_texts_of_a_png_take_memory() -> None:
    """libpng keeps 8 MB of each at most, and zlib's best is 1,032 to one."""
    texts = bombs.png_chunk(b"zTXt", bytes(9_000)) + bombs.png_chunk(b"iCCP", bytes(100))
    image = bombs.png(100, 100)

    assert check(image[:33] + texts + image[33:]) == 4 * 100**2 + 8_000_000 + 103_200


class TestLosslessWebp:
    def test_groups_of_codes_take_memory(self) -> None:
        """6 KB each, and 64 bytes more for each of the file's."""
        data = lossless(1024, 1024, side=4, groups=200) + bytes(20_000)
        image = riff((b"VP8L", data))

        assert check(image) == 8 * 1024**2 + 64**2 * 6144 + 64 * (len(data) - 5)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    @pytest.mark.parametrize("method", [0, 4, 6])
    def test_what_libwebp_writes(self, mode: str, method: int) -> None:
        """Its images within the image are read to where the blocks are, 2,600 at most."""
        rows, columns = np.mgrid[:300, :400]
        planes = [(rows * columns // 97) % 256, (rows // 7 * 40) % 256, columns % 256, rows % 256]
        pixels = np.stack(planes, axis=-1).astype(np.uint8)
        picture = Image.fromarray(pixels, "RGBA").convert("RGB" if mode == "P" else mode)
        picture = picture.quantize(16).convert("RGB") if mode == "P" else picture
        file = io.BytesIO()
        picture.save(file, "WEBP", lossless=True, method=method, exif=bytes(2000))

        data = file.getvalue()

        size = webp_size(data)
        image = data[data.index(b"VP8L") + 8 + 5 :]

        assert size is not None
        assert (size.width, size.height, size.is_lossless) == (400, 300, True)
        assert 1 <= _count_blocks(_Bits(image), 400, 300) <= 2600

    def test_what_is_no_image_is_read_to_an_end(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (300, 8000), np.uint8)
        ends = []
        for data in noise:
            try:
                size = webp_size(
                    riff((b"VP8L", lossless(999, 999, side=9, groups=1)[:5] + bytes(data)))
                )
            except TooManyBlocks:
                ends.append(None)
            else:
                assert size is not None
                ends.append(size.codes)

        assert len(set(ends)) > 3


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


BEGINNINGS = {
    "BMP": b"BM" + bytes(16) + struct.pack("<ii", 8, 8) + bytes(53),  # field 8, of 77 bytes
    "RIFF": b"RIFF" + bytes(71),  # field 10, of 73 bytes
}


@pytest.mark.parametrize("kind", ["BMP", "RIFF"])
@pytest.mark.parametrize("between", [b"", b"\x08\x08" * 200_000], ids=["", "many fields"])
def test_what_begins_as_an_image_may_be_an_example(kind: str, between: bytes) -> None:
    """Parsers skip the field that the beginning is to them."""
    begun = BEGINNINGS[kind] + between
    parsed = messages.Example.FromString(begun + bombs.example(PNG))
    assert parsed.features.feature
    with pytest.raises(errors.InvalidArgumentError, match=r"pixels|fields"):
        check(begun + bombs.example(PNG))
    assert check(begun) >= 0


ENCODED = bombs.part(1, bombs.part(1, PNG))
NAME = bombs.part(1, b"image")


def long_varint(value: int) -> bytes:
    """With a bit above the lowest 32, which TensorFlow drops."""
    return bombs.varint(value | 1 << 40)


def long_size(number: int, data: bytes) -> bytes:
    return bombs.varint(number << 3 | 2) + long_varint(len(data)) + data


def beyond(number: int, data: bytes) -> bytes:
    return bombs.varint(number << 3 | 2) + bombs.varint(1 << 30) + data


LENIENT = {
    "message beyond the end": beyond(1, bombs.feature(b"image", PNG)),
    "entry beyond the end": bombs.part(1, beyond(1, NAME + bombs.part(2, ENCODED))),
    "list beyond the end": bombs.part(
        1, bombs.part(1, NAME + bombs.part(2, beyond(1, bombs.part(1, PNG))))
    ),
    "long size of a message": long_size(1, bombs.feature(b"image", PNG)),
    "long size of an entry": bombs.part(1, long_size(1, NAME + bombs.part(2, ENCODED))),
    "long size of a value": bombs.part(1, bombs.part(1, NAME + long_size(2, ENCODED))),
    "long size of an image": bombs.part(
        1, bombs.part(1, NAME + bombs.part(2, bombs.part(1, long_size(1, PNG))))
    ),
    "long tag": bombs.part(
        1,
        bombs.part(1, NAME + long_varint(2 << 3 | 2) + bombs.varint(len(ENCODED)) + ENCODED),
    ),
    "long size of what is skipped": (
        b"\x7a" + long_varint(0) + bombs.part(1, bombs.feature(b"image", PNG))
    ),
    "negative size of what is skipped": (
        b"\x7a" + bombs.varint(1 << 31) + bombs.part(1, bombs.feature(b"image", PNG))
    ),
}


@pytest.mark.parametrize("size", [1 << 31, (1 << 32) - 1, 0x7E000_0000])
@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("begun", [b"", b"BM" + bytes(16) + struct.pack("<ii", 8, 8) + bytes(53)])
def test_sizes_that_end_tensorflow_are_refused(size: int, kind: int, begun: bytes) -> None:
    """It ends by SIGSEGV; of strings, and of numbers where there may be any number of them."""
    values = bombs.part(kind, bombs.varint(1 << 3 | 2) + bombs.varint(size) + bytes(50))
    entry = NAME + bombs.part(2, values)
    for data in (
        bombs.part(1, bombs.part(1, entry)),
        bombs.part(2, bombs.part(1, NAME + bombs.part(2, bombs.part(1, values)))),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="more than 2 GiB, as it says"):
            check(begun + data)


def as_tensorflow_reads(data: bytes) -> bytes | None:
    try:
        features = {"image": tf.io.FixedLenFeature([], tf.string)}
        return bytes(tf.io.parse_example([data], features)["image"].numpy()[0])
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        return None


@pytest.mark.parametrize("data", LENIENT.values(), ids=list(LENIENT))
def test_what_only_tensorflow_reads_is_found(data: bytes) -> None:
    assert as_tensorflow_reads(data) == PNG
    with pytest.raises(errors.InvalidArgumentError, match="pixels"):
        check(data)


def test_what_tensorflow_reads_of_changed_examples_is_found() -> None:
    random = np.random.default_rng(0)
    forms = [bombs.part(1, bombs.feature(b"image", PNG)), *LENIENT.values()]
    read = 0
    for number in range(3000):
        data = bytearray(forms[number % len(forms)])
        head = len(data) - len(PNG)
        for _ in range(random.integers(1, 3)):
            place = int(random.integers(0, head))
            if random.random() < 0.5:
                data[place] = random.integers(0, 256)
            else:
                data[place:place] = random.bytes(int(random.integers(1, 3)))
        try:
            check(bytes(data))
        except errors.InvalidArgumentError as error:
            if "more than 2 GiB" in str(error):
                continue  # TensorFlow would end the process
        value = as_tensorflow_reads(bytes(data))
        if value is not None and value.startswith(PNG[:24]):
            read += 1
            with pytest.raises(errors.InvalidArgumentError, match=r"pixels|decode"):
                check(bytes(data))
    assert read > 100


def test_a_png_of_one_colour_and_one_that_is_only_slow() -> None:
    file = io.BytesIO()
    Image.new("RGB", (1000, 1000), (8, 8, 8)).save(file, "BMP")
    check(file.getvalue())
    for level in (0, 9):
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 4), np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "PNG", compress_level=level)
        check(file.getvalue())
    png = bombs.png(100, 100)
    slow = png[:33] + struct.pack(">I4s", 1 << 18, b"IDAT") + bytes((1 << 18) + 4) + png[33:]
    with pytest.raises(errors.InvalidArgumentError, match="a PNG of more bytes than its pixels"):
        check(slow)
