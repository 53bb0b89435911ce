"""The vocabulary in which the networks are written.

A word is made once and applied to a feature map: ``conv(64, 3)(x, name)``. Four forms join
words, and each reads like the papers' figures:

- ``stem(x, conv(...), max_pool(...))``: one after the other, from the image to the first module,
- ``concat(x, [conv(...)], [conv(...), conv(...)], name="mixed_5b")``: columns side by side, each
  list one column of the figure, joined along the channels in the order given,
- ``side_by_side([...], [...])``: the same as a word, for columns inside a chain or another column,
- ``residual(x, side_by_side(...), linear(...), name="block35_1", scale=0.17)``: a correction,
  added to what it corrects.

Every ``conv`` is a convolution without bias, batch normalization (beta, and gamma where
the weights have it) and a ReLU.
``padding`` is Keras's: ``"same"`` keeps the grid at stride 1, ``"valid"`` pads nothing and shrinks
it. Feature maps are channels_last throughout: [batch, height, width, channels].

Layer names are derived from where a word stands, never typed: module, branch (from 0), position
in its column (from a, see :func:`position`), kernel. So ``mixed_5b_branch_2_c_3x3`` is the third
word of the third column of ``mixed_5b``, ``..._bn`` and ``..._relu`` follow it, and the join bears
the module's own name, ``mixed_5b``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any, Literal

from keras import layers

from keras_inception.models.conventions import Padding, current, scaled

CHANNELS_LAST = "channels_last"  # whatever the user's keras.json says
Tensor = Any  # a symbolic keras.KerasTensor; Keras publishes no types


@dataclass(frozen=True)
class Conv:
    """A convolution, batch normalization and ReLU; see :func:`conv`."""

    filters: int
    kernel_size: tuple[int, int]
    strides: int
    padding: Padding

    def __call__(self, x: Tensor, name: str) -> Tensor:
        now = current()
        name = f"{name}_{self.kernel_size[0]}x{self.kernel_size[1]}"
        padding = now.padding(self.padding)
        if isinstance(padding, int):
            x = layers.ZeroPadding2D(padding, CHANNELS_LAST, name=f"{name}_pad")(x)
            padding = "valid"
        x = layers.Conv2D(
            scaled(self.filters),
            self.kernel_size,
            strides=self.strides,
            padding=padding,
            data_format=CHANNELS_LAST,
            use_bias=False,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        return _batch_norm_relu(x, name)


@dataclass(frozen=True)
class SeparableConv:
    """A depthwise and a pointwise convolution with bias, and a ReLU; see :func:`separable_conv`."""

    filters: int
    kernel_size: tuple[int, int]
    strides: int
    depth_multiplier: int

    def __call__(self, x: Tensor, name: str) -> Tensor:
        name = f"{name}_{self.kernel_size[0]}x{self.kernel_size[1]}"
        x = layers.SeparableConv2D(
            scaled(self.filters),
            self.kernel_size,
            strides=self.strides,
            padding="same",
            data_format=CHANNELS_LAST,
            depth_multiplier=self.depth_multiplier,
            depthwise_initializer="he_normal",
            pointwise_initializer="he_normal",
            name=name,
        )(x)
        return layers.Activation("relu", name=f"{name}_relu")(x)


@dataclass(frozen=True)
class Linear:
    """A 1x1 convolution with bias and nothing after it; see :func:`linear`."""

    channels: int
    strides: int = 1

    def __call__(self, x: Tensor, name: str) -> Tensor:
        return layers.Conv2D(
            self.channels,
            1,
            strides=self.strides,
            data_format=CHANNELS_LAST,
            kernel_initializer="he_normal",
            name=f"{name}_linear",
        )(x)


@dataclass(frozen=True)
class Bottleneck:
    """A dense layer without bias and batch normalization; see :func:`bottleneck`."""

    units: int

    def __call__(self, x: Tensor, name: str) -> Tensor:
        x = layers.Dense(int(self.units), use_bias=False, name=name)(x)
        return _batch_norm(x, name)


@dataclass(frozen=True)
class Pool:
    """A max or average pool over a square window; see :func:`max_pool`, :func:`avg_pool`."""

    kind: Literal["max", "avg"]
    pool_size: int
    strides: int
    padding: Padding

    def __call__(self, x: Tensor, name: str) -> Tensor:
        now = current()
        name = f"{name}_{self.kind}_pool"
        padding = now.padding(self.padding)
        if self.kind == "max":
            return layers.MaxPooling2D(
                self.pool_size, self.strides, padding, CHANNELS_LAST, name=name
            )(x)
        if padding == "same" and now.average_counts_padding:
            # Zeros made explicit are part of the image to the pool, so they count in its mean.
            x = layers.ZeroPadding2D(self.pool_size // 2, CHANNELS_LAST, name=f"{name}_pad")(x)
            padding = "valid"
        return layers.AveragePooling2D(
            self.pool_size, self.strides, padding, CHANNELS_LAST, name=name
        )(x)


@dataclass(frozen=True)
class SideBySide:
    """Columns side by side, joined along the channels; see :func:`side_by_side`."""

    columns: tuple[tuple[Word, ...], ...]

    def __call__(self, x: Tensor, name: str) -> Tensor:
        outputs = []
        for index, column in enumerate(self.columns):
            outputs.append(chain(x, *column, name=f"{name}_branch_{index}"))
        return layers.Concatenate(axis=-1, name=name)(outputs)


Word = Conv | SeparableConv | Linear | Pool | SideBySide


def conv(
    filters: int,
    kernel_size: int | tuple[int, int],
    strides: int = 1,
    padding: Padding = "same",
) -> Conv:
    """Convolution without bias, batch normalization, ReLU.

    Args:
        filters: output channels at width 1.
        kernel_size: height and width; one number for both. ``(1, 7)`` is the papers' 1x7.
        strides: of both directions.
        padding: ``"same"``, ``"valid"``, or pixels of zeros on every side, which only a third
            party's weights can ask for.
    """
    if isinstance(kernel_size, int):
        kernel_size = (kernel_size, kernel_size)
    return Conv(filters, kernel_size, strides, padding)


def separable_conv(
    filters: int, kernel_size: int, strides: int = 1, *, depth_multiplier: int
) -> SeparableConv:
    """Each channel convolved by itself ``depth_multiplier`` times, then mixed by a 1x1; ``same``.

    With bias and ReLU, without batch normalization: TF-Slim's first layer of v2, its only user.
    """
    return SeparableConv(filters, (kernel_size, kernel_size), strides, depth_multiplier)


def linear(channels: int) -> Linear:
    """The figures' "1x1 conv, linear": with bias, no batch normalization, no activation.

    It leads back to the ``channels`` of the feature map that it is added to, whatever the width.
    """
    return Linear(channels)


def bottleneck(units: int) -> Bottleneck:
    """Features, [batch, channels], led to fewer: without bias or activation, batch normalized.

    facenet's embedding (davidsandberg/facenet, src/models/inception_resnet_v1.py).
    """
    return Bottleneck(units)


def max_pool(pool_size: int, strides: int = 1, padding: Padding = "same") -> Pool:
    """The maximum of a ``pool_size`` x ``pool_size`` window, channel by channel."""
    return Pool("max", pool_size, strides, padding)


def avg_pool(pool_size: int, strides: int = 1, padding: Padding = "same") -> Pool:
    """The mean of a ``pool_size`` x ``pool_size`` window, channel by channel: a blur."""
    return Pool("avg", pool_size, strides, padding)


def side_by_side(*columns: Sequence[Word]) -> SideBySide:
    """Columns as one word: ``[conv(384, 1), side_by_side([conv(...)], [conv(...)])]``."""
    return SideBySide(tuple(tuple(column) for column in columns))


def position(index: int) -> str:
    """The name of a position in a column, from 0: a, b, ... z, za, zb, ... zz, zza and so on.

    In alphabetical order they are in their own, at any length.
    """
    return "z" * (index // 26) + ascii_lowercase[index % 26]


def is_position(part: str) -> bool:
    """Whether a part of a layer's name is a :func:`position`."""
    return re.fullmatch("z*[a-z]", part) is not None


