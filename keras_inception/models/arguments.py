"""The arguments that all builders share: their documentation, and the rules that they follow."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_inception.models.catalogue import Entry
from keras_inception.models.checks import check, check_choice, is_number, is_whole

STEMS = ("imagenet", "small")
_SMALL_MINIMUM = 28  # pixels, with the small stem
_POOLINGS = (None, "avg", "max")
Activation = str | Callable[..., Any] | None

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
    dropout: rate (the fraction dropped) before the classifier, in [0, 1); by default {dropout},
        {dropout_source}.
    width: factor on every filter count, results kept divisible by 8.
    stem: ``"imagenet"``, or ``"small"`` for images of 28 to 96 pixels: strides and pools of the
        stem are taken out until the first module sees at least 14 x 14, and ``valid`` becomes
        ``same`` throughout.
    variant: {variants}. Given weights decide it, and any other is refused.
    momentum: of batch norm's moving statistics, in [0, 1).
    epsilon: of batch norm, above 0.
    scale: whether batch norm has gamma, a factor on each channel. By default as the weights have
        it, and without weights ``False``: the released networks have none, PyTorch's have it.
    ema: of the weights, take the moving averages that training kept beside them.
    skip: names of weights that are not loaded and need not fit; ``*`` stands for anything.
    fold_gamma: multiply the weights' gamma into the kernels and build without it: the same
        function in inference only.
    embedding: units of a bottleneck before the classifier, a dense layer without bias and its batch
        norm, as facenet has it; with ``include_top=False`` and a ``pooling`` it is the output. By
        default there is none, whatever the weights have.

Returns:
    A functional ``keras.Model`` of stock Keras layers. Its input is float,
    [batch, height, width, channels], in the range that training used ([-1, 1] for the published
    weights). Its output is float32, [batch, classes], whatever the dtype policy.

Raises:
    ValueError: an argument breaks its rule; the message states the rule, the value received and
        the choices.
"""


def document(entry: Entry, doc: str, outputs: Sequence[str]) -> str:
    """A network's own documentation, then that of the arguments with its numbers.

    Args:
        outputs: the names of the outputs with auxiliary heads.
    """
    variants = ", ".join(f'``"{variant}"``' for variant in entry.variants)
    return f"{inspect.cleandoc(doc)}\n" + _ARGUMENTS.format(
        size=entry.size,
        minimum=entry.minimum,
        aux_minimum=f" ({entry.aux_minimum} with auxiliary heads)" if entry.aux_minimum else "",
        outputs=", ".join(f'``"{output}"``' for output in outputs),
        dropout=entry.dropout,
        dropout_source="as its paper has it"
        if entry.title == "InceptionV1"
        else "as TF-Slim has it",
        variants=f"one of {variants}; the first by default"
        if len(entry.variants) > 1
        else f"{variants}, the only one",
    )


def check_choices(
    entry: Entry,
    include_top: bool,
    weights: Any,
    pooling: str | None,
    stem: str,
    variant: str | None,
    embedding: int | None,
) -> None:
    """Raise ValueError unless each is one of its choices."""
    if variant is not None:
        check_choice("variant", variant, tuple(entry.variants))
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
    _check_embedding(embedding, include_top, pooling)


def check_numbers(classes: Any, dropout: Any, width: Any, momentum: Any, epsilon: Any) -> None:
    """Raise ValueError unless each is a number in its range."""
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
    check(is_number(width) and 0 < width < math.inf, "`width` must be above 0", width=width)
    check(
        is_number(momentum) and 0 <= momentum < 1,
        "`momentum` must be at least 0 and below 1",
        momentum=momentum,
    )
    check(is_number(epsilon) and epsilon > 0, "`epsilon` must be above 0", epsilon=epsilon)


def _check_embedding(embedding: Any, include_top: bool, pooling: str | None) -> None:
    """Raise ValueError unless there is none, or a whole number of units on a pooled map."""
    check(
        embedding is None or (is_whole(embedding) and embedding >= 1),
        "`embedding` must be a whole number of at least 1, or None",
        embedding=embedding,
    )
    check(
        embedding is None or include_top or pooling is not None,
        "`embedding` stands on a pooled feature map: without the top it needs pooling='avg' or"
        " 'max'",
        pooling=pooling,
    )


def check_activation(activation: Activation) -> None:
    """Raise ValueError unless Keras knows the activation."""
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


def check_aux(entry: Entry, include_top: bool, aux: bool) -> None:
    """Raise ValueError if auxiliary heads are asked for that there are not."""
    check(
        entry.aux_minimum is not None or not aux,
        f"{entry.title} has no auxiliary heads: leave `aux` out",
        aux=aux,
    )
    check(
        include_top or not aux,
        "`aux=True` adds classifiers, so it needs the top: include_top=True",
        include_top=include_top,
    )


def check_size(entry: Entry, sides: tuple[int | None, ...], stem: str, aux: bool) -> None:
    """Raise ValueError if an image is too small, or open where its size has to be known."""
    title, minimum = entry.title, entry.minimum
    known = [side for side in sides if side is not None]
    received = " x ".join("None" if side is None else str(side) for side in sides)
    if aux and len(known) < 2:
        raise ValueError(
            f"{title} with auxiliary heads needs a fixed input size, since their dense"
            f" layers are as large as the grid they see. Received: input size {received}. Give"
            " `input_shape` with height and width, or build with aux=False."
        )
    helps = 'Enlarge the images or use stem="small" (from 28 pixels)'
    if stem == "small":
        minimum, helps = _SMALL_MINIMUM, "Enlarge the images"
    elif aux and entry.aux_minimum is not None:
        helps = 'Enlarge the images, use stem="small", or build with aux=False'
        if min(known) >= minimum:
            helps += f" (then {minimum} pixels are enough)"
        minimum = entry.aux_minimum
    if known and min(known) < minimum:
        what = " with auxiliary heads" if aux else ""
        raise ValueError(
            f"{title}{what} needs images of at least {minimum} x {minimum} pixels."
            f" Received: input size {received}. {helps}."
        )
