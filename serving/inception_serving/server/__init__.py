"""A server that speaks TF Serving's gRPC and REST APIs.

    grpc_api, rest_server   the transports: convert, call, convert back
    rest_api                what each path of HTTP means
    core                    which version answers, and with what
    predict, inference      the checks of a request, and the run
    batching, batch_queue   requests of many clients, run as one
    version_table           versions in memory, as requests find them
    servables               loads and unloads them, as the disk changes
    versions                versions on disk
    loading                 one version, from its folder to a model that answers
    saved_model, warmup     one SavedModel, loaded and run

Names load on first use, so that `python -m inception_serving.server --help` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inception_serving.server.model_server import ModelServer
    from inception_serving.server.run import serve

__all__ = ["ModelServer", "serve"]

_MODULES = {"ModelServer": "model_server", "serve": "run"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
