"""Requests to an export: its signatures as the SavedModel has them, and commands to copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from inception_export.card.markdown import table


def signatures(folder: Path) -> str:
    """A table of the signatures in a SavedModel, of which the weights are not loaded."""
    content = (folder / "saved_model.pb").read_bytes()
    meta_graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    rows = [
        (f"`{name}`", _tensors(signature.inputs), _tensors(signature.outputs))
        for name, signature in sorted(meta_graph.signature_def.items())
        if not name.startswith("__")
    ]
    return table(("signature", "input", "outputs"), rows)


def _tensors(infos: dict[str, meta_graph_pb2.TensorInfo]) -> str:
    return ", ".join(f"`{name}`: {_tensor(infos[name])}" for name in sorted(infos))


def _tensor(info: meta_graph_pb2.TensorInfo) -> str:
    kind = types_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower()
    if info.tensor_shape.unknown_rank:
        return kind
    sides = tf.TensorShape(info.tensor_shape).as_list()
    return f"{kind} [{', '.join('any' if side is None else str(side) for side in sides)}]"


_ASKED = """\
Served by `keras-inception serve BASE`, or by TensorFlow Serving:

    docker run -p 8500:8500 -p 8501:8501 -v "$PWD/{name}:/models/{name}" \\
        -e MODEL_NAME={name} tensorflow/serving

Over gRPC, with the client of keras-inception:

    keras-inception predict IMAGE.jpg --with localhost:8500/{name}

```python
from inception_serving import Client

with Client("localhost:8500", model="{name}") as client:
    print(client.predict("IMAGE.jpg"))
```

Over REST, with nothing but curl:

    echo '{{"instances": [{{"b64": "'$(base64 -w0 IMAGE.jpg)'"}}]}}' | \\
        curl -d @- http://localhost:8501/v1/models/{name}:predict

An answer names the best {top} of {classes} classes; a server warms up with 1 image a request and
with {batch}."""


def how_to_ask(manifest: dict[str, Any], name: str) -> str:
    """The requests, over gRPC and REST, and the commands that serve the model."""
    return _ASKED.format(
        name=name,
        top=manifest["top"],
        classes=manifest["classes"],
        batch=manifest["max_batch_size"],
    )
