"""The tables by numbers: our answers with known values are those of the other implementations."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import keras
import numpy as np
import pytest

import keras_inception
from keras_inception.models.catalogue import find
from keras_inception.weights import proof
from keras_inception.weights.names import Source

SLOW = [key for key in proof.PROVED if key != ("slim", "inception_v1")]


def build(name: str, network: str) -> keras.Model:
    proved, source = proof.PROVED[name, network], proof.source_of(name, network)
    builder = getattr(keras_inception, find(network).title)
    return builder(
        classes=proved.classes,
        aux=bool(proved.aux),
        variant=source.variant,
        embedding=proved.embedding,
    )


def swapped(source: Source, model: keras.Model, kind: str, which: int) -> Source:
    """The tables with two names of variables of one shape exchanged."""
    shapes = {
        f"{layer.name}/{weight.name}": tuple(weight.shape)
        for layer in model.layers
        for weight in layer.weights
        if weight.name == kind and not layer.name.startswith("aux")
    }
    pairs = [(a, b) for a, b in combinations(shapes, 2) if shapes[a] == shapes[b]]
    a, b = pairs[which % len(pairs)]
    places = dict(source.places)
    places[a], places[b] = places[b], places[a]
    return replace(source, places=places)


def assert_proved(name: str, network: str, swaps: int) -> None:
    model, source = build(name, network), proof.source_of(name, network)
    assert proof.difference(model, source, network) < 1e-4
    random = np.random.RandomState(0)
    for kind in ("kernel", "moving_mean"):
        for which in random.randint(1 << 30, size=swaps):
            wrong = swapped(source, model, kind, int(which))
            assert proof.difference(model, wrong, network) > proof.TOLERANCE, wrong


def test_proved_and_any_two_exchanged_are_seen() -> None:
    assert_proved("slim", "inception_v1", swaps=2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network"), SLOW)
def test_all_others_too(name: str, network: str) -> None:
    assert_proved(name, network, swaps=3)
