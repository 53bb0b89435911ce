"""Errors of the server and of the client.

    ServingError
    ├── StatusError                  a request failed; one class for each gRPC status code
    │   ├── CancelledError           ├── UnknownError             ├── InvalidArgumentError
    │   ├── DeadlineExceededError    ├── NotFoundError            ├── AlreadyExistsError
    │   ├── PermissionDeniedError    ├── ResourceExhaustedError   ├── FailedPreconditionError
    │   ├── AbortedError             ├── OutOfRangeError          ├── UnimplementedError
    │   ├── InternalError            ├── UnavailableError         ├── DataLossError
    │   ├── UnauthenticatedError
    │   ├── NotGrpcError             an UnavailableError: something else answers there
    │   └── NotRestError             the same, of a client over REST
    ├── RequestError                 the client refused a request before sending it
    │   ├── ImageError               something given as an image is not one
    │   └── SignatureError           the request does not fit the model's signature
    ├── AnswerError                  a server answered what is no answer to the request
    └── ServerStartError             the server could not start
        └── OptionError              an option of the server breaks its rule

The server raises these errors and the client raises them again with the server's text: a caller
of the core in the same process and a caller over the network catch the same classes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence


class ServingError(Exception):
    """The root of every error this package raises on purpose."""


class StatusError(ServingError):
    """A request failed. `str(error)` is the text of the status, as the server wrote it.

    A client adds what helps: which image it is about, which versions there are.
    """

    @property
    def code(self) -> str:
        """The name of its status, such as "NOT_FOUND"."""
        return code_name(self)


class CancelledError(StatusError):
    pass


class UnknownError(StatusError):
    pass


class InvalidArgumentError(StatusError):
    pass


class DeadlineExceededError(StatusError):
    pass


class NotFoundError(StatusError):
    pass


class AlreadyExistsError(StatusError):
    pass


class PermissionDeniedError(StatusError):
    pass


class ResourceExhaustedError(StatusError):
    pass


class FailedPreconditionError(StatusError):
    pass


class AbortedError(StatusError):
    pass


class OutOfRangeError(StatusError):
    pass


class UnimplementedError(StatusError):
    pass


class InternalError(StatusError):
    pass


class UnavailableError(StatusError):
    pass


class NotGrpcError(UnavailableError):
    """What answers at an address is no gRPC server."""


class NotRestError(UnavailableError):
    """What answers at an address does not speak TF Serving's REST API."""


class DataLossError(StatusError):
    pass


class UnauthenticatedError(StatusError):
    pass


class RequestError(ServingError):
    """The client refused a request before sending it."""


class ImageError(RequestError):
    """A path, bytes or an array that was given as an image is not one."""


class SignatureError(RequestError):
    """The request does not fit the signature that the model declares."""


class AnswerError(ServingError):
    """A server's answer is none: another number of rows than of images, a tensor too large."""


class ServerStartError(ServingError):
    """The server could not start: no model, a model that does not load, a port in use."""


class OptionError(ServerStartError, ValueError):
    """An option of the server breaks its rule; the text has the option, the rule and the value."""


# gRPC's codes (grpc/doc/statuscodes.md; TensorFlow's error codes are the same numbers). A class
# that shares another's code comes after it: a client, which sees the code alone, raises the first.
GRPC_CODES: dict[type[StatusError], int] = {
    CancelledError: 1,
    UnknownError: 2,
    InvalidArgumentError: 3,
    DeadlineExceededError: 4,
    NotFoundError: 5,
    AlreadyExistsError: 6,
    PermissionDeniedError: 7,
    ResourceExhaustedError: 8,
    FailedPreconditionError: 9,
    AbortedError: 10,
    OutOfRangeError: 11,
    UnimplementedError: 12,
    InternalError: 13,
    UnavailableError: 14,
    DataLossError: 15,
    UnauthenticatedError: 16,
    NotGrpcError: 14,
    NotRestError: 14,
}

# TF Serving's choice of HTTP status for each (model_servers/http_server.cc).
HTTP_STATUSES: dict[type[StatusError], int] = {
    CancelledError: 499,
    UnknownError: 500,
    InvalidArgumentError: 400,
    DeadlineExceededError: 504,
    NotFoundError: 404,
    AlreadyExistsError: 409,
    PermissionDeniedError: 403,
    ResourceExhaustedError: 429,
    FailedPreconditionError: 400,
    AbortedError: 409,
    OutOfRangeError: 400,
    UnimplementedError: 501,
    InternalError: 500,
    UnavailableError: 503,
    DataLossError: 500,
    UnauthenticatedError: 401,
    NotGrpcError: 503,
    NotRestError: 503,
}

_LONGEST_TEXT = 2000

# The names that TF Serving and gRPC write in texts and metrics, such as "NOT_FOUND".
_ERRORS = {code: error for error, code in reversed(GRPC_CODES.items())}
_NAMES = {
    code: re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__.removesuffix("Error")).upper()
    for code, error in _ERRORS.items()
}


def code_name(error: StatusError | None) -> str:
    """The name of an error's status code; "OK" where there is no error."""
    return "OK" if error is None else _NAMES[GRPC_CODES[type(error)]]


def from_code(code: int, text: str) -> StatusError:
    """The error for a gRPC (or TensorFlow) status code."""
    return _ERRORS.get(code, UnknownError)(text)


def shorten(text: str) -> str:
    """A server's text at a length that people read: it may echo a request of megabytes."""
    if len(text) <= _LONGEST_TEXT:
        return text
    half = _LONGEST_TEXT // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"


def without_nodes(text: str) -> str:
    """A server's text in a line, without the nodes of TensorFlow's graph that it names.

    They stand behind the text, such as `\\n\\t [[{{node map/while/decode_image/DecodeImage}}]]`.
    """
    return " ".join(re.sub(r"\[\[\{\{.*?\}\}\]\]", "", text).split())


def nearest(name: str, known: Sequence[str]) -> str:
    """The hint that one of the names known may be meant, with a blank before it; "" for none."""
    found = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {found[0]!r}?" if found else ""
