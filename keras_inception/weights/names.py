"""Tables of names: their form, and what they say of each variable.

A table has a line for each convolution or dense layer: our layer's name, then theirs. Braces stand
for one line each, on both sides in step: ``mixed_5{b,c}_a  Mixed_5{b,c}/A`` is two lines, and
``{1..10}`` counts. What belongs to a layer (kernel, bias, batch norm's variables) follows from the
layer's kind, one rule a source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
GAMMA = "_bn/gamma"  # ends our name of a batch norm's gamma
# How their array lies: as ours; [1, 1, in, out] for our dense [in, out]; PyTorch's kernels, out
# and in first; PyTorch's dense layer behind a flattened 4 x 4 map, whose channels come first there
# and last here.
Layout = Literal["ours", "1x1", "oihw", "oi", "flat"]


@dataclass(frozen=True)
class Place:
    """Where a variable of ours stands in someone else's file.

    Args:
        name: theirs.
        layout: how their array lies.
        gamma: their name of the gamma of the batch norm that this variable belongs to: for a
            network without gamma it is multiplied into the variable. y = gamma (conv(x) - mean) /
            sqrt(variance + epsilon) + beta is the same function with gamma times the kernel,
            channel by channel, and gamma times the mean: exact for any gamma, zero and below
            included, as long as mean and variance stay those of the file.
    """

    name: str
    layout: Layout = "ours"
    gamma: str | None = None


@dataclass(frozen=True)
class Proof:
    """What a network says to a known image with known values (see ``weights/proof.py``).

    Args:
        by: who said so.
        classes: of its classifier.
        spread: the standard deviation of all its logits.
        logits: the first of them.
        aux: the first of each auxiliary head's.
        embedding: units of the bottleneck before the classifier; ``None`` without one.
    """

    by: str
    classes: int
    spread: float
    logits: tuple[float, ...]
    aux: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    embedding: int | None = None


@dataclass(frozen=True)
class Table:
    """A network in a source's files.

    Args:
        layers: our layers' names and theirs, as :func:`parse_table` reads them.
        variant: the network's variant that computes what the source's network does.
        telling: a name that only this network's files have: a layer's or a variable's, as the
            source tells them; in TF-Slim's the scope that all names begin with.
        proof: what the source's network says to known values.
        order: where the source numbers its layers, ours in that order.
    """

    layers: str
    variant: str
    telling: str
    proof: Proof
    order: str = ""


@dataclass(frozen=True)
class Source:
    """What a source's tables say of one network.

    Args:
        name: of the source: ``"slim"``, ``"keras"``, ``"torch"`` or ``"ours"``.
        variant: the network's variant that computes what the source's network does.
        places: our variable, ``"stem_a_3x3/kernel"``, to its place.
        ignored: what else the file may hold that is no weight: steps, optimizer slots, counters.
    """

    name: str
    variant: str
    places: Mapping[str, Place]
    ignored: frozenset[str] = field(default=frozenset())


def expand(line: str) -> Iterator[str]:
    """The lines that a line with braces stands for."""
    braces = re.findall(r"{(.*?)}", line)
    if not braces:
        yield line
        return
    for each in zip(*map(_members, braces), strict=True):
        members = iter(each)
        yield re.sub(r"{.*?}", lambda _, members=members: next(members), line)  # type: ignore[misc]


def _members(inside: str) -> list[str]:
    if ".." in inside:
        first, last = map(int, inside.split(".."))
        return [str(number) for number in range(first, last + 1)]
    return inside.split(",")


def parse_table(text: str) -> dict[str, str]:
    """Our layer's name to theirs, from lines ``ours  theirs``; ``#`` begins a comment."""
    rows = [line.partition("#")[0] for line in text.splitlines()]
    pairs = [each.split() for row in rows if row.strip() for each in expand(row)]
    found = {ours: theirs for ours, theirs in pairs}
    if len(found) != len(pairs):
        raise ValueError("a layer stands in the table twice")
    return found


def ours_from(layout: Layout, shape: Shape) -> Shape:
    """The shape that their array has for us."""
    if layout == "1x1" and shape[:2] == (1, 1):
        return shape[2:]
    if layout == "oihw" and len(shape) == 4:
        out, inner, height, width = shape
        return height, width, inner, out
    if layout in ("oi", "flat") and len(shape) == 2:
        return shape[::-1]
    return shape


def read_as_ours(layout: Layout, theirs: Array) -> Array:
    """Their array as ours."""
    if layout == "1x1":
        return theirs.reshape(ours_from(layout, theirs.shape))
    if layout == "oihw":
        return theirs.transpose(2, 3, 1, 0)
    if layout == "oi":
        return theirs.T
    if layout == "flat":
        out, flat = theirs.shape
        return theirs.reshape(out, flat // 16, 4, 4).transpose(2, 3, 1, 0).reshape(flat, out)
    return theirs


def written_as_theirs(layout: Layout, ours: Array) -> Array:
    """Our array as theirs: what :func:`read_as_ours` takes back, bit for bit."""
    if layout == "1x1":
        return ours[np.newaxis, np.newaxis]
    if layout == "oihw":
        return ours.transpose(3, 2, 0, 1)
    if layout == "oi":
        return ours.T
    if layout == "flat":
        flat, out = ours.shape
        return ours.reshape(4, 4, flat // 16, out).transpose(3, 2, 0, 1).reshape(out, flat)
    return ours
