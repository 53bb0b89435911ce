"""An export or a server's model as a predictor: answers by signatures, loaded here or called there.

An export's ``all_classes`` names every class with its score, so nothing has to be guessed. A model
without it, such as an export made before there was any, answers logits without names; then the
names and the function that makes scores of logits are its manifest's or are asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inception_export.export import Export
from inception_serving.predictions.prediction import PredictionError, Ranked
from keras_inception.data.types import Advance
from keras_inception.inference.predictor import (
    Best,
    decoder_reason,
    no_own_images,
    takes_one_crop,
)

if TYPE_CHECKING:
    from inception_serving import Client
    from keras_inception.data.examples import Examples
    from keras_inception.data.preprocessing import Preprocessing
    from keras_inception.evaluation.evaluate_model import Scored

Call = Callable[[str, Sequence[bytes]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Facts:
    """What is known of a model besides its answers; ``None`` for what is not.

    Args:
        labels: the class names, in the order of the logits.
        activation: what makes scores of logits: ``"softmax"``, ``"sigmoid"`` or another's name.
        preprocessing: how images become the network's input.
        thresholds: the score from which each class is predicted, where that was fitted.
    """

    labels: tuple[str, ...] | None = None
    activation: str | None = None
    preprocessing: Preprocessing | None = None
    thresholds: Mapping[str, float] | None = None

    @classmethod
    def of(cls, export: Export) -> Facts:
        """What an export tells."""
        return cls(export.labels, export.activation, export.preprocessing, export.thresholds)

    def __or__(self, others: Facts) -> Facts:
        """These, and those of others where nothing is known here."""
        known = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }
        return dataclasses.replace(others, **known)


class SignaturePredictor:
    """Answers by a model's signatures; see ``Predictor``.

    Args:
        name: what the user calls it, for messages.
        signatures: its signatures of one input, encoded images, with the names of their outputs.
        call: from a signature's name and encoded images to its outputs by name.
        best: from encoded images to their best classes, as many as it answers.
        facts: what is known of it besides.
        about: what else it says of itself.
        in_flight: requests under way at a time.
    """

    def __init__(
        self,
        name: str,
        signatures: Mapping[str, Collection[str]],
        call: Call,
        best: Callable[[Sequence[bytes]], Sequence[Ranked]],
        *,
        facts: Facts,
        about: dict[str, Any],
        in_flight: int,
    ) -> None:
        self.name = name
        self.best = best
        self.preprocessing = facts.preprocessing
        self.thresholds: Mapping[str, float] = facts.thresholds or {}
        self.about = about
        self._call = call
        self._facts = facts
        self._in_flight = in_flight
        self._all_classes = {"classes", "scores"} <= set(signatures.get("all_classes", ()))
        self._logits = "logits" in signatures.get("logits", ())

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        if self._facts.labels is not None:
            return self._facts.labels
        names = [name.decode() for name in self._made_up["classes"][0]]
        # As a source of images orders its classes, since the model's own order is not told.
        if all(name.isdecimal() for name in names):
            return tuple(sorted(names, key=int))
        return tuple(sorted(names))

    @functools.cached_property
    def activation(self) -> str:
        if self._facts.activation is not None:
            return self._facts.activation
        # A softmax is what makes all scores of whatever image add up to 1.
        sums = self._made_up["scores"].sum(axis=1, dtype=np.float64)
        return "softmax" if np.abs(sums - 1).max() < 1e-3 else "sigmoid"

    def refusal(self, error: Exception) -> str | None:
        return decoder_reason(error)

    @property
    def own_images(self) -> Examples:
        raise no_own_images(self.name)

    def scores(self, encoded: Sequence[bytes]) -> np.ndarray:
        if self._all_classes:
            return self._table(self._call("all_classes", encoded))
        activation = _ACTIVATIONS.get(self.activation)
        if self._logits and activation is not None:
            logits = self._call("logits", encoded)["logits"]
            self._check_count(logits)
            return activation(logits.astype(np.float64)).astype(np.float32)
        return self._table(self._call("serving_default", encoded))

    def score_examples(
        self, examples: Examples, *, crops: int, batch_size: int, advance: Advance
    ) -> Scored:
        if crops != 1:
            raise takes_one_crop(self.name, crops)
        from keras_inception.inference.requests import score_by_requests

        return score_by_requests(self.scores, examples, batch_size, self._in_flight, advance)

    @functools.cached_property
    def _made_up(self) -> Mapping[str, np.ndarray]:
        """The names and scores of all classes, for images of noise."""
        if not self._all_classes:
            raise PredictionError(
                f"{self.name} does not name all its classes with their scores: it has no signature"
                " `all_classes`, since it was exported before there was one. Export it again; or"
                " say what its scores are: --labels FILE --activation softmax|sigmoid, or --export"
                " DIR, the export that is served (in Python `labels` and `activation`, or"
                " `export`)."
            )
        return self._call("all_classes", _noise())

    @functools.cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """The class names as bytes, in order, and which column each is."""
        names = np.array([label.encode() for label in self.labels])
        order = np.argsort(names, kind="stable")
        return names[order], order

    def _table(self, answer: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores by columns, of classes by names; nan for the classes that are not answered."""
        names, order = self._places
        if self._all_classes:
            self._check_count(answer["classes"])
        classes = answer["classes"].astype(bytes)
        places = np.searchsorted(names, classes).clip(max=len(names) - 1)
        unknown = classes[names[places] != classes]
        if unknown.size:
            raise PredictionError(
                f"{self.name} answers the class {unknown[0].decode()!r}, which is not among the"
                f" labels given: {', '.join(self.labels[:10])}"
            )
        table = np.full((len(classes), len(names)), np.nan, np.float32)
        np.put_along_axis(table, order[places], answer["scores"], axis=1)
        return table

    def _check_count(self, answer: np.ndarray) -> None:
        if answer.shape[1] != len(self.labels):
            raise PredictionError(
                f"The model has {answer.shape[1]} classes. Received: {len(self.labels)} labels"
            )


