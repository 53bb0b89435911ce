"""From an encoded image to the network's input: the only place that decodes, resizes and scales.

Training's evaluation pass, ``evaluate``, ``predict`` and the exported graph all call these
functions, so a served number is a trained number.

How it is done is data, :class:`Preprocessing`, and travels with the weights, the run and the
export. JPEG, PNG, GIF (its first frame), BMP and WebP are read as TensorFlow's decoder reads them:
grey becomes RGB and 16 bits become 8. What else TensorFlow decodes, JPEG XL and animated WebP, is
refused, since a server of another version does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import tensorflow as tf

from inception_serving.formats import decoder_words
from keras_inception.data.exif import turn_upright
from keras_inception.data.types import Tensor

Alpha = Literal["drop", "white", "black"]
ExifOrientation = Literal["ignore", "apply"]

# What `tf.image.resize` calls these kernels, and what the operation beneath it does.
_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos3": "lanczos3"}
_CHOICES = {
    "resize": ("shorter_side", "stretch"),
    "interpolation": tuple(_KERNELS),
    "alpha": get_args(Alpha),
    "exif_orientation": get_args(ExifOrientation),
}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Args:
        size: height and width of the input in pixels.
        resize: ``"shorter_side"`` scales both directions alike, so that the shorter side becomes
            size / crop; ``"stretch"`` scales each direction to size / crop, without regard to
            aspect (TF-Slim).
        crop: the fraction of the resized image's shorter side that the centre crop keeps, above 0
            and at most 1.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"lanczos3"``.
        antialias: widen the kernel when the image shrinks, as Pillow does.
        mean: per channel, red, green, blue, of pixels in [0, 255], subtracted.
        std: per channel, of pixels in [0, 255], divided by. The defaults map [0, 255] to [-1, 1].
        alpha: of transparent PNG and WebP: ``"drop"`` takes the colours that are kept beneath,
            whatever they are; ``"white"`` and ``"black"`` lay the image on such a ground.
        exif_orientation: of JPEG: ``"ignore"`` takes the pixels as they are stored, ``"apply"``
            turns them as a camera says that they are to be seen.

    Raises:
        ValueError: a value breaks its rule.
    """

    size: int
    resize: Literal["shorter_side", "stretch"] = "shorter_side"
    crop: float = 0.875
    interpolation: Literal["bilinear", "bicubic", "lanczos3"] = "bilinear"
    antialias: bool = True
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    alpha: Alpha = "drop"
    exif_orientation: ExifOrientation = "ignore"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"`size` must be at least 1 pixel. Received: size={self.size}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must be above 0 and at most 1. Received: crop={self.crop}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(map(repr, choices))}."
                    f" Received: {name}={value!r}"
                )


# How the images of published weights were made, where not by the defaults, which are Keras's.
_NAMED: dict[str, dict[str, Any]] = {
    "default": {},
    "slim": {"resize": "stretch", "antialias": False},
    "torchvision": {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
    "tf-hub": {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)},
}


