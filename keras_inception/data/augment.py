"""How training varies its images: a function of the seed, the epoch and the example alone.

So neither the number of workers nor a resumed run changes what the network sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from keras_inception.data.preprocessing import Preprocessing, Tensor, resize, sample


@dataclass(frozen=True)
class Augmentation:
    """How an image is varied. By default it is not.

    Args:
        crop_area: the smallest part of the image's area that a random crop keeps, above 0 and at
            most 1; 1 leaves the evaluation's centre crop in place. 0.08 in arXiv:1409.4842.
        crop_aspect: the widest aspect ratio (width / height) of a crop, at least 1; the narrowest
            is its inverse. 4/3 in arXiv:1409.4842.
        flip: mirror left and right in half of the cases.
    """

    crop_area: float = 1.0
    crop_aspect: float = 4 / 3
    flip: bool = False


def resize_at_random(image: Tensor, seed: Tensor, how: Preprocessing, vary: Augmentation) -> Tensor:
    """A random crop of one image at the network's size.

    Args:
        image: uint8 [height, width, 3].
        seed: int64 [2]; the same seed gives the same crop.

    Returns:
        float32 [size, size, 3], in [0, 255].
    """
    crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    if vary.crop_area < 1:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            bounding_boxes=tf.zeros([1, 0, 4]),
            seed=crop_seed,
            min_object_covered=0.0,
            aspect_ratio_range=(1 / vary.crop_aspect, vary.crop_aspect),
            area_range=(vary.crop_area, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        # A depth of -1 stands for "all channels"; height and width are always given.
        scale = how.size / tf.cast(extent[:2], tf.float32)
        resized = sample(image[tf.newaxis], scale, -tf.cast(begin[:2], tf.float32) * scale, how)[0]
    else:
        resized = resize(image[tf.newaxis], how)[0]
    if vary.flip and tf.random.stateless_uniform([], flip_seed) < 0.5:
        resized = resized[:, ::-1]
    return resized
