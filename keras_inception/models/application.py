"""The shell around every network: input, top, auxiliary heads, checks and errors, written once.

A network's file holds its body, a function from the image to the last feature map, and turns it
into the public builder with :func:`application`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
from keras import layers

from keras_inception.models.checks import check, check_choice, is_number, is_whole
from keras_inception.models.conventions import conventions
from keras_inception.models.layers import CHANNELS_LAST, Tensor
from keras_inception.weights.download import locate
from keras_inception.weights.loading import assign_weights, check_variant, open_weights

STEMS = ("imagenet", "small")
_LOSS_WEIGHTS = {"predictions": 1.0, "aux_4a": 0.3, "aux_4d": 0.3, "aux": 0.4}
_POOLINGS = (None, "avg", "max")

_ARGUMENTS = """
The signature is keras.applications's, with two deliberate differences: ``weights`` is ``None`` by
default, so that nothing is downloaded unasked, and the arguments from ``aux`` on are ours.

Args:
    include_top: end in the classifier: global average pooling, dropout, a dense layer named
        ``logits`` and its activation named ``predictions``.
    weights: ``None``, random initialization; a file, of all the kinds that
        :func:`keras_inception.load_weights` reads; ``"imagenet"``, published weights, downloaded
        into Keras's cache; or ``"imagenet:SOURCE/NAME"``, the others published. Nothing is left at
        its random value in silence: what does not fit is an error that lists the names.
    input_tensor: a Keras tensor to build on, [batch, height, width, channels].
    input_shape: (height, width, channels) without the batch; height and width may be ``None``.
        {size} x {size} x 3 by default, 32 x 32 x 3 with ``stem="small"``. The shorter side is at
        least {minimum} pixels{aux_minimum}.
    pooling: without top, what follows the last feature map: ``None``, ``"avg"`` or ``"max"``.
    classes: number of classes of the classifier, at least 1. Where it is not the weights', the
        classifier is new, which a line on standard error says; of 1001 classes in the file the
        first, background, is dropped for 1000.
    classifier_activation: of the classifier, ``None`` for logits.
    name: of the model.
    aux: add the auxiliary heads, for training only. The model's output is then a dictionary with
        the keys {outputs}; :func:`keras_inception.loss_weights`
        gives the published loss weights. Needs the top and a fixed input size.
    dropout: rate (the fraction dropped) before the classifier, in [0, 1); {dropout} as published.
    width: factor on every filter count, results kept divisible by 8.
    stem: ``"imagenet"``, or ``"small"`` for images of 28 to 96 pixels: strides and pools of the
        stem are taken out until the first module sees at least 14 x 14, and ``valid`` becomes
        ``same`` throughout.
    variant: {variants}. Given weights decide it, and any other is refused.
    momentum: of batch norm's moving statistics, in [0, 1).
    epsilon: of batch norm, above 0.
    ema: of the weights, take the moving averages that training kept beside them.
    skip: names of weights that are not loaded and need not fit; ``*`` stands for anything.

Returns:
    A functional ``keras.Model`` of stock Keras layers. Its input is float,
    [batch, height, width, channels], in the range that training used ([-1, 1] for the published
    weights). Its output is float32, [batch, classes], whatever the dtype policy.

Raises:
    ValueError: an argument breaks its rule; the message states the rule, the value received and
        the choices.
"""


class Auxiliary(Protocol):
    """An auxiliary head's body: from an inner feature map to a vector of features."""

    def __call__(self, x: Tensor, name: str) -> Tensor: ...


class Body(Protocol):
    """A network's body: from the image to the last feature map."""

    def __call__(self, x: Tensor, variant: str) -> Tensor: ...


class Builder(Protocol):
    """The signature of every public builder."""

    __name__: str

    def __call__(
        self,
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = None,
        input_tensor: Tensor | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str | None = None,
        *,
        aux: bool = False,
        dropout: float | None = None,
        width: float = 1.0,
        stem: str = "imagenet",
        variant: str | None = None,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        ema: bool = False,
        skip: str | Iterable[str] = (),
    ) -> keras.Model: ...


@dataclass(frozen=True)
class AuxiliaryHead:
    """Where an auxiliary head grows, the name of a layer, and what it is."""

    on: str
    body: Auxiliary


