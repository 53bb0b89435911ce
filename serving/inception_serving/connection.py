"""One gRPC connection to a server: deadlines, retries, TLS, and errors with advice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import grpc

from inception_serving import errors, messages

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # gRPC's own default is 4 MiB
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 5 * 60 * 1000),  # below what routers forget a connection after
    # A server that is back is found within half a second; gRPC's own default is up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)

_LONGEST_PAUSE_S = 0.5

# gRPC's own words where it found no server, as against a server's own UNAVAILABLE.
_UNREACHED = ("failed to connect", "resolution failed", "errors resolving", "lookup failed")

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


class Connection:
    """A channel to one address, and the stubs of TF Serving's two services on it."""

    def __init__(self, address: str, *, retries: int, encryption: Encryption) -> None:
        """See `Client`, which takes the same."""
        self._address = address
        self._retries = retries
        if any(encryption.values()):
            credentials = grpc.ssl_channel_credentials(
                _pem(encryption.get("root_certificates")),
                _pem(encryption.get("client_key")),
                _pem(encryption.get("client_certificate")),
            )
            self._channel = grpc.secure_channel(address, credentials, _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, _OPTIONS)
        self.predictions = messages.PredictionServiceStub(self._channel)
        self.models = messages.ModelServiceStub(self._channel)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def call(self, method: Callable[..., Any], request: Any, deadline: float) -> Any:
        """Call a method of a stub; a deadline is a time of `time.monotonic()`.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
        """
        for attempt in range(self._retries + 1):
            try:
                return method(request, timeout=max(0.0, deadline - time.monotonic()))
            except grpc.RpcError as error:
                failure = self._failure(error)
                pause = min(0.1 * 2**attempt, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
                out_of_time = time.monotonic() + pause >= deadline
                if not isinstance(failure, errors.UnavailableError) or out_of_time:
                    raise failure from None
            if attempt < self._retries:
                time.sleep(pause)
        raise failure from None

    def _failure(self, error: Any) -> errors.StatusError:
        code, text = error.code(), error.details() or ""
        unreached = any(words in text for words in _UNREACHED)
        if code == grpc.StatusCode.UNAVAILABLE and unreached:
            text = f"No server answers on {self._address}: is it running? ({text})"
        elif code == grpc.StatusCode.DEADLINE_EXCEEDED and not text.strip():
            text = "Deadline exceeded"
        return errors.from_code(code.value[0], text)


def _pem(given: Pem | None) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    return Path(given).read_bytes()
