"""Networks built once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import pytest

import keras_inception


@pytest.fixture(scope="session")
def build() -> Callable[..., keras.Model]:
    """``build("InceptionV3", aux=True)``: the network at full size, without values.

    Names, configurations, shapes and counts are there; without the weights' values it is built in
    a fifth of the time and takes no memory. The same object for the same arguments.
    """

    @cache
    def build(title: str, **arguments: Any) -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            return getattr(keras_inception, title)(**arguments)

    return build


@pytest.fixture(scope="session")
def narrow() -> Callable[..., keras.Model]:
    """``narrow("InceptionV3")``: an eighth as wide, for images of any size: quick to run."""

    @cache
    def narrow(title: str, **arguments: Any) -> keras.Model:
        builder = getattr(keras_inception, title)
        return builder(width=0.125, classes=10, input_shape=(None, None, 3), **arguments)

    return narrow
