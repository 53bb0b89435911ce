"""Inception networks for production: build, train, export and serve.

Public names are loaded on first use: importing this package loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_inception.version import __version__

if TYPE_CHECKING:
    from keras_inception.conversion import Verification, convert_weights, verify_weights
    from keras_inception.evaluation import evaluate
    from keras_inception.imagenet import decode_predictions, preprocess_input
    from keras_inception.models.application import loss_weights
    from keras_inception.models.describe import describe
    from keras_inception.models.endpoints import endpoints, features
    from keras_inception.models.figure import draw
    from keras_inception.models.inception_resnet import InceptionResNetV1, InceptionResNetV2
    from keras_inception.models.inception_v1 import InceptionV1
    from keras_inception.models.inception_v2 import InceptionV2
    from keras_inception.models.inception_v3 import InceptionV3
    from keras_inception.models.inception_v4 import InceptionV4
    from keras_inception.prediction import Prediction, predict
    from keras_inception.training.estimate import Estimate, estimate
    from keras_inception.training.gradcam import grad_cam
    from keras_inception.training.measures import Evaluation, MultiLabelEvaluation
    from keras_inception.training.recalibrate import recalibrate
    from keras_inception.training.recipe import Recipe
    from keras_inception.training.recipes import RECIPES, load_recipe
    from keras_inception.training.report import write_report
    from keras_inception.training.run import Run, open_run
    from keras_inception.training.train import train
    from keras_inception.weights.loading import WeightsError, load_weights
    from keras_inception.weights.writing import save_weights

_HOMES = {
    "Verification": "keras_inception.conversion",
    "convert_weights": "keras_inception.conversion",
    "verify_weights": "keras_inception.conversion",
    "decode_predictions": "keras_inception.imagenet",
    "preprocess_input": "keras_inception.imagenet",
    "Prediction": "keras_inception.prediction",
    "predict": "keras_inception.prediction",
    "evaluate": "keras_inception.evaluation",
    "Evaluation": "keras_inception.training.measures",
    "MultiLabelEvaluation": "keras_inception.training.measures",
    "Estimate": "keras_inception.training.estimate",
    "estimate": "keras_inception.training.estimate",
    "grad_cam": "keras_inception.training.gradcam",
    "write_report": "keras_inception.training.report",
    "recalibrate": "keras_inception.training.recalibrate",
    "RECIPES": "keras_inception.training.recipes",
    "Recipe": "keras_inception.training.recipe",
    "load_recipe": "keras_inception.training.recipes",
    "Run": "keras_inception.training.run",
    "open_run": "keras_inception.training.run",
    "train": "keras_inception.training.train",
    "WeightsError": "keras_inception.weights.loading",
    "load_weights": "keras_inception.weights.loading",
    "save_weights": "keras_inception.weights.writing",
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
    "RECIPES",
    "Estimate",
    "Evaluation",
    "InceptionResNetV1",
    "InceptionResNetV2",
    "InceptionV1",
    "InceptionV2",
    "InceptionV3",
    "InceptionV4",
    "MultiLabelEvaluation",
    "Prediction",
    "Recipe",
    "Run",
    "Verification",
    "WeightsError",
    "__version__",
    "convert_weights",
    "decode_predictions",
    "describe",
    "draw",
    "endpoints",
    "estimate",
    "evaluate",
    "features",
    "grad_cam",
    "load_recipe",
    "load_weights",
    "loss_weights",
    "open_run",
    "predict",
    "preprocess_input",
    "recalibrate",
    "save_weights",
    "train",
    "verify_weights",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
