"""The page for people: `/`, and `/models.json`, its list of what is served."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from inception_serving import messages
from inception_serving.server.core import Core

# The page holds its own style and script, and asks nobody else for anything.
SECURITY = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@cache
def html() -> bytes:
    """The page."""
    return resources.files(__package__).joinpath("page.html").read_bytes()


def models_json(core: Core, grpc_address: str) -> bytes:
    """The models, with every version's state and the signatures that take an image."""
    models = [{"name": name, "versions": _versions(core, name)} for name in core.models()]
    return json.dumps({"models": models, "grpc": grpc_address}).encode()


def _versions(core: Core, name: str) -> list[dict[str, Any]]:
    return [
        {
            "number": str(entry.number),  # JavaScript's numbers end before int64 does
            "state": entry.state.name,
            "error": str(entry.error or ""),
            "labels": entry.labels,
            "signatures": [
                {"name": key, "input": next(iter(signature.inputs))}
                for key, signature in sorted(entry.signatures.items())
                if _takes_images(signature)
            ],
        }
        for entry in core.describe(name)
    ]


def _takes_images(signature: Any) -> bool:
    """Whether a signature takes encoded images, string [batch], and gives labels and scores."""
    inputs = list(signature.inputs.values())
    return (
        len(inputs) == 1
        and inputs[0].dtype == messages.DataType.DT_STRING
        and len(inputs[0].tensor_shape.dim) == 1
        and {"classes", "scores"} <= set(signature.outputs)
        and "inputs" not in signature.inputs  # tf.Examples, for the Classify method
    )
