"""From a trained network to the folder that TF Serving loads: ``BASE/NAME/VERSION/``.

Public names are loaded on first use: importing this package loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inception_export.export import Export, ExportError, open_export
    from inception_export.options import ExportOptions
    from inception_export.publish import export_run, export_saved_model
    from inception_export.published import export_published

_HOMES = {
    "Export": "inception_export.export",
    "ExportError": "inception_export.export",
    "open_export": "inception_export.export",
    "ExportOptions": "inception_export.options",
    "export_published": "inception_export.published",
    "export_run": "inception_export.publish",
    "export_saved_model": "inception_export.publish",
}

__all__ = [
    "Export",
    "ExportError",
    "ExportOptions",
    "export_published",
    "export_run",
    "export_saved_model",
    "open_export",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
