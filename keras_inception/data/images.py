"""Images by index, whatever they are kept in: files, arrays, or records of a source's own.

An image is reached by its index alone, so that the order of an epoch, a split and a resumed run
are indices too.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import tensorflow as tf

from keras_inception.data.errors import DataError
from keras_inception.data.types import Tensor


class Images(Protocol):
    """Images by index, from 0.

    What those who work with them need to know of where they are kept is asked here, so that
    nobody asks for the class.
    """

    @property
    def root(self) -> str | None:
        """The folder that file names are relative to, ``""`` for absolute ones; else ``None``.

        ``None`` says that an image is not a file of its own, and is known by its index only.
        """
        ...

    @property
    def decoded(self) -> bool:
        """Whether they are pixels already: then all are readable, and :meth:`reader` gives them."""
        ...

    def __len__(self) -> int: ...

    def take(self, indices: np.ndarray) -> Images:
        """The images at ``indices``, in their order."""
        ...

    def name(self, index: int) -> str:
        """What a person would call one, such as its path."""
        ...

    def encoded(self, index: int) -> bytes:
        """One as the bytes of an image file.

        Raises:
            OSError: it can't be read.
            DataError: there is no image where it should be.
        """
        ...

    def content(self, index: int) -> bytes | memoryview:
        """One as it is kept, equal for copies: the bytes of an image file, or pixels.

        Raises as :meth:`encoded` does.
        """
        ...

    def identity(self) -> Iterator[bytes]:
        """Bytes that tell these images from others of the same source, wherever it lies."""
        ...

    def reader(self) -> Callable[[Tensor], Tensor]:
        """A function for tf.data from an index, int64 [], to the image.

        It returns the bytes of an image file, string [], or if the images are :attr:`decoded`
        pixels, uint8 [height, width, 3].
        """
        ...


class Names:
    """Many file names, in one place for all that are taken from them.

    A million Python strings would take more memory than everything else that training keeps of an
    image, so the names stand one after the other in blocks.

    Args:
        names: of files, as the file system has them.
    """

    _BLOCK = 64

    def __init__(self, names: Iterable[bytes]) -> None:
        names = iter(names)
        blocks, ends = [], []
        while block := list(itertools.islice(names, self._BLOCK)):
            blocks.append(b"".join(block))
            ends.append(
                np.cumsum(np.fromiter(map(len, block), np.int32, len(block)), dtype=np.int32)
            )
        with tf.device("CPU:0"):  # where tf.data reads
            self.blocks = tf.constant(blocks, tf.string, [len(blocks)])
            self._tensor = tf.constant(np.concatenate(ends) if ends else np.zeros(0, np.int32))
        self._last = (-1, b"")

    @property
    def ends(self) -> np.ndarray:
        """Where each ends in its block: int32, the tensor's own memory."""
        return np.asarray(memoryview(self._tensor))

    def __len__(self) -> int:
        return len(self._tensor)

    def __getitem__(self, number: int) -> bytes:
        place, inner = divmod(int(number), self._BLOCK)
        last = self._last  # the one that this thread sees to the end
        if last[0] != place:
            self._last = last = (place, self.blocks[place].numpy())
        begin = self.ends[number - 1] if inner else 0
        return last[1][begin : self.ends[number]]

    def look_up(self, number: Tensor) -> Tensor:
        """The same in a graph: int32 [] to string []."""
        first = number % self._BLOCK == 0
        begin = tf.where(first, 0, self._tensor[tf.maximum(number - 1, 0)])
        block = self.blocks[number // self._BLOCK]
        return tf.strings.substr(block, begin, self._tensor[number] - begin)


@dataclass(frozen=True)
class Files:
    """Image files.

    Args:
        root: the folder that the names are relative to; ``""`` for absolute ones.
        names: of files, these and perhaps others.
        indices: int32 [images], which of the names.
    """

    root: str
    names: Names
    indices: np.ndarray
    decoded: ClassVar = False

    @classmethod
    def of(cls, root: str | Path, paths: Iterable[str | bytes]) -> Files:
        """The files at ``paths``, relative to ``root``."""
        names = Names(map(os.fsencode, paths))
        return cls(str(root), names, np.arange(len(names), dtype=np.int32))

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: np.ndarray) -> Files:
        return Files(self.root, self.names, self.indices[indices])

    def name(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.names[self.indices[index]]))

    def encoded(self, index: int) -> bytes:
        return Path(self.name(index)).read_bytes()

    content = encoded

    def identity(self) -> Iterator[bytes]:
        for start in range(0, len(self.names.blocks), 1000):
            yield from self.names.blocks[start : start + 1000].numpy()
        yield self.indices.tobytes()

    def reader(self) -> Callable[[Tensor], Tensor]:
        with tf.device("CPU:0"):
            indices, root = tf.constant(self.indices), tf.constant(os.path.join(self.root, ""))

        def read(index: Tensor) -> Tensor:
            return tf.io.read_file(root + self.names.look_up(indices[index]))

        return read


