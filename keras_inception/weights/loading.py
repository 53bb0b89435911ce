"""Weights on their way from a file to a network: each by its name, or an error with the names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.weights import keras_applications, slim, torch
from keras_inception.weights.file import File, FileError
from keras_inception.weights.files import open_file
from keras_inception.weights.names import (
    GAMMA,
    Array,
    Place,
    Shape,
    Source,
    ours_from,
    read_as_ours,
)

Log = Callable[[str], None]
# The network and the variant of layers of ours, ``("inception_v3", "slim")``, by their names; None
# if they are not ours. The catalogue's, which is handed down, since it lies above this.
Recognize = Callable[[Collection[str]], tuple[str, str] | None]
WITH_BACKGROUND = 1001  # TF-Slim's classes: the first is none of ImageNet's 1000
_SHOWN = 20  # names of a kind in a message; the error's attributes have them all


class WeightsError(ValueError):
    """A file's names and shapes are not the network's.

    Attributes:
        missing: names that the network needs and the file has not.
        left_over: names that the file has and the network has no place for.
        wrong_shape: names whose shape is another, with both shapes.
    """

    def __init__(
        self, path: Path, network: str, missing: list[str], left_over: list[str],
        wrong_shape: list[str],
    ) -> None:  # fmt: skip
        self.missing, self.left_over, self.wrong_shape = missing, left_over, wrong_shape
        lists = {"Missing": missing, "Left over": left_over, "Of another shape": wrong_shape}
        parts = [f"{path} does not fit this {network}."]
        for what, names in lists.items():
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                parts.append(f"{what}: {', '.join(names[:_SHOWN])}{more}.")
        parts.append("To load the others, say what to leave out: `skip=`.")
        super().__init__(" ".join(parts))


@dataclass(frozen=True)
class Weights:
    """A file of weights, opened for a network.

    Args:
        network: ``"inception_v3"``.
        file: what it holds.
        source: what each of our variables is called there.
    """

    network: str
    file: File
    source: Source

    @property
    def variant(self) -> str:
        """The variant of the network that these weights need."""
        return str(self.file.notes.get("variant", self.source.variant))

    @property
    def classes(self) -> int | None:
        """How many classes the classifier has; ``None`` if there is no classifier."""
        shape = self.shape("logits/bias")
        return shape[0] if shape else None

    @property
    def embedding(self) -> int | None:
        """How many units the bottleneck before the classifier has; ``None`` without one."""
        shape = self.shape("bottleneck/kernel")
        return shape[1] if shape else None

    @property
    def has_aux(self) -> bool:
        """Whether there are auxiliary heads."""
        return any(ours.startswith("aux") and self.shape(ours) for ours in self.source.places)

    @cached_property
    def has_gamma(self) -> bool:
        """Whether batch norm has gammas; those that are all one are as good as none."""
        gammas = [ours for ours in self.source.places if ours.endswith(GAMMA) and self.shape(ours)]
        return any((self.read(ours) != 1).any() for ours in gammas)

    def shape(self, ours: str) -> Shape | None:
        """The shape, for us, of a variable of ours; ``None`` if it is not there."""
        place = self.source.places.get(ours)
        if place is None or place.name not in self.file.shapes:
            return None
        return ours_from(place.layout, self.file.shapes[place.name])

    def read(self, ours: str, *, fold_gamma: bool = False) -> Array:
        """A variable of ours, the gamma of its batch norm multiplied into it if asked for."""
        place = self.source.places[ours]
        value = read_as_ours(place.layout, self.file.read(place.name))
        if fold_gamma and place.gamma and place.gamma in self.file.shapes:
            value = value * self.file.read(place.gamma)
        return value

    def left_over(self, variables: Iterable[str]) -> list[str]:
        """The file's names that none of our ``variables`` takes, those that are no weights aside.

        A network built without its top, its bottleneck or its auxiliary heads does not leave these
        over.
        """
        wanted = set(variables)
        for part in ("logits/", "bottleneck", "aux"):
            if not any(ours.startswith(part) for ours in wanted):
                wanted |= {ours for ours in self.source.places if ours.startswith(part)}
        places = [self.source.places[ours] for ours in wanted if ours in self.source.places]
        taken = {name for place in places for name in (place.name, place.gamma)}
        return sorted(self.file.shapes.keys() - taken - self.source.ignored)


def open_weights(
    path: str | os.PathLike[str], network: str, recognize: Recognize, *, ema: bool = False
) -> Weights:
    """Open a file of weights for a network.

    Args:
        path: see :func:`keras_inception.weights.files.open_file`.
        network: ``"inception_v3"``.
        recognize: :func:`keras_inception.models.catalogue.recognize`.
        ema: take the moving averages of the weights that training kept beside them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it can't be read, or does not hold this network.
    """
    file = open_file(path, ema=ema)
    names = file.shapes.keys()
    ours = recognize(file.layers)  # a Keras file has the names of all its layers
    if ours:
        found: str | None = ours[0]
    elif file.writer == "tensorflow":
        found = slim.network_of(names)
    elif file.writer == "pytorch":
        found = torch.network_of(names)
    else:
        found = keras_applications.network_of(file.layers)
    if found != network:
        some = ", ".join(sorted(names)[:3])
        holds = found or f"no network whose names are known ({some}, ...)"
        raise ValueError(f"{file.path} ({file.format}) holds {holds}. Needed: {network}.")
    if ema and file.writer == "keras":
        raise ValueError(f"`ema=True`, but {file.path} ({file.format}) holds no moving averages.")
    try:
        if ours:
            source = _our_own(ours[1], names)
        elif file.writer == "tensorflow":
            source = slim.source(network, names, ema=ema)
        elif file.writer == "pytorch":
            source = torch.source(network, names)
        else:
            source = keras_applications.source(network, names)
    except ValueError as error:
        raise FileError(f"{file.path}: {error}") from error
    return Weights(network, file, source)


def _our_own(variant: str, names: Collection[str]) -> Source:
    """Our own names, each for itself, and which gamma belongs to which."""
    places = {name: Place(name) for name in names}
    for gamma in names:
        if gamma.endswith(GAMMA):
            layer = gamma.removesuffix(GAMMA)
            for ours in (f"{layer}/kernel", f"{layer}_bn/moving_mean"):
                places[ours] = Place(ours, gamma=gamma)
    return Source("ours", variant, places)


def check_variant(weights: Weights, variant: str) -> None:
    """Raise ValueError unless the network's variant is the one that the weights need."""
    if variant != weights.variant:
        raise ValueError(
            f"`variant` must be {weights.variant!r}, as the weights in {weights.file.path} need it"
            f" (or be left out). Received: variant={variant!r}"
        )


