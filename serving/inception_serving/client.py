"""A client of TF Serving's gRPC API: images in, labelled results out."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from inception_serving import errors, signatures
from inception_serving.connection import Connection, Encryption
from inception_serving.images import Image, NamedImage, is_one, name_images
from inception_serving.remote_model import RemoteModel
from inception_serving.results import Classification, VersionStatus, classifications, gather
from inception_serving.signatures import ModelMetadata
from inception_serving.tensors import Tensor

DEFAULT_SIGNATURE = "serving_default"


class Client:
    """Calls one model of one server.

        with Client("localhost:8500", model="flowers") as client:
            result = client.predict("photo.jpg")
            print(result.label, result.score)

    It keeps one connection, and is safe to share between threads.
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        version_label: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        batch_size: int = 16,
        in_flight: int = 4,
        **encryption: Unpack[Encryption],
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            address: "host:port", or "unix:/path/to/socket".
            model: the model's name on the server.
            version: call this version; the latest one that is loaded if None.
            version_label: call the version that the server gives this label, such as "stable".
            timeout_s: the deadline of each call, retries included, in seconds.
            retries: how often a request is sent again after UNAVAILABLE, the one status by
                which nothing was done; never past the deadline.
            batch_size: how many images go in one request.
            in_flight: how many requests are under way at a time.
            **encryption: `tls`, `root_certificates`, `client_key`, `client_certificate`; see
                `Encryption`.

        Raises:
            ValueError: an option that makes no sense.
            TypeError: an option that there is not.
        """
        _check_known(encryption)
        if ":" not in address:
            raise ValueError(f"address is host:port, such as localhost:8500: received {address!r}.")
        if version is not None and version_label is not None:
            raise ValueError("Give a version or a version_label, not both.")
        if batch_size < 1 or in_flight < 1:
            raise ValueError(
                f"batch_size and in_flight are at least 1: received {batch_size} and {in_flight}."
            )
        if retries < 0:
            raise ValueError(f"retries is 0 or more: received {retries}.")
        self.address = address
        self.model = model
        self._timeout_s = timeout_s
        self._batch_size = batch_size
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="client")
        self._connection = Connection(address, retries=retries, encryption=encryption)
        self._remote = RemoteModel(
            self._connection, model, version=version, version_label=version_label
        )

    # ---- images ----

    @overload
    def predict(
        self,
        images: str | Path | bytes,
        *,
        signature: str = ...,
        timeout_s: float | None = ...,
    ) -> Classification: ...

    @overload
    def predict(
        self,
        images: list[Any] | tuple[Any, ...],
        *,
        signature: str = ...,
        timeout_s: float | None = ...,
    ) -> list[Classification]: ...

    @overload
    def predict(
        self, images: Image, *, signature: str = ..., timeout_s: float | None = ...
    ) -> Any: ...

    def predict(
        self,
        images: Image | Sequence[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Any:
        """Classify images.

        Args:
            images: a path, the bytes of a JPEG, PNG, GIF, BMP or WebP file, a PIL image or a uint8
                array [height, width, 3]; or a list of these, or an array
                [batch, height, width, 3]. Pixels travel as PNG, so nothing is lost.
            signature: one that takes encoded images, string [batch], and gives `classes`,
                string [batch, k], and `scores`, float [batch, k].
            timeout_s: the deadline of each request, if not the client's.

        Returns:
            A `Classification` for one image; a list of them, in order, for several.

        Raises:
            errors.ImageError: one of them is no image; the message names it.
            errors.SignatureError: the model does not classify images this way.
            errors.StatusError: the server's answer, or that there is none.
        """
        return self.predict_async(images, signature=signature, timeout_s=timeout_s).result()

    def predict_async(
        self,
        images: Image | Sequence[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Future[Any]:
        """As `predict`, but returns at once: the future has the result, or the error."""
        named = name_images([images] if is_one(images) else list(images))
        futures = [
            self._pool.submit(
                self._classify, named[start : start + self._batch_size], signature, timeout_s
            )
            for start in range(0, len(named), self._batch_size)
        ]
        if is_one(images):
            return gather(futures, lambda parts: parts[0][0])
        return gather(futures, lambda parts: list(itertools.chain.from_iterable(parts)))

    def _classify(
        self, chunk: Sequence[NamedImage], signature: str, timeout_s: float | None
    ) -> list[Classification]:
        deadline = self._deadline(timeout_s)
        name = self._remote.check(deadline, lambda known: self._image_input(known, signature))
        encoded = [image.encode() for image in chunk]
        try:
            outputs = self._predict_images(name, encoded, signature, deadline)
        except errors.InvalidArgumentError as refusal:
            # The server's text is about a batch and not about an image, so each one is sent by
            # itself.
            for image, data in zip(chunk, encoded, strict=True):
                try:
                    self._predict_images(name, [data], signature, deadline)
                except errors.InvalidArgumentError as error:
                    raise errors.InvalidArgumentError(f"{image.name}: {error}") from refusal
                except errors.StatusError:
                    break  # the deadline, most likely: then the batch's own error must do
            raise
        return classifications(outputs)

    def _predict_images(
        self, name: str, encoded: Sequence[bytes], signature: str, deadline: float
    ) -> dict[str, Tensor]:
        batch = np.empty(len(encoded), dtype=object)
        batch[:] = encoded
        return self._remote.predict({name: batch}, signature, ["classes", "scores"], deadline)

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
                f"classes and scores: {signature_name!r} of model {self.model!r} is {signature}. "
                "Use predict_tensors()."
            )
        return next(iter(inputs))

    # ---- tensors ----

    def predict_tensors(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, Tensor]:
        """Call any signature with arrays.

        Args:
            inputs: an array for each input of the signature; `bytes` or `str` for strings.
            signature: its name.
            outputs: the outputs wanted; none named means all.
            timeout_s: the deadline, if not the client's.

        Returns:
            An array for each output; an object array of `bytes` for strings.

        Raises:
            errors.SignatureError: a name, dtype or shape is not the signature's.
            errors.StatusError: the server's answer, or that there is none.
        """
        deadline = self._deadline(timeout_s)
        where = f"Signature {signature!r} of model {self.model!r}"

        def check(known: ModelMetadata) -> dict[str, Tensor]:
            signatures.check_outputs(where, known.signature(signature), list(outputs))
            return signatures.check_inputs(where, known.signature(signature), inputs)

        checked = self._remote.check(deadline, check)
        return self._remote.predict(checked, signature, outputs, deadline)

    # ---- the model ----

    def metadata(self, *, timeout_s: float | None = None) -> ModelMetadata:
        """The model's signatures, asked of the server now.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        return self._remote.metadata(self._deadline(timeout_s))

    def status(self, *, timeout_s: float | None = None) -> list[VersionStatus]:
        """Every version that the server has seen of the model, newest first.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        return self._remote.status(self._deadline(timeout_s))

    def wait_until_ready(self, timeout_s: float = 60.0) -> int:
        """Wait until the server is up and a version of the model (or the one asked for) answers.

        Returns:
            The version.

        Raises:
            errors.DeadlineExceededError: it took longer; the message has what was seen last.
        """
        return self._remote.wait_until_ready(self.address, timeout_s)

    def close(self) -> None:
        """Let the requests under way finish, and hang up."""
        self._pool.shutdown(wait=True)
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)


def _check_known(options: Mapping[str, Any]) -> None:
    own = [name for name in inspect.signature(Client).parameters if name != "encryption"]
    known = [*own, *Encryption.__annotations__]
    for name in options:
        if name not in Encryption.__annotations__:
            raise TypeError(
                f"There is no option {name!r} of a client.{errors.nearest(name, known)} "
                f"The options are: {', '.join(known)}."
            )
