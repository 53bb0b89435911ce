"""What predicts: a run, an exported SavedModel or a model on a server, opened and asked alike."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Predict = Callable[[Sequence[bytes]], "Sequence[Ranked]"]

_SERVER = re.compile(r"(?P<address>[^/\\]+:\d+)/(?P<model>[^/]+)(/(?P<version>\d+))?")


class PredictionError(ValueError):
    """There is nothing that could predict, or an image can't be predicted."""


class Ranked(Protocol):
    """The best classes for one image, the best first."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def scores(self) -> tuple[float, ...]: ...


@dataclass(frozen=True)
class Best:
    """Classes and their probabilities, the best first."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Predictor:
    """A run, an export or a server, opened.

    Args:
        best: from encoded images to their best classes.
        logits: from encoded images to float32 [batch, classes]; ``None`` where it answers none.
        labels: the class names in the order of the logits; ``None`` where it does not tell them.
        preprocessing: how it resizes and crops; ``None`` where it does not tell.
        about: what else it says of itself.
    """

    best: Predict
    logits: Callable[[Sequence[bytes]], np.ndarray] | None = None
    labels: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] | None = None
    about: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def open_predictor(using: str | Path, *, in_flight: int = 4) -> Iterator[Predictor]:
    """What predicts, for ``predict`` and ``evaluate``.

    Args:
        in_flight: requests under way at a time, of a server.

    Raises:
        PredictionError: ``using`` is neither a run, nor a SavedModel, nor HOST:PORT/NAME.
    """
    path = Path(using)
    server = _SERVER.fullmatch(str(using))
    if (path / "run.json").is_file():
        yield _run(path)
    elif (saved_model := find_saved_model(path)) is not None:
        yield _saved_model(saved_model)
    elif server and not path.exists():
        from inception_serving import Client

        version = int(server["version"]) if server["version"] else None
        with Client(
            server["address"], model=server["model"], version=version, in_flight=in_flight
        ) as client:
            yield _server(client)
    else:
        raise PredictionError(
            f"{using} is neither a run, nor a SavedModel, nor a server's HOST:PORT/NAME."
        )


def find_saved_model(path: Path) -> Path | None:
    """The SavedModel at ``path``, or the largest version in it; ``None`` if there is none."""
    if (path / "saved_model.pb").is_file():
        return path
    if not path.is_dir():
        return None
    versions = [child for child in path.iterdir() if child.name.isdecimal()]
    return max(
        (each for each in versions if (each / "saved_model.pb").is_file()),
        key=lambda version: int(version.name),
        default=None,
    )


def _run(path: Path) -> Predictor:
    import keras
    import tensorflow as tf

    from keras_inception.data.preprocessing import preprocess_encoded
    from keras_inception.runs.run import open_run

    run = open_run(path)
    model, preprocessing, labels = run.load_model(), run.preprocessing, run.labels
    one_graph = keras.config.backend() == "tensorflow"

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def prepared(encoded: Any) -> Any:
        inputs = preprocess_encoded(encoded, preprocessing)
        return model(inputs, training=False) if one_graph else inputs

    def best(encoded: Sequence[bytes]) -> list[Best]:
        rows = prepared(tf.constant(encoded)).numpy()
        if not one_graph:
            rows = model.predict_on_batch(rows)
        order = (-rows).argsort(axis=1, kind="stable")
        return [
            Best(tuple(labels[index] for index in indices), tuple(row[indices].tolist()))
            for row, indices in zip(rows, order, strict=True)
        ]

    return Predictor(best, labels=labels)


def _saved_model(path: Path) -> Predictor:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get("serving_default")
    if signature is None or not {"classes", "scores"} <= signature.structured_outputs.keys():
        raise PredictionError(
            f"{path} has no signature `serving_default` with the outputs `classes` and `scores`,"
            " so it is no export of ours."
        )

    # Signatures are reached through `loaded`, since their variables live as long as it does.
    def best(encoded: Sequence[bytes]) -> list[Best]:
        outputs = loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))
        return [
            Best(tuple(label.decode() for label in row), tuple(scores.tolist()))
            for row, scores in zip(
                outputs["classes"].numpy(), outputs["scores"].numpy(), strict=True
            )
        ]

    def logits(encoded: Sequence[bytes]) -> np.ndarray:
        outputs = loaded.signatures["logits"](image_bytes=tf.constant(encoded))
        return outputs["logits"].numpy()

    labels, manifest = path / "assets" / "labels.txt", path / "assets.extra/keras_inception.json"
    said = json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {}
    names = labels.read_text("utf-8").split("\n")[:-1] if labels.is_file() else None
    return Predictor(
        best,
        logits if "logits" in loaded.signatures else None,
        None if names is None else tuple(names),
        said.get("preprocessing"),
        {
            "kind": "SavedModel",
            "version": path.name,
            "precision": said.get("precision"),
            "versions": said.get("versions"),
        },
    )


def _server(client: Any) -> Predictor:
    known = client.metadata()
    signature = known.signatures.get("logits")

    def logits(encoded: Sequence[bytes]) -> np.ndarray:
        batch = np.empty(len(encoded), object)
        batch[:] = encoded
        (name,) = signature.inputs
        outputs = client.predict_tensors({name: batch}, signature="logits", outputs=["logits"])
        return outputs["logits"]

    usable = signature is not None and len(signature.inputs) == 1 and "logits" in signature.outputs
    return Predictor(
        client.predict,
        logits if usable else None,
        about={"kind": "server", "model": known.name, "version": known.version},
    )


def decoder_reason(error: Exception) -> str | None:
    """What the decoder said against an image; ``None`` if the error is another."""
    from inception_serving import errors

    if isinstance(error, errors.ImageError | errors.InvalidArgumentError):
        return " ".join(str(error).split())
    if type(error).__module__.startswith("tensorflow"):
        import tensorflow as tf

        from keras_inception.data.preprocessing import decoder_message

        if isinstance(error, tf.errors.InvalidArgumentError):
            return decoder_message(error)
    return None
