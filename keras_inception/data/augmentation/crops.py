"""Random crops at the network's size, decoding no more of a JPEG than the crop needs."""

from __future__ import annotations

import math
from functools import partial

import tensorflow as tf

from keras_inception.data.augmentation.seeded import draw
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.exif import stored_window, turn_upright, upright_shape
from keras_inception.data.preprocessing import Preprocessing, decode, sample
from keras_inception.data.types import Tensor

# The resize methods that the 2016 augmentation chooses from.
_METHODS = ("bilinear", "nearest", "bicubic", "area")
# What libjpeg divides both sides by, while decoding and for next to nothing.
_RATIOS = (1, 2, 4, 8)


def crop_at_random(
    image: Tensor, seed: Tensor, preprocessing: Preprocessing, augmentation: Augmentation
) -> Tensor:
    """A random crop of one image, resized.

    A JPEG is decoded only within the crop, with the same pixels as if it were decoded whole; and
    where the crop is at least two, four or eight times the network's size, at a half, a quarter
    or an eighth of its size.

    Args:
        image: the bytes of an image file, string [], or uint8 [height, width, 3].
        seed: int32 [2]; the same seed gives the same crop.

    Returns:
        float32 [size, size, 3], in [0, 255].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no image that TensorFlow can decode.
    """
    window_seed, method_seed = draw(seed, 2)
    if image.dtype == tf.string:
        crop = tf.cond(
            whole_jpeg(image),
            lambda: _crop_jpeg(image, window_seed, preprocessing, augmentation),
            lambda: _crop_pixels(decode(image, preprocessing), window_seed, augmentation),
        )
    else:
        crop = _crop_pixels(image, window_seed, augmentation)
    crop.set_shape([None, None, 3])
    if augmentation.any_resize:
        return _resize_any(crop, method_seed, preprocessing)
    return _resize(crop, preprocessing)


def whole_jpeg(encoded: Tensor) -> Tensor:
    """Whether bytes are a JPEG that ends as it should: bool [].

    A crop of one that was cut short could succeed, where the whole image does not.
    """
    begin = tf.strings.substr(encoded, 0, 3)
    end = tf.strings.substr(encoded, tf.maximum(tf.strings.length(encoded) - 2, 0), 2)
    return tf.logical_and(tf.equal(begin, b"\xff\xd8\xff"), tf.equal(end, b"\xff\xd9"))


