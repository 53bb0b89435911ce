"""A network as one file of another engine, compared with the Keras model before it appears.

Scaling is inside: the file takes pixels from 0 to 255. Decoding, resizing and cropping are not,
since no two engines do them alike; what they have to be stands in a JSON beside the file.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.export import FORMAT, ExportError
from inception_export.folding import fold_batch_norm
from inception_export.formats.engines import ENGINES, Engine
from inception_export.options import ExportOptions
from inception_export.parity import TOLERANCES, answers_of, sample_images
from inception_export.samples import spread
from inception_export.serving_graph import activation_name, split
from keras_inception.data.preprocessing import Preprocessing, decode, resize
from keras_inception.runs.run import versions


def write_portable(
    models: tuple[keras.Model, keras.Model],
    home: Path,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    options: ExportOptions,
    record: dict[str, Any],
    log: Callable[[str], None],
) -> Path:
    """Write ``home.onnx``, ``.tflite`` or ``.xml`` with its ``.bin``, and a JSON beside it.

    Args:
        models: the model as it was given, to compare with, and flat, to export.
        home: ``base/name``.
        labels, preprocessing, options, record, log: see
            :func:`~inception_export.publish.export_saved_model`.

    Returns:
        The file.

    Raises:
        ExportError: a package is missing, the file is there already or can't be written, Keras's
            exporter refuses the network, or what was written answers otherwise than the model.
    """
    model, flat = models
    engine = ENGINES[options.format]
    engine.check_installed()
    target = home.with_name(f"{home.name}{engine.suffix}")
    for suffix in (engine.suffix, engine.beside, f"{engine.suffix}.json"):
        path = home.with_name(f"{home.name}{suffix}")
        if suffix and path.exists():
            raise ExportError(f"{path} exists already, and is never overwritten: remove it first.")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".tmp-{home.name}-", dir=home.parent) as folder:
            path = Path(folder) / target.name
            _export(portable_network(flat, preprocessing), path, engine)
            manifest = _compare(path, engine, model, preprocessing, options, log)
            manifest |= {
                "labels": list(labels),
                "activation": activation_name(flat),
                "preprocessing": dataclasses.asdict(preprocessing),
                "versions": versions(),
            } | record
            about = Path(folder) / f"{target.name}.json"
            about.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
            # The file that is asked for comes last, so that with it all is there.
            for each in sorted(Path(folder).iterdir(), key=lambda each: each == path):
                each.rename(target.parent / each.name)
    except OSError as error:
        raise ExportError(f"{target} can't be written: {error.strerror or error}.") from error
    log(f"Written {target}, and {target.name}.json: labels, preprocessing, differences")
    return target


def portable_network(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """From pixels of 0 to 255, float32 [batch, size, size, 3], to probabilities [batch, classes].

    Args:
        model: flat, a classifier as :func:`~inception_export.serving_graph.split` takes it.
    """
    body, dense, activation = split(model)
    size = preprocessing.size
    pixels = keras.Input((size, size, 3), name="images")
    images = pixels
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    if mean.any() or (std != 1).any():
        images = keras.layers.Rescaling((1 / std).tolist(), (-mean / std).tolist())(images)
    features = fold_batch_norm(body, None)(images, training=False)
    last = keras.layers.Dense(
        dense.units, activation=activation, use_bias=dense.use_bias, name="probabilities"
    )
    network = keras.Model(pixels, last(features))
    last.set_weights(dense.get_weights())
    return network


def _export(network: keras.Model, path: Path, engine: Engine) -> None:
    # The exporter to ONNX takes no model that was never called.
    network(np.zeros((1, *network.input_shape[1:]), np.float32))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converters, about their own code
            network.export(str(path), format=engine.name, verbose=False)
    except OSError:
        raise  # of the disk, and not of the network
    except Exception as error:  # of whatever kind a converter's errors are
        why = " ".join(str(error).split())[:300]
        raise ExportError(
            f"Keras's exporter to {engine.name} refuses the network"
            f" ({type(error).__name__}: {why}). The SavedModel holds whatever the others do not:"
            " leave out --format."
        ) from error


def _compare(
    path: Path,
    engine: Engine,
    model: keras.Model,
    preprocessing: Preprocessing,
    options: ExportOptions,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Compare the file's answers with the model's; what the manifest says of both.

    Raises:
        ExportError: they differ by more than the tolerance.
    """
    encoded = spread(options.samples) or sample_images()
    decoded = [decode(tf.constant(image), preprocessing)[tf.newaxis] for image in encoded]
    pixels = np.concatenate([resize(image, preprocessing).numpy() for image in decoded])
    expected = np.asarray(answers_of(model, preprocessing, encoded)["probabilities"])
    # One image and several: a file may have been made for one size of a batch.
    found = [engine.run(path, part) for part in (pixels, pixels[:1])]
    rows = [each.rows for each in found]
    if [each.shape for each in rows] != [expected.shape, expected[:1].shape]:
        raise ExportError(
            f"The written file answers {list(rows[0].shape)}, and the Keras model"
            f" {list(expected.shape)}; nothing was published."
        )
    pairs = zip(rows, (expected, expected[:1]), strict=True)
    difference = max(float(np.abs(one - other).max()) for one, other in pairs)
    same = float(np.mean(rows[0].argmax(axis=1) == expected.argmax(axis=1)))
    log(
        f"Largest difference of {engine.name}'s probabilities from the Keras model's:"
        f" {difference:.1e}; same best class {same:.0%}"
    )
    tolerance = TOLERANCES["float32"]
    if not difference <= tolerance:
        raise ExportError(
            f"The written file's probabilities differ from the Keras model's by up to"
            f" {difference:.3g}, more than {tolerance:g}; nothing was published."
        )
    return {
        "format": FORMAT,
        "engine": engine.name,
        "model": model.name,
        "input": {
            "name": found[0].input,
            "dtype": "float32",
            "shape": [None, *pixels.shape[1:]],
            "pixels": "RGB, 0 to 255, resized and cropped as `preprocessing` says; it scales them",
        },
        "output": {"name": found[0].output, "dtype": "float32", "shape": [None, rows[0].shape[1]]},
        "parity": {
            "images": len(encoded),
            "tolerance": tolerance,
            "probabilities": difference,
            "top1": same,
        },
    }
