"""Train a network on a folder of images: ``model.fit`` and what a run needs around it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_inception.data.augment import Augmentation
from keras_inception.data.examples import Examples
from keras_inception.data.pipeline import (
    evaluation_batches,
    training_batches,
    with_auxiliary_targets,
)
from keras_inception.data.prepare import Source, prepare
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.imagenet import preprocessing_of
from keras_inception.models.application import loss_weights
from keras_inception.models.catalogue import find
from keras_inception.training.checkpoint import Checkpoints, restore_best, restore_last
from keras_inception.training.finetune import momentum, set_trainable
from keras_inception.training.fused import fuse_batch_norm
from keras_inception.training.optimizers import make_optimizer
from keras_inception.training.recipe import Recipe
from keras_inception.training.report import draw_curves
from keras_inception.training.run import Run, RunError, create_run, open_run


def train(
    data: Source,
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    validation_data: Source | None = None,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Run:
    """Train a network on images of known classes.

    Args:
        data: the training images, such as a folder ``data/CLASS/IMAGE``; see
            :func:`~keras_inception.data.sources.open_source`.
        output: the run's folder, made here.
        recipe: how; the default recipe if not given, the run's own when resuming.
        validation_data: images to validate on, with the same classes; by default the recipe's
            ``validation_fraction`` of each class is set apart.
        on_bad_image: whether files that can't be decoded are left out and named, or refused.
        resume: go on with the run in ``output`` after its last whole epoch.
        say: takes each line about the data and the result.

    Returns:
        The finished run, whose ``load_model()`` is the network of the epoch with the lowest
        validation loss (the last epoch if nothing is set apart).

    Raises:
        DataError: the images can't be used.
        ValueError: there is no such network, or it refuses a setting of the recipe.
        RunError: ``output`` exists, or can't be resumed.
    """
    run = open_run(output) if resume else None
    if run is not None:
        if run.finished:
            raise RunError(f"The run {output} has finished; there is nothing to resume.")
        if recipe is not None and recipe != run.recipe:
            raise RunError(f"A run is resumed with its own recipe, {output}/recipe.yaml.")
        recipe = run.recipe
    recipe = recipe or Recipe()

    prepared = prepare(
        data,
        validation_data,
        validation_fraction=recipe.validation_fraction,
        seed=recipe.seed,
        on_bad_image=on_bad_image,
        say=say,
    )
    training, validation = prepared.training, prepared.validation
    if run is not None:
        run.check_data(prepared)
    batch_size = min(recipe.batch_size, len(training))
    if batch_size < recipe.batch_size:
        say(f"A batch is all of the {batch_size} training images.")

    with _policy(recipe.precision):
        keras.utils.set_random_seed(recipe.seed)
        steps = len(training) // batch_size
        model = build(recipe, len(training.labels), momentum(recipe, steps))
        fuse_batch_norm(model)
        how = _preprocessing(recipe, model.input_shape[1])
        _compile(model, recipe, steps)
        say(f"{model.name}, {how.size} x {how.size} pixels, {model.count_params():,} parameters")

        if run is None:
            run = create_run(output, recipe, prepared, how)
            history: list[dict[str, float]] = []
        else:
            history = restore_last(run.path, model)
        _fit(model, run, recipe, training, validation, how, batch_size, history)

        if len(validation):
            restore_best(run.path, model)
        network = _inference(model)
        metrics = {}
        if len(validation):
            metrics = _validate(network, validation, how, batch_size)
            say(
                "Validation: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            )
        run.update_record(validation=metrics)
        draw_curves(run.path / "history.csv", run.path / "curves.png")
        # Last, since a run with a model.keras counts as finished.
        beside = run.path / "model.tmp.keras"
        network.save(beside)
        beside.replace(run.model_path)
    return run


def build(recipe: Recipe, classes: int, momentum: float) -> keras.Model:
    """The recipe's network.

    Args:
        momentum: of batch norm.

    Raises:
        ValueError: there is no such network, or it refuses a setting.
    """
    builder = find(recipe.model).builder()
    shape = None if recipe.image_size is None else (recipe.image_size, recipe.image_size, 3)
    model = builder(
        classes=classes,
        input_shape=shape,
        aux=recipe.aux,
        dropout=recipe.dropout,
        width=recipe.width,
        stem=recipe.stem,
        variant=recipe.variant,
        momentum=momentum,
        weights=recipe.weights,
    )
    set_trainable(model, recipe, "all")
    return model


def _preprocessing(recipe: Recipe, size: int) -> Preprocessing:
    """The recipe's crop, in the range that the weights it starts from were trained in."""
    default = Preprocessing(size=size, crop=recipe.crop)
    if recipe.weights is None:
        return default
    published = preprocessing_of(recipe.weights, size)
    return dataclasses.replace(default, mean=published.mean, std=published.std)


