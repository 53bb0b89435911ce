"""The error of everything that reads images and their classes; it loads no TensorFlow."""

from __future__ import annotations


class DataError(ValueError):
    """The images can't be used as they are; the message says why and what would help."""
