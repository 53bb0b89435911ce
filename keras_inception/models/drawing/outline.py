"""A network's outline, read from the built model: modules, their branches, the steps in them.

The names of the layers say where each step stands (see :mod:`keras_inception.models.layers`), the
layers themselves say what it is. So the outline is true of whatever was built, at any width and
input size, and of models loaded from files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import keras
from keras import layers

from keras_inception.models.endpoints import EndPoints, endpoints
from keras_inception.models.layers import is_position

Shape = tuple[int | None, ...]  # height, width, channels, or channels alone

_KINDS: dict[type, str] = {
    layers.Conv2D: "conv",
    layers.SeparableConv2D: "separable conv",
    layers.MaxPooling2D: "max pool",
    layers.AveragePooling2D: "avg pool",
    layers.GlobalAveragePooling2D: "global avg pool",
    layers.GlobalMaxPooling2D: "global max pool",
    layers.Dropout: "dropout",
    layers.Dense: "dense",
}


@dataclass(frozen=True)
class Step:
    """One step of a branch: a convolution with what belongs to it, a pool, a dense layer.

    Args:
        kind: ``"conv"``, ``"separable conv"``, ``"linear"``, ``"max pool"``, ``"avg pool"``,
            ``"global avg pool"``, ``"global max pool"``, ``"dropout"`` or ``"dense"``.
        size: height and width of the window; none for the last four.
        stride: of both directions.
        padding: ``"same"``, ``"valid"``, or the pixels of zeros put around by hand.
        rate: a dropout's.
        output: shape without the batch.
    """

    kind: str
    size: tuple[int, int] | None
    stride: int
    padding: str | int
    rate: float | None
    output: Shape

    @property
    def patch(self) -> str:
        """As the figures write it: ``"3x3/2V"``, where V means that nothing is padded."""
        if self.size is None:
            return ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        padding = {"same": "", "valid": "V"}.get(str(self.padding), f" pad {self.padding}")
        # A 1x1 convolution has nothing to pad.
        return f"{self.size[0]}x{self.size[1]}{stride}{'' if self.size == (1, 1) else padding}"

    @property
    def width(self) -> int | None:
        """Output channels, of what chooses them: a pool and a dropout pass theirs through."""
        return None if "pool" in self.kind or self.kind == "dropout" else self.output[-1]


@dataclass(frozen=True)
class Branches:
    """Chains side by side, joined along the channels: a figure's columns."""

    branches: tuple[Chain, ...]
    output: Shape


Chain = tuple[Step | Branches, ...]


@dataclass(frozen=True)
class Module:
    """A module: what lies between one end point and the next.

    Args:
        name: the end point's.
        chain: its steps, one after the other; a plain module is one set of branches.
        scale: of the correction, if the module adds one to its input; ``None`` if not.
        relu: whether such a module ends in a ReLU.
        on: the end point that an auxiliary head grows on; ``None`` for all other modules.
        input: shape of what comes in, without the batch.
        output: shape of what goes out, without the batch.
        parameters: of all kinds, moving statistics included.
        macs: multiplications with an addition, for one image; ``None`` if a size is unknown.
    """

    name: str
    chain: Chain
    scale: float | None
    relu: bool
    on: str | None
    input: Shape
    output: Shape
    parameters: int
    macs: int | None

    @property
    def looks(self) -> tuple[Any, ...]:
        """What two modules share that a paper would draw as one."""
        return _looks(self.chain), self.scale, self.relu, self.output


def outline(model: keras.Model) -> tuple[Module, ...]:
    """The modules of a network of this family, from the image on, auxiliary heads last.

    Raises:
        ValueError: the model is not a network of this family.
    """
    points = endpoints(model)
    members: dict[str, list[keras.Layer]] = {name: [] for name in _module_names(points)}
    for layer in model.layers:
        for name in members:
            if layer.name == name or layer.name.startswith(f"{name}_"):
                members[name].append(layer)
    return tuple(_module(name, its_layers, points) for name, its_layers in members.items())


def runs(modules: Iterable[Module]) -> Iterator[tuple[Module, ...]]:
    """Modules that look alike and follow one another, together; the stem's steps one by one."""
    for _, alike in groupby(
        modules, key=lambda module: module.name if _in_stem(module) else module.looks
    ):
        yield tuple(alike)


def _in_stem(module: Module) -> bool:
    return module.name.startswith("stem_")


def name_run(run: tuple[Module, ...]) -> str:
    """The names of modules that look alike: ``"mixed_5c, 5d"``, ``"block35_1 … 10"``."""
    names = [module.name for module in run]
    family = f"{names[0].rpartition('_')[0]}_"
    if len(names) == 1 or not all(name.startswith(family) for name in names):
        return ", ".join(names)
    between = ", " if len(names) == 2 else " … "
    return f"{names[0]}{between}{names[-1].removeprefix(family)}"


