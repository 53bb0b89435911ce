"""One model on a server: its signatures, its versions, its answers to images and to arrays.

Methods are steps that a client carries out; see `connection`. Deadlines are times of
`time.monotonic()`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from inception_serving import errors, messages, tensors
from inception_serving.client import signatures
from inception_serving.client.connection import Pause, Send, Setup, Steps, Wait, Work, call
from inception_serving.client.images import NamedImage
from inception_serving.client.results import (
    Classification,
    VersionStatus,
    classifications,
    version_statuses,
)
from inception_serving.client.signatures import ModelMetadata
from inception_serving.formats import decoder_words
from inception_serving.tensors import Tensor

_Checked = TypeVar("_Checked")


class RemoteModel:
    """A model by its name, and by a version or a label where one is given.

    It keeps the metadata of each version that has answered, to check requests before they are sent.
    """

    def __init__(
        self,
        setup: Setup,
        name: str,
        *,
        version: int | None = None,
        version_label: str | None = None,
    ) -> None:
        """Nothing is sent before the first call; see `Client`.

        Raises:
            ValueError: a version and a label are given, or one of them, or the name, is none.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"model is the model's name on the server: received {name!r}.")
        if version is not None and not (
            isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 2**63
        ):
            raise ValueError(
                "version is a whole number, 0 or more, or None for the latest: received"
                f" {version!r}. A label is given as version_label."
            )
        if version_label is not None and (not isinstance(version_label, str) or not version_label):
            raise ValueError(
                "version_label is a label's name, or None for the latest version: received"
                f" {version_label!r}."
            )
        if version is not None and version_label is not None:
            raise ValueError("Give a version or a version_label, not both.")
        self.name = name
        self._setup = setup
        self._version = version
        self._version_label = version_label
        self._lock = threading.Lock()
        self._metadata: ModelMetadata | None = None  # of the version that answered last
        self._by_version: dict[int, ModelMetadata] = {}
        self._asking: Future[None] | None = None

    def forget_calls(self) -> None:
        """Wait for none of the calls under way, which a fork has left in the other process."""
        self._lock, self._asking = threading.Lock(), None

    # ---- images ----

    def classify(
        self, chunk: Sequence[NamedImage], signature: str, deadline: float
    ) -> Steps[list[Classification]]:
        """Classify images in one request.

        Raises:
            errors.ServingError: see `Client.predict`.
        """
        name, known = yield from self._check(
            deadline, lambda known: self._image_input(known, signature)
        )
        encoded = yield Work(lambda: [image.encode() for image in chunk])
        try:
            return (yield from self._classify(known, name, encoded, signature, deadline))
        except errors.InvalidArgumentError as refusal:
            # The server's text is about a batch and not about an image, so each one is sent by
            # itself.
            for image, data in zip(chunk, encoded, strict=True):
                try:
                    yield from self._classify(known, name, [data], signature, deadline)
                except errors.InvalidArgumentError as error:
                    raise errors.InvalidArgumentError(_of_image(image, str(error))) from refusal
                except errors.StatusError:
                    break  # the deadline, most likely: then the batch's own error must do
            raise errors.InvalidArgumentError(errors.without_nodes(str(refusal))) from refusal

    def image_requests(
        self, batches: Sequence[Sequence[bytes]], signature: str, deadline: float
    ) -> Steps[list[Send]]:
        """Requests for encoded images as they are sent, one a batch, each with the client's time.

        Raises:
            errors.ServingError: see `Client.predict`.
        """
        name, known = yield from self._check(
            deadline, lambda known: self._image_input(known, signature)
        )
        outputs = known.signature(signature).outputs
        requests = []
        for batch in batches:
            strings = np.empty(len(batch), dtype=object)
            strings[:] = batch
            request = messages.PredictRequest(
                model_spec=self._spec(signature), output_filter=["classes", "scores"]
            )
            tensors.fill_proto(request.inputs[name], strings)
            requests.append(Send("Predict", request, self._setup.timeout.total_s, outputs))
        return requests

    def _classify(
        self,
        known: ModelMetadata,
        name: str,
        encoded: Sequence[bytes],
        signature: str,
        deadline: float,
    ) -> Steps[list[Classification]]:
        batch = np.empty(len(encoded), dtype=object)
        batch[:] = encoded
        started = time.monotonic()
        outputs, version = yield from self._predict(
            known, {name: batch}, signature, ["classes", "scores"], deadline
        )
        seconds = time.monotonic() - started
        return classifications(outputs, len(encoded), version=version, seconds=seconds)

    def _image_input(self, metadata: ModelMetadata, signature_name: str) -> str:
        signature = metadata.signature(signature_name)
        inputs, outputs = signature.inputs, signature.outputs
        takes_images = len(inputs) == 1 and all(
            spec.dtype == "string" and (spec.shape is None or len(spec.shape) == 1)
            for spec in inputs.values()
        )
        if not takes_images or not {"classes", "scores"} <= outputs.keys():
            raise errors.SignatureError(
                f"predict() needs a signature that takes encoded images, string [?], and gives "
                f"classes and scores: {signature_name!r} of model {self.name!r} is {signature}. "
                "Use predict_tensors()."
            )
        return next(iter(inputs))

    # ---- tensors ----

    def predict(
        self,
        inputs: Mapping[str, ArrayLike],
        signature: str,
        outputs: Sequence[str],
        deadline: float,
    ) -> Steps[dict[str, Tensor]]:
        """The outputs wanted of a signature, all of them if none is named.

        Raises:
            errors.ServingError: see `Client.predict_tensors`.
        """
        where = f"Signature {signature!r} of model {self.name!r}"

        def check(known: ModelMetadata) -> dict[str, Tensor]:
            signatures.check_outputs(where, known.signature(signature), list(outputs))
            return signatures.check_inputs(where, known.signature(signature), inputs)

        checked, known = yield from self._check(deadline, check)
        answer, _ = yield from self._predict(known, checked, signature, outputs, deadline)
        return answer

    def _predict(
        self,
        known: ModelMetadata,
        inputs: Mapping[str, Tensor],
        signature: str,
        outputs: Sequence[str],
        deadline: float,
    ) -> Steps[tuple[dict[str, Tensor], int | None]]:
        """The outputs, and the version that answered, where the server says."""
        specs = known.signature(signature).outputs
        wanted = {name: specs[name] for name in outputs or specs}

        def make_request() -> Any:
            request = messages.PredictRequest(
                model_spec=self._spec(signature), output_filter=outputs
            )
            for name, tensor in inputs.items():
                tensors.fill_proto(request.inputs[name], tensor)
            return request

        request = yield Work(make_request)
        try:
            response = yield from call(self._setup, "Predict", request, deadline, wanted)
        except (
            errors.NotFoundError,
            errors.InvalidArgumentError,
            errors.FailedPreconditionError,
        ) as error:
            self._metadata = None  # it may be that another version answers by now
            if isinstance(error, errors.NotFoundError):
                raise (yield from self._not_found(error, deadline)) from None
            raise
        version = response.model_spec.version.value or None
        same = version in (None, known.version)
        if not same:
            self._metadata = self._by_version.get(version or 0)
        limit = self._setup.limits.answer_bytes
        answer = yield Work(lambda: signatures.read_outputs(response, wanted, limit, typed=same))
        return answer, version or self._version

    # ---- the model ----

    def metadata(self, deadline: float) -> Steps[ModelMetadata]:
        """The model's signatures, asked of the server now.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
            errors.AnswerError: the answer holds no signatures.
        """
        request = messages.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        try:
            response = yield from call(self._setup, "GetModelMetadata", request, deadline)
        except errors.NotFoundError as error:
            raise (yield from self._not_found(error, deadline)) from None
        known = signatures.from_response(response)
        with self._lock:
            self._metadata = self._by_version[known.version] = known
        return known

    def _check(
        self, deadline: float, check: Callable[[ModelMetadata], _Checked]
    ) -> Steps[tuple[_Checked, ModelMetadata]]:
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
                return check(known), known
            except errors.SignatureError:
                pass
        latest = yield from self._later_than(known, deadline)
        return check(latest), latest

    def _later_than(self, known: ModelMetadata | None, deadline: float) -> Steps[ModelMetadata]:
        """Metadata asked for after these; many calls at a time ask once."""
        while True:
            with self._lock:
                latest, asking = self._metadata, self._asking
                if latest is not None and latest is not known:
                    return latest
                if asking is None:
                    mine = self._asking = Future()
                    break
            yield Wait(asking, deadline - time.monotonic())
        try:
            return (yield from self.metadata(deadline))
        except errors.DeadlineExceededError:
            raise  # another call may have more time
        except errors.ServingError as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                self._asking = None
            if not mine.done():
                mine.set_result(None)

    def status(self, deadline: float) -> Steps[list[VersionStatus]]:
        """Every version that the server has seen, newest first.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        try:
            return (yield from self._status(deadline))
        except errors.NotFoundError as error:
            raise (yield from self._not_found(error, deadline)) from None

    def _status(self, deadline: float) -> Steps[list[VersionStatus]]:
        request = messages.GetModelStatusRequest(model_spec=self._spec())
        response = yield from call(self._setup, "GetModelStatus", request, deadline)
        return version_statuses(response)

    def _not_found(
        self, error: errors.NotFoundError, deadline: float
    ) -> Steps[errors.NotFoundError]:
        """The error with what the server has instead, as far as it tells."""
        request = messages.GetModelStatusRequest(model_spec=messages.ModelSpec(name=self.name))
        try:
            response = yield from call(self._setup, "GetModelStatus", request, deadline)
        except errors.NotFoundError:
            return errors.NotFoundError(
                f"{error}. There is no model {self.name!r} on {self._setup.address}. gRPC lists"
                " no models; the page of `keras-inception serve`, on its REST port, does."
            )
        except errors.StatusError:
            return error
        found = [f"{each.version} ({each.state})" for each in version_statuses(response)]
        text = f"{error}. The versions of {self.name!r} there: {', '.join(found)}."
        if self._version is not None:
            text += (
                " To have older ones served too: `keras-inception serve --num-versions 2`, or TF"
                " Serving's model_version_policy."
            )
        return errors.NotFoundError(text)

    def wait_until_ready(self, timeout_s: float) -> Steps[int]:
        """Wait until the server is up and a version, or the one asked for, answers; the version.

        Raises:
            errors.DeadlineExceededError: it took longer; the message has what was seen last.
            errors.NotGrpcError, errors.NotRestError: it will never be ready.
        """
        deadline = time.monotonic() + timeout_s
        seen = ""
        while True:
            try:
                left = deadline - time.monotonic()
                found = yield from self._status(time.monotonic() + max(0.1, min(5.0, left)))
                ready = [entry.version for entry in found if entry.state == "AVAILABLE"]
                if ready:
                    return max(ready)
                seen = ", ".join(
                    f"version {entry.version} {entry.state} {entry.error}".rstrip()
                    for entry in found
                )
            except (errors.NotGrpcError, errors.NotRestError):
                raise
            except (errors.UnavailableError, errors.NotFoundError) as error:
                seen = str(error)
            except errors.DeadlineExceededError as error:
                seen = seen or str(error)  # the end of the time is news only where nothing was seen
            if time.monotonic() >= deadline:
                raise errors.DeadlineExceededError(
                    f"Model {self.name!r} on {self._setup.address} was not ready within "
                    f"{timeout_s:g} s: {seen}"
                )
            yield Pause(min(0.1, max(0.0, deadline - time.monotonic())))

    def _spec(self, signature: str = "") -> Any:
        spec = messages.ModelSpec(name=self.name, signature_name=signature)
        if self._version is not None:
            spec.version.value = self._version
        elif self._version_label is not None:
            spec.version_label = self._version_label
        return spec


def _of_image(image: NamedImage, text: str) -> str:
    """A server's text about one image, in a line that begins with its name."""
    return f"{image.name}: {decoder_words(errors.without_nodes(text))}"
