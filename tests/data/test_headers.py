"""Headers as Pillow reads them, which judge nothing."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.data.headers import Header, read_header
from keras_inception.data.images import Files
from keras_inception.data.preparation.inspection import find_bad_images, inspect


def encoded(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bits_and_alpha_of_pngs(channels: int, dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, channels)).astype(dtype)
    header = read_header(tf.io.encode_png(pixels).numpy())
    assert header is not None and header.format == "PNG"
    kinds = {"16 bits"} if dtype is np.uint16 else set()
    assert set(header.kinds) == kinds | ({"transparent"} if channels == 4 else set())


def test_a_plain_photo_has_nothing_to_tell() -> None:
    for kind in ("JPEG", "PNG", "BMP", "GIF", "WEBP"):
        header = read_header(encoded(Image.new("RGB", (8, 8)), kind))
        assert header == Header(kind, (), exif_rotated=False)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int) -> bytes:
    """The header of a grey picture, with hardly a pixel behind it."""
    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_pillows_warnings_and_errors_do_not_surface() -> None:
    content = huge_png(11_000)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(content))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(huge_png(30_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        header = read_header(content)
        assert header is not None and header.format == "PNG"
        assert read_header(huge_png(30_000)) is None
        assert read_header(b"") is read_header(b"I am text.") is None


def test_tensorflow_judges_where_pillow_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that Pillow refuses is used, and one that only Pillow opens is not."""
    (tmp_path / "a.png").write_bytes(encoded(Image.effect_noise((40, 40), 50), "PNG"))
    (tmp_path / "b.tiff").write_bytes(encoded(Image.new("RGB", (8, 8)), "TIFF"))
    images = Files.of(tmp_path, ["a.png", "b.tiff"])
    assert read_header(images.encoded(1)) == Header("TIFF", (), exif_rotated=False)
    assert [image.index for image in find_bad_images(images)] == [1]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 40 x 40 is over twice as many
    assert read_header(images.encoded(0)) is None
    assert [image.index for image in find_bad_images(images)] == [1]
    seen = inspect(images, skip=frozenset([1]))
    assert not seen.formats and len(seen.digests) == 2
