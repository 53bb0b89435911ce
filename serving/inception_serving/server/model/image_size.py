"""Limits of images: what one takes to decode, read from its header before anything is decoded.

A PNG of some kilobytes can inflate to gigabytes; its header says so. Each format is read as the
decoder behind `tf.io.decode_image` reads it, and what can't be sized so is refused: a decoder may
make something of it that its size was to forbid.

Sources: libjpeg-turbo's jdmarker.c, libpng's pngread.c, giflib's dgif_lib.c and tensorflow's
core/lib/gif/gif_io.cc, which makes every frame as large as the largest; `webp` has WebP's.
"""

from __future__ import annotations

import heapq
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from inception_serving import errors
from inception_serving.server.model.webp import TooManyBlocks, webp_size
from inception_serving.server.received.pauses import let_others_run
from inception_serving.server.received.wire import MAX_FIELDS, Negative, Steps, find_bytes
from inception_serving.tensors import Tensor

_PNG, _JPEG, _GIF, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM"
# JPEG XL, bare and in its box; TensorFlow may read it or not.
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a")
_STARTS = (_PNG, _JPEG, _GIF, _BMP, b"RIFF", *_JPEG_XL)
# JPEG's and GIF's first byte is of no kind of field, and JPEG XL is refused.
_CAN_BE_MESSAGES = (_PNG, _BMP, b"RIFF")
# Of a PNG no writer makes more: 16 bits a channel, and a byte a row, for the filter.
_MOST_PNG_BYTES_PER_PIXEL, _MOST_PNG_BYTES_BESIDE = 8, 1 << 17

# `tf.map_fn` works on ten at a time, but each in a thread, and there is one for each processor;
# those that have been decoded may wait to be resized.
DECODED_AT_A_TIME = min(10, 2 * (os.cpu_count() or 5))
# jpegtran and mozjpeg write about a dozen; each one is a walk over the whole image.
_MOST_SCANS = 64
_MOST_SEGMENTS = 4096
# Bytes a pixel while it is decoded: the pixels, with alpha; and, where a JPEG comes in several
# scans, or in part of one, the coefficients of each component.
_PIXEL_BYTES, _COEFFICIENT_BYTES = 4, 2
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
# Texts of a PNG, which libpng inflates and keeps, each to so much at most (pnglibconf.h,
# PNG_USER_CHUNK_MALLOC_MAX); zlib's best is 1,032 to one.
_PNG_TEXTS = (b"zTXt", b"iTXt", b"iCCP")
_MOST_PNG_TEXTS, _MOST_TEXT, _INFLATED = 16, 8_000_000, 1032
# Bytes in a pixel of a float32 image.
_FLOAT_PIXEL_BYTES = 12
_STRING = np.dtype(object)

# The fields that lead to the strings, or packed numbers, in a tf.Example, and in a
# tf.SequenceExample's lists; its context is where an Example has its features. Walked, and not
# parsed: a parser refuses a name that is no UTF-8 and keeps one of two features of a name, where
# TensorFlow reads on.
_VALUES = ((2,), (1, 2, 3), (1,))
_IN_EXAMPLE = (((1,), (1,), *_VALUES), ((2,), (1,), (2,), (1,), *_VALUES[1:]))

# Some milliseconds of a search, in which nothing else runs.
_SEARCHED_AT_ONCE = 1 << 17
_COMPARED_AT_ONCE = 1 << 12  # strings
_PARTS_AT_ONCE = 256  # segments, or blocks
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7\x01])", re.DOTALL)


class _Unsizable(ValueError):
    """An image whose size can't be read; the text says of what kind."""


@dataclass
class ImageSize:
    """What an encoded image becomes.

    Attributes:
        pixels: of all its frames, each as large as the largest.
        width, height: of a frame.
        pixel_bytes: memory a pixel while it is decoded.
        more_bytes: memory beside the pixels.
    """

    width: int
    height: int
    frames: int = 1
    pixel_bytes: int = _PIXEL_BYTES
    more_bytes: int = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height * self.frames


