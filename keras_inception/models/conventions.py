"""Conventions of the network being built: its width, batch norm's constants, its padding.

The words of :mod:`keras_inception.models.layers` ask for it here, so that a network's file need not
hand it down from figure to figure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

Padding = Literal["same", "valid"] | int


@dataclass(frozen=True)
class Conventions:
    """What holds for every word of the network being built.

    Args:
        width: factor on every filter count, the result kept divisible by 8.
        momentum: of batch norm's moving statistics.
        epsilon: of batch norm, added to the variance.
        scale: whether batch norm has gamma, a factor on each channel.
        small: build for small images: the stem loses halvings (see ``layers.stem``), and what the
            papers pad ``valid`` is padded ``same``, since it would eat up a small grid.
        average_counts_padding: whether a ``same`` average pool divides by the whole window at the
            border (torchvision, Caffe) or by the part of it inside the image (TensorFlow, Keras).
    """

    width: float = 1.0
    momentum: float = 0.99
    epsilon: float = 1e-3
    scale: bool = False
    small: bool = False
    average_counts_padding: bool = False

    def padding(self, published: Padding) -> Padding:
        """The published padding, or ``"same"`` throughout for small images."""
        return "same" if self.small else published


_conventions: ContextVar[Conventions] = ContextVar("conventions", default=Conventions())  # noqa: B039


def current() -> Conventions:
    """The conventions of the network being built."""
    return _conventions.get()


@contextlib.contextmanager
def conventions(**changes: Any) -> Iterator[None]:
    """Build networks under other conventions: ``with conventions(width=0.5): ...``"""
    token = _conventions.set(replace(current(), **changes))
    try:
        yield
    finally:
        _conventions.reset(token)


def scaled(filters: int) -> int:
    """A published filter count times the width, to the nearest multiple of 8 from 8 up.

    At width 1 it is the published count, whatever that divides by.
    """
    width = current().width
    return filters if width == 1.0 else max(8, 8 * round(filters * width / 8))
