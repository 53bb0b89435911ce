"""A client of TF Serving's API: images in, labelled results out."""

from __future__ import annotations

import inspect
import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar, Unpack, overload

import grpc
from numpy.typing import ArrayLike

from inception_serving import errors
from inception_serving.client.address import read_address
from inception_serving.client.connection import (
    MOST_SECONDS,
    ConnectionOptions,
    GrpcChannel,
    Limits,
    Pause,
    Send,
    Setup,
    Step,
    Steps,
    Timeout,
    Wait,
    drive,
    tls_context,
)
from inception_serving.client.images import (
    Image,
    NamedImage,
    check_several,
    is_one,
    name_image,
    name_images,
)
from inception_serving.client.remote_model import RemoteModel
from inception_serving.client.results import Classification, Comparison, VersionStatus, gather
from inception_serving.client.signatures import ModelMetadata
from inception_serving.tensors import Tensor

DEFAULT_SIGNATURE = "serving_default"
# A version's number, or its label.
Version = int | str

_Result = TypeVar("_Result")


class ClientBase:
    """What both clients are made of: their options, and the model that they call."""

    _IN_FLIGHT: ClassVar[int]

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        version_label: str | None = None,
        timeout_s: float | Timeout = 60.0,
        retries: int = 4,
        batch_size: int | None = None,
        in_flight: int | None = None,
        limits: Limits | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            address: "host:port", "unix:/path/to/socket", or another of gRPC's names, such as
                "dns:///host:port"; where a name stands for several servers, they take turns.
                "http://host:port" or "https://host:port" for REST, with the same results, except
                that they name no version; it needs httpx.
            model: the model's name on the server.
            version: call this version; the latest one that is loaded if None.
            version_label: call the version that the server gives this label, such as "stable".
            timeout_s: the deadline of each call, retries included, in seconds; or a `Timeout`.
            retries: how often a request is sent again after UNAVAILABLE, by which nothing was
                done. A server that is busy (RESOURCE_EXHAUSTED) is asked again until the
                deadline, unless this is 0.
            batch_size: how many images go in one request, 16 unless `limits` says otherwise.
            in_flight: how many requests are under way at a time.
            limits: these and others as one object.
            **options: `headers`, `compression`, `tls`, `root_certificates`, `client_key`,
                `client_certificate`; see `ConnectionOptions` and `Encryption`.

        Raises:
            ValueError: an option that makes no sense.
            TypeError: an option that there is not.
        """
        _check_known(options)
        limits = limits or Limits(in_flight=self._IN_FLIGHT)
        if not isinstance(limits, Limits):
            raise ValueError(f"limits is a Limits, or None: received {limits!r}.")
        given = {"batch_size": batch_size, "in_flight": in_flight}
        self._setup = Setup(
            read_address(address),
            timeout_s if isinstance(timeout_s, Timeout) else Timeout(timeout_s),
            replace(limits, **{name: each for name, each in given.items() if each is not None}),
            retries,
            options,
        )
        # To hear now of files that cannot be read, and of what gRPC tells in its log alone.
        tls_context(self._setup.pem)
        if self._setup.address.is_http and find_spec("httpx") is None:
            raise ValueError(
                f"An address of REST needs httpx, which is not installed: pip install httpx."
                f" Received {address!r}."
            )
        self.address = address
        self.model = model
        self._limits = self._setup.limits
        self._remote = RemoteModel(self._setup, model, version=version, version_label=version_label)
        self._versions: dict[Version, RemoteModel] = {}

    @property
    def setup(self) -> Setup:
        """What its connection is made of."""
        return self._setup

    def _remote_of(self, version: Version) -> RemoteModel:
        if not isinstance(version, int | str):
            raise ValueError(f"A version is its number or its label: received {version!r}.")
        if version not in self._versions:
            which: dict[str, Any] = (
                {"version": version} if isinstance(version, int) else {"version_label": version}
            )
            self._versions[version] = RemoteModel(self._setup, self.model, **which)
        return self._versions[version]

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + self._seconds(timeout_s)

    def _seconds(self, timeout_s: float | None) -> float:
        """What a call may take; no time at all, or less, is a deadline that has passed.

        Raises:
            ValueError: it is no number of seconds.
        """
        if timeout_s is None:
            return self._setup.timeout.total_s
        if not isinstance(timeout_s, int | float) or not -math.inf < timeout_s <= MOST_SECONDS:
            raise ValueError(
                f"timeout_s is a number of seconds, {MOST_SECONDS:g} at most: received"
                f" {timeout_s!r}."
            )
        return timeout_s

    def _late(self) -> errors.DeadlineExceededError:
        return errors.DeadlineExceededError(
            f"The time was up while {self._limits.in_flight} other requests were in flight"
        )


def chunked(images: Iterable[NamedImage], size: int) -> Iterator[list[NamedImage]]:
    """Lists of so many images, and of the rest."""
    rest = iter(images)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk


class Client(ClientBase):
    """Calls one model of one server.

        with Client("localhost:8500", model="flowers") as client:
            result = client.predict("photo.jpg")
            print(result.label, result.score)

    It keeps one connection, is safe to share between threads, and connects anew in a process that
    was forked.
    """

    _IN_FLIGHT = 4
    _pid = 0

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
        images: Image | Iterable[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Any:
        """Classify images.

        Args:
            images: a path, the bytes of a JPEG, PNG, GIF, BMP or WebP file, an open file, a PIL
                image, or an array [height, width, 3] of uint8, or of floats from 0 to 1; or
                several of these, or an array [batch, height, width, 3]. Pixels travel as PNG, so
                nothing is lost. A PIL image is the pixels that Pillow made of its file, and of a
                path or bytes TensorFlow makes them: of a JPEG the two decoders' differ by a few
                levels of 255, and the scores a little with them. To be answered as `evaluate` and
                training see a JPEG, send its path.
            signature: one that takes encoded images, string [batch], and gives `classes`,
                string [batch, k], and `scores`, float [batch, k].
            timeout_s: the deadline, if not the client's; of several images, that of each request.

        Returns:
            A `Classification` for one image; a list of them, in order, for several.

        Raises:
            errors.ImageError: one of them is no image; the message names it.
            errors.SignatureError: the model does not classify images this way.
            errors.StatusError: the server's answer, or that there is none.
            errors.AnswerError: the server's answer is not one to these images.
        """
        if not is_one(images):
            return list(self.predict_stream(images, signature=signature, timeout_s=timeout_s))
        deadline = self._deadline(timeout_s)
        future = self._submit(self._remote, [name_image(images)], signature, lambda: deadline)
        try:
            return future.result(max(0.0, deadline - time.monotonic()) + _GRACE_S)[0]
        except (CancelledError, FutureTimeoutError):  # no thread was free
            future.cancel()
            raise self._late() from None

    def predict_stream(
        self,
        images: Iterable[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Iterator[Classification]:
        """Classify as many images as there are, one result for each, in order.

        The iterator is read no further than `in_flight` requests ahead of the results taken.

        Args:
            images: any iterator, such as `Path("photos").glob("*.jpg")`.
            signature: see `predict`.
            timeout_s: the deadline of each request, if not the client's.

        Raises:
            errors.ImageError: this is one image; at once.
            errors.ServingError: as `predict`, once the results before it have been given.
        """
        check_several(images, "predict_stream")
        return self._stream(self._remote, images, signature, self._seconds(timeout_s))

    def predict_async(
        self,
        images: Image | Sequence[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Future[Any]:
        """As `predict`, but returns at once: the future has the result, or the error.

        The deadline of each request begins with its turn among those in flight. Cancelling the
        future takes back what has not been sent.
        """
        one = is_one(images)
        named = [name_image(images)] if one else name_images(images)
        timeout_s = self._seconds(timeout_s)
        futures = [
            self._submit(self._remote, chunk, signature, lambda: self._deadline(timeout_s))
            for chunk in chunked(named, self._limits.batch_size)
        ]
        if one:
            return gather(futures, lambda parts: parts[0][0])
        return gather(futures, lambda parts: list(itertools.chain.from_iterable(parts)))

    def compare(
        self,
        images: Iterable[Image],
        one: Version,
        other: Version,
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> list[Comparison]:
        """Ask two versions about the same images, both of which the server must be serving.

        Servers serve the latest version alone unless they are told otherwise:
        `keras-inception serve BASE --num-versions 2`, or `model_version_policy` in a
        `models.config` (serving/README.md has one).

        Args:
            images: several; see `predict`.
            one: a version's number or label, whatever the client's own.
            other: another's.
            signature: see `predict`.
            timeout_s: the deadline of each request, if not the client's.

        Raises:
            errors.ServingError: see `predict`.
        """
        first, second = itertools.tee([images] if is_one(images) else images)
        return [
            Comparison(*pair)
            for pair in zip(
                self._stream(self._remote_of(one), first, signature, timeout_s),
                self._stream(self._remote_of(other), second, signature, timeout_s),
                strict=True,
            )
        ]

    def _stream(
        self,
        remote: RemoteModel,
        images: Iterable[Image],
        signature: str,
        timeout_s: float | None,
    ) -> Iterator[Classification]:
        window: deque[Future[list[Classification]]] = deque()
        try:
            for chunk in chunked(name_images(images), self._limits.batch_size):
                if len(window) == self._limits.in_flight:
                    yield from window.popleft().result()
                window.append(
                    self._submit(remote, chunk, signature, lambda: self._deadline(timeout_s))
                )
            while window:
                yield from window.popleft().result()
        finally:
            for future in window:
                future.cancel()

    def _submit(
        self,
        remote: RemoteModel,
        chunk: Sequence[NamedImage],
        signature: str,
        deadline: Callable[[], float],
    ) -> Future[list[Classification]]:
        """Classify in one of the threads; the deadline is asked for once it begins."""
        self._open()
        return self._pool.submit(lambda: self._run(remote.classify(chunk, signature, deadline())))

    def image_requests(
        self, batches: Sequence[Sequence[bytes]], *, signature: str = DEFAULT_SIGNATURE
    ) -> list[Send]:
        """Requests for encoded images, one a batch, as they would be sent: for a load generator.

        Raises:
            errors.ServingError: see `predict`.
        """
        deadline = self._deadline(None)
        return self._run(self._remote.image_requests(batches, signature, deadline))

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
            errors.AnswerError: the server's answer does not fit the signature, or is too large.
        """
        deadline = self._deadline(timeout_s)
        return self._run(self._remote.predict(inputs, signature, outputs, deadline))

    # ---- the model ----

    def metadata(self, *, timeout_s: float | None = None) -> ModelMetadata:
        """The model's signatures, asked of the server now.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        return self._run(self._remote.metadata(self._deadline(timeout_s)))

    def status(self, *, timeout_s: float | None = None) -> list[VersionStatus]:
        """Every version that the server has seen of the model, newest first.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        return self._run(self._remote.status(self._deadline(timeout_s)))

    def wait_until_ready(self, timeout_s: float = 60.0) -> int:
        """Wait until the server is up and a version of the model (or the one asked for) answers.

        Returns:
            The version.

        Raises:
            errors.DeadlineExceededError: it took longer; the message has what was seen last.
        """
        return self._run(self._remote.wait_until_ready(self._seconds(timeout_s)))

    def close(self) -> None:
        """Let the requests under way finish, and hang up; a later call connects anew."""
        if self._pid == os.getpid():
            self._pool.shutdown(wait=True)
            self._channel.close()
            self._pid = 0

    def _interrupt(self) -> None:
        """Hang up at once; the requests under way are cancelled."""
        if self._pid == os.getpid():
            self._channel.close()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pid = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:  # Ctrl+C, which is not to wait until a server's time is up
            self._interrupt()

    # ---- steps carried out ----

    def _open(self) -> None:
        """Threads and a connection, of this process and not of the one it was forked from."""
        if self._pid == os.getpid():
            return
        with _OPENING:
            if self._pid == os.getpid():
                return
            # The parent's stay as they are: to close them here would hang up there.
            self._forked_from = vars(self).get("_channel")
            for remote in (self._remote, *self._versions.values()):
                remote.forget_calls()
            self._pool = ThreadPoolExecutor(self._limits.in_flight, thread_name_prefix="client")
            self._channel = _open_channel(self._setup)
            self._pid = os.getpid()

    def _run(self, steps: Steps[_Result]) -> _Result:
        self._open()
        return drive(steps, self._do)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self._channel.send(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Wait):
            try:
                return step.future.result(max(0.0, step.timeout_s))
            except FutureTimeoutError:
                raise errors.DeadlineExceededError("Deadline exceeded") from None
        return step.run()


def _open_channel(setup: Setup) -> Any:
    """gRPC's, or REST's where the address is of HTTP."""
    if not setup.address.is_http:
        return GrpcChannel(setup, grpc)
    from inception_serving.client.rest import BlockingRestChannel  # which imports httpx

    return BlockingRestChannel(setup)


# Between a deadline that a thread keeps and the caller's, so that the thread's own words are heard.
_GRACE_S = 0.1
_OPENING = threading.Lock()


def _new_lock() -> None:
    global _OPENING
    _OPENING = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)  # a thread that is not there may have held it


def _check_known(options: Mapping[str, Any]) -> None:
    own = [
        name
        for name in inspect.signature(ClientBase.__init__).parameters
        if name not in ("self", "options")
    ]
    extra = [*ConnectionOptions.__annotations__]
    for name in options:
        if name not in extra:
            known = [*own, *extra]
            raise TypeError(
                f"There is no option {name!r} of a client.{errors.nearest(name, known)} "
                f"The options are: {', '.join(known)}."
            )
