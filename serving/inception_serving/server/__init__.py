"""A server that speaks TF Serving's gRPC and REST APIs.

    grpc_api, rest_api      the transports: convert, call, convert back
    core                    which version answers, and with what
    predict                 the checks of a Predict request, and the run
    servables               versions loaded, served and unloaded, as disk changes
    versions                versions on disk
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
