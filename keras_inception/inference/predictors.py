"""Predictors opened by what a user names: a run, an export, a server's model, published weights."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from inception_export.export import find_export, open_export
from keras_inception.inference.predictor import PredictionError, Predictor, takes_one_crop
from keras_inception.inference.signature_predictor import Facts, open_saved_model, open_served
from keras_inception.runs.run import is_run, open_run

_SERVER = re.compile(r"(?P<address>[^/\\]+:\d+)/(?P<model>[^/]+)(/(?P<version>\d+))?")

ACTIVATIONS = ("softmax", "sigmoid")


@contextlib.contextmanager
def open_predictor(
    using: str | Path,
    *,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    export: str | Path | None = None,
    crops: int = 1,
    in_flight: int = 4,
) -> Iterator[Predictor]:
    """What predicts, for ``predict`` and ``evaluate``.

    Args:
        using: a run's folder, an export's (``BASE/NAME/VERSION`` or ``BASE/NAME``), or
            ``HOST:PORT/NAME`` or ``HOST:PORT/NAME/VERSION`` of a server, or published weights,
            ``imagenet:NETWORK`` or ``imagenet:SOURCE/NAME``.
        labels: the class names in the order of the model's outputs, where it does not tell them.
        activation: ``"softmax"`` or ``"sigmoid"``, where it does not tell.
        export: an export that tells both, of the same network.
        crops: cut from each image that is asked about, their scores averaged: 1; of a run and of
            published weights also 2, 10 or 144, see ``evaluation/crops.py``.
        in_flight: requests under way at a time, of an export or a server.

    Raises:
        PredictionError: ``using`` is none of these, or does not take several crops.
        ValueError: there are no such published weights, or crops.
        DownloadError: their download failed.
        ExportError: ``export`` is no export.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    given = _given(labels, activation, export)
    own = is_run(using) or str(using).startswith("imagenet:")
    if crops != 1 and not own:
        raise takes_one_crop(str(using), crops)
    server = _SERVER.fullmatch(str(using))
    if is_run(using):
        # Here, since it loads Keras, which the others don't need.
        from keras_inception.inference.keras_predictor import RunPredictor

        yield RunPredictor(open_run(using), crops)
    elif str(using).startswith("imagenet:"):
        from keras_inception.inference.keras_predictor import KerasPredictor
        from keras_inception.published.network import open_network

        network = open_network(using)
        yield KerasPredictor(
            str(using),
            network.labels,
            network.preprocessing,
            lambda: network.model,
            {"kind": "published", **network.about},
            crops=crops,
        )
    elif (found := find_export(using)) is not None:
        yield open_saved_model(found, given, in_flight)
    elif server and not Path(using).exists():
        from inception_serving import Client

        version = int(server["version"]) if server["version"] else None
        with Client(
            server["address"], model=server["model"], version=version, in_flight=in_flight
        ) as client:
            yield open_served(client, given, in_flight)
    else:
        raise PredictionError(
            f"{using} is neither a run, nor a SavedModel, nor a server's HOST:PORT/NAME, nor"
            " imagenet:NETWORK."
        )


def _given(
    labels: Sequence[str] | None, activation: str | None, export: str | Path | None
) -> Facts:
    if activation not in (None, *ACTIVATIONS):
        raise PredictionError(
            f"`activation` must be one of {', '.join(map(repr, ACTIVATIONS))}."
            f" Received: activation={activation!r}"
        )
    given = Facts(None if labels is None else tuple(labels), activation)
    if export is None:
        return given
    told = Facts.of(open_export(export))
    if told.labels is None or told.activation is None:
        raise PredictionError(
            f"{export} is no export of ours: it does not tell its class names and activation."
        )
    return given | told