@dataclass(frozen=True)
class Network:
    """What the shell has to know about a network.

    Args:
        title: the public builder's name.
        name: the model's default name.
        size: published input size in pixels, of both sides.
        minimum: the smallest side in pixels that leaves a grid after every layer.
        dropout: published rate.
        variants: the choices, the default first, each with the conventions that it changes.
        auxiliary: the auxiliary heads, by output name.
        aux_minimum: the smallest side in pixels with auxiliary heads.
    """

    title: str
    name: str
    body: Body
    size: int
    minimum: int
    dropout: float
    variants: Mapping[str, Mapping[str, Any]]
    auxiliary: Mapping[str, AuxiliaryHead] = field(default_factory=dict)
    aux_minimum: int | None = None


def application(network: Network, doc: str | None) -> Builder:
    """The public builder of a network, with the signature shared by the whole family."""

    def build(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = None,
        input_tensor: Tensor | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str | None = None,
        *,
        aux: bool = False,
        dropout: float | None = None,
        width: float = 1.0,
        stem: str = "imagenet",
        variant: str | None = None,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        ema: bool = False,
        skip: str | Iterable[str] = (),
    ) -> keras.Model:
        dropout = network.dropout if dropout is None else dropout
        if variant is not None:
            check_choice("variant", variant, tuple(network.variants))
        check(
            weights is None or isinstance(weights, str | os.PathLike),
            "`weights` must be None (random initialization), 'imagenet', 'imagenet:SOURCE/NAME', or"
            " a file that exists",
            weights=weights,
        )
        check_choice("stem", stem, STEMS)
        check_choice("pooling", pooling, _POOLINGS)
        check(
            pooling is None or not include_top,
            "`pooling` is for a network without its top; with include_top=True the network ends in"
            " its own global average pooling",
            pooling=pooling,
        )
        check(
            is_whole(classes) and classes >= 1,
            "`classes` must be a whole number of at least 1",
            classes=classes,
        )
        check(
            is_number(dropout) and 0 <= dropout < 1,
            "`dropout` is a rate, at least 0 and below 1",
            dropout=dropout,
        )
        check(is_number(width) and width > 0, "`width` must be above 0", width=width)
        check(
            is_number(momentum) and 0 <= momentum < 1,
            "`momentum` must be at least 0 and below 1",
            momentum=momentum,
        )
        check(is_number(epsilon) and epsilon > 0, "`epsilon` must be above 0", epsilon=epsilon)
        check(
            bool(network.auxiliary) or not aux,
            f"{network.title} has no auxiliary heads: leave `aux` out",
            aux=aux,
        )
        check(
            include_top or not aux,
            "`aux=True` adds classifiers, so it needs the top: include_top=True",
            include_top=include_top,
        )
        _check_activation(classifier_activation)
        opened = None
        if weights is not None:
            path = locate(weights, network.name, include_top=include_top)
            opened = open_weights(path, network.name, ema=ema)
        if variant is None:
            variant = opened.variant if opened else next(iter(network.variants))
        if opened:
            check_variant(opened, variant)

        image = _input(network, input_tensor, input_shape, stem)
        _check_size(network, image.shape[1:3], stem, aux)
        inputs = keras.utils.get_source_inputs(image)
        inputs = inputs[0] if len(inputs) == 1 else inputs
        with conventions(
            width=width,
            momentum=float(momentum),
            epsilon=float(epsilon),
            small=stem == "small",
            **network.variants[variant],
        ):
            features = network.body(image, variant)
            outputs: Any
            if include_top:
                x = layers.GlobalAveragePooling2D(CHANNELS_LAST, name="avg_pool")(features)
                x = layers.Dropout(dropout, name="dropout")(x)
                outputs = _classifier(x, classes, classifier_activation, "logits", "predictions")
                if aux:
                    outputs = {"predictions": outputs}
                    inner = keras.Model(inputs, features)
                    for output, head in network.auxiliary.items():
                        # A head looks at a grid of its own size whatever the image's, so what its
                        # figure pads `valid` stays so for small images too.
                        with conventions(small=False):
                            x = head.body(inner.get_layer(head.on).output, output)
                        outputs[output] = _classifier(
                            x, classes, classifier_activation, f"{output}_logits", output
                        )
            elif pooling == "avg":
                outputs = layers.GlobalAveragePooling2D(CHANNELS_LAST, name="avg_pool")(features)
            elif pooling == "max":
                outputs = layers.GlobalMaxPooling2D(CHANNELS_LAST, name="max_pool")(features)
            else:
                outputs = features
        model = keras.Model(inputs, outputs, name=name or network.name)
        if opened:
            before = keras.Model(inputs, image).layers  # those of `input_tensor` are the caller's
            assign_weights(opened, [layer for layer in model.layers if layer not in before], skip)
        return model

    build.__name__ = build.__qualname__ = network.title
    build.__module__ = network.body.__module__
    build.__doc__ = _document(network, doc or "")
    return build


