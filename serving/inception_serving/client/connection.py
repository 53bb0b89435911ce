"""Requests on their way to a server: options, deadlines, retries, and the gRPC channel.

What a client does is written once, as generators of steps, and both clients carry the steps out:
`Client` by calling, `AsyncClient` by awaiting. Nothing but a step waits for anything.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar

import grpc

from inception_serving import errors, messages
from inception_serving.client.address import Address

# ---- options ----

# Beyond it, clocks overflow on the way: 31 years.
MOST_SECONDS = 1e9


@dataclass(frozen=True)
class Timeout:
    """How long a call may take.

    Attributes:
        total_s: the whole call, in seconds: its turn among the requests in flight, the server's
            name, the connection and every retry included.
        connect_s: one try to connect, in seconds; the next address of the name is tried then.
    """

    total_s: float = 60.0
    connect_s: float = 20.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int | float) or not 0 < value <= MOST_SECONDS:
                raise ValueError(
                    f"{name} is above 0 and at most {MOST_SECONDS:g}, in seconds: received"
                    f" {value!r}."
                )


@dataclass(frozen=True)
class Limits:
    """How much at a time.

    Attributes:
        batch_size: images in a request.
        in_flight: requests under way.
        answer_bytes: memory that the tensors of an answer may take, and the bytes of the answer.
    """

    batch_size: int = 16
    in_flight: int = 4
    answer_bytes: int = 2**28

    def __post_init__(self) -> None:
        if not all(
            isinstance(each, int) and each > 0 for each in (self.batch_size, self.in_flight)
        ):
            raise ValueError(
                "batch_size and in_flight are whole numbers of at least 1: received "
                f"{self.batch_size!r} and {self.in_flight!r}."
            )
        if not isinstance(self.answer_bytes, int) or not 0 < self.answer_bytes <= 2**31 - 1:
            raise ValueError(f"answer_bytes is 1 to 2147483647: received {self.answer_bytes!r}.")


Pem = bytes | str | Path


class Encryption(TypedDict, total=False):
    """Options of a client that encrypt its connection; any of them turns encryption on.

    Keys:
        tls: encrypt; the server's certificate is checked against the system's authorities.
        root_certificates: check it against these instead: PEM, or a path to it.
        client_key: the client's own key, for a server that asks for one: PEM, or a path.
        client_certificate: and its certificate.
    """

    tls: bool
    root_certificates: Pem | None
    client_key: Pem | None
    client_certificate: Pem | None


class ConnectionOptions(Encryption, total=False):
    """Every option of a client's connection.

    Keys:
        headers: sent with each request, such as `{"authorization": "Bearer ..."}`.
        compression: of what is sent, `"gzip"`; images are compressed already.
    """

    headers: Mapping[str, str]
    compression: Literal["gzip"] | None


@dataclass(frozen=True)
class Setup:
    """All that a connection is made of; see `Client`."""

    address: Address
    timeout: Timeout
    limits: Limits
    retries: int
    options: ConnectionOptions = field(default_factory=ConnectionOptions)

    def __post_init__(self) -> None:
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries is a whole number, 0 or more: received {self.retries!r}.")
        if self.options.get("compression") not in (None, "gzip"):
            raise ValueError(
                f"compression is 'gzip' or None: received {self.options.get('compression')!r}."
            )
        if self.address.target.startswith("http:") and self.pem is not None:
            raise ValueError(
                "http:// is not encrypted; for an encrypted connection, write https:// : received"
                f" {self.address}."
            )
        given = self.options.get("headers") or {}
        if not isinstance(given, Mapping):
            raise ValueError(f"headers is a mapping of text to text: received {given!r}.")
        for name, value in given.items():
            if not all(isinstance(each, str) for each in (name, value)) or not (
                _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
            ):
                raise ValueError(
                    "A header is a line of ASCII, under a name of letters, digits, -, _ and . that"
                    f" does not end in -bin: received {name!r}: {value!r}."
                )

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers, with names in small letters as gRPC wants them."""
        given = self.options.get("headers") or {}
        return [(name.lower(), value) for name, value in given.items()]

    @property
    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None] | None:
        """Root certificates, client's key, client's certificate; None: no encryption.

        Raises:
            ValueError: a file of them cannot be read, or is none.
        """
        names = ("root_certificates", "client_key", "client_certificate")
        given = [self.options.get(name) for name in names]
        # An empty one too, such as of a variable that is not set: it must not mean no encryption.
        if not self.options.get("tls") and given == [None] * 3:
            return None
        if (given[1] is None) != (given[2] is None):
            raise ValueError("client_key and client_certificate go together: received one.")
        roots, key, certificate = (
            _pem(name, each) for name, each in zip(names, given, strict=True)
        )
        return roots, key, certificate


