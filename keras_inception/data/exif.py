"""EXIF orientation of JPEGs, read and applied in the graph.

JPEG: ITU-T T.81, annex B: segments of a marker and a length. EXIF: CIPA DC-008, an APP1 segment
that holds a TIFF file, whose first directory has the tag 0x0112, from 1 to 8.
"""

from __future__ import annotations

import tensorflow as tf

from keras_inception.data.types import Tensor

_ORIENTATION = 0x0112
_APP1, _START_OF_SCAN, _FILL = 0xE1, 0xDA, 0xFF
_EXIF = list(b"Exif\0\0")
_MOST_SEGMENTS, _MOST_ENTRIES = 100, 200
# To be seen upright, an image is first transposed from orientation 5 on, and then turned over:
_LEFT_RIGHT = (2, 3, 6, 7)
_TOP_BOTTOM = (3, 4, 7, 8)


def turn_upright(image: Tensor, encoded: Tensor) -> Tensor:
    """An image as its EXIF orientation says that it is to be seen.

    Args:
        image: [height, width, 3], the pixels as they are stored, or a part of them.
        encoded: the bytes of its file, string []; if it is no JPEG, nothing is changed.
    """
    orientation = read_orientation(encoded)

    def turned() -> Tensor:
        upright = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        mirrored = tf.where(_is_one_of(orientation, _LEFT_RIGHT), -1, 1)
        flipped = tf.where(_is_one_of(orientation, _TOP_BOTTOM), -1, 1)
        return upright[::flipped, ::mirrored]

    return tf.ensure_shape(tf.cond(orientation > 1, turned, lambda: image), [None, None, 3])


def upright_shape(shape: Tensor, encoded: Tensor) -> Tensor:
    """The shape of the upright image: int32 [3], as the shape of the stored one is."""
    swapped = tf.gather(shape, [1, 0, 2])
    return tf.where(read_orientation(encoded) >= 5, swapped, shape)


def stored_window(window: Tensor, shape: Tensor, encoded: Tensor) -> Tensor:
    """Where a part of the upright image lies among the pixels as they are stored.

    Args:
        window: int32 [4], of top, left, height, width in the upright image.
        shape: int32 [3], of the upright image.

    Returns:
        int32 [4], the same in the stored image.
    """
    orientation = read_orientation(encoded)
    top, left, height, width = tf.unstack(window)
    left = tf.where(_is_one_of(orientation, _LEFT_RIGHT), shape[1] - left - width, left)
    top = tf.where(_is_one_of(orientation, _TOP_BOTTOM), shape[0] - top - height, top)
    there = tf.stack([top, left, height, width])
    return tf.where(orientation >= 5, tf.gather(there, [1, 0, 3, 2]), there)


def read_orientation(encoded: Tensor) -> Tensor:
    """The orientation in a JPEG's EXIF, int32 [] from 1 to 8; 1 (upright) where there is none."""
    return tf.cond(
        tf.equal(tf.strings.substr(encoded, 0, 2), b"\xff\xd8"),
        lambda: _orientation_in(_exif_of(encoded)),
        lambda: 1,
    )


def _is_one_of(orientation: Tensor, some: tuple[int, ...]) -> Tensor:
    return tf.reduce_any(orientation == tf.constant(some))


def _bytes(text: Tensor, begin: Tensor, count: int) -> Tensor:
    """So many bytes from a place on, zeros beyond the end: int32 [count]."""
    begin = tf.minimum(begin, tf.strings.length(text))
    piece = tf.strings.substr(text, begin, count) + bytes(count)
    numbers = tf.io.decode_raw(tf.strings.substr(piece, 0, count), tf.uint8)
    return tf.cast(tf.ensure_shape(numbers, [count]), tf.int32)


def _exif_of(encoded: Tensor) -> Tensor:
    """The TIFF file in a JPEG's EXIF segment: string [], empty if there is none."""

    def is_exif(segment: Tensor) -> Tensor:
        return tf.logical_and(segment[1] == _APP1, tf.reduce_all(segment[4:] == _EXIF))

    def goes_on(place: Tensor, segment: Tensor) -> Tensor:
        is_marker = tf.logical_and(segment[0] == _FILL, segment[1] != _START_OF_SCAN)
        return tf.logical_and(is_marker, tf.logical_not(is_exif(segment)))

    def following(place: Tensor, segment: Tensor) -> list[Tensor]:
        length = 2 + segment[2] * 256 + segment[3]
        place += tf.where(segment[1] == _FILL, 1, length)
        return [place, _bytes(encoded, place, 10)]

    place, segment = tf.while_loop(
        goes_on,
        following,
        [tf.constant(2), _bytes(encoded, tf.constant(2), 10)],
        maximum_iterations=_MOST_SEGMENTS,
    )
    length = tf.where(is_exif(segment), segment[2] * 256 + segment[3] - 8, 0)
    begin = tf.minimum(place + 10, tf.strings.length(encoded))
    return tf.strings.substr(encoded, begin, tf.maximum(length, 0))


def _orientation_in(tiff: Tensor) -> Tensor:
    little = tf.equal(tf.strings.substr(tiff, 0, 2), b"II")

    def number(digits: Tensor) -> Tensor:
        """Bytes in the file's order: int64 [..., bytes] to int64 [...]."""
        digits = tf.where(little, digits[..., ::-1], digits)
        places = 256 ** tf.range(digits.shape[-1] - 1, -1, -1, tf.int64)
        return tf.reduce_sum(digits * places, axis=-1)

    def read(begin: Tensor, count: int) -> Tensor:
        return number(tf.cast(_bytes(tiff, begin, count), tf.int64))

    size = tf.strings.length(tiff)
    directory = tf.cast(tf.minimum(read(tf.constant(4), 4), tf.cast(size, tf.int64)), tf.int32)
    count = tf.minimum(read(directory, 2), _MOST_ENTRIES)
    entries = tf.cast(_bytes(tiff, directory + 2, 12 * _MOST_ENTRIES), tf.int64)
    entries = tf.reshape(entries, [_MOST_ENTRIES, 12])
    # A tag, its type, how many values, and the value itself at the left: of SHORT (3) in two bytes.
    is_it = tf.logical_and(number(entries[:, :2]) == _ORIENTATION, number(entries[:, 2:4]) == 3)
    is_it = tf.logical_and(is_it, tf.range(_MOST_ENTRIES, dtype=tf.int64) < count)
    value = tf.reduce_max(tf.where(is_it, number(entries[:, 8:10]), 0))
    return tf.cast(tf.where(tf.logical_and(value >= 1, value <= 8), value, 1), tf.int32)
