"""What the exported graph feeds its network is, pixel for pixel, what training evaluated on."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_export.publish import export_saved_model
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files
from keras_inception.data.pipeline import evaluation_batches
from keras_inception.data.preprocessing import Preprocessing


def photo(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    bands = [np.sin(x / 9 + band) * np.cos(y / (5 + band)) * 127 + 128 for band in range(3)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def clear() -> Image.Image:
    """More and more transparent from left to right."""
    image = photo(31, 29)
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
    return image


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(40, 70), "JPEG", exif=exif)


def sixteen_bits() -> bytes:
    values = np.arange(30 * 50, dtype=np.uint16).reshape(30, 50) * 40
    return encoded(Image.fromarray(values), "PNG")


IMAGES = {
    **{
        f"jpeg_{subsampling}_{quality}": encoded(
            photo(61, 83), "JPEG", subsampling=subsampling, quality=quality
        )
        for subsampling in (0, 1, 2)
        for quality in (10, 75, 100)
    },
    "jpeg_progressive": encoded(photo(90, 50), "JPEG", progressive=True),
    "jpeg_grey": encoded(photo(64, 64).convert("L"), "JPEG"),
    "jpeg_cmyk": encoded(photo(64, 64).convert("CMYK"), "JPEG"),
    "png_alpha": encoded(photo(33, 47).convert("RGBA"), "PNG"),
    "png_grey": encoded(photo(33, 47).convert("L"), "PNG"),
    "png_grey_alpha": encoded(photo(33, 47).convert("LA"), "PNG"),
    "png_palette": encoded(photo(33, 47).convert("P"), "PNG"),
    "png_16_bits": sixteen_bits(),
    "png_1_bit": encoded(photo(33, 47).convert("1"), "PNG"),
    "gif": encoded(photo(40, 40), "GIF"),
    "gif_animated": encoded(
        photo(40, 40), "GIF", save_all=True, append_images=[photo(40, 41).crop((1, 0, 41, 40))]
    ),
    "bmp": encoded(photo(31, 29), "BMP"),
    "webp": encoded(photo(31, 29), "WEBP"),
    "webp_alpha": encoded(clear(), "WEBP"),
    "webp_lossless_alpha": encoded(clear(), "WEBP", lossless=True, exact=True),
    "png_clear": encoded(clear(), "PNG"),
    **{f"exif_{orientation}": turned(orientation) for orientation in range(1, 9)},
    "one_pixel": encoded(photo(1, 1), "PNG"),
    "one_row": encoded(photo(1, 500), "PNG"),
    "one_column": encoded(photo(500, 1), "PNG"),
    "large": encoded(photo(4000, 6000), "JPEG", quality=85),
}


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(size=24),
        Preprocessing(size=24, resize="stretch", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
        Preprocessing(size=24, crop=1.0, interpolation="bicubic", antialias=False),
        Preprocessing(size=24, alpha="white", exif_orientation="apply"),
        Preprocessing(size=24, alpha="black"),
    ],
    ids=["default", "stretch", "no_antialias", "white_upright", "black"],
)
def test_the_graph_sees_the_pixels_that_training_evaluated(
    preprocessing: Preprocessing, tmp_path: Path
) -> None:
    """A network whose features are its pixels; the whole batch of sizes and formats at once."""
    image = keras.Input((24, 24, 3))
    pixels = keras.layers.Flatten()(image)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(pixels))
    saved_model = export_saved_model(
        model,
        tmp_path / "models",
        "pixels",
        labels=("a", "b"),
        preprocessing=preprocessing,
        log=lambda line: None,
    )
    paths = []
    for name, content in IMAGES.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    examples = Examples(("a", "b"), Files.of(tmp_path, IMAGES), np.zeros(len(paths), np.int64))
    evaluated = np.concatenate(
        [batch for batch, _ in evaluation_batches(examples, preprocessing, 7)]
    )
    signature = tf.saved_model.load(str(saved_model)).signatures["features"]
    served = signature(image_bytes=tf.constant(list(IMAGES.values())))["features"].numpy()
    for name, one, other in zip(IMAGES, served, evaluated.reshape(len(paths), -1), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert np.ptp(served[0]) > 0.5, "the images are not blank"


def test_an_exif_orientation_is_ignored() -> None:
    from keras_inception.data.preprocessing import decode

    straight = decode(IMAGES["exif_1"]).numpy()
    for orientation in range(2, 9):
        np.testing.assert_array_equal(decode(IMAGES[f"exif_{orientation}"]).numpy(), straight)