def check_images(
    inputs: Mapping[str, Tensor], limit: int, row_bytes: int = 0, *, in_examples: bool = True
) -> int:
    """Check every string that begins as an image does, or is a tf.Example that holds some.

    Args:
        limit: the most pixels of an image.
        row_bytes: see `footprint.row_bytes`.
        in_examples: whether strings may be read as examples.

    Returns:
        the bytes of memory that decoding and resizing them takes at a time.

    Raises:
        errors.InvalidArgumentError: one of them has more pixels, or can't be sized.
    """
    steps = Steps(MAX_FIELDS + 4 * sum(tensor.size for tensor in inputs.values()))
    largest: list[int] = []
    for name, tensor in inputs.items():
        if tensor.dtype != _STRING:
            continue
        for index, data, times in _runs(tensor):
            try:
                for size in find_images(data, steps, in_examples=in_examples):
                    if size.pixels > limit:
                        raise errors.InvalidArgumentError(
                            f"Input {name}, element {index}: an image of {size.pixels} pixels; "
                            f"this server decodes {limit} at most."
                        )
                    taken = size.pixels * size.pixel_bytes + size.more_bytes
                    taken += resize_bytes(size.width, size.height, row_bytes)
                    for _ in range(min(times, DECODED_AT_A_TIME)):
                        (heapq.heappush if len(largest) < DECODED_AT_A_TIME else heapq.heappushpop)(
                            largest, taken
                        )
            except _Unsizable as error:
                raise errors.InvalidArgumentError(
                    f"Input {name}, element {index}: {error}, which this server does not decode."
                ) from None
    return sum(largest)


def _runs(tensor: Tensor) -> Iterator[tuple[int, bytes, int]]:
    """Each string, with its place, and how often it comes one after the other: a message may say
    the last once for a million."""
    flat = tensor.ravel()
    begin = 0
    while begin < len(flat):
        first, end, compared = flat[begin], begin + 1, 1
        while end < len(flat):
            others = flat[end : end + compared].tolist()
            same = next((n for n, other in enumerate(others) if other is not first), len(others))
            end += same
            if same < len(others):
                break
            compared = min(2 * compared, _COMPARED_AT_ONCE)
            if compared == _COMPARED_AT_ONCE:
                let_others_run()
        yield begin, first, end - begin
        begin = end


def resize_bytes(width: int, height: int, row_bytes: int) -> int:
    """The bytes of an image on its way to a network's size.

    TensorFlow resizes one side after the other, so that an image of one row of pixels is, on the
    way, as high as the network wants and as wide as it came. What the network wants is not known;
    an image of that size is one of the tensors that `row_bytes` is the largest of.
    """
    side = (row_bytes / _FLOAT_PIXEL_BYTES) ** 0.5
    return int(max(width, height) * side * _FLOAT_PIXEL_BYTES)


def find_images(data: bytes, steps: Steps, *, in_examples: bool = True) -> Iterator[ImageSize]:
    """The image that a string is, or those that it holds as a tf.Example or tf.SequenceExample.

    Args:
        in_examples: see `check_images`.

    Raises:
        _Unsizable: there is one whose size can't be read.
        errors.InvalidArgumentError: it has too many parts to be looked through.
    """
    if data.startswith(_STARTS):
        if (size := _measure(data)) is not None:
            yield size
        if in_examples and data.startswith(_CAN_BE_MESSAGES):
            yield from _within_what_begins_as_one(data, steps)
    elif in_examples:
        yield from _within(data, steps)


def _within_what_begins_as_one(data: bytes, steps: Steps) -> Iterator[ImageSize]:
    """What begins as an image may be an example too, where a model reads it as one.

    Few images are messages for long. Those of one colour may be, but hold no other.
    """
    try:
        yield from _within(data, steps)
    except errors.InvalidArgumentError:
        if any(_occurs(start, data) for start in _STARTS):
            raise


def _occurs(start: bytes, data: bytes) -> bool:
    """Whether a start comes behind the first byte."""
    for place in range(1, len(data), _SEARCHED_AT_ONCE):
        if data.find(start, place, place + _SEARCHED_AT_ONCE + len(start) - 1) > 0:
            return True
        let_others_run()
    return False


def _within(data: bytes, steps: Steps) -> Iterator[ImageSize]:
    try:
        for path in _IN_EXAMPLE:
            for value in find_bytes(data, path, steps):
                if value.startswith(_STARTS) and (size := _measure(value)) is not None:
                    yield size
    except Negative:
        raise _Unsizable("a tf.Example with a value of more than 2 GiB, as it says") from None


def _measure(data: bytes) -> ImageSize | None:
    """None where it only begins as an image does, or is cut short: the decoder refuses it."""
    try:
        if data.startswith(_PNG):
            return _png_size(data)
        if data.startswith(_JPEG):
            return _jpeg_size(data)
        if data.startswith(_GIF):
            return _gif_size(data)
        if data.startswith(_BMP):
            width, height = struct.unpack_from("<ii", data, 18)
            return ImageSize(abs(width), abs(height))
        if data.startswith(b"WEBP", 8):
            return _webp_size(data)
        if data.startswith(_JPEG_XL):
            raise _Unsizable("a JPEG XL image")
    except (struct.error, IndexError):
        pass
    return None


