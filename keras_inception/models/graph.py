"""A model's graph, by the names of its layers: which layer takes whose output.

Everything is read from ``model.get_config()``, Keras's public account of a functional model. It
has every call of every layer, where ``layer.input`` has the first call alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import keras

OUTPUT = "/output"  # the model's output among the readers; Keras lets no name have a slash


def producers(model: keras.Model) -> dict[str, list[list[str]]]:
    """For every layer, call by call, the names of the layers whose outputs it takes.

    Args:
        model: functional or sequential. A model inside it counts as one layer.

    Returns:
        ``{"conv": [["image"]], "add": [["conv", "pool"]], ...}`` in the order of the model's
        layers. A layer that is used twice has two entries, an input layer none.
    """
    return {
        layer["name"]: [list(_tensors(call)) for call in layer["inbound_nodes"]]
        for layer in _config(model)["layers"]
    }


def readers(model: keras.Model) -> dict[str, list[str]]:
    """For every layer, the names of those that take its output, :data:`OUTPUT` for the model's own.

    Args:
        model: functional or sequential. A model inside it counts as one layer.

    Returns:
        ``{"image": ["conv"], "conv": ["add", "/output"], ...}``: a name for every time that an
        output of the layer is taken, so one that takes it twice stands there twice.
    """
    calls = producers(model)
    found: dict[str, list[str]] = {name: [] for name in calls}
    for name, its_calls in calls.items():
        for call in its_calls:
            for producer in call:
                found[producer].append(name)
    for name in outputs(model):
        found[name].append(OUTPUT)
    return found


def outputs(model: keras.Model) -> list[str]:
    """The names of the layers that make the model's outputs, in the order of ``model.outputs``."""
    return [operation for operation, _, _ in _triples(_config(model)["output_layers"])]


# Keras takes a tenth of a second to write down Inception v3, and a model's graph does not change.
_configs: WeakKeyDictionary[keras.Model, dict[str, Any]] = WeakKeyDictionary()


def _config(model: keras.Model) -> dict[str, Any]:
    if model not in _configs:
        _configs[model] = _read_config(model)
    return _configs[model]


def _read_config(model: keras.Model) -> dict[str, Any]:
    config: dict[str, Any] = model.get_config()
    if "output_layers" not in config:  # a Sequential lists its layers alone
        config = keras.Model(model.inputs, model.outputs).get_config()
    return config


def _tensors(call: Any) -> Iterator[str]:
    """The names of the layers that made the tensors in a call's arguments, in order."""
    if isinstance(call, dict):
        if call.get("class_name") == "__keras_tensor__":
            yield call["config"]["keras_history"][0]
            return
        call = list(call.values())
    if isinstance(call, list | tuple):
        for each in call:
            yield from _tensors(each)


def _triples(layers: Any) -> Iterator[tuple[str, int, int]]:
    """(layer, call, output) of every output, which may lie in lists and dictionaries."""
    if isinstance(layers, dict):
        # As Keras flattens a dictionary: by its keys in order.
        layers = [layers[key] for key in sorted(layers)]
    if len(layers) == 3 and isinstance(layers[0], str):
        yield layers[0], layers[1], layers[2]
    else:
        for each in layers:
            yield from _triples(each)
