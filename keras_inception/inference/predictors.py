"""Predictors opened by what a user names: a run, an export, a server's model, published weights."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from inception_export.export import find_export, open_export
from inception_serving.predictions.prediction import PredictionError
from inception_serving.predictions.served import almost_served, read_served
from keras_inception.inference.predictor import Predictor, takes_one_crop
from keras_inception.inference.signature_predictor import Facts, open_saved_model, open_served
from keras_inception.runs.run import is_run, open_run

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
        labels: the class names in the order of the model's outputs, where it does not tell them; of
            a server's model that does, the order of the scores.
        activation: ``"softmax"`` or ``"sigmoid"``, where it does not tell.
        export: an export that tells both, of the same network, which a server serves.
        crops: cut from each image that is asked about, their scores averaged: 1; of a run and of
            published weights also 2, 10 or 144, see ``evaluation/crops.py``.
        in_flight: requests under way at a time, of an export or a server.

    Raises:
        PredictionError: ``using`` is none of these, tells itself what was given, or does not take
            several crops.
        ValueError: there are no such published weights, or crops.
        DownloadError: their download failed.
        ExportError: ``export`` is no export.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    given = _given(labels, activation, export)
    own = is_run(using) or str(using).startswith("imagenet:")
    if own or _tells_all(using):
        _refuse(using, labels=labels, activation=activation, export=export)
    server = read_served(str(using))
    if crops != 1 and not own and (server or find_export(using)):
        raise takes_one_crop(str(using), crops)
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

        with Client(
            server.address, model=server.model, version=server.version, in_flight=in_flight
        ) as client:
            yield open_served(client, given, in_flight)
    else:
        raise PredictionError(_none_of_these(str(using)))


def _tells_all(using: str | Path) -> bool:
    """Whether it is an export of ours, which has its class names and activation inside."""
    export = find_export(using)
    return export is not None and None not in (export.labels, export.activation)


def _refuse(using: str | Path, **given: object) -> None:
    """Refuse what the model tells itself: to leave it aside would be another answer than asked."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise PredictionError(
            f"{', '.join('--' + name for name in names)}: only for a model on a server, or"
            f" another's SavedModel, that does not tell it. {using} has its class names and"
            f" activation inside: leave {'it' if len(names) == 1 else 'them'} out."
        )


def _none_of_these(using: str) -> str:
    """The message where nothing predicts by this name, with what was likely meant."""
    if almost := almost_served(using):
        return almost
    if Path(using).suffix in (".keras", ".h5") and Path(using).is_file():
        return (
            f"{using} is a Keras model's file, and tells neither class names nor preprocessing."
            f" Export it, which asks for them: keras-inception export {shlex.quote(using)} models"
            " --name NAME --labels FILE; then --with models/NAME"
        )
    if models := [each for each in sorted(Path(using).glob("*")) if using and find_export(each)]:
        return f"{using} is a folder of models: name one, such as {models[0]}."
    there = "" if Path(using).exists() else ", and there is no such file or folder"
    return (
        f"{using or repr(using)} is neither a run, nor a SavedModel, nor a server's HOST:PORT/NAME,"
        f" nor imagenet:NETWORK{there}."
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
