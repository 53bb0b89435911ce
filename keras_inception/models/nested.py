"""Models that hold models, as people build them, with every layer at one level.

``Sequential([base, pooling, Dense])``, or a base called in a functional model, counts as one layer
to all that reads a graph (`graph.py`). What looks for a convolution, a pooling or a scaling of
pixels reads the flat network instead.
"""

from __future__ import annotations

from typing import Any

import keras


def flatten(model: keras.Model) -> keras.Model:
    """The same network without models inside.

    Args:
        model: functional or sequential.

    Returns:
        A functional model of the same name, with values of its own, in which each layer was called
        by it alone. Layers keep their names, with a number behind where another has the name. A
        functional model without models inside is returned as it is.

    Raises:
        ValueError: the model is neither, or a sequential one that was never given an input's shape.
    """
    if not _is_graph(model) or not getattr(model, "inputs", None):
        raise ValueError(
            "The model must be functional or sequential, with an input of known shape."
            f" Received: {getattr(model, 'name', model)} ({type(model).__name__})"
        )
    if isinstance(model, keras.Sequential):
        graph = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    elif any(map(_is_graph, model.layers)):
        graph = model
    else:
        return model
    originals: dict[str, Any] = {}
    inputs = {tensor.name for tensor in graph.inputs}

    def renamed(layer: Any) -> Any:
        name, number = layer.name, 0
        while name in originals or name in inputs:
            number += 1
            name = f"{layer.name}_{number}"
        originals[name] = layer
        return layer.__class__.from_config(layer.get_config() | {"name": name})

    # Of these only the shapes are needed.
    with keras.StatelessScope(initialize_variables=False):
        graph = keras.models.clone_model(graph, clone_function=renamed, recursive=True)
        while any(map(_is_graph, graph.layers)):
            graph = keras.models.clone_model(
                graph, clone_function=lambda layer: layer, call_function=_opened
            )
    # Once more, so that the first call of each layer, which is what `layer.input` tells, is here.
    flat = keras.models.clone_model(graph, call_function=_opened)
    for layer in flat.layers:
        if layer.name in originals:  # all but the inputs
            copy_values(originals[layer.name], layer)
    return flat


def copy_values(source: Any, target: Any) -> None:
    """Give a layer the weights of another of its kind, and what it derives from them."""
    if source.weights:
        target.set_weights(source.get_weights())
    if isinstance(target, keras.layers.Normalization):
        target.finalize_state()


def _is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose layers are known: sequential or functional."""
    sequential = isinstance(layer, keras.Sequential)
    return sequential or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def _opened(layer: Any, *inputs: Any, **options: Any) -> Any:
    """Call a layer; of a model, each of its layers."""
    if _is_graph(layer):
        return layer.call(*inputs, **options)
    outputs = layer(*inputs, **options)
    # What a model does to its inputs; nothing, unless it changes their precision.
    if type(layer).__name__ == "ConvertToTensor" and outputs.dtype == inputs[0].dtype:
        return inputs[0]
    return outputs