def written(shape: Shape) -> str:
    """A shape in the papers' words: ``"35 x 35 x 288"``; ``?`` for what is open."""
    return " x ".join("?" if side is None else str(side) for side in shape)


def total_macs(modules: Iterable[Module]) -> int | None:
    """The sum of the modules' multiplications; ``None`` if one is unknown."""
    macs = [module.macs for module in modules]
    return None if None in macs else sum(each for each in macs if each is not None)


def _module_names(points: EndPoints) -> list[str]:
    names = []
    for point in points:
        name = point.removesuffix("_logits") if point.startswith("aux") else point
        if name == "predictions":
            continue  # the activation of what "logits" names
        if name == "logits":
            names.append("dropout")
        if name not in names:
            names.append(name)
    return names


def _module(name: str, members: list[keras.Layer], points: EndPoints) -> Module:
    pads = {layer.name: layer for layer in members if isinstance(layer, layers.ZeroPadding2D)}
    steps = []
    for index, layer in enumerate(members):
        if type(layer) in _KINDS:
            place = _place(layer.name.removeprefix(name), index)
            steps.append((place, _step(layer, pads.get(f"{layer.name}_pad"))))
    scale = next((layer.scale for layer in members if isinstance(layer, layers.Rescaling)), None)
    on = [point for point, tensor in points.items() if tensor is members[0].input]
    macs = [_macs(layer) for layer in members]
    return Module(
        name=name,
        chain=_chain(steps),
        scale=scale,
        relu=scale is not None and isinstance(members[-1], layers.Activation),
        on=on[0] if name.startswith("aux") else None,
        input=tuple(members[0].input.shape[1:]),
        output=tuple(members[-1].output.shape[1:]),
        parameters=sum(layer.count_params() for layer in members),
        macs=None if None in macs else sum(each for each in macs if each is not None),
    )


def _place(name: str, index: int) -> tuple[str, ...]:
    """Where a step stands: position, branch, position in it, and so on.

    ``"_branch_2_c_3x3"`` is ("a", "0002", "c"), ``"_a_branch_0_b_1x7"`` is ("a", "0000", "b"), and
    what has no position of its own, such as ``"_dense"``, comes last, in the order of the layers.
    """
    place = [
        f"{int(part):04}" if part.isdecimal() else part
        for part in name.split("_")[1:]
        if part.isdecimal() or is_position(part)
    ]
    if not place:
        return (f"~{index:04}",)
    return tuple(place if place[0].isalpha() else ["a", *place])


def _chain(steps: list[tuple[tuple[str, ...], Step]]) -> Chain:
    chain: list[Step | Branches] = []
    for _, here in groupby(sorted(steps, key=lambda each: each[0]), key=lambda each: each[0][0]):
        group = list(here)
        if len(group[0][0]) == 1:
            chain.append(group[0][1])
            continue
        branches = tuple(
            _chain([(place[2:], step) for place, step in branch])
            for _, branch in groupby(group, key=lambda each: each[0][1])
        )
        last = [branch[-1].output for branch in branches]
        channels = [shape[-1] for shape in last]
        chain.append(Branches(branches, (*last[0][:-1], sum(c for c in channels if c is not None))))
    return tuple(chain)


def _looks(chain: Chain) -> tuple[Any, ...]:
    return tuple(
        (item.kind, item.patch, item.width, item.rate)
        if isinstance(item, Step)
        else tuple(_looks(branch) for branch in item.branches)
        for item in chain
    )


def _step(layer: keras.Layer, pad: keras.Layer | None) -> Step:
    kind = _KINDS[type(layer)]
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    return Step(
        kind="linear" if layer.name.endswith("_linear") else kind,
        size=None if size is None else (size[0], size[1]),
        stride=layer.strides[0] if size else 1,
        padding="same" if size is None else layer.padding if pad is None else pad.padding[0][0],
        rate=getattr(layer, "rate", None),
        output=tuple(layer.output.shape[1:]),
    )


def _macs(layer: keras.Layer) -> int | None:
    """Multiplications with an addition in a layer, for one image."""
    if type(layer) is layers.Dense:
        return prod(layer.kernel.shape)
    if type(layer) not in (layers.Conv2D, layers.SeparableConv2D):
        return 0
    grid = layer.output.shape[1:3]
    if None in grid:
        return None
    if type(layer) is layers.Conv2D:
        return prod(grid) * prod(layer.kernel.shape)
    return prod(grid) * (prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape))
