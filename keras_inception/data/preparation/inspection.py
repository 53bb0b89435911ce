"""Looking at every image before it is trained on: what can't be decoded, what is read as what."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
import tensorflow as tf

from keras_inception.data.examples import DataError, Examples, Images, Pixels, listed
from keras_inception.data.preprocessing import decode, decoder_message
from keras_inception.data.types import Tensor

_ORIENTATION = 0x0112  # of EXIF; 1 is upright

# What is read otherwise than it is kept, and how.
READ_AS = {
    "CMYK": "read as RGB",
    "16 bits": "read as 8",
    "palette": "read as RGB",
    "animated": "its first frame",
    "transparent": "alpha dropped",
}


@dataclass(frozen=True)
class BadImage:
    """An image that can't be decoded: its number, what it is called, the decoder's reason."""

    index: int
    name: str
    reason: str


@dataclass
class Inspection:
    """What images are besides their pixels.

    Args:
        formats: how many are JPEG, PNG, ...
        kinds: how many are of each of the kinds that are read otherwise than they are kept.
        exif_rotated: the numbers of those with an EXIF orientation, which is ignored.
        misread: those of a kind that the decoder would read wrongly.
        digests: uint64 [images], equal for equal bytes, or pixels.
    """

    formats: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    exif_rotated: list[int] = field(default_factory=list)
    misread: list[BadImage] = field(default_factory=list)
    digests: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))


def find_bad_images(
    images: Images, advance: Callable[[int], None] = lambda images: None
) -> list[BadImage]:
    """Decode every image and return those that fail, in order.

    Args:
        advance: is told, as images turn out good, how many; for a progress bar.
    """
    if isinstance(images, Pixels):
        return []
    read = images.reader()

    def decoded_size(index: Tensor) -> tuple[Tensor, Tensor]:
        # The size is used, so that decoding is not optimized away.
        return index, tf.size(decode(read(index)))

    decodable = (
        tf.data.Dataset.range(len(images))
        .map(decoded_size, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
        .ignore_errors()
        .map(lambda index, size: index)
        .batch(64)
    )
    decoded = np.zeros(len(images), bool)
    for indices in decodable:
        decoded[indices.numpy()] = True
        advance(len(indices))
    return [bad_image(images, index) for index in np.flatnonzero(~decoded).tolist()]


def bad_image(images: Images, index: int) -> BadImage:
    """An image that can't be decoded, with the reason."""
    try:
        encoded = images.encoded(index)
        reason = "the file is empty"
        if encoded:
            decode(encoded)
            reason = "it could not be decoded"
    except FileNotFoundError:
        reason = "there is no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    except DataError as error:
        reason = str(error)
    except tf.errors.OpError as error:
        reason = decoder_message(error)
    return BadImage(index, printable(images.name(index)), reason)


def inspect(
    images: Images,
    advance: Callable[[int], None] = lambda images: None,
    skip: frozenset[int] = frozenset(),
) -> Inspection:
    """Read the headers of all images, and compare their contents.

    Args:
        advance: is told how many are done.
        skip: numbers of images to leave out.
    """
    seen = Inspection(digests=np.zeros(len(images), np.uint64))
    pixels = images.pixels if isinstance(images, Pixels) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata
        for index in range(len(images)):
            content: bytes | memoryview = str(index).encode()  # like no other
            if index in skip:
                pass
            elif pixels is not None:
                content = pixels[images.numbers[index]].data  # type: ignore[attr-defined]
            else:
                with contextlib.suppress(OSError, DataError):
                    content = images.encoded(index)
                    _look_at(images, index, content, seen)
            digest = blake2b(content, digest_size=8).digest()
            seen.digests[index] = int.from_bytes(digest, "little")
            if index % 64 == 63:
                advance(64)
    return seen


def _look_at(images: Images, index: int, encoded: bytes, seen: Inspection) -> None:
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded))
    except Exception:  # Pillow's are of many kinds; the decoder judges
        return
    seen.formats[image.format or "?"] += 1
    if image.mode == "CMYK":
        seen.kinds["CMYK"] += 1
    if image.mode.startswith("I;16") or (image.format == "PNG" and encoded[24] == 16):
        seen.kinds["16 bits"] += 1
    if image.mode == "P" and image.format == "PNG":
        seen.kinds["palette"] += 1
    if image.mode == "P" and image.format == "BMP":
        reason = "a BMP with a palette, which TensorFlow's decoder would read as grey; save as PNG"
        seen.misread.append(BadImage(index, printable(images.name(index)), reason))
    if getattr(image, "is_animated", False):
        seen.kinds["animated"] += 1
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        seen.kinds["transparent"] += 1
    if _orientation(image.info.get("exif")) != 1:
        seen.exif_rotated.append(index)


def _orientation(exif: bytes | None) -> int:
    from PIL import Image

    if not exif:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif)
        return int(tags.get(_ORIENTATION, 1))
    except (ValueError, TypeError, SyntaxError, OSError, struct.error):
        return 1


def drop_bad(
    examples: Examples, bad: Sequence[BadImage], on_bad: Literal["skip", "refuse"]
) -> Examples:
    """The examples that can be decoded.

    Raises:
        DataError: there are bad ones and ``on_bad`` is ``"refuse"``, or a class has no good one.
    """
    return examples.take(decodable(examples, bad, on_bad)) if bad else examples


def decodable(
    examples: Examples, bad: Sequence[BadImage], on_bad: Literal["skip", "refuse"]
) -> np.ndarray:
    """The numbers of the examples that can be decoded; raises as :func:`drop_bad` does."""
    if bad and on_bad == "refuse":
        raise DataError(
            f"{describe_bad(bad)} Remove them, or leave them out with --on-bad-image skip."
        )
    kept = np.delete(np.arange(len(examples)), [image.index for image in bad])
    had, have = examples.counts(), examples.take(kept).counts()
    lost = [
        label
        for label, before, now in zip(examples.labels, had, have, strict=True)
        if before and not now
    ]
    if lost:
        raise DataError(f"No file can be decoded of: {listed(lost)}. {describe_bad(bad)}")
    return kept


def describe_bad(bad: Sequence[BadImage]) -> str:
    """How many files can't be decoded, and the first of them by name with the reason."""
    lines = [f"\n  {image.name}: {image.reason}" for image in bad[:10]]
    if len(bad) > 10:
        lines.append(f"\n  and {len(bad) - 10} more")
    files = "file is no image" if len(bad) == 1 else "files are no images"
    return f"{len(bad)} {files} that can be decoded:{''.join(lines)}\n"


def printable(name: str) -> str:
    """A file's name as text, whatever its bytes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
