"""A server that speaks TF Serving's gRPC and REST APIs.

    options, fields    every option once: `ModelServer`, flags and docs are read from it
    model_server       the parts put together; run, flags: the same as a program
    core               the answers, whatever the transport
    grpc/, rest/       the transports: convert, call, convert back
    versions/          versions found on disk, loaded, kept in a table, unloaded
    model/             one SavedModel: loaded, checked requests run, warmed up
    batching/          requests of many clients, run as one
    config/            TF Serving's configuration files
    budget, metrics    the bytes in flight, bounded; what happens, counted

Names load on first use, so that `python -m inception_serving.server --help` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inception_serving.server.model_server import ModelServer
    from inception_serving.server.options import ServerOptions
    from inception_serving.server.run import serve

__all__ = ["ModelServer", "ServerOptions", "serve"]

_MODULES = {"ModelServer": "model_server", "ServerOptions": "options", "serve": "run"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