def open_saved_model(export: Export, given: Facts, in_flight: int) -> SignaturePredictor:
    """An export, or another's SavedModel that answers ``classes`` and ``scores``.

    Args:
        given: what the caller knows of it; used where the export itself does not tell.
        in_flight: calls under way at a time.

    Raises:
        PredictionError: it has no signature that names classes.
        ExportError: it is in int8, which this machine can't compute.
    """
    import tensorflow as tf

    if export.manifest.get("precision") == "int8":
        from inception_export.int8.support import check_runs

        check_runs(lambda line: None)
    signatures = export.signatures
    if not {"classes", "scores"} <= signatures.get("serving_default", frozenset()):
        raise PredictionError(
            f"{export.path} has no signature `serving_default` with the outputs `classes` and"
            " `scores`, so it is no export of ours."
        )
    loaded = tf.saved_model.load(str(export.path))

    # Signatures are reached through `loaded`, since their variables live as long as it does.
    def call(signature: str, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        outputs = loaded.signatures[signature](image_bytes=tf.constant(encoded))
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def best(encoded: Sequence[bytes]) -> list[Best]:
        answer = call("serving_default", encoded)
        return [
            Best(tuple(label.decode() for label in labels), tuple(scores.tolist()))
            for labels, scores in zip(answer["classes"], answer["scores"], strict=True)
        ]

    return SignaturePredictor(
        str(export.path), signatures, call, best,
        facts=Facts.of(export) | given,
        about={
            "kind": "SavedModel",
            "version": export.path.name,
            "precision": export.manifest.get("precision"),
            **({"views": 2} if export.manifest.get("mirror") else {}),
            "versions": export.manifest.get("versions"),
        },
        in_flight=in_flight,
    )  # fmt: skip


def open_served(client: Client, given: Facts, in_flight: int) -> SignaturePredictor:
    """A model on a server.

    Args:
        given: what the caller knows of it, since a server tells little.
        in_flight: requests under way at a time.

    Raises:
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    known = client.metadata()
    inputs = {name: list(each.inputs) for name, each in known.signatures.items()}

    def call(signature: str, encoded: Sequence[bytes]) -> Mapping[str, np.ndarray]:
        batch = np.empty(len(encoded), object)
        batch[:] = encoded
        return client.predict_tensors({inputs[signature][0]: batch}, signature=signature)

    return SignaturePredictor(
        f"The model {known.name} on {client.address}",
        {
            name: frozenset(each.outputs)
            for name, each in known.signatures.items()
            if len(each.inputs) == 1
        },
        call,
        lambda encoded: client.predict(list(encoded)),
        facts=given,
        about={"kind": "server", "model": known.name, "version": known.version},
        in_flight=in_flight,
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray((1 + np.tanh(logits / 2)) / 2)


_ACTIVATIONS = {"softmax": _softmax, "sigmoid": _sigmoid}


def _noise() -> list[bytes]:
    """Four encoded images."""
    from PIL import Image

    encoded = []
    for pixels in np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        encoded.append(file.getvalue())
    return encoded
