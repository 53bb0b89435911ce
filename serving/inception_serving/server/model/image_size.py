"""The number of pixels of an encoded image, read from its header and not decoded.

A PNG of some kilobytes can inflate to gigabytes; its header says so before the decoder allocates.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

import numpy as np
from google.protobuf.message import DecodeError

from inception_serving import errors, messages
from inception_serving.tensors import Tensor

_PNG, _JPEG, _GIF, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM"


def check_pixels(inputs: Mapping[str, Tensor], limit: int) -> None:
    """Check every string that begins as an image does, or is a tf.Example that holds some.

    Raises:
        errors.InvalidArgumentError: one of them has more pixels than `limit`.
    """
    for name, tensor in inputs.items():
        if tensor.dtype != np.dtype(object):
            continue
        for index, data in enumerate(tensor.ravel()):
            if (pixels := count_pixels(data)) > limit:
                raise errors.InvalidArgumentError(
                    f"Input {name}, element {index}: an image of {pixels} pixels; this server "
                    f"decodes {limit} at most."
                )


def count_pixels(data: bytes) -> int:
    """Width times height, times the frames of a GIF; of a tf.Example's largest image.

    0 where there is no image to be seen.
    """
    pixels = _count_pixels(data)
    if pixels is None:
        pixels = max((_count_pixels(value) or 0 for value in _in_example(data)), default=0)
    return pixels


def _in_example(data: bytes) -> Iterator[bytes]:
    """The strings in a serialised tf.Example or tf.SequenceExample, whose first field it shares."""
    try:
        example = messages.SequenceExample.FromString(data)
    except DecodeError:
        return
    features = list(example.context.feature.values())
    for feature_list in example.feature_lists.feature_list.values():
        features += feature_list.feature
    for feature in features:
        yield from feature.bytes_list.value


def _count_pixels(data: bytes) -> int | None:
    """None where it does not begin as an image does."""
    try:
        if data.startswith(_PNG):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(_JPEG):
            width, height = _jpeg_size(data)
        elif data.startswith(_GIF):
            width, height = struct.unpack_from("<HH", data, 6)
            height *= _gif_frames(data)
        elif data.startswith(_BMP):
            width, height = struct.unpack_from("<ii", data, 18)
        elif data.startswith(b"RIFF") and data.startswith(b"WEBP", 8):
            width, height = _webp_size(data)
        else:
            return None
    except (struct.error, IndexError):
        return 0  # cut short: the decoder refuses it
    return abs(int(width) * int(height))


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the first frame header, SOF0 to SOF15 but the three that are something else."""
    place = 2
    while True:
        while data[place] == 0xFF and data[place + 1] == 0xFF:  # padding
            place += 1
        marker, length = data[place + 1], struct.unpack_from(">H", data, place + 2)[0]
        if data[place] != 0xFF:
            return 0, 0
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + length


def _gif_frames(data: bytes) -> int:
    """The image descriptors of a GIF; at least 1, and those that can be reached."""
    flags, frames = data[10], 0
    place = 13 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
    try:
        while data[place] in b"!,":
            if data[place] == ord(","):
                frames += 1
                flags = data[place + 9]
                place += 11 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
            else:
                place += 2
            while data[place]:  # sub-blocks, to the empty one
                place += 1 + data[place]
            place += 1
    except IndexError:
        pass
    return max(1, frames)


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return width, height
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
