"""Serve SavedModels as TF Serving does, and call such a server.

    with ModelServer("models", rest_port=0) as server, Client(server.address, "flowers") as client:
        print(client.predict("photo.jpg").label)

Names load on first use: importing this package loads neither TensorFlow nor gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inception_serving.version import __version__

if TYPE_CHECKING:
    from inception_serving.client.async_client import AsyncClient
    from inception_serving.client.benchmark import BenchResult, bench
    from inception_serving.client.client import Client
    from inception_serving.client.connection import Limits, Timeout
    from inception_serving.client.results import Classification, Comparison
    from inception_serving.client.verify_serving import verify_serving
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
    "__version__",
    "bench",
    "serve",
    "verify_serving",
]

_MODULES = {
    "AsyncClient": "client.async_client",
    "BenchResult": "client.benchmark",
    "Classification": "client.results",
    "Client": "client.client",
    "Comparison": "client.results",
    "Limits": "client.connection",
    "ModelServer": "server",
    "ServerOptions": "server",
    "Timeout": "client.connection",
    "bench": "client.benchmark",
    "serve": "server",
    "verify_serving": "client.verify_serving",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    except ModuleNotFoundError as error:
        if _MODULES.get(name) != "server":
            raise
        raise ImportError(
            f"{name} needs {error.name}, which is not installed: pip install"
            " 'inception-serving[server]'. The client does without."
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