@dataclass(frozen=True)
class Pixels:
    """Decoded images of one size, in memory.

    Args:
        tensor: uint8 [all images, height, width] (grey), or [..., 1] (grey) or [..., 3] (RGB).
        indices: int64 [images], which of them.
    """

    tensor: Tensor
    indices: np.ndarray
    root: ClassVar = None
    decoded: ClassVar = True

    @classmethod
    def of(cls, pixels: np.ndarray) -> Pixels:
        """All images of an array, of which a copy is kept.

        Args:
            pixels: uint8; or uint16 in [0, 65535], which becomes uint8 as in a PNG of 16 bits.

        Raises:
            DataError: the array has another type or shape.
        """
        shape = pixels.shape
        if pixels.dtype == np.uint16:
            if 0 < pixels.max(initial=0) <= 255:
                raise DataError(
                    "Arrays of images of uint16 must be in [0, 65535]. Received: at most"
                    f" {pixels.max()}, which would be black; make them uint8"
                )
            pixels = (pixels >> 8).astype(np.uint8)
        if pixels.dtype != np.uint8 or not (
            len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
        ):
            raise DataError(
                "Arrays of images must be uint8 in [0, 255] or uint16 in [0, 65535], of shape"
                " [images, height, width] or [images, height, width, 1 or 3]."
                f" Received: {pixels.dtype} of shape {list(shape)}"
            )
        with tf.device("CPU:0"):  # where tf.data reads; a GPU's memory is for the network
            return cls(tf.constant(pixels), np.arange(len(pixels), dtype=np.int64))

    @property
    def pixels(self) -> np.ndarray:
        """All images: uint8, the tensor's own memory."""
        return np.asarray(memoryview(self.tensor))

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: np.ndarray) -> Pixels:
        return Pixels(self.tensor, self.indices[indices])

    def name(self, index: int) -> str:
        return f"image {self.indices[index]}"

    def encoded(self, index: int) -> bytes:
        from PIL import Image

        image = self._image(index)
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[2:] == (1,) else image).save(file, "PNG")
        return file.getvalue()

    def content(self, index: int) -> memoryview:
        return self._image(index).data

    def identity(self) -> Iterator[bytes]:
        yield self.indices.tobytes()

    def reader(self) -> Callable[[Tensor], Tensor]:
        with tf.device("CPU:0"):
            indices = tf.constant(self.indices)

        def read(index: Tensor) -> Tensor:
            image = self.tensor[indices[index]]
            if image.shape.rank == 2:
                image = image[..., tf.newaxis]
            return tf.broadcast_to(image, [*image.shape[:2], 3])

        return read

    def _image(self, index: int) -> np.ndarray:
        image: np.ndarray = self.pixels[self.indices[index]]
        return image
