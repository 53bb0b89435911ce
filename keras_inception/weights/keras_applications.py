"""keras.applications's names: InceptionV3 and InceptionResNetV2.

It leaves nearly all convolutions unnamed, so Keras numbers them, and the batch norms alike, in the
order in which its source makes them: ``conv2d``, ``conv2d_1``, ... from wherever the process's
count had come to. The tables hold that order: the number of a row's first layer, counted from 0,
then the row's layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from keras_inception.weights.names import Place, Proof, Source, Table, expand, parse_table

INCEPTION_V3 = """
 0  stem_               a_3x3  b_3x3  c_3x3  e_1x1  f_3x3
 5  mixed_5b_branch_    0_a_1x1  1_a_1x1 1_b_5x5  2_a_1x1 2_b_3x3 2_c_3x3  3_b_1x1
12  mixed_5c_branch_    0_a_1x1  1_a_1x1 1_b_5x5  2_a_1x1 2_b_3x3 2_c_3x3  3_b_1x1
19  mixed_5d_branch_    0_a_1x1  1_a_1x1 1_b_5x5  2_a_1x1 2_b_3x3 2_c_3x3  3_b_1x1
26  mixed_6a_branch_    0_a_3x3  1_a_1x1 1_b_3x3 1_c_3x3
30  mixed_6b_branch_    0_a_1x1  1_a_1x1 1_b_1x7 1_c_7x1
34  mixed_6b_branch_    2_a_1x1 2_b_7x1 2_c_1x7 2_d_7x1 2_e_1x7  3_b_1x1
40  mixed_6c_branch_    0_a_1x1  1_a_1x1 1_b_1x7 1_c_7x1
44  mixed_6c_branch_    2_a_1x1 2_b_7x1 2_c_1x7 2_d_7x1 2_e_1x7  3_b_1x1
50  mixed_6d_branch_    0_a_1x1  1_a_1x1 1_b_1x7 1_c_7x1
54  mixed_6d_branch_    2_a_1x1 2_b_7x1 2_c_1x7 2_d_7x1 2_e_1x7  3_b_1x1
60  mixed_6e_branch_    0_a_1x1  1_a_1x1 1_b_1x7 1_c_7x1
64  mixed_6e_branch_    2_a_1x1 2_b_7x1 2_c_1x7 2_d_7x1 2_e_1x7  3_b_1x1
70  mixed_7a_branch_    0_a_1x1 0_b_3x3  1_a_1x1 1_b_1x7 1_c_7x1 1_d_3x3
76  mixed_7b_branch_    0_a_1x1  1_a_1x1 1_b_branch_0_a_1x3 1_b_branch_1_a_3x1
80  mixed_7b_branch_    2_a_1x1 2_b_3x3 2_c_branch_0_a_1x3 2_c_branch_1_a_3x1  3_b_1x1
85  mixed_7c_branch_    0_a_1x1  1_a_1x1 1_b_branch_0_a_1x3 1_b_branch_1_a_3x1
89  mixed_7c_branch_    2_a_1x1 2_b_3x3 2_c_branch_0_a_1x3 2_c_branch_1_a_3x1  3_b_1x1
"""

INCEPTION_RESNET_V2 = """
  0  stem_                         a_3x3  b_3x3  c_3x3  e_1x1  f_3x3
  5  mixed_5b_branch_              0_a_1x1  1_a_1x1 1_b_5x5  2_a_1x1 2_b_3x3 2_c_3x3  3_b_1x1
 12  block35_{1..10}_a_branch_     0_a_1x1  1_a_1x1 1_b_3x3  2_a_1x1 2_b_3x3 2_c_3x3
 72  mixed_6a_branch_              0_a_3x3  1_a_1x1 1_b_3x3 1_c_3x3
 76  block17_{1..20}_a_branch_     0_a_1x1  1_a_1x1 1_b_1x7 1_c_7x1