def assign_weights(
    weights: Weights,
    layers: Iterable[keras.Layer],
    skip: str | Iterable[str] = (),
    log: Log = lambda line: print(line, file=sys.stderr),
    *,
    fold_gamma: bool = False,
) -> list[str]:
    """Load opened weights into layers, all of them or, where one does not fit, none.

    Args:
        skip: names, ours or the file's, that are not loaded and need not fit; ``*`` stands for
            anything.
        log: takes the line that says that a classifier of other classes keeps its values.
        fold_gamma: where the layers have no gamma and the file has it, multiply it into the
            kernels.

    Returns:
        The names that were skipped, sorted.

    Raises:
        WeightsError: names are missing, left over, or of another shape; it lists them.
        ValueError: the file has gamma and the layers have none.
    """
    variables: dict[str, Any] = {
        f"{layer.name}/{variable.name}": variable for layer in layers for variable in layer.weights
    }
    fit = match(weights, {ours: tuple(each.shape) for ours, each in variables.items()}, skip)
    if not fit.gamma_stays_out:
        fold_gamma = False
    elif not fold_gamma and weights.has_gamma:
        raise ValueError(
            f"{weights.file.path} has gammas of batch norm, and this {weights.network} has none."
            " Build it with them, scale=True, which is the same function everywhere; or say"
            " fold_gamma=True: they are multiplied into the kernels, the same function in"
            " inference only."
        )
    for ours in fit.taken:
        value = weights.read(ours, fold_gamma=fold_gamma)
        if value.shape != tuple(variables[ours].shape):
            value = value[..., 1:]
        variables[ours].assign(value)
    for ours in fit.ones:
        variables[ours].assign(np.ones(variables[ours].shape, np.float32))
    if fit.new_heads:
        theirs = f"{weights.classes}" if weights.classes else "none"
        behind = (
            ""
            if "bottleneck/kernel" in variables or not weights.embedding
            else (f", behind a bottleneck of {weights.embedding} units,")
        )
        log(
            f"{weights.network}: {variables[fit.new_heads[0]].shape[-1]} classes here,"
            f" {theirs}{behind} in {weights.file.path}: not taken: {', '.join(fit.new_heads)}"
        )
    return sorted(fit.skipped)


