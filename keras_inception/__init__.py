"""Inception networks for production: build, train, export and serve.

Public names are loaded on first use: importing this package loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_inception.version import __version__

if TYPE_CHECKING:
    from keras_inception.models.application import loss_weights
    from keras_inception.models.describe import describe
    from keras_inception.models.endpoints import endpoints, features
    from keras_inception.models.figure import draw
    from keras_inception.models.inception_resnet import InceptionResNetV1, InceptionResNetV2
    from keras_inception.models.inception_v1 import InceptionV1
    from keras_inception.models.inception_v2 import InceptionV2
    from keras_inception.models.inception_v3 import InceptionV3
    from keras_inception.models.inception_v4 import InceptionV4

_HOMES = {
    "describe": "keras_inception.models.describe",
    "draw": "keras_inception.models.figure",
    "endpoints": "keras_inception.models.endpoints",
    "features": "keras_inception.models.endpoints",
    "loss_weights": "keras_inception.models.application",
    "InceptionResNetV1": "keras_inception.models.inception_resnet",
    "InceptionResNetV2": "keras_inception.models.inception_resnet",
    "InceptionV1": "keras_inception.models.inception_v1",
    "InceptionV2": "keras_inception.models.inception_v2",
    "InceptionV3": "keras_inception.models.inception_v3",
    "InceptionV4": "keras_inception.models.inception_v4",
}

__all__ = [
    "InceptionResNetV1",
    "InceptionResNetV2",
    "InceptionV1",
    "InceptionV2",
    "InceptionV3",
    "InceptionV4",
    "__version__",
    "describe",
    "draw",
    "endpoints",
    "features",
    "loss_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
