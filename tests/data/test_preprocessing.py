"""One definition of what the network sees."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.data.preprocessing import (
    Preprocessing,
    decode,
    decoder_message,
    preprocess,
    preprocess_encoded,
    resize,
    sample,
    scale,
)

WEBP = {"lossless": True, "exact": True}  # as they are, beneath alpha too


def encode(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_an_image_of_the_right_size_is_only_scaled() -> None:
    pixels = noise(32, 32)
    preprocessing = Preprocessing(size=32, crop=1.0)
    result = preprocess(pixels[np.newaxis], preprocessing).numpy()[0]
    np.testing.assert_allclose(result, pixels / 127.5 - 1, atol=1e-6)
    assert result.dtype == np.float32


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_an_image_of_the_right_size_keeps_its_bits(interpolation: str) -> None:
    pixels = noise(32, 32)
    preprocessing = Preprocessing(size=32, crop=1.0, interpolation=interpolation)
    assert (resize(pixels[np.newaxis], preprocessing).numpy()[0] == pixels).all()


def test_an_image_of_the_right_size_is_moved_and_scaled_all_the_same() -> None:
    pixels, preprocessing = noise(32, 32), Preprocessing(size=32)

    def sampled(scale: tuple[float, float], translation: tuple[float, float]) -> np.ndarray:
        values = tf.constant(scale), tf.constant(translation)
        return sample(pixels[np.newaxis], *values, preprocessing).numpy()[0]

    moved = sampled((1.0, 1.0), (3.0, -2.0))
    np.testing.assert_allclose(moved[3:, :-2], pixels[:-3, 2:], atol=1e-4)
    enlarged = sampled((2.0, 1.0), (0.0, 0.0))
    np.testing.assert_allclose(enlarged[1], pixels[0] * 0.75 + pixels[1] * 0.25, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (300, 200), (97, 411), (40, 60)])
def test_resize_agrees_with_pillow(height: int, width: int) -> None:
    """Pillow resizes the same region with an antialiasing triangle of its own."""
    pixels = noise(height, width)
    preprocessing = Preprocessing(size=64, crop=0.875)
    result = resize(pixels[np.newaxis], preprocessing).numpy()[0]
    side = 0.875 * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    expected = Image.fromarray(pixels).resize(
        (64, 64), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    # Pillow does not look beyond the box, and rounds: compare inside.
    inside = (slice(2, -2), slice(2, -2))
    difference = np.abs(result - np.asarray(expected, np.float32))[inside]
    assert difference.max() < 1.5
    assert difference.mean() < 0.5


def test_stretch_takes_the_central_part_of_each_direction() -> None:
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[10:70, 20:140] = 200  # the central 75 %
    preprocessing = Preprocessing(size=30, resize="stretch", crop=0.75, antialias=False)
    result = resize(pixels[np.newaxis], preprocessing).numpy()[0]
    assert (result[1:-1, 1:-1] == 200).all()


def test_a_panorama_costs_no_more_than_a_square() -> None:
    preprocessing = Preprocessing(size=299)
    result = resize(np.full((1, 1, 20000, 3), 7, np.uint8), preprocessing)
    assert result.shape == (1, 299, 299, 3)
    np.testing.assert_allclose(result, 7.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGB", "GIF"),
     ("RGB", "BMP")],
)  # fmt: skip
def test_formats_become_rgb(mode: str, kind: str) -> None:
    image = Image.fromarray(noise(20, 31)).convert(mode)
    result = decode(encode(image, kind)).numpy()
    assert (result.shape, result.dtype) == ((20, 31, 3), np.uint8)
    if kind != "JPEG" and mode != "RGB":
        np.testing.assert_array_equal(result, np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_and_nothing_blended() -> None:
    pixels = np.dstack([noise(8, 8), np.zeros((8, 8), np.uint8)])
    result = decode(encode(Image.fromarray(pixels))).numpy()
    np.testing.assert_array_equal(result, pixels[..., :3])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("alpha", ["drop", "white", "black"])
def test_alpha_is_dropped_or_laid_on_a_ground_as_pillow_does(kind: str, alpha: str) -> None:
    pixels = np.dstack([noise(40, 48), noise(40, 48)[..., 0]])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **WEBP if kind == "WEBP" else {})
    result = decode(file.getvalue(), Preprocessing(24, alpha=alpha)).numpy()
    expected = pixels[..., :3]
    if alpha != "drop":
        ground = Image.new("RGBA", (48, 40), alpha)
        expected = np.asarray(Image.alpha_composite(ground, Image.fromarray(pixels)))[..., :3]
    np.testing.assert_array_equal(result, expected)
    opaque = Image.fromarray(pixels[..., :3])
    for other in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        plain = encode(opaque, other)
        np.testing.assert_array_equal(decode(plain, Preprocessing(24, alpha=alpha)), decode(plain))


def test_the_alpha_of_a_bmp_means_nothing() -> None:
    pixels = np.dstack([noise(8, 8), np.zeros((8, 8), np.uint8)])
    content = encode(Image.fromarray(pixels), "BMP")
    result = decode(content, Preprocessing(24, alpha="white")).numpy()
    np.testing.assert_array_equal(result, pixels[..., :3])


@pytest.mark.parametrize("wrap", [lambda function: function, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_what_other_tensorflows_do_not_decode_is_refused(mode: str, wrap: Callable) -> None:
    """JPEG XL, of which this TensorFlow has a decoder, and animations, which break its memory."""
    # 8 x 8 pixels of one red, lossless, by libjxl.
    xl = base64.b64decode("/wpBQCQIAAEAUABLGIsVANSIQRfjHUBMmKICAAXhVA==")
    frames = [Image.fromarray(noise(40, 48)[..., [0, 1, 2, 0][: len(mode)]]) for _ in range(3)]
    frames[0].putpixel((0, 0), (1,) * len(mode))
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], **WEBP)
    for content, reason in (
        (xl, "it is JPEG XL, which is not read"),
        (file.getvalue(), "it is an animated WebP"),
        (b"text", "it is none of JPEG, PNG, GIF, BMP and WebP"),
        (b"RIFF\x10\0\0\0WEBP", "it is none of JPEG, PNG, GIF, BMP and WebP"),
        (b"", "Input is empty."),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            wrap(decode)(tf.constant(content))
        assert decoder_message(caught.value).startswith(reason)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WebP", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_damaged_image_is_called_that(kind: str, share: float) -> None:
    """Whatever words TensorFlow's decoder of its format has."""
    file = io.BytesIO()
    Image.fromarray(noise(60, 60)).save(file, kind)
    whole = file.getvalue()
    decode(tf.constant(whole))
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode(tf.constant(whole[: max(30, int(len(whole) * share))]))
    said = decoder_message(caught.value)
    assert said == f"it is a damaged {kind}, or one that is cut off; copy it again"