def loss_weights(model: keras.Model) -> dict[str, float]:
    """The published loss weight of every output of a model built with ``aux=True``.

    1.0 for the classifier, 0.3 for each auxiliary head of v1 and v2 (arXiv:1409.4842, section 5),
    0.4 for the one of the later networks, as released. For ``model.compile(loss_weights=...)``.

    Raises:
        ValueError: the model has no auxiliary heads.
    """
    check(
        isinstance(model.output, dict),
        "`model` must have auxiliary heads: build it with aux=True",
        model=model.name,
    )
    return {output: _LOSS_WEIGHTS[output] for output in model.output}


def _input(
    network: Network,
    tensor: Tensor | None,
    shape: tuple[int | None, int | None, int] | None,
    stem: str,
) -> Tensor:
    if tensor is not None:
        check(
            keras.backend.is_keras_tensor(tensor) and len(tensor.shape) == 4,
            "`input_tensor` must be a Keras tensor of shape [batch, height, width, channels]",
            input_tensor=tensor,
        )
        check(
            shape is None or tuple(shape) == tuple(tensor.shape[1:]),
            f"`input_shape` must equal the shape of `input_tensor`, {tuple(tensor.shape[1:])},"
            " or be left out",
            input_shape=shape,
        )
        return tensor
    if shape is None:
        side = 32 if stem == "small" else network.size
        shape = (side, side, 3)
    check(
        isinstance(shape, tuple | list)
        and len(shape) == 3
        and all(side is None or (is_whole(side) and side >= 1) for side in shape[:2])
        and is_whole(shape[2])
        and shape[2] >= 1,
        "`input_shape` must be (height, width, channels), channels last and without the batch;"
        " height and width may be None",
        input_shape=shape,
    )
    return keras.Input([side if side is None else int(side) for side in shape], name="image")


def _check_size(network: Network, sides: tuple[int | None, ...], stem: str, aux: bool) -> None:
    known = [side for side in sides if side is not None]
    received = " x ".join("None" if side is None else str(side) for side in sides)
    if aux and len(known) < 2:
        raise ValueError(
            f"{network.title} with auxiliary heads needs a fixed input size, since their dense"
            f" layers are as large as the grid they see. Received: input size {received}. Give"
            " `input_shape` with height and width, or build with aux=False."
        )
    if stem == "small":
        minimum, helps = 28, "Enlarge the images"
    elif aux and network.aux_minimum is not None:
        minimum = network.aux_minimum
        helps = 'Enlarge the images, use stem="small", or build with aux=False'
        if min(known) >= network.minimum:
            helps += f" (then {network.minimum} pixels are enough)"
    else:
        minimum, helps = network.minimum, 'Enlarge the images or use stem="small" (from 28 pixels)'
    if known and min(known) < minimum:
        what = " with auxiliary heads" if aux else ""
        raise ValueError(
            f"{network.title}{what} needs images of at least {minimum} x {minimum} pixels."
            f" Received: input size {received}. {helps}."
        )


def _check_activation(activation: str | Callable[..., Any] | None) -> None:
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError):
        known = False
    else:
        known = True
    check(
        known,
        "`classifier_activation` must be None (for logits), a name that Keras knows, such as"
        " 'softmax' or 'sigmoid', or a function",
        classifier_activation=activation,
    )


def _classifier(
    x: Tensor,
    classes: int,
    activation: str | Callable[..., Any] | None,
    logits: str,
    predictions: str,
) -> Tensor:
    # In float32 whatever the policy: a softmax over many classes needs the digits.
    x = layers.Dense(int(classes), dtype="float32", name=logits)(x)
    if activation is None:
        return x
    return layers.Activation(activation, dtype="float32", name=predictions)(x)


def _document(network: Network, doc: str) -> str:
    variants = ", ".join(f'``"{variant}"``' for variant in network.variants)
    aux_minimum = f" ({network.aux_minimum} with auxiliary heads)" if network.aux_minimum else ""
    outputs = ", ".join(f'``"{output}"``' for output in ("predictions", *network.auxiliary))
    return (
        inspect.cleandoc(doc)
        + "\n"
        + _ARGUMENTS.format(
            size=network.size,
            minimum=network.minimum,
            aux_minimum=aux_minimum,
            outputs=outputs,
            dropout=network.dropout,
            variants=f"one of {variants}; the first by default"
            if len(network.variants) > 1
            else f"{variants}, the only one",
        )
    )