def _compile(model: keras.Model, recipe: Recipe, steps: int) -> None:
    classes = model.get_layer("logits").units
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    metrics: list[Any] = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    if classes > 5:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, name="top5_accuracy"))
    optimizer = make_optimizer(recipe, model, steps)
    if recipe.aux:
        weights = loss_weights(model)
        model.compile(
            optimizer,
            loss={output: loss for output in weights},
            loss_weights=weights,
            metrics={"predictions": metrics},
        )
    else:
        model.compile(optimizer, loss=loss, metrics=metrics)
    # Built inside the first step, its variables would have that step traced twice.
    model.optimizer.build(model.trainable_variables)


def _fit(
    model: keras.Model,
    run: Run,
    recipe: Recipe,
    training: Examples,
    validation: Examples,
    how: Preprocessing,
    batch_size: int,
    history: list[dict[str, float]],
) -> None:
    vary = Augmentation(crop_area=recipe.augment_crop_area, flip=recipe.augment_flip)
    batches = training_batches(
        training,
        how,
        vary,
        batch_size=batch_size,
        epochs=recipe.epochs,
        first_epoch=len(history),
        seed=recipe.seed,
    )
    held_out = evaluation_batches(validation, how, batch_size) if len(validation) else None
    if recipe.aux:
        outputs = list(loss_weights(model))
        batches = with_auxiliary_targets(batches, outputs)
        held_out = held_out and with_auxiliary_targets(held_out, outputs)
    monitor = None
    if held_out is not None:
        monitor = "val_predictions_loss" if recipe.aux else "val_loss"
    callbacks = [
        keras.callbacks.TerminateOnNaN(raise_error=True),
        keras.callbacks.TensorBoard(run.path / "logs", write_graph=False),
        Checkpoints(run.path, monitor, history),
    ]
    try:
        model.fit(
            batches,
            epochs=recipe.epochs,
            initial_epoch=len(history),
            steps_per_epoch=len(training) // batch_size,
            validation_data=held_out,
            shuffle=False,  # the stream is in random order already
            callbacks=callbacks,
            # Keras's bar with rate and time left for people, a line an epoch for log files.
            verbose=1 if sys.stdout.isatty() else 2,
        )
    except RuntimeError as error:
        if "NaN or Inf loss" not in str(error):
            raise
        raise RunError(
            f"The loss is no longer a number, in epoch {len(callbacks[-1].history) + 1}. Try a"
            f" lower learning_rate (it is {recipe.learning_rate:g}) or a longer warm-up"
            f" (warmup_epochs is {recipe.warmup_epochs:g}), in a new run."
        ) from error


def _inference(model: keras.Model) -> keras.Model:
    """The network without auxiliary heads and uncompiled, so that stock Keras alone opens it."""
    output = model.output["predictions"] if isinstance(model.output, dict) else model.output
    return keras.Model(model.input, output, name=model.name)


def _validate(
    network: keras.Model, validation: Examples, how: Preprocessing, batch_size: int
) -> dict[str, float]:
    probabilities = network.predict(evaluation_batches(validation, how, batch_size), verbose=0)
    right = probabilities[np.arange(len(validation)), validation.targets]
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == validation.targets)),
        "loss": float(-np.mean(np.log(np.maximum(right, 1e-12)))),
    }


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