def test_encoded_images_of_any_sizes_make_a_batch_equal_to_one_by_one() -> None:
    preprocessing = Preprocessing(size=48)
    images = [noise(50, 60), noise(200, 33), noise(48, 48)]
    encoded = [encode(Image.fromarray(pixels)) for pixels in images]
    batch = preprocess_encoded(tf.constant(encoded), preprocessing).numpy()
    for row, pixels in zip(batch, images, strict=True):
        np.testing.assert_array_equal(row, preprocess(pixels[np.newaxis], preprocessing).numpy()[0])


def test_mean_and_std_are_per_channel() -> None:
    preprocessing = Preprocessing(size=4, mean=(0.0, 10.0, 20.0), std=(255.0, 1.0, 2.0))
    result = scale(np.full((1, 4, 4, 3), 30, np.uint8), preprocessing).numpy()
    np.testing.assert_allclose(result[0, 0, 0], [30 / 255, 20, 5], rtol=1e-6)


def test_bytes_that_are_no_image_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
        decode(b"not an image")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size": 0}, "size=0"), ({"size": 9, "crop": 1.5}, "crop=1.5"),
     ({"size": 9, "resize": "fit"}, "'shorter_side', 'stretch'"),
     ({"size": 9, "alpha": "grey"}, "'drop', 'white', 'black'"),
     ({"size": 9, "exif_orientation": "turn"}, "'ignore', 'apply'"),
     ({"size": 9, "interpolation": "nearest"}, "'bilinear', 'bicubic', 'lanczos3'")],
)  # fmt: skip
def test_settings_that_break_their_rule_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessing(**settings)