def _png_size(data: bytes) -> ImageSize:
    if data[12:16] != b"IHDR":  # libpng passes over chunks that it does not know
        if len(data) < 16:
            raise IndexError
        raise _Unsizable("a PNG that does not begin with its header")
    width, height = struct.unpack_from(">II", data, 16)
    texts: list[int] = []
    compressed = 0
    place = 33  # behind the header
    # Writers make chunks of kilobytes; whoever writes many small ones wants to be slow.
    for _ in range(len(data) // 64 + 4096):
        if place + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in _PNG_TEXTS:
            texts.append(min(length * _INFLATED, _MOST_TEXT))
        compressed += length if kind == b"IDAT" else 0
        place += 12 + length
    else:
        raise _Unsizable("a PNG of very many chunks")
    if compressed > _MOST_PNG_BYTES_PER_PIXEL * width * height + height + _MOST_PNG_BYTES_BESIDE:
        raise _Unsizable("a PNG of more bytes than its pixels take")
    if len(texts) > _MOST_PNG_TEXTS:
        raise _Unsizable(f"a PNG of more than {_MOST_PNG_TEXTS} compressed texts")
    return ImageSize(width, height, more_bytes=sum(texts))


def _jpeg_size(data: bytes) -> ImageSize | None:
    """From the first frame header, SOF0 to SOF15 but the three that are something else."""
    size = None
    scans = components = 0
    is_whole = True  # the first scan has all that there is
    place = 2
    for number in range(_MOST_SEGMENTS):
        if number % _PARTS_AT_ONCE == _PARTS_AT_ONCE - 1:
            let_others_run()
        # libjpeg passes over what is no marker, and so over the data of a scan.
        place = _next_marker(data, place)
        if place > len(data):
            break
        marker = data[place - 1]
        if marker in (0xD8, 0xD9):  # begin and end
            break
        length = struct.unpack_from(">H", data, place)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and size is None:
            size = struct.unpack_from(">HH", data, place + 3)
            components = data[place + 7]
            is_whole = marker not in _PROGRESSIVE
        if marker == 0xDA:
            scans += 1
            is_whole = is_whole and scans == 1 and data[place + 2] >= components
        if scans > _MOST_SCANS:
            raise _Unsizable(f"a JPEG of more than {_MOST_SCANS} scans")
        place += length
    else:
        raise _Unsizable(f"a JPEG of more than {_MOST_SEGMENTS} segments")
    if size is None:
        return None
    height, width = size
    more = 0 if is_whole else _COEFFICIENT_BYTES * components
    return ImageSize(width, height, pixel_bytes=_PIXEL_BYTES + more)


def _next_marker(data: bytes, place: int) -> int:
    """Where the next marker ends; beyond the data where there is none."""
    while place < len(data):
        found = _NEXT_MARKER.search(data, place, place + _SEARCHED_AT_ONCE + 1)
        if found is not None:
            return found.end()
        place += _SEARCHED_AT_ONCE
        let_others_run()
    return len(data) + 1


def _gif_size(data: bytes) -> ImageSize:
    """The largest of the screen and the frames that can be reached, at least one."""
    width, height = struct.unpack_from("<HH", data, 6)
    frames = 0
    # Blocks are of 255 bytes but for the last; whoever writes many small ones wants to be slow.
    blocks_left = len(data) // 64 + 4096
    flags = data[10]
    place = 13 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
    try:
        while data[place] in b"!,":
            if data[place] == ord(","):
                frames += 1
                frame = struct.unpack_from("<HH", data, place + 5)
                width, height = max(width, frame[0]), max(height, frame[1])
                flags = data[place + 9]
                place += 11 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
            else:
                place += 2
            while data[place]:  # sub-blocks, to the empty one
                place += 1 + data[place]
                blocks_left -= 1
                if blocks_left % _PARTS_AT_ONCE == 0:
                    let_others_run()
                if blocks_left < 0:
                    raise _Unsizable("a GIF of very many blocks")
            place += 1
            blocks_left -= 1
            if blocks_left < 0:
                raise _Unsizable("a GIF of very many blocks")
    except (IndexError, struct.error):
        pass
    return ImageSize(width, height, frames=max(1, frames))


def _webp_size(data: bytes) -> ImageSize:
    try:
        size = webp_size(data)
    except TooManyBlocks:
        raise _Unsizable("a WebP of very many blocks") from None
    if size is None:
        raise _Unsizable("a WebP of an unknown kind")
    if size.is_animated:  # TensorFlow 2.21 writes beyond its memory where it has no alpha
        raise _Unsizable("an animated WebP")
    pixel_bytes = _PIXEL_BYTES * (1 + size.is_lossless)
    return ImageSize(size.width, size.height, pixel_bytes=pixel_bytes, more_bytes=size.codes)