def chain(x: Tensor, *words: Word | None, name: str) -> Tensor:
    """Apply words one after the other; the letters a, b, c in the names are their positions.

    ``None`` does nothing and keeps its letter.
    """
    for index, word in enumerate(words):
        if word is not None:
            x = word(x, f"{name}_{position(index)}")
    return x


def concat(x: Tensor, *columns: Sequence[Word], name: str) -> Tensor:
    """Columns side by side on ``x``, joined along the channels in the order given."""
    return side_by_side(*columns)(x, name)


def residual(x: Tensor, *words: Word, name: str, scale: float, relu: bool = True) -> Tensor:
    """``x`` plus ``scale`` times what the words make of it, then a ReLU.

    The scale keeps very wide residual networks from dying early in training (arXiv:1602.07261,
    section 3.3 and figure 20).
    """
    correction = chain(x, *words, name=name)
    correction = layers.Rescaling(scale, name=f"{name}_scale")(correction)
    if not relu:
        return layers.Add(name=name)([x, correction])
    x = layers.Add(name=f"{name}_add")([x, correction])
    return layers.Activation("relu", name=name)(x)


def stem(x: Tensor, *words: Word) -> Tensor:
    """Words one after the other, from the image to the first module.

    For small images halvings (strides and pools) are taken out from the front, until the first
    module sees at least 14 x 14: an image of 28 to 55 pixels is halved once, of 56 to 111 twice.
    A size of ``None`` counts as 32. A 7x7 convolution, made for the stride that is gone, becomes
    3x3. The words that stay keep their names.
    """
    if not current().small:
        return chain(x, *words, name="stem")
    shorter_side = min(side or 32 for side in x.shape[1:3])
    halvings = max(0, math.floor(math.log2(shorter_side / 14)))
    return chain(x, *_keep_halvings(words, halvings), name="stem")


def _keep_halvings(words: Sequence[Word], halvings: int) -> Iterator[Word | None]:
    surplus = sum(map(_halves, words)) - halvings
    for word in words:
        if surplus > 0 and _halves(word):
            surplus -= 1
            yield None if isinstance(word, Pool) else _without_stride(word)
        else:
            yield word


def _halves(word: Word) -> bool:
    if isinstance(word, SideBySide):
        return any(_halves(inner) for column in word.columns for inner in column)
    return word.strides == 2


def _without_stride(word: Word) -> Word:
    if isinstance(word, SideBySide):
        return SideBySide(tuple(tuple(map(_without_stride, column)) for column in word.columns))
    if isinstance(word, Conv | SeparableConv) and word.kernel_size == (7, 7):
        return replace(word, strides=1, kernel_size=(3, 3))
    return replace(word, strides=1)


def _batch_norm(x: Tensor, name: str) -> Tensor:
    now = current()
    return layers.BatchNormalization(
        momentum=now.momentum, epsilon=now.epsilon, scale=now.scale, name=f"{name}_bn"
    )(x)


def _batch_norm_relu(x: Tensor, name: str) -> Tensor:
    return layers.Activation("relu", name=f"{name}_relu")(_batch_norm(x, name))