156  mixed_7a_branch_              0_a_1x1 0_b_3x3  1_a_1x1 1_b_3x3  2_a_1x1 2_b_3x3 2_c_3x3
163  block8_{1..10}_a_branch_      0_a_1x1  1_a_1x1 1_b_1x3 1_c_3x1
"""

# What it does name.
NAMED_IN_V3 = """
logits                                      predictions
"""
NAMED_IN_RESNET_V2 = """
block35_{1..10}_b_linear                    block35_{1..10}_conv
block17_{1..20}_b_linear                    block17_{1..20}_conv
block8_{1..10}_b_linear                     block8_{1..10}_conv
conv_7b_1x1                                 conv_7b
logits                                      predictions
"""

# fmt: off
NETWORKS = {
    "inception_v3": Table(
        NAMED_IN_V3, "slim", "mixed0",
        Proof("keras.applications 3.15.1", 1000, 4.255869,
              (2.884563, 1.423494, -0.6030685, -5.792231, -9.370459, 6.060537)),
        order=INCEPTION_V3,
    ),
    "inception_resnet_v2": Table(
        NAMED_IN_RESNET_V2, "released", "conv_7b",
        Proof("keras.applications 3.15.1", 1000, 9.82906,
              (6.674423, -5.868015, -8.299547, -7.671151, -16.55045, -0.1802213)),
        order=INCEPTION_RESNET_V2,
    ),
}
# fmt: on


def network_of(layers: Collection[str]) -> str | None:
    """The network, ``"inception_v3"``, that has layers of these names.

    Weights of a model within a model come without the names of the layers that have none, which
    tell v3: it is then told by how many convolutions there are.
    """
    for ours, each in NETWORKS.items():
        if each.telling in layers:
            return ours
    numbered = sum(re.fullmatch(r"conv2d(_\d+)?", layer) is not None for layer in layers)
    return "inception_v3" if numbered == len(in_order(INCEPTION_V3)) else None


def source(network: str, names: Iterable[str] | None = None) -> Source:
    """What keras.applications calls a network's variables.

    Args:
        names: those in the file, ``"conv2d_7/kernel"``: the numbers are read off them. They begin
            at 0, as in a fresh process, if not given.

    Raises:
        ValueError: the file's numbers are not those of as many layers as the network has.
    """
    row = NETWORKS[network]
    layers = in_order(row.order)
    count = len(layers)
    fresh = [f"{kind}_{n}/" for kind in ("conv2d", "batch_normalization") for n in range(count)]
    names = fresh if names is None else list(names)
    convolutions = _numbered("conv2d", names, count)
    norms = _numbered("batch_normalization", names, count)
    places = {}
    for ours, convolution, norm in zip(layers, convolutions, norms, strict=True):
        places.update(_convolution(ours, convolution, norm))
    for ours, theirs in parse_table(row.layers).items():
        if ours.endswith(("logits", "linear")):
            places[f"{ours}/kernel"] = Place(f"{theirs}/kernel")
            places[f"{ours}/bias"] = Place(f"{theirs}/bias")
        else:
            places.update(_convolution(ours, theirs, f"{theirs}_bn"))
    return Source("keras", row.variant, places)


def in_order(text: str) -> list[str]:
    """Our layers in the order of a table, whose numbers are checked."""
    layers: list[str] = []
    for row in filter(None, map(str.strip, text.splitlines())):
        first, module, *words = row.split()
        if int(first) != len(layers):
            raise ValueError(f"the row of {module} begins at {len(layers)}, not {first}")
        layers += [each + word for each in expand(module) for word in words]
    return layers


def _numbered(kind: str, names: list[str], count: int) -> list[str]:
    layers = {name.rpartition("/")[0] for name in names}
    matches = (re.fullmatch(rf"{kind}(?:_(\d+))?", layer) for layer in layers)
    numbers = sorted(int(match[1] or 0) for match in matches if match)
    first = numbers[0] if numbers else 0
    if numbers != list(range(first, first + count)):
        raise ValueError(
            f"keras.applications numbers {count} layers {kind}_N without a gap; the file has"
            f" {len(numbers)}" + (f", from {first} to {numbers[-1]}" if numbers else "")
        )
    return [f"{kind}_{number}" if number else kind for number in numbers]


def _convolution(ours: str, convolution: str, norm: str) -> dict[str, Place]:
    gamma = f"{norm}/gamma"
    return {
        f"{ours}/kernel": Place(f"{convolution}/kernel", gamma=gamma),
        f"{ours}_bn/gamma": Place(gamma),
        f"{ours}_bn/beta": Place(f"{norm}/beta"),
        f"{ours}_bn/moving_mean": Place(f"{norm}/moving_mean", gamma=gamma),
        f"{ours}_bn/moving_variance": Place(f"{norm}/moving_variance"),
    }
