"""The rules that the arguments of all builders follow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import keras

from keras_inception.models.catalogue import Entry
from keras_inception.models.checks import check, check_choice, is_number, is_whole

STEMS = ("imagenet", "small")
_SMALL_MINIMUM = 28  # pixels, with the small stem
_POOLINGS = (None, "avg", "max")
Activation = str | Callable[..., Any] | None


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
