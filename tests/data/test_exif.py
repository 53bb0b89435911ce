"""EXIF orientation, read and applied in the graph as Pillow does."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_inception.data.augmentation.crops import crop_at_random
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.exif import read_orientation
from keras_inception.data.preprocessing import Preprocessing, decode

UPRIGHT = Preprocessing(24, exif_orientation="apply")


def photo(height: int = 41, width: int = 70) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width] * 70 / width
    bands = [np.sin(x / 9 + band) * np.cos(y / (5 + band)) * 127 + 128 for band in range(3)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def jpeg(orientation: int, endian: str = "<", before: bytes = b"", **size: int) -> bytes:
    """A photo with an orientation; ``before`` stands before its EXIF."""
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x0112], exif[0x0131] = "A maker", orientation, "A program"
    file = io.BytesIO()
    photo(**size).save(file, "JPEG", exif=exif.tobytes())
    content = file.getvalue()
    return content[:2] + before + content[2:]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("endian", "<>")
def test_images_are_turned_as_pillow_turns_them(orientation: int, endian: str) -> None:
    content = jpeg(orientation, endian)
    stored = Image.fromarray(decode(content).numpy())
    stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(decode(content, UPRIGHT).numpy(), expected)
    turn = tf.function(lambda encoded: decode(encoded, UPRIGHT))
    np.testing.assert_array_equal(turn(tf.constant(content)).numpy(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ratio", [1, 2])
def test_a_random_crop_is_one_of_the_upright_image(orientation: int, ratio: int) -> None:
    """Of bytes, of which only the crop is decoded, as of the pixels of the whole."""
    content = jpeg(orientation, height=41 * ratio, width=70 * ratio)
    for area in (0.1, 0.9):
        for seed in range(3):
            crop = crop_at_random(
                tf.constant(content), tf.constant([seed, 1]), UPRIGHT, Augmentation(crop_area=area)
            )
            whole = crop_at_random(
                decode(content, UPRIGHT),
                tf.constant([seed, 1]),
                UPRIGHT,
                Augmentation(crop_area=area),
            )
            # At half its size libjpeg decodes to the mean of four pixels, or near it; turned
            # wrongly, the difference is several times as much.
            assert np.abs(crop - whole).mean() < (1e-4 if ratio == 1 else 8)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


def test_other_segments_may_stand_before() -> None:
    before = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + segment(0xFE, bytes(5000))
    assert int(read_orientation(tf.constant(jpeg(6, before=before + b"\xff\xff")))) == 6


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"\xff\xd8", b"\xff\xd8" + b"\xff" * 500, b"\x89PNG\r\n\x1a\n",
     b"\xff\xd8" + segment(0xE1, b"Exif\0\0"),
     b"\xff\xd8" + segment(0xE1, b"Exif\0\0nonsense that is no TIFF"),
     b"\xff\xd8" + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff\xff\xff"),
     b"\xff\xd8" + segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\3\0\0\0"),
     b"\xff\xd8" + segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\x01\x12\0\3\0\0\0\1\0\6\0\0"),
     b"\xff\xd8" + segment(0xDA, b"x") + segment(0xE1, b"Exif\0\0II*\0"),
     b"\xff\xd8\xff\xe1\0\0"],
)  # fmt: skip
def test_damaged_exif_is_no_orientation(content: bytes) -> None:
    assert int(read_orientation(tf.constant(content))) == 1
