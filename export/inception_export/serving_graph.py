"""The network as an export holds it: from images to features, logits and probabilities.

What training needs and serving does not is taken out first: batch norm is folded into the
convolutions, auxiliary heads are refused, the weights are cast to the precision asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf

from inception_export.folding import fold_batch_norm
from inception_export.options import Precision
from keras_inception.models.graph import outputs, producers
from keras_inception.models.nested import flatten

Tensor = Any  # TensorFlow publishes no types


class ServingGraphError(ValueError):
    """A model is no classifier that could be exported; the message says why."""


@dataclass(frozen=True)
class ServingGraph:
    """A classifier without what only training needs.

    Args:
        answer: from float32 [batch, height, width, channels] to float32 ``features``
            [batch, features], ``logits`` and ``probabilities`` [batch, classes].
        variables: the weights that it uses, each once.
        operations: of the graph, before and after folding.
    """

    answer: Callable[[Tensor], dict[str, Tensor]]
    variables: list[tf.Variable]
    operations: tuple[int, int]


class Body(Protocol):
    """What computes the features: from [batch, height, width, channels] to [batch, features]."""

    @property
    def variables(self) -> Sequence[tf.Variable]: ...

    def __call__(self, images: Tensor) -> Tensor: ...


def split(model: keras.Model) -> tuple[keras.Model, Any, Callable[[Tensor], Tensor]]:
    """A classifier as its body, its dense layer, and the activation that makes probabilities.

    Args:
        model: functional or sequential, perhaps with models inside, from images to one output,
            [batch, classes]: a dense layer with its activation, in it or after it. No activation
            at all is taken for softmax.

    Returns:
        The body, from images to features, float32 [batch, features]; the dense layer; and a
        function from logits to probabilities, [batch, classes] both.

    Raises:
        ServingGraphError: the model is none of this.
    """
    model = _flat(model)
    if isinstance(model.output, dict | list | tuple):
        raise ServingGraphError(_several_outputs(model))
    calls = producers(model)
    by_name = {operation.name: operation for operation in model.operations}
    last = dense = by_name[outputs(model)[0]]
    if isinstance(last, keras.layers.Activation | keras.layers.Softmax):
        dense = by_name[calls[last.name][0][0]]
    if not isinstance(dense, keras.layers.Dense) or len(dense.input.shape) != 2:
        raise ServingGraphError(_no_dense_end(model, last))
    # `dense.input` is the input of the layer's first call, wherever that was.
    try:
        body = keras.Model(model.input, dense.input)
        called_here = calls[dense.name] == [outputs(body)]
    except ValueError:  # it is not connected to the model's input
        called_here = False
    if not called_here:
        raise ServingGraphError(
            f"The dense layer {dense.name}, in which the model ends, must be used there alone, but"
            " it was called on something else before. Give the model layers of its own:"
            " keras.models.clone_model(model), then set_weights(model.get_weights())."
        )
    return body, dense, _activation(last, dense) or keras.activations.softmax


def _several_outputs(model: keras.Model) -> str:
    """The message for a model of several outputs, which one to take of them."""
    if isinstance(model.output, dict):
        names = sorted(model.output)
        take = f'model.output["{"predictions" if "predictions" in names else names[0]}"]'
    else:
        names, take = outputs(model), "model.output[0]"
    return (
        "A model is exported with one output, [batch, classes], and not in a list or dictionary."
        f" This one's: {', '.join(names)}. Take the one to serve, such as:"
        f" keras.Model(model.input, {take}), and save that."
    )


def _no_dense_end(model: keras.Model, last: Any) -> str:
    """The message for a model that does not end in a dense layer, what to do about it."""
    message = (
        "A model is exported that ends in a dense layer on [batch, features] and its activation."
        f" Received: {model.name}, which ends in {last.name} ({type(last).__name__})."
    )
    dense = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Dense) and len(layer.output.shape) == 2
    ]
    if dense:
        return (
            f"{message} If {dense[-1]} is the classifier, end there: from"
            " keras_inception.models.nested import flatten; flat = flatten(model);"
            f' keras.Model(flat.input, flat.get_layer("{dense[-1]}").output), and save that. Where'
            " it has no activation, softmax is taken."
        )
    return (
        f"{message} It has none, so it can be served without labels alone:"
        ' model.export("MODELS/NAME/1"), then `keras-inception serve MODELS`.'
    )


def answers_logits(model: keras.Model) -> bool:
    """Whether a classifier ends without an activation, so that softmax is to be taken for it.

    Raises:
        ServingGraphError: :func:`split` refuses the model.
    """
    model = _flat(model)
    _, dense, _ = split(model)
    return _activation(model.get_layer(outputs(model)[0]), dense) is None


def _activation(last: Any, dense: Any) -> Any:
    softmax, linear = keras.activations.softmax, keras.activations.linear
    named = softmax if isinstance(last, keras.layers.Softmax) else last.activation
    return next((each for each in (named, dense.activation) if each is not linear), None)


def _flat(model: keras.Model) -> keras.Model:
    try:
        return flatten(model)
    except ValueError as error:
        raise ServingGraphError(str(error)) from error


def activation_name(model: keras.Model) -> str:
    """What makes probabilities of a classifier's logits, such as ``"softmax"`` or ``"sigmoid"``.

    Raises:
        ServingGraphError: :func:`split` refuses the model.
    """
    _, _, activation = split(model)
    return str(getattr(activation, "__name__", activation))


def make_serving_graph(
    model: keras.Model,
    precision: Precision = "float32",
    mirror: bool = False,
    body: Body | None = None,
) -> ServingGraph:
    """Make a model ready for export.

    Args:
        model: as :func:`split` takes it.
        precision: of weights and arithmetic up to the features; the dense layer stays float32.
        mirror: whether everything is the mean of the image's and of its mirror image's.
        body: what computes the features, made of the model's own; by default that, with batch norm
            folded.

    Raises:
        ServingGraphError: :func:`split` refuses the model.
    """
    model = _flat(model)
    own_body, dense, activation = split(model)
    if body is None:
        body = _folded(own_body, precision)
    bias = dense.bias.value if dense.use_bias else tf.zeros(dense.units)
    kernel = tf.Variable(dense.kernel.value, trainable=False, dtype=tf.float32)
    bias = tf.Variable(bias, trainable=False, dtype=tf.float32)
    images_spec = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)

    @tf.function(input_signature=[images_spec])
    def answer(images: Tensor) -> dict[str, Tensor]:
        if mirror:
            images = tf.concat([images, images[:, :, ::-1]], axis=0)
        features = tf.cast(body(images), tf.float32)
        logits = features @ kernel + bias
        probabilities = tf.cast(activation(logits), tf.float32)
        answers = {"features": features, "logits": logits, "probabilities": probabilities}
        if mirror:
            answers = {
                name: tf.add_n(tf.split(each, 2, axis=0)) / 2 for name, each in answers.items()
            }
        return answers

    before = tf.function(lambda images: model(images, training=False))
    operations = (
        _operations(before.get_concrete_function(images_spec)),
        _operations(answer.get_concrete_function()),
    )
    return ServingGraph(answer, [*body.variables, kernel, bias], operations)


@dataclass(frozen=True)
class _Folded:
    """A Keras model as a :class:`Body`."""

    model: keras.Model

    @property
    def variables(self) -> list[tf.Variable]:
        return [variable.value for variable in self.model.variables]

    def __call__(self, images: Tensor) -> Tensor:
        return self.model(images, training=False)


class _Constant:
    """A Keras model as a :class:`Body` whose weights are constants of the graph.

    oneDNN keeps a constant as it laid it out for a kernel; a variable it lays out at every call.
    """

    def __init__(self, model: keras.Model) -> None:
        self.variables: list[tf.Variable] = []
        self._model = model
        self._weights = [
            [variable.value.numpy() for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]

    def __call__(self, images: Tensor) -> Tensor:
        weights = keras.tree.map_structure(tf.constant, self._weights)
        features, _ = self._model.stateless_call(*weights, images, training=False)
        return features


def _folded(body: keras.Model, precision: Precision) -> Body:
    folded = fold_batch_norm(body, None if precision == "float32" else precision)
    return _Constant(folded) if precision == "bfloat16" else _Folded(folded)


def _operations(function: Any) -> int:
    return len(function.graph.as_graph_def().node)
