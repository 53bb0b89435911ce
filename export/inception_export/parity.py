"""The comparison of what was written with the Keras model.

The written SavedModel is loaded in a process of its own, once as TensorFlow 2 loads it and once as
TF Serving does, in a session; every signature is run on sample images.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.serving_graph import answers_logits, split
from keras_inception.data.preprocessing import Preprocessing, decode, preprocess_encoded
from keras_inception.models.nested import flatten

# Of a probability, by the precision of the export. bfloat16 has 8 bits of mantissa, float16 11. Of
# int8 the accuracy on samples says more (`samples.py`).
TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1, "int8": 3e-1}


class ParityError(ValueError):
    """The written model can't be loaded or run."""


def sample_images() -> list[bytes]:
    """Four encoded images that differ in size, shape and format, the same every time."""
    random = np.random.default_rng(0)
    encoded = []
    for (height, width), encode in (
        ((96, 128), tf.io.encode_jpeg),
        ((240, 180), tf.io.encode_png),
        ((64, 64), tf.io.encode_png),
        ((333, 500), tf.io.encode_jpeg),
    ):
        coarse = random.uniform(0, 255, (1, 6, 8, 3))
        image = tf.image.resize(coarse, (height, width), "bicubic")[0]
        encoded.append(encode(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)).numpy())
    return encoded


def answers_of(
    model: keras.Model,
    preprocessing: Preprocessing,
    images: Sequence[bytes],
    mirror: bool = False,
) -> dict[str, np.ndarray]:
    """What the written model is to answer: the Keras model's answers.

    Args:
        mirror: whether these are of the mean of each image and its mirror image.

    Returns:
        float32 [images, n] each: ``probabilities`` as ``model`` itself answers, as it was given;
        ``logits`` and ``features`` from within.
    """
    flat = flatten(model)
    body, dense, activation = split(flat)
    inputs = preprocess_encoded(tf.constant(images), preprocessing)
    if mirror:
        inputs = tf.concat([inputs, inputs[:, :, ::-1]], axis=0)
    features = body.predict(inputs, verbose=0).astype(np.float32)
    logits = features @ keras.ops.convert_to_numpy(dense.kernel)
    if dense.use_bias:
        logits = logits + keras.ops.convert_to_numpy(dense.bias)
    probabilities = model.predict(inputs, verbose=0).astype(np.float32)
    if answers_logits(flat):
        probabilities = keras.ops.convert_to_numpy(activation(probabilities))
    answers = {"probabilities": probabilities, "logits": logits, "features": features}
    if mirror:
        count = len(images)
        answers = {name: (each[:count] + each[count:]) / 2 for name, each in answers.items()}
    return answers


def compare(
    written: Sequence[dict[str, np.ndarray]],
    expected: dict[str, np.ndarray],
    labels: tuple[str, ...],
) -> dict[str, float]:
    """The largest differences between the written model and the Keras model, over both loaders.

    Args:
        written: the written model's answers to the images, see :func:`run_in_a_process`.
        expected: the Keras model's, see :func:`answers_of`.

    Returns:
        ``probabilities``: of a probability, over ``serving_default``, ``all_classes``,
        ``classify`` and ``predict_images``; ``mean_probabilities``: their mean over all classes
        and images; ``logits`` and ``features``: in standard deviations of the Keras model's;
        ``top1``: the share of images with the same best class.
    """
    probabilities, logits, features = (
        expected[name] for name in ("probabilities", "logits", "features")
    )
    index = {label.encode(): column for column, label in enumerate(labels)}
    # Those of a network that answers nothing but zeros have no deviation.
    of_logits, of_features = logits.std() or 1.0, features.std() or 1.0
    worst = dict.fromkeys(("probabilities", "mean_probabilities", "logits", "features"), 0.0)
    worst["top1"] = 1.0
    for answers in written:
        for signature in ("serving_default", "all_classes", "classify"):
            classes = answers[f"{signature}_classes"]
            columns = np.vectorize(index.__getitem__)(classes)
            scores = np.take_along_axis(probabilities, columns, axis=1)
            _note(worst, "probabilities", answers[f"{signature}_scores"] - scores)
            same = float(np.mean(columns[:, 0] == probabilities.argmax(axis=1)))
            worst["top1"] = min(worst["top1"], same)
        difference = answers["predict_images_probabilities"] - probabilities
        _note(worst, "probabilities", difference)
        _note(worst, "mean_probabilities", np.abs(difference).mean())
        _note(worst, "logits", (answers["logits_logits"] - logits) / of_logits)
        _note(worst, "features", (answers["features_features"] - features) / of_features)
    return worst


