"""Distillation: a network taught by another's answers, beside the classes of the images.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section
2. The teacher sees the very images that are trained on, augmented and mixed as they are
(arXiv:2106.05237, section 3).
"""

from __future__ import annotations

import types
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_inception.data.examples import Examples
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, run_of

# The paper names no numbers but "a considerably lower weight" of the images' own classes. The share
# is ours, the temperature that of arXiv:1612.03928's program (szagoruyko/attention-transfer).
ALPHA = 0.9
TEMPERATURE = 4.0


class Distillation(keras.losses.Loss):
    """How far a student's scores are from its teacher's, both softened; from logits.

    The Kullback-Leibler divergence: the paper's cross-entropy, less what the student has no part
    in, so that it ends at 0. Times the square of the temperature, by which softening shrinks the
    gradients.

    Args:
        temperature: that divides the logits of both.
        each: whether every class is by itself, of a sigmoid; its divergence is then the mean over
            the classes.
    """

    def __init__(self, temperature: float, each: bool = False) -> None:
        super().__init__(name="distillation")
        self.temperature = temperature
        self.each = each

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """From the logits of teacher and student, float [batch, classes]: [batch]."""
        teacher, student = y_true / self.temperature, y_pred / self.temperature
        if self.each:
            both = ops.stack([teacher, -teacher], -1), ops.stack([student, -student], -1)
            of_teacher, of_student = (ops.log_sigmoid(each) for each in both)
            divergence = ops.sum(ops.exp(of_teacher) * (of_teacher - of_student), -1)
            return self.temperature**2 * ops.mean(divergence, -1)
        of_teacher, of_student = ops.log_softmax(teacher), ops.log_softmax(student)
        return self.temperature**2 * ops.sum(ops.exp(of_teacher) * (of_teacher - of_student), -1)


def check_teacher(recipe: Recipe, examples: Examples, hosts: int = 1) -> Run | None:
    """The teacher's run, if there is one.

    Raises:
        RecipeError: it is no finished run of the same classes, or there are several hosts.
    """
    if recipe.teacher is None:
        return None
    received = f"Received: teacher={recipe.teacher}"
    if hosts > 1:
        raise RecipeError(f"`teacher` must be left out on several hosts. {received}")
    run = run_of(recipe.teacher)
    if run is None or not run.finished:
        raise RecipeError(
            "`teacher` must be a finished run, the folder that `keras-inception train --output`"
            f" made (an export crops images by itself, and so can't teach). {received}"
        )
    if run.labels != examples.labels:
        others = sorted(set(run.labels) ^ set(examples.labels))
        which = f": not in both are {', '.join(others[:5])}" if others else ", in another order"
        raise RecipeError(f"`teacher` must know the classes of the images{which}. {received}")
    return run


def teach(
    model: keras.Model, recipe: Recipe, run: Run, preprocessing: Preprocessing, each: bool
) -> None:
    """Let a network learn from a teacher too, whenever it is compiled and trained from here on.

    What validation measures is left as it is.

    Args:
        model: the student, which ends in logits.
        run: the teacher's.
        preprocessing: of the student's images.
        each: whether the student's loss is of each class by itself.

    Raises:
        RecipeError: the teacher's loss was of the other kind.
    """
    teacher = _Teacher(run, preprocessing)
    if teacher.each != each:
        kinds = ("of a softmax", "of each class by itself")
        raise RecipeError(
            f"`teacher` must have been trained by a loss {kinds[each]}, as the student is, not"
            f" {kinds[not each]}. Received: teacher={recipe.teacher}"
        )
    alpha = ALPHA if recipe.distill_alpha is None else recipe.distill_alpha
    loss = Distillation(recipe.distill_temperature or TEMPERATURE, each)
    stock = types.MethodType(type(model).compute_loss, model)

    def compute_loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        own = stock(x, y, y_pred, sample_weight, training=training)
        if not training:
            return own
        logits, weights = (
            some["predictions"] if isinstance(some, dict) else some
            for some in (y_pred, sample_weight)
        )
        return (1 - alpha) * own + alpha * loss(teacher(x), logits, weights)

    model.compute_loss = compute_loss


class _Teacher:
    """From a student's images to the teacher's logits.

    Args:
        run: the teacher's.
        preprocessing: of the student's images.
    """

    def __init__(self, run: Run, preprocessing: Preprocessing) -> None:
        model = run.load_model()
        network = keras.Model(model.input, model.get_layer("logits").output)
        self.network = keras.models.clone_model(network, clone_function=_in_this_precision)
        self.network.set_weights(network.get_weights())
        own = run.preprocessing
        mean, std = (np.array(each, np.float32) for each in (own.mean, own.std))
        self.size = own.size
        self.factor = np.array(preprocessing.std, np.float32) / std
        self.shift = (np.array(preprocessing.mean, np.float32) - mean) / std
        activation = model.get_layer("predictions").activation
        self.each = activation is keras.activations.sigmoid or run.recipe.loss == "binary"

    def __call__(self, images: Any) -> Any:
        images = images * self.factor + self.shift
        if images.shape[1] != self.size:
            images = ops.image.resize(images, (self.size, self.size), data_format="channels_last")
        return ops.cast(self.network(images, training=False), "float32")


def _in_this_precision(layer: keras.Layer) -> keras.Layer:
    """A copy that computes in what the student does; a classifier stays in float32."""
    policy = "float32" if layer.name == "logits" else keras.config.dtype_policy().name
    return type(layer).from_config(layer.get_config() | {"dtype": policy})
