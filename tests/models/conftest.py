"""Full-size networks, built once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import pytest

import keras_inception


@pytest.fixture(scope="session")
def build() -> Callable[..., keras.Model]:
    """``build("InceptionV3", aux=True)``: the network, the same object for the same arguments."""

    @cache
    def build(title: str, **arguments: Any) -> keras.Model:
        return getattr(keras_inception, title)(**arguments)

    return build
