"""Runs made without training: a network of three layers that knows colours, for what comes after.

Features are a smooth function of the mean colours of an image's quarters; the dense layer is
solved, not trained.
"""

import colorsys
import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_inception.data.preprocessing import Preprocessing
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run

HOW = Preprocessing(size=16)


def colours(count: int) -> np.ndarray:
    """As many colours, float64 [count, 3] in [0, 255]."""
    return np.array(
        [np.array(colorsys.hsv_to_rgb(place / count, 0.9, 0.9)) * 255 for place in range(count)]
    )


def write_photos(folder: Path, labels: tuple[str, ...], each: int, noise: float = 60) -> Path:
    """FOLDER/CLASS/IMAGE: a class is a colour, hard to tell from its neighbours."""
    random = np.random.default_rng(1)
    for label, colour in zip(labels, colours(len(labels)), strict=True):
        (folder / label).mkdir(parents=True)
        for number in range(each):
            width, height = random.integers(18, 60, 2)
            shade = colour + random.normal(0, noise, 3)
            pixels = shade + random.normal(0, 10, (height, width, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / label / f"{number}.{('jpg', 'png')[number % 2]}")
    return folder


def colour_model(count: int, activation: str = "softmax", name: str = "colours") -> keras.Model:
    """From float32 [batch, 16, 16, 3] to a score for each of ``colours(count)``; grey is none."""
    keras.utils.set_random_seed(3)
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(48, 3, strides=4, padding="same", name="mixed_5b")(image)
    x = keras.layers.Activation("tanh")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dense(count, name="logits")(x)
    x = keras.layers.Activation(activation, name="predictions")(x)
    model = keras.Model(image, x, name=name)
    shades = np.concatenate([colours(count), [[128, 128, 128]]])
    pixels = np.broadcast_to(shades[:, None, None], (count + 1, 16, 16, 3))
    body = keras.Model(image, model.get_layer("avg_pool").output)
    features = body.predict((pixels - 127.5).astype(np.float32) / 127.5, verbose=0)
    features = np.pad(features, ((0, 0), (0, 1)), constant_values=1)
    wanted = 12.0 * np.eye(count + 1, count) - 4.0
    weights = np.linalg.solve(features.T @ features + 1e-3 * np.eye(49), features.T @ wanted)
    model.get_layer("logits").set_weights([weights[:-1], weights[-1]])
    return model


def make_run(
    path: Path, model: keras.Model, labels: tuple[str, ...], images: list[tuple[Path, str]]
) -> Run:
    """A finished run of ``model``, validated on ``images``."""
    path.mkdir(parents=True)
    Recipe(image_size=16, epochs=2).save(path / "recipe.yaml")
    (path / "labels.txt").write_text("".join(f"{label}\n" for label in labels), "utf-8")
    with (path / "validation.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "label"), *images])
    with (path / "history.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [
                ("epoch", "accuracy", "loss", "val_accuracy", "val_loss"),
                (1, 0.5, 1.0, 0.4, 1.2),
                (2, 0.8, 0.6, 0.7, 0.8),
            ]
        )
    record = {
        "preprocessing": dataclasses.asdict(HOW),
        "data": {"training": "/photos", "training_images": 100, "validation_images": len(images)},
        "versions": {"keras-inception": "0", "keras": "3", "tensorflow": "2", "numpy": "2"},
        "validation": {"accuracy": 0.7},
    }
    (path / "run.json").write_text(json.dumps(record), "utf-8")
    model.save(path / "model.keras")
    return Run(path)
