"""From an encoded image to the network's input: the only place that decodes, resizes and scales.

Training's evaluation pass, ``evaluate``, ``predict`` and the exported graph all call these
functions, so a served number is a trained number.

How it is done is data, :class:`Preprocessing`, and travels with the weights, the run and the
export. JPEG, PNG, GIF (its first frame), BMP and WebP are read as TensorFlow's decoder reads them:
grey becomes RGB, 16 bits become 8, alpha is dropped, an EXIF orientation is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from keras_inception.data.types import Tensor

# What `tf.image.resize` calls these kernels, and what the operation beneath it does.
_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos3": "lanczos3"}


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

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"`size` must be at least 1 pixel. Received: size={self.size}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must be above 0 and at most 1. Received: crop={self.crop}")
        if self.resize not in ("shorter_side", "stretch"):
            raise ValueError(
                "`resize` must be one of 'shorter_side', 'stretch'."
                f" Received: resize={self.resize!r}"
            )
        if self.interpolation not in _KERNELS:
            raise ValueError(
                f"`interpolation` must be one of {', '.join(map(repr, _KERNELS))}."
                f" Received: interpolation={self.interpolation!r}"
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


def decode(encoded: Tensor) -> Tensor:
    """Decode one image: string [] to uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no image that TensorFlow can decode.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def decoder_message(error: tf.errors.OpError) -> str:
    """The decoder's own words, without the names of TensorFlow's operations around them."""
    message = str(error.message).split("Detected at node")[0]
    lines = [line for line in message.split("\n") if line.strip() and "Graph execution" not in line]
    line = lines[-1].strip() if lines else "it could not be decoded"
    return line.rpartition("}} ")[2].split(" [Op:")[0].split(" [[")[0].strip()


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
    images = tf.raw_ops.ScaleAndTranslate(
        images=images,
        size=[preprocessing.size, preprocessing.size],
        scale=scale,
        translation=translation,
        kernel_type=_KERNELS[preprocessing.interpolation],
        antialias=preprocessing.antialias,
    )
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
        tf.errors.InvalidArgumentError: one of them is no image that TensorFlow can decode.
    """
    resized = tf.map_fn(
        lambda one: resize(decode(one)[tf.newaxis], preprocessing)[0],
        encoded,
        fn_output_signature=tf.TensorSpec([preprocessing.size, preprocessing.size, 3], tf.float32),
    )
    return scale(resized, preprocessing)
