"""One model on a server, called with arrays: its signatures, its versions, its answers.

What a `Client` does with images and in many threads rests on it. Deadlines are times of
`time.monotonic()`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from inception_serving import errors, messages, signatures, tensors
from inception_serving.connection import Connection
from inception_serving.results import VersionStatus, version_statuses
from inception_serving.signatures import ModelMetadata
from inception_serving.tensors import Tensor

_Checked = TypeVar("_Checked")


class RemoteModel:
    """A model by its name, and by a version or a label where one is given.

    It keeps the model's metadata, to check requests before they are sent.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        *,
        version: int | None,
        version_label: str | None,
    ) -> None:
        """Nothing is sent before the first call; see `Client`."""
        self.name = name
        self._connection = connection
        self._version = version
        self._version_label = version_label
        self._metadata: ModelMetadata | None = None
        self._metadata_lock = threading.Lock()

    def predict(
        self,
        inputs: Mapping[str, Tensor],
        signature: str,
        outputs: Sequence[str],
        deadline: float,
    ) -> dict[str, Tensor]:
        """The outputs wanted of a signature, all of them if none is named.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        request = messages.PredictRequest(model_spec=self._spec(signature), output_filter=outputs)
        for name, tensor in inputs.items():
            tensors.fill_proto(request.inputs[name], tensor)
        try:
            response = self._connection.call(
                self._connection.predictions.Predict, request, deadline
            )
        except errors.StatusError:
            self._metadata = None  # it may be that another version answers by now
            raise
        return {name: tensors.from_proto(proto) for name, proto in response.outputs.items()}

    def metadata(self, deadline: float) -> ModelMetadata:
        """The model's signatures, asked of the server now.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        request = messages.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        method = self._connection.predictions.GetModelMetadata
        self._metadata = signatures.from_response(self._connection.call(method, request, deadline))
        return self._metadata

    def check(self, deadline: float, check: Callable[[ModelMetadata], _Checked]) -> _Checked:
        """Check a request against the metadata known, and where it fails, against those of now.

        Args:
            check: raises SignatureError where the request does not fit; its result is returned.

        Raises:
            errors.SignatureError: the request does not fit the model that answers now.
            errors.StatusError: the server's answer, or that there is none.
        """
        known = self._metadata  # maybe of a version that has gone
        if known is not None:
            try:
                return check(known)
            except errors.SignatureError:
                pass
        with self._metadata_lock:  # so that many threads ask once
            latest = self._metadata
            if latest is None or latest is known:
                latest = self.metadata(deadline)
        return check(latest)

    def status(self, deadline: float) -> list[VersionStatus]:
        """Every version that the server has seen, newest first.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        request = messages.GetModelStatusRequest(model_spec=self._spec())
        method = self._connection.models.GetModelStatus
        return version_statuses(self._connection.call(method, request, deadline))

    def wait_until_ready(self, where: str, timeout_s: float) -> int:
        """Wait until the server is up and a version, or the one asked for, answers; the version.

        Args:
            where: the server's address, for the message.

        Raises:
            errors.DeadlineExceededError: it took longer; the message has what was seen last.
        """
        deadline = time.monotonic() + timeout_s
        seen = ""
        while True:
            try:
                left = deadline - time.monotonic()
                found = self.status(time.monotonic() + max(0.1, min(5.0, left)))
                ready = [entry.version for entry in found if entry.state == "AVAILABLE"]
                if ready:
                    return max(ready)
                seen = ", ".join(
                    f"version {entry.version} {entry.state} {entry.error}".rstrip()
                    for entry in found
                )
            except (errors.UnavailableError, errors.NotFoundError) as error:
                seen = str(error)
            except errors.DeadlineExceededError as error:
                seen = seen or str(error)  # the end of the time is news only where nothing was seen
            if time.monotonic() >= deadline:
                raise errors.DeadlineExceededError(
                    f"Model {self.name!r} on {where} was not ready within {timeout_s:g} s: {seen}"
                )
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))

    def _spec(self, signature: str = "") -> Any:
        spec = messages.ModelSpec(name=self.name, signature_name=signature)
        if self._version is not None:
            spec.version.value = self._version
        elif self._version_label is not None:
            spec.version_label = self._version_label
        return spec