# What gRPC takes (its core/lib/surface/validate_metadata.cc); names in -bin have other values.
_HEADER_NAME = re.compile(r"(?!.*-bin$)[a-z0-9_.-]+", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[ -~]*")


def _pem(name: str, given: Any) -> bytes | None:
    if given is None:
        return None
    rule = f"{name} is PEM as bytes, or the path of a file of it"
    if isinstance(given, bytes):
        content, received = given, f"{len(given)} bytes"  # which may be a secret
    elif isinstance(given, str | os.PathLike):
        received = repr(os.fsdecode(given))
        try:
            content = Path(given).read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ValueError(f"{rule}: {received} cannot be read: {why}.") from error
    else:
        raise ValueError(f"{rule}: received {given!r}.")
    kind = "PRIVATE KEY" if name == "client_key" else "CERTIFICATE"
    if f"{kind}-----".encode() not in content:
        raise ValueError(f"{rule}: received {received}, which is no PEM of a {kind.lower()}.")
    return content


def tls_context(pem: tuple[bytes | None, bytes | None, bytes | None] | None) -> Any:
    """What `ssl` makes of `Setup.pem`; None for no encryption.

    Raises:
        ValueError: a certificate or the key is damaged, or they do not belong together.
    """
    if pem is None:
        return None
    import ssl  # which most clients do without

    roots, key, certificate = pem
    try:
        # Without the comments that bundles have between certificates, in other letters than ASCII.
        context = ssl.create_default_context(
            cadata=None if roots is None else roots.decode("ascii", "ignore")
        )
        if key is not None and certificate is not None:
            with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files alone
                both = Path(folder) / "both.pem"
                both.touch(0o600)
                both.write_bytes(key + b"\n" + certificate)
                context.load_cert_chain(both, password="")  # rather than ask on the terminal
    except ssl.SSLError as error:
        raise ValueError(
            "The certificates or the key are damaged or encrypted, or do not belong together:"
            f" {error}."
        ) from None
    return context


# ---- steps ----


class Send(NamedTuple):
    """Send a request, and be given the response.

    Attributes:
        method: of PredictionService or ModelService.
        outputs: what the signature says of each output wanted of Predict, as a
            `signatures.TensorSpec`, for REST, whose JSON does not tell types.
    """

    method: str
    request: Any
    timeout_s: float
    outputs: Mapping[str, Any] | None = None


class Pause(NamedTuple):
    """Wait for some seconds."""

    seconds: float


class Work(NamedTuple):
    """Be given what a function returns, which takes time but waits for nothing."""

    run: Callable[[], Any]


class Wait(NamedTuple):
    """Wait for another call's future."""

    future: Future[Any]
    timeout_s: float


Step = Send | Pause | Work | Wait
_Result = TypeVar("_Result")
Steps = Generator[Step, Any, _Result]

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
# RESOURCE_EXHAUSTED for good: what is sent is too large, or what it takes is.
_TOO_LARGE = ("larger than", "of at most", "OOM when", "too large")


def call(
    setup: Setup,
    method: str,
    request: Any,
    deadline: float,
    outputs: Mapping[str, Any] | None = None,
) -> Steps[Any]:
    """Send a request until it is answered, for as long as there is hope.

    Args:
        deadline: a time of `time.monotonic()`.
        outputs: see `Send`.

    Raises:
        errors.StatusError: the server's answer, or that there is none.
    """
    tries = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise errors.DeadlineExceededError("The time was up before the request was sent")
        try:
            return (yield Send(method, request, left, outputs))
        except errors.StatusError as error:
            failure = error
        # Not all at once again that were refused at once.
        pause = min(_FIRST_PAUSE_S * 2**tries, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
        if not _may_pass(failure, tries, setup) or time.monotonic() + pause >= deadline:
            raise failure
        yield Pause(pause)
        tries += 1


def _may_pass(failure: errors.StatusError, tries: int, setup: Setup) -> bool:
    """Whether the same request may be answered a little later; nothing was done for this one."""
    if isinstance(failure, errors.ResourceExhaustedError):  # a full pool of threads
        return setup.retries > 0 and not any(words in str(failure) for words in _TOO_LARGE)
    if isinstance(failure, errors.NotGrpcError | errors.NotRestError) or tries >= setup.retries:
        return False
    return isinstance(failure, errors.UnavailableError)


def drive(steps: Steps[_Result], do: Callable[[Step], Any]) -> _Result:
    """Carry out steps one by one; an error of one is raised where it was asked for."""
    try:
        step = next(steps)
        while True:
            try:
                done = do(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        result: _Result = end.value
        return result
    finally:
        steps.close()


# ---- gRPC ----


class GrpcChannel:
    """A channel to one address, of `grpc` or `grpc.aio`, and the methods on it."""

    def __init__(self, setup: Setup, api: Any) -> None:
        """Open it; it connects with the first call.

        Args:
            api: `grpc`, or `grpc.aio`, whose calls are awaited.
        """
        self._setup = setup
        self._headers = setup.headers
        options = {
            "options": _grpc_options(setup),
            "compression": grpc.Compression.Gzip if setup.options.get("compression") else None,
        }
        target = setup.address.target
        pem = setup.pem
        if pem is None:
            self._channel = api.insecure_channel(target, **options)
        else:
            credentials = grpc.ssl_channel_credentials(*pem)
            self._channel = api.secure_channel(target, credentials, **options)
        self._stubs = (
            messages.PredictionServiceStub(self._channel),
            messages.ModelServiceStub(self._channel),
        )

    def send(self, step: Send) -> Any:
        """The response.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        try:
            return self._begin(step)
        except grpc.RpcError as error:
            raise self._failure(error) from None

    async def send_and_wait(self, step: Send) -> Any:
        """As `send`, of a channel of `grpc.aio`."""
        try:
            response = await self._begin(step)
        except grpc.RpcError as error:
            raise self._failure(error) from None
        if response is None:  # which `grpc` says by an error
            raise errors.InternalError("Exception deserializing response!")
        return response

    def close(self) -> Any:
        """Hang up; with `grpc.aio`, what to await for it."""
        return self._channel.close()

    def _begin(self, step: Send) -> Any:
        stub = self._stubs[step.method in ("GetModelStatus", "HandleReloadConfigRequest")]
        method = getattr(stub, step.method)
        return method(step.request, timeout=step.timeout_s, metadata=self._headers)

    def _failure(self, error: Any) -> errors.StatusError:
        """A `grpc.RpcError` as one of ours, with advice where no server was reached."""
        code, text = error.code(), errors.shorten(error.details() or "")
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
            advice = self._setup.address.advice(text)
            if advice is not None:
                return advice
        if code == grpc.StatusCode.DEADLINE_EXCEEDED and not text.strip():
            text = "Deadline exceeded"
        return errors.from_code(code.value[0], text)


def _grpc_options(setup: Setup) -> Sequence[tuple[str, Any]]:
    return (
        ("grpc.max_receive_message_length", setup.limits.answer_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 5 * 60 * 1000),  # below what routers forget a connection after
        # A server that is back is found within half a second; gRPC's own is up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.min_reconnect_backoff_ms", min(int(setup.timeout.connect_s * 1000), 2**31 - 1)),
        # A name of several servers, such as that of a headless service: each gets its share.
        ("grpc.lb_policy_name", "round_robin"),
        # Two clients of one process are two connections.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),  # `call` sends again
        ("grpc.enable_http_proxy", int(not setup.address.is_own)),
    )
