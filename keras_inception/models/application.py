"""The shell around every network: input, top, auxiliary heads, checks and errors, written once.

A network's file holds its body, a function from the image to the last feature map, and makes the
public builder of it: ``InceptionV3 = Application(CATALOGUE["InceptionV3"], body, auxiliary)``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import keras
from keras import layers

from keras_inception.models.arguments import (
    Activation,
    check_activation,
    check_aux,
    check_choices,
    check_numbers,
    check_size,
)
from keras_inception.models.catalogue import Entry, find, recognize
from keras_inception.models.checks import check, check_choice, is_whole
from keras_inception.models.conventions import conventions
from keras_inception.models.documentation import document
from keras_inception.models.layers import CHANNELS_LAST, Tensor, bottleneck
from keras_inception.models.weight_files import open_for
from keras_inception.weights.loading import Weights, assign_weights, check_variant

Sides = tuple[int | None, int | None, int]


class AuxiliaryBody(Protocol):
    """An auxiliary head's body: from an inner feature map to a vector of features."""

    def __call__(self, x: Tensor, name: str) -> Tensor: ...


class Body(Protocol):
    """A network's body: from the image to the last feature map."""

    def __call__(self, x: Tensor, variant: str) -> Tensor: ...


@dataclass(frozen=True)
class AuxiliaryHead:
    """A classifier on an inner feature map, which training alone uses.

    Args:
        on: the layer whose output it grows on.
        body: what it is, up to the classifier, which is the shell's.
        loss_weight: published, of its loss beside the network's own.
    """

    on: str
    body: AuxiliaryBody
    loss_weight: float


class Application:
    """The public builder of a network, with the signature that the whole family shares.

    Args:
        entry: the network's row in the catalogue.
        body: the network.
        auxiliary: its auxiliary heads, by the name of their output.
    """

    __name__: str

    def __init__(
        self, entry: Entry, body: Body, auxiliary: Mapping[str, AuxiliaryHead] | None = None
    ) -> None:
        self.entry = entry
        self.body = body
        self.auxiliary = dict(auxiliary or {})
        # As of a function of this name in the network's file, for `help` and for `pickle`.
        self.__name__ = self.__qualname__ = entry.title
        self.__module__ = body.__module__
        self.__doc__ = document(
            entry, sys.modules[body.__module__].__doc__ or "", ["predictions", *self.auxiliary]
        )

    def __repr__(self) -> str:
        return f"<builder {self.__module__}.{self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__

    def __call__(
        self,
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = None,
        input_tensor: Tensor | None = None,
        input_shape: Sides | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Activation = "softmax",
        name: str | None = None,
        *,
        aux: bool = False,
        dropout: float | None = None,
        width: float = 1.0,
        stem: str = "imagenet",
        variant: str | None = None,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        scale: bool | None = None,
        ema: bool = False,
        skip: str | Iterable[str] = (),
        fold_gamma: bool = False,
        embedding: int | None = None,
    ) -> keras.Model:
        dropout = self.entry.dropout if dropout is None else dropout
        variant = self._renamed(variant)
        check_choices(self.entry, include_top, weights, pooling, stem, variant, embedding)
        check_numbers(classes, dropout, width, momentum, epsilon)
        check_aux(self.entry, include_top, aux)
        check_activation(classifier_activation)
        check_choice("scale", scale, (None, True, False))
        opened = self._open(weights, include_top, ema)
        variant = self._variant(variant, opened)
        if scale is None:  # as the weights have it
            scale = opened is not None and opened.has_gamma and not fold_gamma
        image = self._image(input_tensor, input_shape, stem)
        check_size(self.entry, image.shape[1:3], stem, aux)
        inputs = _inputs(image)
        with conventions(
            width=width,
            momentum=float(momentum),
            epsilon=float(epsilon),
            scale=scale,
            small=stem == "small",
            **self.entry.variants[variant].conventions,
        ):
            features = self.body(image, variant)
            outputs: Any = _vector(features, include_top, pooling, dropout, embedding)
            if include_top:
                outputs = _classifier(outputs, classes, classifier_activation)
            if aux:
                inner = keras.Model(inputs, features)
                heads = self._heads(inner, classes, classifier_activation)
                outputs = {"predictions": outputs, **heads}
        model = keras.Model(inputs, outputs, name=name or self.entry.name)
        if opened:
            before = keras.Model(inputs, image).layers  # those of `input_tensor` are the caller's
            own = [layer for layer in model.layers if layer not in before]
            assign_weights(opened, own, skip, fold_gamma=fold_gamma)
        return model

    def _open(self, weights: Any, include_top: bool, ema: bool) -> Weights | None:
        if weights is None:
            return None
        return open_for(self.entry, weights, include_top=include_top, ema=ema)

    def _renamed(self, variant: str | None) -> str | None:
        """The variant by its name of today."""
        renamed = self.entry.former_variants.get(str(variant))
        if renamed is None:
            return variant
        warnings.warn(
            f"{self.entry.title}'s variant {variant!r} is now called {renamed!r}",
            DeprecationWarning,
            stacklevel=3,
        )
        return renamed

    def _variant(self, variant: str | None, opened: Weights | None) -> str:
        """The variant asked for, which the weights have to be of, or theirs, or the default."""
        if opened is None:
            return next(iter(self.entry.variants)) if variant is None else variant
        if variant is not None:
            check_variant(opened, variant)
        # The file's own note: a damaged one may say anything.
        check_choice("variant", opened.variant, self.entry.variants)
        return opened.variant

    def _image(self, tensor: Tensor | None, shape: Sides | None, stem: str) -> Tensor:
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
            side = 32 if stem == "small" else self.entry.size
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

    def _heads(self, inner: keras.Model, classes: int, activation: Activation) -> dict[str, Tensor]:
        """The auxiliary heads' outputs by name, on the feature maps inside the network."""
        outputs = {}
        for output, head in self.auxiliary.items():
            # A head looks at a grid of its own size whatever the image's, so what its figure pads
            # `valid` stays so for small images too.
            with conventions(small=False):
                x = head.body(inner.get_layer(head.on).output, output)
            outputs[output] = _classifier(x, classes, activation, f"{output}_logits", output)
        return outputs


