"""Inception networks for production: build, train, export and serve.

Public names are loaded on first use: importing this package loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_inception.version import __version__

if TYPE_CHECKING:
    from inception_serving.client.verify_serving import verify_serving
    from inception_serving.predictions.prediction import Prediction
    from keras_inception.evaluation.gradcam import grad_cam
    from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation
    from keras_inception.inference.evaluate import evaluate
    from keras_inception.inference.predict import predict
    from keras_inception.models.application import loss_weights
    from keras_inception.models.drawing.describe import describe
    from keras_inception.models.drawing.figure import draw
    from keras_inception.models.endpoints import endpoints, features
    from keras_inception.models.networks.inception_resnet_v1 import InceptionResNetV1
    from keras_inception.models.networks.inception_resnet_v2 import InceptionResNetV2
    from keras_inception.models.networks.inception_v1 import InceptionV1
    from keras_inception.models.networks.inception_v2 import InceptionV2
    from keras_inception.models.networks.inception_v3 import InceptionV3
    from keras_inception.models.networks.inception_v4 import InceptionV4
    from keras_inception.models.weight_files import load_weights, save_weights
    from keras_inception.published.conversion import Verification, convert_weights, verify_weights
    from keras_inception.published.imagenet import decode_predictions, preprocess_input
    from keras_inception.report.report import write_report
    from keras_inception.runs.named_recipes import RECIPES, load_recipe
    from keras_inception.runs.recipe import Recipe
    from keras_inception.runs.run import Run, open_run
    from keras_inception.training.cross_validation import CrossValidation, cross_validate
    from keras_inception.training.estimate import Estimate, estimate
    from keras_inception.training.optimization.recalibrate import recalibrate
    from keras_inception.training.rate_finder import RateFinding, find_learning_rate
    from keras_inception.training.train import train
    from keras_inception.training.tune import tune
    from keras_inception.weights.loading import WeightsError

_HOMES = {
    "Verification": "keras_inception.published.conversion",
    "convert_weights": "keras_inception.published.conversion",
    "verify_weights": "keras_inception.published.conversion",
    "decode_predictions": "keras_inception.published.imagenet",
    "preprocess_input": "keras_inception.published.imagenet",
    "Prediction": "inception_serving.predictions.prediction",
    "predict": "keras_inception.inference.predict",
    "evaluate": "keras_inception.inference.evaluate",
    "verify_serving": "inception_serving.client.verify_serving",
    "Evaluation": "keras_inception.evaluation.measures",
    "MultiLabelEvaluation": "keras_inception.evaluation.measures",
    "CrossValidation": "keras_inception.training.cross_validation",
    "cross_validate": "keras_inception.training.cross_validation",
    "Estimate": "keras_inception.training.estimate",
    "estimate": "keras_inception.training.estimate",
    "grad_cam": "keras_inception.evaluation.gradcam",
    "write_report": "keras_inception.report.report",
    "recalibrate": "keras_inception.training.optimization.recalibrate",
    "RECIPES": "keras_inception.runs.named_recipes",
    "Recipe": "keras_inception.runs.recipe",
    "load_recipe": "keras_inception.runs.named_recipes",
    "Run": "keras_inception.runs.run",
    "open_run": "keras_inception.runs.run",
    "RateFinding": "keras_inception.training.rate_finder",
    "find_learning_rate": "keras_inception.training.rate_finder",
    "train": "keras_inception.training.train",
    "tune": "keras_inception.training.tune",
    "WeightsError": "keras_inception.weights.loading",
    "load_weights": "keras_inception.models.weight_files",
    "save_weights": "keras_inception.models.weight_files",
    "describe": "keras_inception.models.drawing.describe",
    "draw": "keras_inception.models.drawing.figure",
    "endpoints": "keras_inception.models.endpoints",
    "features": "keras_inception.models.endpoints",
    "loss_weights": "keras_inception.models.application",
    "InceptionResNetV1": "keras_inception.models.networks.inception_resnet_v1",
    "InceptionResNetV2": "keras_inception.models.networks.inception_resnet_v2",
    "InceptionV1": "keras_inception.models.networks.inception_v1",
    "InceptionV2": "keras_inception.models.networks.inception_v2",
    "InceptionV3": "keras_inception.models.networks.inception_v3",
    "InceptionV4": "keras_inception.models.networks.inception_v4",
}

__all__ = [
    "RECIPES",
    "CrossValidation",
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
    "RateFinding",
    "Recipe",
    "Run",
    "Verification",
    "WeightsError",
    "__version__",
    "convert_weights",
    "cross_validate",
    "decode_predictions",
    "describe",
    "draw",
    "endpoints",
    "estimate",
    "evaluate",
    "features",
    "find_learning_rate",
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
    "tune",
    "verify_serving",
    "verify_weights",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
