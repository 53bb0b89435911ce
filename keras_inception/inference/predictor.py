"""A predictor: what a run, an export and a server offer, so that all are asked alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from inception_serving.predictions.prediction import ImagePredictor, PredictionError
from keras_inception.data.errors import DataError

if TYPE_CHECKING:
    from keras_inception.data.examples import Examples
    from keras_inception.data.preprocessing import Preprocessing
    from keras_inception.data.types import Advance
    from keras_inception.evaluation.evaluate_model import Scored


@dataclass(frozen=True)
class Best:
    """Classes and their scores, the best first."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]


class Predictor(ImagePredictor, Protocol):
    """A run, an export or a server, opened."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the columns of :meth:`scores`.

        Raises:
            PredictionError: the model does not tell them, and nobody else did.
        """
        ...

    @property
    def activation(self) -> str:
        """``"softmax"`` where a model chooses one class; ``"sigmoid"`` where it scores each.

        Another name where the network ends in another function.

        Raises:
            PredictionError: the model does not tell it, and nobody else did.
        """
        ...

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How it resizes and crops; ``None`` where it does not tell."""
        ...

    @property
    def own_images(self) -> Examples:
        """The images that it was validated on.

        Raises:
            DataError: it has none.
        """
        ...

    def scores(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Every class's score for encoded images, float32 [batch, classes].

        It is nan where the model does not tell it, which an export of ours always does.
        """
        ...

    def score_examples(
        self, examples: Examples, *, crops: int, batch_size: int, advance: Advance
    ) -> Scored:
        """Every class's score for all examples that can be decoded.

        Args:
            crops: cut from each image, their scores averaged.
            batch_size: images a request, or network inputs at a time.
            advance: takes how many more images are done.

        Raises:
            DataError: none can be decoded.
            ValueError: it can't take so many crops.
        """
        ...


def no_own_images(name: str | Path) -> DataError:
    """The error where images to evaluate ``name`` on must be given."""
    return DataError(
        f"Name a folder to evaluate {name} on, FOLDER/CLASS/IMAGE, or another source of images."
    )


def takes_one_crop(name: str, crops: int) -> PredictionError:
    """The error where an export or a server is asked for several crops."""
    return PredictionError(
        "Only a run takes several crops: an export resizes and crops inside its graph, so no crop"
        f" of ours would reach its network as it is. Received: crops={crops} for {name}"
    )


def decoder_reason(error: Exception) -> str | None:
    """What the decoder said against an image; ``None`` if the error is another."""
    from inception_serving import errors
    from inception_serving.formats import decoder_words

    if isinstance(error, errors.ImageError | errors.InvalidArgumentError):
        return decoder_words(errors.without_nodes(str(error)))
    if type(error).__module__.startswith("tensorflow"):
        import tensorflow as tf

        from keras_inception.data.preprocessing import decoder_message

        if isinstance(error, tf.errors.InvalidArgumentError):
            return decoder_message(error)
    return None