Builder = Application  # its name for those who write a type


def loss_weights(model: keras.Model) -> dict[str, float]:
    """The published loss weight of every output of a model built with ``aux=True``.

    1.0 for the classifier; 0.3 for each auxiliary head of v1 (arXiv:1409.4842, section 5), and of
    v2, whose paper has none; 0.4 for the one of the later networks, as TF-Slim. For
    ``model.compile(loss_weights=...)``.

    Raises:
        ValueError: the model has no auxiliary heads.
    """
    found = recognize({layer.name for layer in model.layers})
    check(
        found is not None and isinstance(model.output, dict),
        "`model` must have auxiliary heads: build it with aux=True",
        model=model.name,
    )
    assert found is not None
    builder: Application = find(found[0]).builder()
    heads = builder.auxiliary
    published = {"predictions": 1.0} | {name: head.loss_weight for name, head in heads.items()}
    return {output: published[output] for output in model.output}


def _inputs(image: Tensor) -> Any:
    """What a network on ``image`` takes in: one tensor, or the caller's several."""
    inputs = keras.utils.get_source_inputs(image)
    return inputs[0] if len(inputs) == 1 else inputs


def _pooled(features: Tensor, pooling: str | None) -> Tensor:
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(CHANNELS_LAST, name="avg_pool")(features)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(CHANNELS_LAST, name="max_pool")(features)
    return features


def _vector(
    features: Tensor, include_top: bool, pooling: str | None, dropout: float, embedding: int | None
) -> Tensor:
    """What the classifier sees; without it, as much of that as is asked for."""
    x = _pooled(features, "avg" if include_top else pooling)
    if include_top:
        x = layers.Dropout(dropout, name="dropout")(x)
    return x if embedding is None else bottleneck(embedding)(x, "bottleneck")


def _classifier(
    x: Tensor,
    classes: int,
    activation: Activation,
    logits: str = "logits",
    predictions: str = "predictions",
) -> Tensor:
    # In float32 whatever the policy: a softmax over many classes needs the digits.
    x = layers.Dense(int(classes), dtype="float32", name=logits)(x)
    if activation is None:
        return x
    return layers.Activation(activation, dtype="float32", name=predictions)(x)
