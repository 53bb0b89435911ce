"""A Keras model as a predictor, on any backend: a run's, or a published network's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_inception.data.examples import DataError, Examples
from keras_inception.data.preprocessing import (
    Preprocessing,
    decode,
    preprocess_encoded,
    scale,
)
from keras_inception.data.types import Advance
from keras_inception.evaluation.crops import check_crops, crop_weights, cut
from keras_inception.evaluation.evaluate_model import (
    Scored,
    ends_in_sigmoid,
    predict_rows,
    score_examples,
)
from keras_inception.inference.predictor import Best, decoder_reason
from keras_inception.runs.run import Run

_ROWS = 32  # crops that the network gets at a time


class KerasPredictor:
    """Answers by a Keras model; see ``Predictor``.

    Args:
        name: what the user calls it, for messages.
        labels: the class names, in the order of the outputs.
        preprocessing: how images become its input.
        load: gives the model, when it is first needed.
        about: what else is said of it.
        thresholds: the score from which each class is predicted, where that was fitted.
        crops: cut from each image that :meth:`scores` and :meth:`best` are asked about, their
            scores averaged.
    """

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        preprocessing: Preprocessing,
        load: Callable[[], keras.Model],
        about: dict[str, Any],
        thresholds: Mapping[str, float] | None = None,
        crops: int = 1,
    ) -> None:
        self.name = name
        self.labels = labels
        self.preprocessing: Preprocessing = preprocessing
        self.about = about
        self.thresholds: Mapping[str, float] = thresholds or {}
        check_crops(crops, preprocessing)
        self._crops = crops
        self._load = load

    @property
    def activation(self) -> str:
        return "sigmoid" if ends_in_sigmoid(self._model) else "softmax"

    @property
    def own_images(self) -> Examples:
        raise DataError(f"Name a folder or another source of images to evaluate {self.name} on.")

    def best(self, encoded: Sequence[bytes]) -> list[Best]:
        rows = self.scores(encoded)
        order = (-rows).argsort(axis=1, kind="stable")
        return [
            Best(tuple(self.labels[index] for index in indices), tuple(row[indices].tolist()))
            for row, indices in zip(rows, order, strict=True)
        ]

    def refusal(self, error: Exception) -> str | None:
        return decoder_reason(error)

    def scores(self, encoded: Sequence[bytes]) -> np.ndarray:
        if self._crops == 1:
            return self._answer(encoded)
        weights = crop_weights(self._crops)
        views = [self._cut(tf.constant(image)).numpy() for image in encoded]
        rows = predict_rows(self._model, np.concatenate(views), min(_ROWS, len(weights)))
        return np.einsum("bvc,v->bc", rows.reshape(len(encoded), len(weights), -1), weights)

    def score_examples(
        self, examples: Examples, *, crops: int, batch_size: int, advance: Advance
    ) -> Scored:
        return score_examples(
            self._model, self.preprocessing, examples,
            crops=crops, batch_size=batch_size, advance=advance,
        )  # fmt: skip

    @functools.cached_property
    def _model(self) -> keras.Model:
        return self._load()

    @functools.cached_property
    def _cut(self) -> Callable[[Any], Any]:
        """From an encoded image to its crops as the network's input."""
        preprocessing, crops = self.preprocessing, self._crops

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def views(encoded: Any) -> Any:
            return scale(cut(decode(encoded, preprocessing), preprocessing, crops), preprocessing)

        return views

    @functools.cached_property
    def _answer(self) -> Callable[[Sequence[bytes]], np.ndarray]:
        """From encoded images to scores: one graph of TensorFlow's where the backend is that."""
        model, preprocessing = self._model, self.preprocessing
        one_graph = keras.config.backend() == "tensorflow"

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def prepared(encoded: Any) -> Any:
            inputs = preprocess_encoded(encoded, preprocessing)
            return model(inputs, training=False) if one_graph else inputs

        def answer(encoded: Sequence[bytes]) -> np.ndarray:
            rows = prepared(tf.constant(encoded)).numpy()
            return np.asarray(rows if one_graph else model.predict_on_batch(rows), np.float32)

        return answer


class RunPredictor(KerasPredictor):
    """Answers by a run's model; the arguments are :class:`KerasPredictor`'s."""

    def __init__(self, run: Run, crops: int = 1) -> None:
        super().__init__(
            f"the run {run.path}", run.labels, run.preprocessing, run.load_model, {"kind": "run"},
            run.thresholds, crops,
        )  # fmt: skip
        self.run = run

    @property
    def own_images(self) -> Examples:
        examples = self.run.validation
        if not len(examples):
            raise DataError(
                f"The run {self.run.path} set no images apart: name a folder or another source of"
                " images to evaluate it on."
            )
        return examples
