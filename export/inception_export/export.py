"""An export as an object: the folder that exporting writes and everything after it reads.

BASE/NAME/VERSION/
  saved_model.pb  variables/            the SavedModel, loaded by TF Serving as it is
  assets/labels.txt                     the class names, one a line, in the order of the outputs
  assets.extra/keras_inception.json     the manifest: what the export says of itself
  assets.extra/model_card.md            the same for people
  assets.extra/tf_serving_warmup_requests
  assets.extra/samples/                 a few pictures, and what each signature answers to them
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_inception.data.class_names import read_class_names

if TYPE_CHECKING:
    from keras_inception.data.preprocessing import Preprocessing

LABELS = Path("assets", "labels.txt")
MANIFEST = Path("assets.extra", "keras_inception.json")
SAMPLES = Path("assets.extra", "samples")

# The manifest's, one more when a reader of the number before would take something wrongly. One
# without a number was written before there were any, and says the same.
FORMAT = 1


class ExportError(ValueError):
    """A network is not exported, or a folder is no export; the message says why."""


@dataclass(frozen=True)
class Export:
    """A version's folder; see :func:`open_export`.

    Any other SavedModel is one too. It has no manifest, and what it does not tell is ``None``.
    """

    path: Path

    @property
    def version(self) -> int | None:
        """The folder's name, if it is a number, as a version's is."""
        return int(self.path.name) if re.fullmatch(r"\d+", self.path.name) else None

    @property
    def size(self) -> int:
        """Of its files, in bytes."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    @property
    def manifest(self) -> dict[str, Any]:
        """What the export says of itself; empty for another's SavedModel.

        Raises:
            ExportError: it is damaged, or of a format that this version does not know.
        """
        path = self.path / MANIFEST
        if not path.is_file():
            return {}
        try:
            manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ExportError(f"{path} is damaged: {error}") from None
        if manifest.get("format", FORMAT) > FORMAT:
            raise ExportError(
                f"{path} was written by a later version of keras-inception: its format is"
                f" {manifest['format']}, and this version reads formats up to {FORMAT}. Upgrade"
                " keras-inception, or export the network again with this version."
            )
        return manifest

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class names, in the order of the network's outputs.

        Raises:
            DataError: they are not as many as the manifest says.
        """
        path = self.path / LABELS
        if not path.is_file():
            return None
        return read_class_names(path, self.manifest.get("classes"), verbatim=True)

    @property
    def activation(self) -> str | None:
        """What makes scores of the logits: ``"softmax"``, ``"sigmoid"`` or another's name."""
        return self.manifest.get("activation")

    @property
    def thresholds(self) -> dict[str, float] | None:
        """The score from which each class is predicted, where an image can be of several.

        ``None`` where that was not fitted in training: it is 0.5 then.
        """
        return self.manifest.get("thresholds")

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images become the network's input."""
        from keras_inception.runs.run import read_preprocessing

        settings = self.manifest.get("preprocessing")
        return None if settings is None else read_preprocessing(settings)

    @property
    def signatures(self) -> dict[str, frozenset[str]]:
        """The outputs of each signature, by names; read without loading the weights."""
        from tensorflow.core.protobuf import saved_model_pb2

        content = (self.path / "saved_model.pb").read_bytes()
        meta_graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
        return {
            name: frozenset(signature.outputs)
            for name, signature in meta_graph.signature_def.items()
            if not name.startswith("__")
        }


def open_export(path: str | Path) -> Export:
    """The export in a folder.

    Args:
        path: BASE/NAME/VERSION, or BASE/NAME for the largest version there; any other SavedModel
            is opened as well.

    Raises:
        ExportError: there is none.
    """
    export = find_export(path)
    if export is None:
        raise ExportError(
            f"{path} is no export: it has neither a saved_model.pb nor a version, a folder whose"
            " name is a number, that has one. An export is the folder that `keras-inception"
            " export` made."
        )
    return export


def find_export(path: str | Path) -> Export | None:
    """As :func:`open_export`, but ``None`` if there is none."""
    for export in (Export(Path(path)), *find_versions(path)):
        if (export.path / "saved_model.pb").is_file():
            return export
    return None


def find_versions(home: str | Path) -> list[Export]:
    """Every version in a model's folder ``BASE/NAME``, the newest first.

    A version is any folder whose name is a number, as for TF Serving.
    """
    home = Path(home)
    children = home.iterdir() if home.is_dir() else ()
    versions = {
        export: export.version
        for export in map(Export, children)
        if export.version is not None and export.path.is_dir()
    }
    return sorted(versions, key=versions.__getitem__, reverse=True)
