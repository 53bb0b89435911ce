"""Random crops: where they are, and that decoding less gives the same pixels."""

import io
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.data.augmentation import crops
from keras_inception.data.augmentation.crops import crop_at_random
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.preprocessing import Preprocessing

VARY = Augmentation(crop_area=0.1)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Strong colours side by side, where a decoder that interpolates them shows."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (40, 53, 3), np.uint8)
    return Image.fromarray(small).resize((212, 160), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> tf.Tensor:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return tf.constant(file.getvalue())


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"subsampling": 2, "progressive": True}),
        ("L", {}),
        ("CMYK", {}),
    ],
    ids=str,
)
def test_decoding_the_crop_gives_the_pixels_of_the_whole(photo, mode: str, options: dict) -> None:
    data = encoded(photo.convert(mode), quality=90, **options)
    whole = tf.io.decode_image(data, channels=3).numpy()
    random = np.random.default_rng(1)
    decode = tf.function(partial(crops._decode_window, ratio=1))
    for _ in range(40):
        height, width = random.integers(1, 161), random.integers(1, 213)
        top, left = random.integers(0, 161 - height), random.integers(0, 213 - width)
        window = tf.constant([top, left, height, width], tf.int32)
        np.testing.assert_array_equal(
            decode(data, tf.constant(212), window), whole[top : top + height, left : left + width]
        )


def test_a_jpeg_a_png_and_pixels_give_the_same_crop(photo) -> None:
    jpeg = encoded(photo, quality=90)
    pixels = tf.io.decode_image(jpeg, channels=3)
    png = encoded(Image.fromarray(pixels.numpy()), "PNG")
    preprocessing = Preprocessing(96)  # no crop is twice as large
    for seed in range(10):
        one, two, three = (
            crop_at_random(image, tf.constant([1, seed]), preprocessing, VARY).numpy()
            for image in (jpeg, png, pixels)
        )
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_large_crops_are_decoded_smaller_and_look_alike() -> None:
    """Half, quarter and eighth size against an antialiased resize of the whole."""
    y, x = np.mgrid[0:320, 0:400] / 320
    smooth = 127 + 100 * np.sin(np.stack([5 * x, 4 * y, 3 * (x + y)], axis=-1))
    jpeg = encoded(Image.fromarray(smooth.astype(np.uint8)), quality=95)
    pixels = tf.io.decode_image(jpeg, channels=3)
    for size in (100, 40, 20, 12):
        preprocessing = Preprocessing(size)
        for seed in range(8):
            fast, slow = (
                crop_at_random(image, tf.constant([2, seed]), preprocessing, VARY).numpy()
                for image in (jpeg, pixels)
            )
            assert fast.shape == (size, size, 3)
            # The window is rounded to whole pixels of the smaller image.
            assert np.abs(fast - slow).mean() < 12
            assert np.corrcoef(fast.ravel(), slow.ravel())[0, 1] > 0.98


