"""Predictions by a run, an exported SavedModel or a server, all asked alike.

A person needs no server to try a model, and needs to change nothing but the address to use one.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

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
class Prediction:
    """What was predicted for one image.

    Args:
        image: its file.
        labels: class names, the best first; empty if the image could not be decoded.
        scores: their probabilities.
        milliseconds: the time of the image's batch, divided by the images in it.
        error: why there is no prediction; empty if there is one.
    """

    image: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    milliseconds: float
    error: str = ""


def predict(
    images: Sequence[str | Path],
    using: str | Path,
    *,
    top: int = 5,
    batch_size: int = 16,
    advance: Callable[[int], None] = lambda images: None,
) -> list[Prediction]:
    """Predict image files.

    Args:
        images: files; folders stand for all files below them.
        using: a run's folder, a SavedModel's, or ``HOST:PORT/NAME`` of a server.
        top: classes for each image, at most; an export answers no more than were chosen then.
        batch_size: images a call.
        advance: is told after each call how many images it took, for a progress bar.

    Returns:
        One prediction for each image, in order. One that can't be decoded has its error there.

    Raises:
        PredictionError: an image or ``using`` does not exist.
        inception_serving.ServingError: the server is not there, or has no such model.
    """
    paths = list_images(images)
    with open_predictor(using) as answer:
        predictions: list[Prediction] = []
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            predictions += _predict_batch(answer, batch, top)
            advance(len(batch))
    return predictions


@contextlib.contextmanager
def open_predictor(using: str | Path) -> Iterator[Predict]:
    """A function from encoded images to their best classes, for ``predict`` and ``evaluate``.

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
        with Client(server["address"], model=server["model"], version=version) as client:
            yield client.predict
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


def list_images(places: Sequence[str | Path]) -> list[str]:
    """Image files named one by one, or all files below the folders named, in order.

    Raises:
        PredictionError: a place does not exist, or holds no file.
    """
    paths: list[str] = []
    for place in map(Path, places):
        if place.is_dir():
            found = sorted(str(path) for path in place.rglob("[!.]*") if path.is_file())
            if not found:
                raise PredictionError(f"{place} holds no images.")
            paths.extend(found)
        elif place.is_file():
            paths.append(str(place))
        else:
            raise PredictionError(f"There is no image or folder {place}.")
    return paths


def draw_predictions(predictions: Sequence[Prediction], output: str | Path) -> None:
    """Draw the images in a grid, each under its best class and score, as a PNG.

    Where an image's folder bears the name of one of the classes seen, that is taken for the truth:
    right is green, wrong is red.
    """
    from PIL import Image

    shown = [each for each in predictions if each.labels]
    known = {label for each in shown for label in each.labels}
    columns = min(8, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(1.6 * columns, 1.9 * rows), layout="constrained")
    for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.axis("off")
    for axes, each in zip(grid.flat, shown, strict=False):
        truth = Path(each.image).parent.name
        color = "black" if truth not in known else "green" if truth == each.labels[0] else "red"
        with Image.open(each.image) as image:
            axes.imshow(image.convert("RGB"), interpolation="nearest")
        axes.set_title(f"{each.labels[0]}  {each.scores[0]:.0%}", fontsize=9, color=color)
    figure.savefig(output, dpi=110)


def _predict_batch(answer: Predict, batch: Sequence[str], top: int) -> list[Prediction]:
    encoded = [Path(path).read_bytes() for path in batch]
    start = time.perf_counter()
    try:
        ranked = answer(encoded)
    except Exception as error:
        reason = _decoder_reason(error)
        if reason is None:
            raise
        if len(batch) == 1:
            return [Prediction(batch[0], (), (), 0.0, reason)]
        # One bad image fails its batch: find it, and predict the others.
        return [each for path in batch for each in _predict_batch(answer, [path], top)]
    milliseconds = (time.perf_counter() - start) * 1000 / len(batch)
    return [
        Prediction(path, each.labels[:top], each.scores[:top], milliseconds)
        for path, each in zip(batch, ranked, strict=True)
    ]


def _run(path: Path) -> Predict:
    import tensorflow as tf

    from keras_inception.data.preprocessing import preprocess_encoded
    from keras_inception.training.run import open_run

    run = open_run(path)
    model, how, labels = run.load_model(), run.preprocessing, run.labels

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def probabilities(encoded: Any) -> Any:
        return model(preprocess_encoded(encoded, how), training=False)

    def answer(encoded: Sequence[bytes]) -> list[Best]:
        rows = probabilities(tf.constant(encoded)).numpy()
        order = (-rows).argsort(axis=1, kind="stable")
        return [
            Best(tuple(labels[index] for index in indices), tuple(row[indices].tolist()))
            for row, indices in zip(rows, order, strict=True)
        ]

    return answer


def _saved_model(path: Path) -> Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get("serving_default")
    if signature is None or not {"classes", "scores"} <= signature.structured_outputs.keys():
        raise PredictionError(
            f"{path} has no signature `serving_default` with the outputs `classes` and `scores`,"
            " so it is no export of ours."
        )

    def answer(encoded: Sequence[bytes]) -> list[Best]:
        outputs = signature(image_bytes=tf.constant(encoded))
        return [
            Best(tuple(label.decode() for label in row), tuple(scores.tolist()))
            for row, scores in zip(
                outputs["classes"].numpy(), outputs["scores"].numpy(), strict=True
            )
        ]

    # The function's variables live as long as the object they were loaded into.
    answer.loaded = loaded  # type: ignore[attr-defined]
    return answer


def _decoder_reason(error: Exception) -> str | None:
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
