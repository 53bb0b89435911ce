"""One SavedModel: loaded, described, run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from inception_serving import errors, messages
from inception_serving.tensors import Tensor

SERVING_TAG = "serve"  # tf.saved_model.SERVING


class Model(Protocol):
    """What answers requests: a SavedModel, or one whose requests are batched."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Each SignatureDef by name, as `saved_model.pb` holds it."""

    def can_run(self, signature_name: str) -> bool:
        """Whether the signature is a function; `__saved_model_init_op` is listed and is none."""

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        """Run a signature on inputs whose names and dtypes are right.

        Args:
            outputs: the outputs wanted.
            deadline: a time of `time.monotonic()` after which nobody wants the answer.

        Raises:
            errors.StatusError: an op refused its input, or failed.
        """


class SavedModel:
    """A SavedModel in memory, ready to answer from any number of threads.

    Attributes:
        signatures: each SignatureDef as `saved_model.pb` holds it, by name, so that the answer
            to GetModelMetadata is the file's and not what a loader makes of it.
    """

    def __init__(self, path: Path, *, tags: Iterable[str] = (SERVING_TAG,)) -> None:
        """Load the meta graph of these tags.

        Raises:
            errors.StatusError: the folder holds no SavedModel that this TensorFlow can load.
        """
        self.signatures: Mapping[str, Any] = _read_signatures(path, set(tags))
        try:
            self._loaded = tf.saved_model.load(str(path), tags=list(tags))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error
        except Exception as error:
            # A damaged or foreign file surfaces anywhere in the loader, as whatever was hit first.
            raise errors.UnknownError(f"{path} does not load: {error}") from error

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        """See `Model`. What has begun runs to its end, whatever the deadline."""
        function = self._loaded.signatures[signature_name]
        try:
            feeds = {name: tf.constant(tensor) for name, tensor in inputs.items()}
            results = function(**feeds)
            return {name: _as_array(results[name]) for name in outputs}
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error

    def can_run(self, signature_name: str) -> bool:
        """See `Model`."""
        return signature_name in self._loaded.signatures


def from_tensorflow(error: Any) -> errors.StatusError:
    """A TensorFlow error as ours: the op's own text, without Python's account of where it was."""
    text = str(error.message)
    # "Graph execution error:", one "Detected at node ..." for each op, then what the op said.
    text = re.sub(
        r"\AGraph execution error:\s+"
        r"(Detected at node .*\n(<stack traces unavailable>\n|( +.*\n|\n)+))*",
        "",
        text,
    )
    text = re.sub(r" \[Op:[^\]]*\](?: name: .*)?\Z", "", text)
    return errors.from_code(error.error_code, text)


def _as_array(result: Any) -> Tensor:
    dtype = object if result.dtype == tf.string else None
    return np.asarray(result.numpy(), dtype=dtype)


def _read_signatures(path: Path, tags: set[str]) -> dict[str, Any]:
    binary, text = path / "saved_model.pb", path / "saved_model.pbtxt"
    message = messages.SavedModel()
    try:
        if binary.exists():
            message.ParseFromString(binary.read_bytes())
        elif text.exists():
            text_format.Parse(text.read_text(encoding="utf-8"), message)
        else:
            raise errors.NotFoundError(
                "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
                f"{path}. Check that the directory exists and that you have the right permissions "
                "for accessing it."
            )
    except (DecodeError, text_format.ParseError) as error:
        raise errors.DataLossError(f"{path} holds a damaged saved_model file: {error}") from error
    except OSError as error:
        raise errors.InternalError(f"{path} cannot be read: {error}") from error
    for meta_graph in message.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == tags:
            return dict(meta_graph.signature_def)
    found = [sorted(meta_graph.meta_info_def.tags) for meta_graph in message.meta_graphs]
    raise errors.NotFoundError(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. "
        f"Received: {path} with the tags {found}."
    )