def test_a_jpeg_cut_short_fails_wherever_the_crop_is(photo) -> None:
    whole = encoded(photo, quality=90).numpy()
    for cut in (whole[: len(whole) // 2], whole[:-2], whole[:1], b""):
        for seed in range(4):
            with pytest.raises(tf.errors.InvalidArgumentError):
                crop_at_random(tf.constant(cut), tf.constant([1, seed]), Preprocessing(32), VARY)
    # Bytes after the end are nobody's, here and when decoded whole.
    one, other = (
        crop_at_random(tf.constant(data), tf.constant([1, 1]), Preprocessing(96), VARY)
        for data in (whole, whole + b"more")
    )
    np.testing.assert_array_equal(one, other)


def windows(
    augmentation: Augmentation, count: int = 400, shape: tuple[int, int] = (300, 400)
) -> np.ndarray:
    draw = tf.function(lambda seed: crops._window(tf.constant([*shape, 3]), seed, augmentation))
    return np.stack([draw(tf.constant([5, seed])).numpy() for seed in range(count)])


def test_crops_keep_the_part_and_the_shape_that_were_asked_for() -> None:
    top, left, height, width = windows(Augmentation(crop_area=0.08)).T
    area, aspect = height * width / 120_000, width / height
    assert (top >= 0).all() and (top + height <= 300).all()
    assert (left >= 0).all() and (left + width <= 400).all()
    assert 0.078 <= area.min() < 0.12 and area.max() > 0.9
    assert 0.32 < area.mean() < 0.42  # TensorFlow draws sides evenly, not areas
    assert 0.74 <= aspect.min() < 0.8 and 1.25 < aspect.max() <= 1.35
    square = windows(Augmentation(crop_area=0.08, crop_aspect=1.0), 50)
    assert np.abs(square[:, 2] - square[:, 3]).max() <= 1
    nearly_all = windows(Augmentation(crop_area=0.9), 50)
    assert (nearly_all[:, 2] * nearly_all[:, 3]).min() >= 0.89 * 120_000


@pytest.mark.parametrize("evenly", [False, True])
@pytest.mark.parametrize(
    ("shape", "expected"),
    [((90, 160), (0, 20, 90, 120)), ((160, 90), (20, 0, 120, 90)), ((90, 480), (0, 180, 90, 120))],
)
def test_where_the_area_can_not_be_had_it_is_the_middle_at_the_widest_aspect(
    shape: tuple[int, int], expected: tuple[int, ...], evenly: bool
) -> None:
    """Recipe `small` on 16:9 photos: none of 4:3 has 80 %. It was the whole, squashed."""
    found = windows(Augmentation(crop_area=0.8, crop_evenly=evenly), 20, shape)
    np.testing.assert_array_equal(found, [expected] * 20)


def test_areas_are_drawn_evenly_where_that_is_asked_for() -> None:
    evenly = Augmentation(crop_area=0.08, crop_evenly=True)
    top, left, height, width = windows(evenly, 1000, (375, 500)).T
    area, aspect = height * width / 187_500, width / height
    assert (top >= 0).all() and (top + height <= 375).all()
    assert (left >= 0).all() and (left + width <= 500).all()
    shares, _ = np.histogram(area, bins=[0.08, 0.31, 0.54])  # of more, not all aspects fit
    assert shares.min() > 0.75 * shares.max()
    assert area.mean() == pytest.approx(0.43, abs=0.02)  # torchvision's, on this shape
    assert 0.078 <= area.min() < 0.1 and area.max() > 0.95
    assert 0.74 <= aspect.min() < 0.77 and 1.3 < aspect.max() <= 1.35
    square = windows(Augmentation(crop_area=0.08, crop_aspect=1.0, crop_evenly=True), 20)
    np.testing.assert_array_equal(square[:, 2], square[:, 3])


def test_any_resize_uses_four_methods(photo) -> None:
    augmentation = Augmentation(crop_area=0.999, crop_aspect=4 / 3, any_resize=True)
    pixels = tf.constant(np.asarray(photo))
    results = [
        crop_at_random(pixels, tf.constant([1, seed]), Preprocessing(32), augmentation).numpy()
        for seed in range(40)
    ]
    methods = []
    for seed, result in enumerate(results):
        window = crops._window(
            tf.shape(pixels), crops.draw(tf.constant([1, seed]), 2)[0], augmentation
        )
        top, left, height, width = window.numpy()
        crop = tf.cast(pixels[top : top + height, left : left + width], tf.float32)
        matches = [
            name
            for name in ("bilinear", "nearest", "bicubic", "area")
            if np.allclose(np.clip(tf.image.resize(crop, [32, 32], name), 0, 255), result, atol=0.1)
        ]
        assert len(matches) == 1
        methods += matches
    assert set(methods) == {"bilinear", "nearest", "bicubic", "area"}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3"])
def test_what_shrinks_much_is_antialiased(interpolation: str) -> None:
    """Stripes of one pixel: grey if every pixel counts, else black or white."""
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    preprocessing = Preprocessing(20, interpolation=interpolation)
    crop = crop_at_random(
        tf.constant(stripes), tf.constant([1, 1]), preprocessing, Augmentation(0.9)
    )
    assert np.abs(crop[2:-2, 2:-2] - 127.5).max() < 20
