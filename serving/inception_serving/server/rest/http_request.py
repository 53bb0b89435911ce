"""The head of an HTTP request, read as TF Serving reads one.

TF Serving listens with libevent, whose manners these are: which requests are refused and with what
status, that a bare line feed ends a line, that a header goes on where the next line begins with a
blank. Sources: libevent 2.1.12, http.c; and, below tensorflow_serving/,
util/net_http/server/internal/evhttp_request.cc.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from inception_serving.server.budget import Reservation

# Methods that reach an application; those that libevent gives a body, which is all of them but one.
_METHODS = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"}
_WITHOUT_BODY = "HEAD"

# What says where a request ends.
_FRAMING = ("content-length", "transfer-encoding")

_SHORTEST = len("GET / HTTP/1.0")
_VERSION = re.compile(r"HTTP/ *([+-]?[0-9]+)\. *([+-]?[0-9]+)")
_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})"
_TARGET = re.compile(
    rf"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<host>[^/?#]*))?"
    rf"(?P<path>{_CHARACTER}*(?:\?(?:{_CHARACTER}|\?)*)?(?:#(?:{_CHARACTER}|\?)*)?)"
)
_HOST = re.compile(
    r"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*@)?"
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
    r"(?::0*(?P<port>[0-9]{0,5}))?"
)
_LENGTH = re.compile(r"\s*\+?([0-9]{1,19})")
_CHUNK_SIZE = re.compile(rb"\s*\+?(?:0[xX])?([0-9A-Fa-f]{1,16})(?: .*)?")


class BadRequest(Exception):
    """A request that is answered with a page of its own, after which the connection ends.

    Attributes:
        status: the page's.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class FirstLine:
    """The first line of a request, as it was sent."""

    method: str
    target: str
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """A request, whole.

    Attributes:
        path: with the query and the fragment, as they were sent, without scheme and host.
        headers: by their names in lower case; of those of one name, the first.
        held: the bytes of the body, until somebody releases them.
    """

    method: str
    path: str
    version: tuple[int, int]
    headers: Mapping[str, str]
    body: bytes
    held: Reservation

    @property
    def asks_to_close(self) -> bool:
        """Whether the client wants no other answer on this connection."""
        return self.headers.get("connection", "").lower() == "close"

    @property
    def asks_to_keep(self) -> bool:
        """Whether the client says that it goes on with the connection."""
        return self.headers.get("connection", "").lower().startswith("keep-alive")


def read_first_line(line: bytes) -> FirstLine:
    """The first line of a request, without its end.

    Raises:
        BadRequest: it is none.
    """
    text = line.decode("latin-1").rstrip(" ")
    method, blank, rest = text.partition(" ")
    target, another, version = rest.rpartition(" ")
    if len(text) < _SHORTEST or not blank or not another or not target:
        raise BadRequest(400)
    match = _VERSION.fullmatch(version)
    if match is None or len(match[0]) > _SHORTEST or int(match[1]) > 1:
        raise BadRequest(400)
    return FirstLine(method, target, (int(match[1]), int(match[2])))


def add_header(headers: dict[str, str], last: str | None, line: bytes) -> str:
    """Add a line of headers to those before it; the name that a next line may go on with.

    Raises:
        BadRequest: it is none.
    """
    text = line.decode("latin-1")
    if "\r" in text or "\0" in text:
        raise BadRequest(400)
    if text[0] in " \t":
        if last is None:
            raise BadRequest(400)
        if last:
            headers[last] += " " + text.strip(" \t")
        return last
    name, colon, value = text.partition(":")
    if not colon:
        raise BadRequest(400)
    name = name.lower()
    if name in headers:
        if name in _FRAMING and headers[name] != value.strip(" \t"):
            raise BadRequest(400)  # libevent takes the first; who else reads them may not
        return ""  # what it goes on with is forgotten too
    headers[name] = value.strip(" \t")
    return name


def find_path(first: FirstLine) -> str:
    """The path of a request, with its query and fragment.

    Raises:
        BadRequest: it is no URI, or the method is none of HTTP's usual ones.
    """
    match = _TARGET.fullmatch(first.target)
    if first.method not in _METHODS:
        raise BadRequest(501)
    if match is None or not _is_host(match["host"] or ""):
        raise BadRequest(400)
    if match["scheme"] is None and ":" in match["path"].partition("/")[0]:
        raise BadRequest(400)
    return match["path"]


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and int(match["port"] or 0) < 1 << 16


def body_size(first: FirstLine, headers: Mapping[str, str]) -> int | None:
    """The bytes of a request's body; None where it comes in chunks.

    Raises:
        BadRequest: the headers contradict what they should say.
    """
    if first.method not in _METHODS or first.method == _WITHOUT_BODY:
        return 0
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return None
    length = headers.get("content-length")
    if length is None:
        return 0
    match = _LENGTH.fullmatch(length)
    if match is None or int(match[1]) >= 2**63:
        raise BadRequest(400)
    return int(match[1])


def is_ambiguous(headers: Mapping[str, str]) -> bool:
    """Whether another reader of the same bytes might see another end of the body."""
    encoding = headers.get("transfer-encoding")
    return encoding is not None and (encoding.lower() != "chunked" or "content-length" in headers)


def chunk_size(line: bytes) -> int:
    """The bytes of a chunk.

    Raises:
        BadRequest: the line does not say.
    """
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None or (size := int(match[1], 16)) >= 2**63:
        raise BadRequest(413)  # what libevent says of every chunk that it cannot read
    return size
