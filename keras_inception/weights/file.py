"""A file of weights, opened: the names and shapes that it holds, and a way to its values.

Nothing that a file says of itself is believed before it is compared: a file that lies, or is
damaged, ends in one kind of error, with its name in it, whatever the library beneath says.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_inception.weights.names import Array, Shape

NOTES = "keras_inception"  # the key of our notes, in Keras's and safetensors files
# Weights hardly compress: what unpacks to more than this many times its size is no file of weights,
# but made to fill the memory or the disk.
_MOST_UNPACKED = 16
_SMALL = 1 << 20  # bytes that are never too many


class FileError(ValueError):
    """A file holds no weights that can be read, or is damaged."""


@dataclass(frozen=True)
class File:
    """An opened file of weights.

    Args:
        path: as given, the suffix of a checkpoint's index left out.
        format: what it is, in words.
        writer: whose names to expect: TensorFlow's, Keras's or PyTorch's.
        shapes: of the variables, by name.
        reader: from a name to the variable's value, of any type of number.
        layers: in a Keras file, the names of all layers, those without weights too.
        notes: what we noted when we wrote it.
    """

    path: Path
    format: str
    writer: Literal["tensorflow", "keras", "pytorch"]
    shapes: Mapping[str, Shape]
    reader: Callable[[str], Any]
    layers: frozenset[str] = frozenset()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> Array:
        """One variable; floats are float32.

        Raises:
            FileError: it can't be read, or is not of the shape that the file says.
        """
        with reading(self.path, f" at {name}"):
            value = np.asarray(self.reader(name))
            # NumPy counts the floats of `ml_dtypes` among the void types.
            if value.dtype.kind in "fV":
                value = value.astype(np.float32, copy=False)
        if value.shape != self.shapes[name] or value.dtype.kind not in "fiub":
            raise FileError(
                f"{self.path} is damaged at {name}: it holds {value.dtype} {value.shape}, not"
                f" numbers {self.shapes[name]}"
            )
        return value


@contextlib.contextmanager
def reading(path: Path, where: str = "") -> Iterator[None]:
    """Whatever a library says against a file becomes a FileError with the file's name."""
    try:
        yield
    except FileError:
        raise
    except Exception as error:  # a parser's on bytes that no writer wrote: it may be any
        reason = " ".join((str(error) or type(error).__name__).split())
        raise FileError(f"{path} is damaged, or cut short{where}: {reason}") from error


def check_unpacked(path: Path, packed: int, unpacked: int) -> None:
    """Refuse what unpacks to far more than it takes, before it is unpacked.

    Args:
        packed, unpacked: sizes in bytes.

    Raises:
        FileError: it does.
    """
    if unpacked > _MOST_UNPACKED * packed + _SMALL:
        raise FileError(
            f"{path} is not unpacked: {unpacked:,} bytes are to come out of {packed:,}, and weights"
            " hardly compress."
        )


def read_notes(text: str) -> dict[str, Any]:
    """Our notes from their JSON.

    Raises:
        ValueError: they are none.
    """
    notes = json.loads(text)
    if not isinstance(notes, dict):
        raise ValueError(f"its notes are no dictionary: {text[:50]}")
    return notes
