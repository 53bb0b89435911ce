"""Images as callers have them, made the encoded bytes that a model takes."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inception_serving.errors import ImageError
from inception_serving.formats import unread_format

# A path, an open file, a file's content, a PIL image (any object with its `save`), or pixels.
Image = Any


def is_one(images: Any) -> bool:
    """Whether this is one image rather than several."""
    if isinstance(images, np.ndarray):
        return images.ndim != 4
    one_anyway = isinstance(images, str | bytes | bytearray | memoryview) or _is_file(images)
    return one_anyway or not isinstance(images, Iterable)


def check_several(images: Any, method: str) -> None:
    """Refuse one image where there are to be several; a text would be taken letter by letter.

    Raises:
        ImageError: it is one, or nothing that could be gone through.
    """
    if is_one(images):
        received = repr(images) if isinstance(images, str) else type(images).__name__
        raise ImageError(
            f"{method}() takes several images, such as a list or Path('photos').glob('*.jpg'):"
            f" received {received}. Of one image: predict(), or a list of it."
        )


def _is_file(image: Any) -> bool:
    return hasattr(image, "read")


def encode(image: Image) -> bytes:
    """An image as a file's content: as it is where it is encoded already, else as PNG.

    Args:
        image: a path (`str` or `Path`), the bytes of a JPEG, PNG, GIF, BMP or WebP file, such a
            file open for reading bytes, a PIL image, or an array [height, width],
            [height, width, 1], [height, width, 3] or [height, width, 4]: uint8, uint16 of 0 to
            65535 or floats of 0 to 1. Of 16 bits, and of a PIL image that has them, the upper 8
            are sent, as TensorFlow reads a PNG of 16 bits. What becomes of alpha, the model
            decides. Of a JPEG, a PIL image's pixels are not quite the file's: see `Client.predict`.

    Raises:
        ImageError: the file is not there, or this is no image.
    """
    if isinstance(image, str | os.PathLike):
        return _read(Path(os.fsdecode(image)))
    if isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
        if reason := unread_format(data):
            raise ImageError(f"Expected the bytes of a JPEG, PNG, GIF, BMP or WebP file: {reason}.")
        return data
    if _is_file(image):
        try:
            data = image.read()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise ImageError(f"The open file cannot be read: {error}.") from error
        if not isinstance(data, bytes):
            raise ImageError('A file of an image is opened to read bytes, as by open(path, "rb").')
        return encode(data)
    if isinstance(image, np.ndarray):
        return _encode_array(image)
    if hasattr(image, "save") and hasattr(image, "convert"):  # PIL's, without importing it
        try:
            return _encode_pil(image)
        except (OSError, ValueError) as error:  # Pillow's own, which reads a file only now
            raise ImageError(f"The PIL image cannot be made a PNG: {error}.") from error
    raise ImageError(
        "Expected a path, bytes, an open file, a PIL image or an array: "
        f"received {type(image).__module__}.{type(image).__qualname__}."
    )


@dataclass(frozen=True)
class NamedImage:
    """An image, with what a message calls it: its path, or its place in the list."""

    name: str
    image: Image

    def encode(self) -> bytes:
        try:
            return encode(self.image)
        except ImageError as error:
            if self.name == str(self.image):
                raise  # the message names the path already
            raise ImageError(f"{self.name}: {error}") from error


def name_images(images: Iterable[Image]) -> Iterator[NamedImage]:
    """Each of several images with its name, as they come."""
    return (name_image(image, f"images[{place}]") for place, image in enumerate(images))


def name_image(image: Image, otherwise: str = "The image") -> NamedImage:
    """An image with its path for a name, or another where it has none."""
    return NamedImage(str(image) if isinstance(image, str | os.PathLike) else otherwise, image)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # a name that cannot be a file's, such as one with a zero byte
        raise ImageError(f"{str(path)!r} is not a file's name: {error}.") from error
    if reason := unread_format(data):
        raise ImageError(f"{path} is not a JPEG, PNG, GIF, BMP or WebP image: {reason}.")
    return data


def _encode_array(array: np.ndarray[Any, Any]) -> bytes:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype.kind == "f" or (array.dtype.kind == "u" and array.dtype.itemsize == 2):
        array = _eight_bits(array)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ImageError(
            "Expected pixels as a uint8 array [height, width, 3], [height, width, 1] or "
            f"[height, width], 0 to 255: received {array.dtype} {list(array.shape)}."
        )
    if 0 in array.shape:
        raise ImageError(f"An image has at least one pixel: received {list(array.shape)}.")
    array = array.reshape(*array.shape[:2], channels)
    return _png(array.repeat(3, axis=2) if channels == 1 else array)


def _eight_bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pixels of another range as uint8; refused where the range is not the dtype's usual one."""
    largest = array.max(initial=0)
    if array.dtype.kind == "u":
        if 0 < largest <= 255:
            raise ImageError(
                "Expected pixels of uint16 from 0 to 65535: received"
                f" at most {largest}, which would be black. Make them uint8."
            )
        return (array >> 8).astype(np.uint8)
    if not (array.min(initial=0) >= 0 and largest <= 1):  # NaN neither
        raise ImageError(
            "Expected pixels of floats from 0 to 1: received"
            f" {array.min():g} to {largest:g}. Make those from 0 to 255 uint8."
        )
    return np.rint(array * 255).astype(np.uint8)


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Pixels, uint8 [height, width, 3 or 4], as a PNG (ISO/IEC 15948).

    Compression costs more time than it saves on a wire that is not slow.
    """
    height, width, channels = pixels.shape
    rows = np.zeros([height, 1 + width * channels], np.uint8)  # each begins with its filter, none
    rows[:, 1:] = pixels.reshape(height, -1)
    colour_type = {3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def _encode_pil(image: Any) -> bytes:
    if image.mode == "F":
        raise ImageError("Expected a PIL image of whole numbers: received one of floats, mode 'F'.")
    if image.mode.startswith("I"):  # which Pillow would clip at 255
        pixels = np.asarray(image)
        if pixels.size and not 0 <= pixels.min() <= pixels.max() <= 65535:
            raise ImageError(
                "Expected a PIL image of up to 16 bits, 0 to 65535: received"
                f" {pixels.min()} to {pixels.max()}."
            )
        return _encode_array(pixels.astype(np.uint16))
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    buffer = io.BytesIO()
    image.convert("RGBA" if transparent else "RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