def _window(shape: Tensor, seed: Tensor, augmentation: Augmentation) -> Tensor:
    """Where to crop: int32 [4], of top, left, height, width.

    Where the image has no part of the area and the aspect asked for, it is the largest of the
    widest (or narrowest) aspect, in the middle, as torchvision has it. TensorFlow would take the
    whole image, which is then squashed.
    """
    aspect = augmentation.crop_aspect
    middle = _middle(shape, aspect)
    if augmentation.crop_evenly:
        return _even_window(shape, seed, augmentation, middle)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=(1 / aspect, aspect),
        area_range=(augmentation.crop_area, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    # It found none where it is the whole, and the whole is not of the aspect.
    whole = tf.reduce_all(tf.equal(extent[:2], shape[:2]))
    return tf.where(whole, middle, tf.concat([begin[:2], extent[:2]], axis=0))


def _middle(shape: Tensor, aspect: float) -> Tensor:
    """The largest window in the middle that is no wider, and no higher, than the aspect."""
    size = tf.cast(shape[:2], tf.float32)
    most = tf.cast(tf.round(tf.reverse(size, [0]) * [aspect, aspect]), tf.int32)
    sides = tf.minimum(shape[:2], most)
    return tf.concat([(shape[:2] - sides) // 2, sides], axis=0)


def _even_window(shape: Tensor, seed: Tensor, augmentation: Augmentation, middle: Tensor) -> Tensor:
    """A window whose area is drawn evenly, and its aspect on a logarithmic scale; int32 [4].

    Of ten draws the first that fits into the image, as torchvision's ``RandomResizedCrop``.
    """
    size_seed, place_seed = draw(seed, 2)
    widest = math.log(augmentation.crop_aspect)
    area, aspect = tf.unstack(
        tf.random.stateless_uniform(
            [10, 2], size_seed, [augmentation.crop_area, -widest], [1.0, max(widest, 1e-6)]
        ),
        axis=1,
    )
    size = tf.cast(shape[:2], tf.float32)
    sides = tf.sqrt((area * tf.reduce_prod(size))[:, tf.newaxis])
    sides *= tf.exp(tf.stack([-aspect, aspect], axis=1) / 2)
    rounded = tf.maximum(tf.cast(tf.round(sides), tf.int32), 1)
    fits = tf.reduce_all(rounded <= shape[:2], axis=1)
    chosen = rounded[tf.argmax(fits, output_type=tf.int32)]
    free = tf.cast(shape[:2] - chosen + 1, tf.float32)
    begins = tf.cast(tf.random.stateless_uniform([2], place_seed) * free, tf.int32)
    return tf.where(tf.reduce_any(fits), tf.concat([begins, chosen], axis=0), middle)


def _crop_pixels(image: Tensor, seed: Tensor, augmentation: Augmentation) -> Tensor:
    top, left, height, width = tf.unstack(_window(tf.shape(image), seed, augmentation))
    return image[top : top + height, left : left + width]


def _crop_jpeg(
    encoded: Tensor, seed: Tensor, preprocessing: Preprocessing, augmentation: Augmentation
) -> Tensor:
    shape = tf.io.extract_jpeg_shape(encoded)
    turned = preprocessing.exif_orientation == "apply"
    if turned:
        upright = upright_shape(shape, encoded)
        window = stored_window(_window(upright, seed, augmentation), upright, encoded)
    else:
        window = _window(shape, seed, augmentation)
    times = tf.reduce_min(window[2:]) // preprocessing.size
    pixels = tf.switch_case(
        tf.reduce_sum(tf.cast(times >= _RATIOS[1:], tf.int32)),
        [partial(_decode_window, encoded, shape[1], window, ratio) for ratio in _RATIOS],
    )
    return turn_upright(pixels, encoded) if turned else pixels


def _decode_window(encoded: Tensor, columns: Tensor, window: Tensor, ratio: int) -> Tensor:
    """The pixels in a window, given in pixels of the whole image, at 1 / ratio of its size."""
    top, left, height, width = tf.unstack(window // ratio)
    # The decoder interpolates colour between columns, and knows no neighbours beyond its window.
    first = tf.maximum(left - 1, 0)
    last = tf.minimum(left + width + 1, (columns + ratio - 1) // ratio)
    pixels = tf.io.decode_and_crop_jpeg(
        encoded, tf.stack([top, first, height, last - first]), channels=3, ratio=ratio
    )
    return pixels[:, left - first : left - first + width]


def _resize(crop: Tensor, preprocessing: Preprocessing) -> Tensor:
    """To the network's size, antialiased where it matters.

    Down to a half, plain bilinear interpolation still uses every pixel, at a quarter of the cost.
    """
    scale = preprocessing.size / tf.cast(tf.shape(crop)[:2], tf.float32)

    def antialiased() -> Tensor:
        return sample(crop[tf.newaxis], scale, tf.zeros([2]), preprocessing)[0]

    if preprocessing.interpolation != "bilinear":
        return antialiased()
    return tf.cond(
        tf.reduce_min(scale) >= 0.5, lambda: _plain(crop, "bilinear", preprocessing), antialiased
    )


def _resize_any(crop: Tensor, seed: Tensor, preprocessing: Preprocessing) -> Tensor:
    """By one of four methods, without antialias: as in TF-Slim's training for arXiv:1512.00567."""
    method = tf.random.stateless_uniform([], seed, 0, len(_METHODS), tf.int32)
    resized = tf.switch_case(
        method, [partial(_plain, crop, name, preprocessing) for name in _METHODS]
    )
    # Bicubic interpolation overshoots.
    return tf.clip_by_value(resized, 0.0, 255.0)


def _plain(crop: Tensor, method: str, preprocessing: Preprocessing) -> Tensor:
    # As floats first: TensorFlow resizes those twice as fast.
    crop = tf.cast(crop, tf.float32)
    return tf.ensure_shape(
        tf.image.resize(crop, [preprocessing.size, preprocessing.size], method),
        [preprocessing.size, preprocessing.size, 3],
    )
