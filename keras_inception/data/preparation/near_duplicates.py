"""Near-duplicates: images that show the same though their files differ.

Such as one that was made smaller, written again as JPEG, or made a little brighter. On both sides
of a split they make the validation too good. Found by a perceptual hash, the difference hash
(Krawetz 2013, imagehash's ``dhash``), of which few of the 64 bits differ, and by small copies that
must be alike too, since images of little content have like hashes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from keras_inception.data.examples import Examples
from keras_inception.data.images import Images
from keras_inception.data.text import one_line
from keras_inception.data.types import Advance, Log

MOST_BITS = 6  # of 64, that may differ
_CORRELATION = 0.98  # of the small copies, at least
_SIDE = 16  # of a small copy
_FLAT = 4.0  # deviation of a small copy's grey, of 255, below which there is nothing to compare
_BLOCK = 2048  # images compared with all others at a time


@dataclass(frozen=True)
class Looks:
    """What images look like, small enough to compare each with each.

    Args:
        bits: float32 [images, 64], each 1 or -1: the difference hash.
        copies: float32 [images, 256], grey copies of mean 0 and length 1; 0 without contrast.
    """

    bits: np.ndarray
    copies: np.ndarray


def looks_of(images: Images, advance: Advance = lambda images: None) -> Looks:
    """What every image looks like; one that PIL can't decode is like no other.

    Args:
        advance: takes how many more images are done.
    """
    bits = np.zeros((len(images), 64), np.float32)
    copies = np.zeros((len(images), _SIDE**2), np.float32)

    def look(index: int) -> None:
        # What can't be decoded is named by who inspects the images.
        with contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            bits[index], copies[index] = _look(images.encoded(index))

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(look, range(len(images))):
            advance(1)
    return Looks(bits, copies)


def find_near_duplicates(one: Looks, other: Looks | None = None) -> list[tuple[int, int]]:
    """Pairs of images that look alike, copies included.

    Args:
        other: of other images; by default the same ones are compared with one another.

    Returns:
        Indices into ``one`` and ``other``; without ``other`` the smaller one first, both in order.
    """
    against = one if other is None else other
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(one.bits), _BLOCK):
        block = slice(start, start + _BLOCK)
        # Of bits that are 1 or -1 the product is 64 - 2 * those that differ.
        alike = one.bits[block] @ against.bits.T >= 64 - 2 * MOST_BITS
        rows, columns = np.nonzero(alike)
        rows += start
        if other is None:
            above = rows < columns
            rows, columns = rows[above], columns[above]
        for some in _parts(len(rows)):
            found = np.einsum("ij,ij->i", one.copies[rows[some]], against.copies[columns[some]])
            close = found >= _CORRELATION
            pairs += zip(rows[some][close].tolist(), columns[some][close].tolist(), strict=True)
    return pairs


def report_near_duplicates(
    examples: Examples,
    others: Examples | None,
    log: Log,
    progress: Callable[[int], AbstractContextManager[Advance]],
    most: int = 10,
) -> None:
    """Look for near-duplicates and name some of them.

    Args:
        others: images that should have none in common; by default pairs among the examples are
            looked for.
        log: takes each line.
        progress: makes a bar for so many images.
        most: pairs named, at most.
    """
    with progress(len(examples) + len(others or ())) as advance:
        looks = looks_of(examples.images, advance)
        against = None if others is None else looks_of(others.images, advance)
    pairs = find_near_duplicates(looks, against)
    second = examples if others is None else others
    where = "" if others is None else ", one here and one there"
    many = f"{len(pairs)} pairs of images look" if len(pairs) != 1 else "1 pair of images looks"
    log(f"{many} alike{where}{':' if pairs else '.'}")
    for one, other in pairs[:most]:
        names = one_line(examples.images.name(one)), one_line(second.images.name(other))
        log(f"  {names[0]} and {names[1]}")
    if len(pairs) > most:
        log(f"  and {len(pairs) - most} more")
    if others is None and not examples.multi_label:
        apart = sum(examples.targets[one] != examples.targets[other] for one, other in pairs)
        if apart:
            log(f"  of other classes: {apart}")


def _parts(count: int) -> Iterator[slice]:
    """Slices of a length that memory holds."""
    return (slice(start, start + 10_000) for start in range(0, count, 10_000))


def _look(encoded: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The hash's bits, 1 or -1, and a grey copy of mean 0 and length 1."""
    with Image.open(io.BytesIO(encoded)) as image:
        image.draft("L", (4 * _SIDE, 4 * _SIDE))  # JPEG is decoded smaller at once
        grey = image.convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.LANCZOS), np.int16)
    bits = np.where(small[:, 1:] > small[:, :-1], 1, -1).ravel()
    copy = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32).ravel()
    if copy.std() < _FLAT:
        return bits, np.zeros(_SIDE**2)
    copy = copy - copy.mean()
    return bits, copy / np.linalg.norm(copy)