def named(name: str, size: int) -> Preprocessing:
    """A preprocessing by whose it is: ``"default"``, ``"slim"``, ``"torchvision"``, ``"tf-hub"``.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in _NAMED:
        choices = ", ".join(map(repr, _NAMED))
        raise ValueError(f"`name` must be one of {choices}. Received: name={name!r}")
    return Preprocessing(size, **_NAMED[name])


def decode(encoded: Tensor, preprocessing: Preprocessing | None = None) -> Tensor:
    """Decode one image: string [] to uint8 [height, width, 3].

    Args:
        preprocessing: says what becomes of alpha and of an EXIF orientation; by default, alpha is
            dropped and the orientation ignored.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no image that is read.
    """
    alpha = preprocessing.alpha if preprocessing else "drop"
    image = tf.cond(
        _begins(encoded, b"RIFF"),
        lambda: _decode_webp(encoded, alpha),
        lambda: _decode_other(encoded, alpha),
    )
    image.set_shape([None, None, 3])
    if preprocessing and preprocessing.exif_orientation == "apply":
        image = turn_upright(image, encoded)
    return image


def _begins(encoded: Tensor, start: bytes) -> Tensor:
    return tf.equal(tf.strings.substr(encoded, 0, len(start)), start)


def _unless(is_refused: Tensor, reason: str, encoded: Tensor) -> Tensor:
    with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(is_refused), [reason])]):
        return tf.identity(encoded)


def _decode_webp(encoded: Tensor, alpha: Alpha) -> Tensor:
    # RIFF, a size, WEBPVP8X, a size, and flags: https://developers.google.com/speed/webp/docs/
    # riff_container#extended_file_format. TensorFlow 2.21 writes beyond its memory when it decodes
    # an animation that has no alpha.
    head = _first_bytes(encoded, 21)
    extended = tf.equal(tf.strings.substr(encoded + bytes(16), 8, 8), b"WEBPVP8X")
    animated = tf.logical_and(extended, tf.bitwise.bitwise_and(head[20], 2) > 0)
    encoded = _unless(animated, "it is an animated WebP", encoded)
    # With alpha or without, since the decoder gives just what the file has.
    pixels = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    if alpha == "drop":
        return pixels[:, :, :3]
    opaque = tf.pad(pixels, [[0, 0], [0, 0], [0, 4 - tf.shape(pixels)[2]]], constant_values=255)
    return _blend(opaque, alpha)


def _decode_other(encoded: Tensor, alpha: Alpha) -> Tensor:
    is_xl = tf.logical_or(
        _begins(encoded, b"\xff\x0a"), _begins(encoded, b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a")
    )
    encoded = _unless(is_xl, "it is JPEG XL, which is not read", encoded)
    is_misread = tf.cond(_begins(encoded, b"BM"), lambda: _is_misread_bmp(encoded), lambda: False)
    encoded = _unless(is_misread, _MISREAD_BMP, encoded)

    def plain() -> Tensor:
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    if alpha == "drop":
        return plain()
    return tf.cond(
        _begins(encoded, b"\x89PNG"),
        lambda: _blend(tf.io.decode_image(encoded, channels=4, expand_animations=False), alpha),
        plain,
    )


_MISREAD_BMP = (
    "it is a BMP of another kind than those that are read (24 or 32 bits a pixel, or 8 of grey, not"
    " compressed); save it as PNG"
)


def _is_misread_bmp(encoded: Tensor) -> Tensor:
    """Whether TensorFlow's decoder takes a BMP's indices for grey, or packed bytes for pixels.

    BITMAPINFOHEADER: bits a pixel at 28, compression at 30 (3 says that masks follow), colours at
    46 (0 for all 256) and these, blue, green, red and a byte, behind the header.
    """
    head = tf.cast(_first_bytes(encoded, 54), tf.int32)
    header, compression = head[14] + 256 * head[15], head[30] + 256 * head[31]
    bits, colours = head[28] + 256 * head[29], head[46] + 256 * head[47]
    colours = tf.where((colours > 0) & (colours < 256), colours, 256)
    begin = tf.minimum(14 + header, tf.strings.length(encoded))
    palette = tf.reshape(_first_bytes(tf.strings.substr(encoded, begin, 1024), 1024), [256, 4])
    grey = tf.cast(tf.range(256)[:, tf.newaxis], tf.uint8)
    is_grey = tf.reduce_all((palette[:, :3] == grey)[:colours])
    is_colour = ((bits == 24) | (bits == 32)) & ((compression == 0) | (compression == 3))
    return (header < 40) | ~(is_colour | ((bits == 8) & (compression == 0) & is_grey))


def _first_bytes(text: Tensor, count: int) -> Tensor:
    """uint8 [count], zeros beyond the end."""
    piece = tf.strings.substr(tf.strings.substr(text, 0, count) + bytes(count), 0, count)
    return tf.ensure_shape(tf.io.decode_raw(piece, tf.uint8), [count])


def _blend(pixels: Tensor, alpha: Alpha) -> Tensor:
    """uint8 [height, width, 4] on a ground of one colour: uint8 [height, width, 3]."""
    ground = 255 if alpha == "white" else 0
    colour, share = tf.cast(pixels[:, :, :3], tf.int32), tf.cast(pixels[:, :, 3:], tf.int32)
    return tf.cast((colour * share + ground * (255 - share) + 127) // 255, tf.uint8)


# How lines begin that say where in TensorFlow an error is, not what it is.
_AROUND = ("Graph execution", "Detected at", "File ", "[[", "0 successful operations")


def decoder_message(error: tf.errors.OpError) -> str:
    """What is wrong with an image, in a line, without TensorFlow's operations around it."""
    message = str(error.message)
    if "Unknown image file format" in message:  # and then those that this TensorFlow knows
        return "it is none of JPEG, PNG, GIF, BMP and WebP"
    refused = re.search(r"(?:Summarized data: b'|assertion failed: \[)([^'\]]+)", message)
    if refused:
        return refused[1]
    lines = [line.strip() for line in message.split("\n")]
    lines = [line for line in lines if line and not line.startswith(_AROUND)]
    line = lines[-1] if lines else "it could not be decoded"
    line = line.rpartition("}} ")[2].split(" [Op:")[0].split(" [[")[0]
    line = re.sub(r"^(Error in user-defined .* iterator: \S+:|\(\d+\) [A-Z_]+:)", "", line)
    return decoder_words(line.strip())


