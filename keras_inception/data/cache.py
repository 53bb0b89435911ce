"""A cache of decoded images in memory, where they fit: a second epoch decodes none again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_inception.data.augmentation.crops import whole_jpeg
from keras_inception.data.images import Images
from keras_inception.data.preprocessing import Preprocessing, decode
from keras_inception.data.types import Tensor

# How many images tell the size of all.
_SAMPLE = 50


def cache_limit(megabytes: int | None) -> int:
    """How many bytes a cache may hold: ``None`` for a quarter of the free memory, at most 2 GB."""
    if megabytes is not None:
        return megabytes * 1_000_000
    return min(_free_memory() // 4, 2_000_000_000)


def decoded_bytes(images: Images, below: int | None) -> int:
    """An estimate of what :func:`decoded_once` would keep, from a sample of the images."""
    count = len(images)
    sample = np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int)
    return round(count * np.mean([_bytes(images, index, below) for index in sample.tolist()]))


def decoded_once(
    read: Callable[[Tensor], Tensor],
    preprocessing: Preprocessing,
    below: int | None,
    use: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that keeps the pixels of each image it has decoded.

    Args:
        read: from an image's index, int64 [], to the bytes of its file, string [].
        preprocessing: says how they are decoded.
        below: JPEGs with both sides of at least so many pixels are not kept, since ``use`` may
            decode them at a fraction of their size; ``None`` keeps all.
        use: from an image, bytes or uint8 pixels, and a seed to what is wanted of it.

    Returns:
        From an index and a seed to what ``use`` makes of the image, the same every time.
    """
    # Not by tf.data's cache, which knows one order only.
    kept = tf.lookup.experimental.MutableHashTable(tf.int64, tf.string, default_value="")

    def first(index: Tensor, seed: Tensor) -> Tensor:
        encoded = read(index)

        def keep() -> Tensor:
            pixels = decode(encoded, preprocessing)
            kept.insert(index, tf.io.serialize_tensor(pixels))
            return use(pixels, seed)

        return tf.cond(_is_kept(encoded, below), keep, lambda: use(encoded, seed))

    def again(serialized: Tensor, seed: Tensor) -> Tensor:
        return use(tf.ensure_shape(tf.io.parse_tensor(serialized, tf.uint8), [None, None, 3]), seed)

    def recall(index: Tensor, seed: Tensor) -> Tensor:
        serialized = kept.lookup(index)
        return tf.cond(
            tf.equal(serialized, ""),
            lambda: first(index, seed),
            lambda: again(serialized, seed),
        )

    return recall


def _is_kept(encoded: Tensor, below: int | None) -> Tensor:
    if below is None:
        return tf.constant(True)
    return tf.cond(
        whole_jpeg(encoded),
        lambda: tf.reduce_min(tf.io.extract_jpeg_shape(encoded)[:2]) < below,
        lambda: True,
    )


def _bytes(images: Images, index: int, below: int | None) -> int:
    try:
        encoded = images.encoded(index)
        return int(tf.size(decode(encoded))) if _is_kept(encoded, below) else 0
    except (OSError, tf.errors.OpError):
        return 0  # what can't be read is not kept


def _free_memory() -> int:
    """Bytes to be had without swapping; 0 where the system does not say."""
    free = []
    host, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
    if host.is_file():
        fields = dict(line.split(":", 1) for line in host.read_text("ascii").splitlines())
        free.append(int(fields["MemAvailable"].split()[0]) * 1024)
    # A container may use less than its host has.
    if (group / "memory.max").is_file():
        limit = (group / "memory.max").read_text("ascii").strip()
        if limit != "max":
            free.append(int(limit) - int((group / "memory.current").read_text("ascii")))
    return max(min(free, default=0), 0)
