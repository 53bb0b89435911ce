"""A bar of progress while images are read, on a terminal; elsewhere nothing."""

from __future__ import annotations

import sys

import keras

from keras_inception.data.types import Advance


def bar(what: str, total: int, unit: str = "image") -> Advance:
    """Begin a bar with rate and time left; it is told how many more are done."""
    if not sys.stdout.isatty() or not total:
        return lambda done: None
    print(what)
    progress = keras.utils.Progbar(total, unit_name=unit)
    return lambda done: progress.add(done)
