"""Serve SavedModels as TF Serving does, and call such a server.

    with ModelServer("models", rest_port=0) as server, Client(server.address, "flowers") as client:
        print(client.predict("photo.jpg").label)

Names load on first use: importing this package loads neither TensorFlow nor gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inception_serving.async_client import AsyncClient
    from inception_serving.benchmark import BenchResult, bench
    from inception_serving.client import Client
    from inception_serving.connection import Limits, Timeout
    from inception_serving.errors import (
        AnswerError,
        ImageError,
        OptionError,
        RequestError,
        ServerStartError,
        ServingError,
        SignatureError,
        StatusError,
    )
    from inception_serving.results import Classification, Comparison
    from inception_serving.server import ModelServer, ServerOptions, serve

__all__ = [
    "AnswerError",
    "AsyncClient",
    "BenchResult",
    "Classification",
    "Client",
    "Comparison",
    "ImageError",
    "Limits",
    "ModelServer",
    "OptionError",
    "RequestError",
    "ServerOptions",
    "ServerStartError",
    "ServingError",
    "SignatureError",
    "StatusError",
    "Timeout",
    "bench",
    "serve",
]

_MODULES = {
    "AsyncClient": "async_client",
    "BenchResult": "benchmark",
    "Classification": "results",
    "Client": "client",
    "Comparison": "results",
    "Limits": "connection",
    "ModelServer": "server",
    "ServerOptions": "server",
    "Timeout": "connection",
    "bench": "benchmark",
    "serve": "server",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
