"""TF-Slim's and facenet's files: checkpoints of both formats, frozen graphs, read by their names.

The tables are in :mod:`keras_inception.weights.slim_tables`; here is what belongs to each layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from keras_inception.weights.names import Place, Source, parse_table
from keras_inception.weights.slim_tables import NETWORKS

VARIABLES = re.compile(
    r"(.*/)?(weights|biases|depthwise_weights|pointwise_weights"
    r"|BatchNorm/(beta|gamma|moving_mean|moving_variance))"
)
SHADOW = "/ExponentialMovingAverage"
# What training leaves beside a variable, named after it, and beside all of them; `centers` are
# those of facenet's center loss.
_NO_WEIGHT = re.compile(
    r".*/(RMSProp(_[12])?|Momentum|Adam(_1)?|Adagrad|AdagradDA|Adadelta(_1)?|Ftrl(_1)?"
    r"|ExponentialMovingAverage|biased|local_step)"
    r"|(.*/)?(global_step|beta[12]_power|centers)"
)


def network_of(names: Iterable[str]) -> str | None:
    """The network, ``"inception_v3"``, whose variables are among the names."""
    roots = {name.partition("/")[0] for name in names}
    return next((ours for ours, each in NETWORKS.items() if each.telling in roots), None)


def source(network: str, names: Iterable[str] = (), *, ema: bool = False) -> Source:
    """What TF-Slim calls a network's variables.

    Args:
        names: those in the file.
        ema: take the moving averages that training kept beside the variables; a variable without
            one is taken itself.

    Raises:
        ValueError: no variable in the file has a moving average.
    """
    row = NETWORKS[network]
    names = set(names)
    places: dict[str, Place] = {}
    for layer, scope in parse_table(row.layers).items():
        inside = scope if scope.startswith("/") else f"{row.telling}/{scope}"
        places.update(_variables(network, layer, inside.removeprefix("/")))
    known = {name for place in places.values() for name in (place.name, place.gamma) if name}
    ignored = {name for name in names - known if _NO_WEIGHT.fullmatch(name)}
    if ema:
        shadows = {name for name in known if name + SHADOW in names}
        if not shadows:
            raise ValueError("`ema=True`, but the file holds no moving averages of the weights")
        ignored = (ignored | shadows) - {name + SHADOW for name in shadows}
        places = {ours: _shadow(place, shadows) for ours, place in places.items()}
    return Source("slim", row.variant, places, frozenset(ignored))


def _variables(network: str, layer: str, scope: str) -> Iterator[tuple[str, Place]]:
    if layer.endswith("logits"):
        layout = "1x1" if "Conv2d" in scope else "ours"
        yield f"{layer}/kernel", Place(f"{scope}/weights", layout)  # type: ignore[arg-type]
        yield f"{layer}/bias", Place(f"{scope}/biases")
    elif layer.endswith("linear"):
        yield f"{layer}/kernel", Place(f"{scope}/weights")
        yield f"{layer}/bias", Place(f"{scope}/biases")
    elif (network, layer) == ("inception_v2", "stem_a_7x7"):
        yield f"{layer}/depthwise_kernel", Place(f"{scope}/depthwise_weights")
        yield f"{layer}/pointwise_kernel", Place(f"{scope}/pointwise_weights")
        yield f"{layer}/bias", Place(f"{scope}/biases")
    else:
        norm = f"{scope}/BatchNorm"
        gamma = f"{norm}/gamma"
        yield f"{layer}/kernel", Place(f"{scope}/weights", gamma=gamma)
        yield f"{layer}_bn/gamma", Place(gamma)
        yield f"{layer}_bn/beta", Place(f"{norm}/beta")
        yield f"{layer}_bn/moving_mean", Place(f"{norm}/moving_mean", gamma=gamma)
        yield f"{layer}_bn/moving_variance", Place(f"{norm}/moving_variance")


def _shadow(place: Place, shadows: set[str]) -> Place:
    gamma = place.gamma
    return Place(
        place.name + SHADOW * (place.name in shadows),
        place.layout,
        gamma and gamma + SHADOW * (gamma in shadows),
    )