def _note(worst: dict[str, float], name: str, difference: np.ndarray) -> None:
    largest = float(np.abs(difference).max())
    worst[name] = max(worst[name], largest) if np.isfinite(largest) else float("inf")


def run_in_a_process(
    saved_model: Path, images: Sequence[bytes], python: str = sys.executable
) -> list[dict[str, np.ndarray]]:
    """Load a SavedModel in a process of its own and run every signature on the images.

    Args:
        python: the interpreter, of an environment that may have another TensorFlow.

    Returns:
        For each of the two loaders, TensorFlow 2's and the session's, the outputs by
        ``SIGNATURE_OUTPUT``.

    Raises:
        ParityError: it can't be loaded or run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, image in enumerate(images):
            (folder / f"{number:04d}").write_bytes(image)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(_sources()),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        done = subprocess.run(
            [python, "-m", "inception_export.parity", saved_model, folder],
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise ParityError(f"The written model can't be loaded and run: {reason}")
        answers = []
        for loader in ("tensorflow2", "session"):
            with np.load(folder / f"{loader}.npz", allow_pickle=True) as arrays:
                answers.append(dict(arrays))
        return answers


def _sources() -> list[str]:
    """Where this package and those that it needs are, for a process of any environment."""
    packages = ("inception_export", "keras_inception", "inception_serving")
    found = [importlib.import_module(package).__path__[0] for package in packages]
    return [str(Path(path).parent) for path in found]


def _examples(images: Sequence[bytes]) -> list[bytes]:
    """Serialized tf.Examples as the Classify call has them."""
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
                }
            )
        ).SerializeToString()
        for image in images
    ]


def _requests(images: Sequence[bytes]) -> list[tuple[str, str, Any]]:
    """(signature, input, value): one request each, but one an image for decoded ones."""
    requests: list[tuple[str, str, Any]] = [
        (signature, "image_bytes", list(images))
        for signature in ("serving_default", "all_classes", "logits", "features")
    ]
    requests.append(("classify", "inputs", _examples(images)))
    requests += [
        ("predict_images", "images", decode(image).numpy()[np.newaxis]) for image in images
    ]
    return requests


def _main(saved_model: str, folder: str) -> None:
    """In the process of its own: run every signature with both loaders, and write the answers."""
    images = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    requests = _requests(images)
    with ThreadPoolExecutor(2) as pool:  # most of the time is TensorFlow's, preparing graphs
        found = {
            loader: pool.submit(ask, saved_model, requests)
            for loader, ask in (("tensorflow2", _ask_tensorflow2), ("session", _ask_session))
        }
        for loader, answers in found.items():
            _write(folder, loader, answers.result())


def _ask_tensorflow2(
    saved_model: str, requests: Sequence[tuple[str, str, Any]]
) -> dict[str, list[np.ndarray]]:
    signatures = tf.saved_model.load(saved_model).signatures
    if missed := set(signatures) - {signature for signature, *_ in requests}:
        raise ParityError(f"Nothing compares the signatures {', '.join(sorted(missed))}.")
    answers: dict[str, list[np.ndarray]] = {}
    for signature, name, value in requests:
        for output, tensor in signatures[signature](**{name: tf.constant(value)}).items():
            answers.setdefault(f"{signature}_{output}", []).append(tensor.numpy())
    return answers


def _ask_session(
    saved_model: str, requests: Sequence[tuple[str, str, Any]]
) -> dict[str, list[np.ndarray]]:
    answers: dict[str, list[np.ndarray]] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], saved_model)
        for signature, name, value in requests:
            definition = meta_graph.signature_def[signature]
            fetches = {output: info.name for output, info in definition.outputs.items()}
            values = session.run(fetches, {definition.inputs[name].name: value})
            for output, array in values.items():
                answers.setdefault(f"{signature}_{output}", []).append(array)
    return answers


def _write(folder: str, loader: str, answers: dict[str, list[np.ndarray]]) -> None:
    np.savez(
        Path(folder) / f"{loader}.npz",
        allow_pickle=True,
        **{name: np.concatenate(arrays) for name, arrays in answers.items()},
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
