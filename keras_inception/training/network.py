"""The network of a recipe: built, compiled, and cut to what is kept of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_inception.data.preprocessing import Preprocessing
from keras_inception.models.application import loss_weights
from keras_inception.models.catalogue import find
from keras_inception.models.weight_files import open_for
from keras_inception.published.imagenet import preprocessing_of
from keras_inception.published.network import told_by_file
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import run_of
from keras_inception.training.optimization.fast_path import take_fast_path
from keras_inception.training.optimization.finetune import set_trainable
from keras_inception.training.optimization.losses import make_loss
from keras_inception.training.optimization.optimizers import make_optimizer


def build(recipe: Recipe, classes: int, momentum: float) -> keras.Model:
    """The recipe's network, which ends in logits: :func:`inference` adds the activation.

    Args:
        momentum: of batch norm.

    Raises:
        RecipeError: the network refuses a setting.
        ValueError: there is no such network, or its weights can't be had.
    """
    return _build(
        recipe,
        classes,
        momentum,
        variant=recipe.variant,
        weights=recipe.weights,
        skip=recipe.skip.split(",") if recipe.skip else (),
    )


def build_again(
    recipe: Recipe, classes: int, momentum: float, decided: Mapping[str, Any]
) -> keras.Model:
    """As :func:`build`, but without the weights that it started from.

    Args:
        decided: what they decided, from :func:`decided_by_weights`.
    """
    return _build(recipe, classes, momentum, **decided)


def decided_by_weights(recipe: Recipe) -> dict[str, Any] | None:
    """What the weights decide of the network that starts from them, by the builder's names."""
    if recipe.weights is None:
        return None
    opened = open_for(find(recipe.model), recipe.weights)
    return {"variant": opened.variant, "scale": opened.has_gamma}


def _build(recipe: Recipe, classes: int, momentum: float, **by_weights: Any) -> keras.Model:
    builder = find(recipe.model).builder()
    shape = None if recipe.image_size is None else (recipe.image_size, recipe.image_size, 3)
    try:
        model = builder(
            classes=classes,
            classifier_activation=None,
            input_shape=shape,
            aux=recipe.aux,
            dropout=recipe.dropout,
            width=recipe.width,
            stem=recipe.stem,
            momentum=momentum,
            **by_weights,
        )
    except ValueError as error:
        if type(error) is ValueError:  # the builder's rule for its arguments, no file's error
            raise RecipeError(str(error)) from error
        raise
    if recipe.image_size_start is not None:
        _check_start(recipe, model.input_shape[1])
    set_trainable(model, recipe, "all")  # what it refuses is refused before anything is written
    return model


def _check_start(recipe: Recipe, size: int) -> None:
    """Refuse to begin with images that are not smaller, or too small for the network."""
    start = recipe.image_size_start
    smallest = 28 if recipe.stem == "small" else find(recipe.model).minimum
    smallest = max(smallest, recipe.augment_shift_pixels + 1)
    if start is None or not smallest <= start < size:
        raise RecipeError(
            f"`image_size_start` must be at least {smallest} and below {size}, the size at the end."
            f" Received: image_size_start={start}"
        )


def preprocessing_for(
    recipe: Recipe, size: int, log: Callable[[str], None] = lambda line: None
) -> Preprocessing:
    """How images become the network's input.

    The range is that of the weights that it starts from. Those of a run bring all of the run's
    protocol but the size, save what the recipe sets.

    Args:
        size: of the input in pixels.
        log: is told of the range that a file of weights tells, or that is assumed since it tells
            none.
    """
    given = {
        name: getattr(recipe, name)
        for name in ("crop", "alpha", "exif_orientation")
        if getattr(recipe, name) is not None
    }
    default = Preprocessing(size=size)
    if recipe.weights is not None:
        run = run_of(recipe.weights)
        if run is not None:
            default = dataclasses.replace(run.preprocessing, size=size)
        else:
            published = _published(recipe, size, log)
            default = Preprocessing(size=size, mean=published.mean, std=published.std)
    return dataclasses.replace(default, **given)


def _published(recipe: Recipe, size: int, log: Callable[[str], None]) -> Preprocessing:
    """What is known of weights by their name, or by the file that they are."""
    weights = str(recipe.weights)
    if weights.partition(":")[0] == "imagenet":
        return preprocessing_of(weights, size, recipe.model)
    entry = find(recipe.model)
    told = told_by_file(entry, open_for(entry, weights), size)
    if told is None:
        log(
            f"{weights} does not tell the range of pixels that it was trained on: -1 to 1 is"
            " assumed. Published weights bring theirs by name, and a run's by the run's folder."
        )
        return preprocessing_of(weights, size)
    log(f"{weights} is known: of pixels {told.mean} is subtracted, and divided by {told.std}")
    return told


def compile_network(
    model: keras.Model,
    recipe: Recipe,
    learning_rate: Any,
    metrics: Sequence[keras.metrics.Metric],
    *,
    loss: Any = None,
    fast: bool = True,
) -> None:
    """Compile for what is trainable now, the optimizer built.

    Args:
        learning_rate: a number or a schedule.
        metrics: of the classifier, from its logits.
        loss: of every output, see :func:`~keras_inception.training.optimization.losses.make_loss`;
            by default that of one class an image.
        fast: whether to train by TensorFlow's fast path.
    """
    loss = loss or make_loss(recipe, multi_label=False)
    optimizer = make_optimizer(recipe, model, learning_rate)
    if recipe.aux:
        weights = loss_weights(model)
        model.compile(
            optimizer,
            loss={output: loss for output in weights},
            loss_weights=weights,
            weighted_metrics={"predictions": list(metrics)},
        )
    else:
        model.compile(optimizer, loss=loss, weighted_metrics=list(metrics))
    # Built inside the first step, its variables would have that step traced twice.
    model.optimizer.build(model.trainable_variables)
    if fast:
        take_fast_path(model)


def inference(
    model: keras.Model,
    values: Sequence[np.ndarray] | None = None,
    *,
    multi_label: bool = False,
    size: int | None = None,
) -> keras.Model:
    """A copy to be kept: stock layers, uncompiled, without auxiliary heads, on one device.

    It computes in float32 whatever the precision of the training, and ends in probabilities.

    Args:
        model: a network that is trained, as :func:`build` makes it.
        values: for ``model.weights``; by default its own.
        multi_label: whether an image can be of several classes, or of none: a sigmoid of each
            then, and not a softmax.
        size: of its images in pixels, where those of the training were of several.
    """
    if values is None:
        values = model.get_weights()
    of = {id(weight): value for weight, value in zip(model.weights, values, strict=True)}
    output = model.output["predictions"] if isinstance(model.output, dict) else model.output
    network = keras.Model(model.input, output, name=model.name)
    image = keras.Input((size, size, 3), name=model.input.name) if size else None
    copy = keras.models.clone_model(network, image, clone_function=_plain)
    for layer, plain in zip(network.layers, copy.layers, strict=True):
        plain.set_weights([of[id(weight)] for weight in layer.weights])
    activation = keras.layers.Activation(
        "sigmoid" if multi_label else "softmax", dtype="float32", name="predictions"
    )
    return keras.Model(copy.input, activation(copy.output), name=model.name)


def _plain(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config() | {"dtype": "float32"}
    if "synchronized" in config:
        config["synchronized"] = False
    return type(layer).from_config(config)