def resize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize and crop: [batch, height, width, 3] of any one size to [batch, size, size, 3].

    The centre crop is sampled without making the rest of the resized image, so a panorama costs
    no more memory than a square. Without antialias, the crop is cut to whole pixels first and then
    resized, by operations that other engines know as well.

    Returns:
        float32, in the range of the input.
    """
    sides = tf.cast(tf.shape(images)[1:3], tf.float32)
    if not preprocessing.antialias:
        kept = preprocessing.crop * (
            tf.reduce_min(sides) * [1.0, 1.0] if preprocessing.resize == "shorter_side" else sides
        )
        kept = tf.maximum(tf.cast(tf.round(kept), tf.int32), 1)
        top, left = tf.unstack((tf.shape(images)[1:3] - kept) // 2)
        images = images[:, top : top + kept[0], left : left + kept[1]]
        return tf.image.resize(
            images, [preprocessing.size, preprocessing.size], preprocessing.interpolation
        )
    resized = preprocessing.size / preprocessing.crop
    scale = resized / (
        tf.reduce_min(sides) * [1.0, 1.0] if preprocessing.resize == "shorter_side" else sides
    )
    return sample(images, scale, (preprocessing.size - scale * sides) / 2, preprocessing)


def sample(
    images: Tensor, scale: Tensor, translation: Tensor, preprocessing: Preprocessing
) -> Tensor:
    """[batch, height, width, 3] scaled about the top left corner, moved, and cut to the input size.

    Args:
        images: uint8 or float32.
        scale: float32 [2], of height and width; 2.0 makes the image twice as large.
        translation: float32 [2], in pixels of the result; positive moves down and right.
        preprocessing: gives the size, interpolation and antialias.

    Returns:
        float32 [batch, size, size, 3], in the range of the input.
    """
    size = [preprocessing.size, preprocessing.size]

    def resampled() -> Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=images,
            size=size,
            scale=scale,
            translation=translation,
            kernel_type=_KERNELS[preprocessing.interpolation],
            antialias=preprocessing.antialias,
        )

    if preprocessing.interpolation == "lanczos3":  # whose zeros are not zero in float32
        images = resampled()
    else:
        # The same bits, and a millisecond that int8 notices: one of the 13 of Inception v3.
        as_they_are = (
            tf.reduce_all(tf.shape(images)[1:3] == size)
            & tf.reduce_all(scale == 1.0)
            & tf.reduce_all(translation == 0.0)
        )
        images = tf.cond(as_they_are, lambda: tf.cast(images, tf.float32), resampled)
    images.set_shape([None, preprocessing.size, preprocessing.size, 3])
    return images


def scale(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels in [0, 255] to the network's range: float32, (pixel - mean) / std per channel."""
    # Times the inverse: some graph optimizers make a division into this and some do not, and the
    # last bit would differ between training and serving.
    mean, inverse = list(preprocessing.mean), [1.0 / std for std in preprocessing.std]
    if len({*zip(mean, inverse, strict=True)}) == 1:
        # One number for three alike: the same bits, ten times as fast.
        mean, inverse = mean[:1], inverse[:1]
    return (tf.cast(images, tf.float32) - mean) * inverse


def preprocess(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Decoded images of one size to the network's input.

    Args:
        images: uint8 [batch, height, width, 3].

    Returns:
        float32 [batch, size, size, 3].
    """
    return scale(resize(images, preprocessing), preprocessing)


def preprocess_encoded(encoded: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Encoded images, of any sizes and formats, to the network's input.

    Args:
        encoded: string [batch].

    Returns:
        float32 [batch, size, size, 3].

    Raises:
        tf.errors.InvalidArgumentError: one of them is no image that is read.
    """
    resized = tf.map_fn(
        lambda one: resize(decode(one, preprocessing)[tf.newaxis], preprocessing)[0],
        encoded,
        fn_output_signature=tf.TensorSpec([preprocessing.size, preprocessing.size, 3], tf.float32),
    )
    return scale(resized, preprocessing)
