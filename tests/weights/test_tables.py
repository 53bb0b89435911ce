"""The tables of names against the released graphs and each other; no checkpoint is needed."""

from __future__ import annotations

import keras
import pytest

import keras_inception
from keras_inception.weights import keras_applications, slim, torch
from keras_inception.weights.names import expand, ours_from, parse_table
from tests.models.released import our_layers
from tests.weights.checkpoints import BUILDERS, released

NETWORKS = pytest.mark.parametrize("network", BUILDERS)


def build(network: str) -> keras.Model:
    title, arguments = BUILDERS[network]
    with keras.StatelessScope(initialize_variables=False):  # shapes are enough
        return getattr(keras_inception, title)(classes=1001, **arguments)


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {
        f"{layer.name}/{weight.name}": tuple(weight.shape)
        for layer in model.layers
        for weight in layer.weights
    }


@NETWORKS
def test_slims_table_covers_every_released_variable(network: str) -> None:
    places, theirs = slim.source(network).places, released(network)
    # The released networks have no gamma; files of others', trained with it, do.
    places = {ours: place for ours, place in places.items() if not ours.endswith("gamma")}
    assert len(theirs) in (230, 277, 388, 608, 908)
    assert {place.name for place in places.values()} == theirs.keys()
    assert len(places) == len(theirs)  # none of them twice
    ours = shapes(build(network))
    assert places.keys() == ours.keys()
    for name, place in places.items():
        assert ours_from(place.layout, theirs[place.name]) == ours[name], name


@NETWORKS
def test_slims_table_has_the_layers_in_their_places(network: str) -> None:
    """As found otherwise: module by module, and within a column in the order of the words."""
    text = slim.NETWORKS[network].layers
    model = build(network)
    scopes = {scope: layer for layer, scope in parse_table(text).items()}
    found = our_layers(scopes, model, keras.layers.Conv2D, keras.layers.SeparableConv2D)
    assert {scope: layer.name for scope, layer in found.items()} == scopes


@pytest.mark.parametrize("network", torch.NETWORKS)
def test_torchs_tables_name_the_same_layers(network: str) -> None:
    ours, slims = torch.source(network).places.keys(), slim.source(network).places.keys()
    without = {name for name in ours ^ slims if not name.startswith("aux")}
    assert not without
    names = [place.name for place in torch.source(network).places.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("network", "count"), [("inception_v3", 94), ("inception_resnet_v2", 203)])
def test_keras_applications_numbers_every_layer_once(network: str, count: int) -> None:
    layers = keras_applications.in_order(keras_applications.NETWORKS[network].order)
    assert len(set(layers)) == len(layers) == count
    names = [
        f"{kind}_{n + 7}/x" for kind in ("conv2d", "batch_normalization") for n in range(count)
    ]
    places = keras_applications.source(network, names).places
    slims = slim.source(network).places.keys()
    assert places.keys() == {name for name in slims if not name.startswith("aux")}


def test_a_gap_in_the_numbers_is_refused() -> None:
    names = [f"{kind}_{n}/x" for kind in ("conv2d", "batch_normalization") for n in range(1, 95)]
    keras_applications.source("inception_v3", names)
    names.remove("conv2d_40/x")
    with pytest.raises(
        ValueError, match="94 layers conv2d_N without a gap; the file has 93, from 1"
    ):
        keras_applications.source("inception_v3", names)


def test_braces() -> None:
    assert list(expand("a{b,c}_x  A{1..2}/x")) == ["ab_x  A1/x", "ac_x  A2/x"]
    assert parse_table("a_{1..2}  A{0..1}  # why") == {"a_1": "A0", "a_2": "A1"}
    with pytest.raises(ValueError):
        list(expand("{a,b}  {1..3}"))
    with pytest.raises(ValueError, match="twice"):
        parse_table("a  A\na  B")