@dataclass
class Fit:
    """Which of a network's variables a file has, by our names.

    Args:
        taken: those that are read from the file.
        ones: gammas, which a file without any leaves at one.
        new_heads: those of classifiers of another number of classes, or of a file's that stands
            behind a bottleneck which the network has not; they keep their values.
        skipped: those that were to be left out, the file's names too.
        gamma_stays_out: whether the network has no gammas.
    """

    taken: list[str] = field(default_factory=list)
    ones: list[str] = field(default_factory=list)
    new_heads: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    gamma_stays_out: bool = True


def match(weights: Weights, variables: Mapping[str, Shape], skip: str | Iterable[str] = ()) -> Fit:
    """Compare a file's names and shapes with a network's.

    Args:
        variables: the network's, ``"stem_a_3x3/kernel"``, and their shapes.
        skip: names, ours or the file's, that need not fit; ``*`` stands for anything.

    Raises:
        WeightsError: names are missing, left over, or of another shape; it lists them.
    """
    patterns = [skip] if isinstance(skip, str) else list(skip)
    has_gammas = any(name.endswith(GAMMA) and weights.shape(name) for name in weights.source.places)
    fit = Fit(gamma_stays_out=not any(ours.endswith(GAMMA) for ours in variables))
    missing, wrong_shape = [], []
    elsewhere = weights.embedding is not None and "bottleneck/kernel" not in variables
    for ours, wanted in variables.items():
        place = weights.source.places.get(ours)
        theirs = place.name if place else ours
        name = ours if ours == theirs else f"{ours} ({theirs})"
        shape = weights.shape(ours)
        if _matches(patterns, ours, theirs):
            fit.skipped.append(ours)
        elif shape is None and ours.endswith(GAMMA) and not has_gammas:
            fit.ones.append(ours)
        elif elsewhere and ours.startswith("logits/"):
            fit.new_heads.append(ours)
        elif shape is None:
            missing.append(name)
        elif shape == wanted or _has_background(ours, shape, wanted):
            fit.taken.append(ours)
            gamma = place.gamma if place else None
            if fit.gamma_stays_out and gamma and "kernel" in ours:
                found = weights.file.shapes.get(gamma, wanted[-1:])
                if found != wanted[-1:]:
                    wrong_shape.append(f"{gamma} {found}, not {wanted[-1:]}")
        elif "logits/" in ours and shape[:-1] == wanted[:-1]:
            fit.new_heads.append(ours)
        else:
            wrong_shape.append(f"{name} {shape}, not {wanted}")
    left_over: list[str] = []
    for theirs in weights.left_over(variables):
        (fit.skipped if _matches(patterns, theirs) else left_over).append(theirs)
    if missing or left_over or wrong_shape:
        raise WeightsError(weights.file.path, weights.network, missing, left_over, wrong_shape)
    return fit


def _has_background(ours: str, shape: Shape, wanted: Shape) -> bool:
    return (
        "logits/" in ours
        and (*shape[:-1], shape[-1] - 1) == wanted
        and shape[-1] == WITH_BACKGROUND
    )


def _matches(patterns: list[str], *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
