"""The inspection of every image before it is trained on: is it decodable, and what is it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
import tensorflow as tf

from inception_serving.formats import unread_format
from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples, listed
from keras_inception.data.headers import Header, read_header
from keras_inception.data.images import Images
from keras_inception.data.preprocessing import decode, decoder_message
from keras_inception.data.text import one_line, printable
from keras_inception.data.types import Advance, Tensor

Judge = Callable[[bytes], str]
"""From the bytes of an image file to why it is refused; ``""`` if it is not."""


@dataclass(frozen=True)
class BadImage:
    """An image that can't be decoded: its index, what it is called, the decoder's reason."""

    index: int
    name: str
    reason: str


@dataclass
class Inspection:
    """What images are besides their pixels.

    Args:
        formats: how many are JPEG, PNG, ...
        kinds: how many are of each of the kinds that are read otherwise than they are kept.
        exif_rotated: the indices of those with an EXIF orientation, which is ignored.
        refused: those that a judge refused who was asked.
        digests: uint64 [images], equal for equal bytes, or pixels.
    """

    formats: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    exif_rotated: list[int] = field(default_factory=list)
    refused: list[BadImage] = field(default_factory=list)
    digests: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, index: int, header: Header) -> None:
        """Count an image's header."""
        self.formats[header.format or "?"] += 1
        self.kinds.update(header.kinds)
        if header.exif_rotated:
            self.exif_rotated.append(index)


def find_bad_images(images: Images, advance: Advance = lambda images: None) -> list[BadImage]:
    """Decode every image and return those that fail, in order.

    Args:
        advance: is told how many more have been decoded.
    """
    if images.decoded:
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
        reason = unread_format(encoded)
        if not reason:
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
    advance: Advance = lambda images: None,
    skip: frozenset[int] = frozenset(),
    judge: Judge = lambda content: "",
) -> Inspection:
    """Read the headers of all images, and compare their contents.

    Args:
        advance: is told how many more are done.
        skip: indices of images to leave out.
        judge: is asked of each file.
    """
    seen = Inspection(digests=np.zeros(len(images), np.uint64))
    for index in range(len(images)):
        content: bytes | memoryview = str(index).encode()  # like no other
        if index not in skip:
            with contextlib.suppress(OSError, DataError):
                content = images.content(index)
        header = None
        if isinstance(content, bytes) and index not in skip:
            header = read_header(content)
            if reason := judge(content):
                seen.refused.append(BadImage(index, printable(images.name(index)), reason))
        if header:
            seen.add(index, header)
        digest = blake2b(content, digest_size=8).digest()
        seen.digests[index] = int.from_bytes(digest, "little")
        if index % 64 == 63:
            advance(64)
    return seen


def drop_bad(
    examples: Examples, bad: Sequence[BadImage], on_bad: Literal["skip", "refuse"]
) -> Examples:
    """The examples that can be decoded.

    Raises:
        DataError: there are bad ones and ``on_bad`` is ``"refuse"``, or a class has no other.
    """
    return examples.take(decodable(examples, bad, on_bad)) if bad else examples


def decodable(
    examples: Examples, bad: Sequence[BadImage], on_bad: Literal["skip", "refuse"]
) -> np.ndarray:
    """The indices of the examples that can be decoded: int64; raises as :func:`drop_bad` does."""
    if bad and on_bad == "refuse":
        raise DataError(
            f"{describe_bad(bad)} Remove them, or leave them out with --on-bad-image skip."
        )
    kept = without(examples, bad)
    lost = left_empty(examples, kept)
    if lost:
        raise DataError(f"No file can be decoded of: {listed(lost)}. {describe_bad(bad)}")
    return kept


def without(examples: Examples, bad: Sequence[BadImage]) -> np.ndarray:
    """The indices of the examples that are not bad: int64."""
    return np.delete(np.arange(len(examples)), [image.index for image in bad])


def left_empty(examples: Examples, kept: np.ndarray) -> list[str]:
    """The classes that have examples, but none among those kept."""
    had, have = examples.counts(), examples.take(kept).counts()
    return [
        label
        for label, before, now in zip(examples.labels, had, have, strict=True)
        if before and not now
    ]


def describe_bad(bad: Sequence[BadImage], most: int = 10) -> str:
    """How many files can't be decoded, and the first of them by name with the reason."""
    lines = [f"\n  {one_line(image.name)}: {one_line(image.reason)}" for image in bad[:most]]
    if len(bad) > most:
        lines.append(f"\n  and {len(bad) - most} more")
    files = "file is no image" if len(bad) == 1 else "files are no images"
    return f"{len(bad)} {files} that can be decoded:{''.join(lines)}\n"
