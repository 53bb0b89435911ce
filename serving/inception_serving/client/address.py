"""Addresses of servers, the proxies before them, and advice where nobody answers there."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from inception_serving.errors import NotGrpcError, UnavailableError

# Name syntax of gRPC (grpc/doc/naming.md) that a port belongs to, and that none does.
_WITH_PORT = ("dns:", "ipv4:", "ipv6:")
_WITHOUT_PORT = ("unix:", "unix-abstract:", "xds:", "vsock:")

# gRPC's own words where it found no server, as against a server's own UNAVAILABLE.
_UNREACHED = ("failed to connect", "backends failing", "resolution failed", "errors resolving",
              "lookup failed")  # fmt: skip
# What gRPC says of a handshake that fails, and of a server that hangs up.
_TLS = ("SSL_ERROR", "Tls handshake", "Hostname Verification", "security handshak")
_CLOSED = ("Socket closed", "Connection reset")
# And where what answers speaks HTTP, but no gRPC.
_HTTP = ("Failed parsing HTTP/2", "http1.x", "Received http2 header with status")


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        given: as the user wrote it.
        target: what gRPC dials; of REST the address of all requests, http:// or https://.
        host: the first name or number in it; "" for a Unix socket.
    """

    given: str
    target: str
    host: str

    def __str__(self) -> str:
        return self.given

    @property
    def is_http(self) -> bool:
        """Whether it is of the REST API."""
        return self.target.startswith(("http:", "https:"))

    @property
    def is_own(self) -> bool:
        """Whether it names this machine, so that no proxy leads there."""
        if not self.host or self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            number = ipaddress.ip_address(self.host)
        except ValueError:
            return self.host.lower() in {socket.gethostname().lower(), "ip6-localhost"}
        return number.is_loopback or number.is_unspecified

    def proxy(self) -> tuple[str, str] | None:
        """The variable of the environment that names the proxy on the way there, and its value.

        gRPC reads `grpc_proxy`, `https_proxy` and `http_proxy`, of which the first that is set
        counts, and `no_grpc_proxy` and `no_proxy` (grpc/doc/environment_variables.md). REST has
        that of its scheme, or `all_proxy`.
        """
        environment = os.environ
        if self.is_own:
            return None
        names: tuple[str, ...] = ("grpc_proxy", "https_proxy", "http_proxy")
        if self.is_http:
            scheme = self.target.partition(":")[0]
            names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        around = environment.get("no_grpc_proxy", environment.get("no_proxy", ""))
        name = next((each for each in names if environment.get(each)), None)
        ends = [end.strip().lstrip(".") for end in around.split(",") if end.strip()]
        if name is None or any(
            end == "*" or self.host == end or self.host.endswith(f".{end}") for end in ends
        ):
            return None
        return name, environment[name]

    def advice(self, text: str) -> UnavailableError | None:
        """The error where no gRPC server was reached; None where the words are a server's own.

        Args:
            text: gRPC's words.
        """
        if any(words in text for words in _HTTP) and self.proxy() is None:
            return NotGrpcError(
                f"What answers on {self} speaks HTTP and not gRPC: gRPC's port is 8500 as a rule,"
                f" where REST's is 8501. ({text})"
            )
        if any(words in text for words in _TLS):
            return UnavailableError(self.unencrypted(text))
        if any(words in text for words in (*_UNREACHED, *_HTTP, "HTTP proxy")):
            return UnavailableError(self.unreached(text))
        return None

    def unreached(self, text: str) -> str:
        """The message where no server answers."""
        closed = ""
        if any(words in text for words in _CLOSED):
            closed = (
                " It closes the connection, as a server does that encrypts and is asked without"
                " tls, or without the client_certificate that it wants."
            )
        return f"No server answers on {self}: is it running?{closed}{self.through_proxy()} ({text})"

    def unencrypted(self, text: str) -> str:
        """The message where what answers and the client do not agree on encryption."""
        return (
            f"The connection to {self} could not be encrypted: the server has to use TLS, and have"
            " a certificate of this name, by an authority of root_certificates or, without these,"
            f" of the system. ({text})"
        )

    def through_proxy(self) -> str:
        """The sentence that names the proxy on the way, with a blank before it; "" for none."""
        if not (proxy := self.proxy()):
            return ""
        name, value = proxy
        value = re.sub(r"//[^/@]*@", "//", value)  # without the password
        return (
            f" The way there leads through the proxy of {name}={value}: no_proxy={self.host}"
            " goes around it."
        )


def read_address(given: str) -> Address:
    """HOST:PORT, or another of gRPC's names for servers; http://HOST:PORT for REST.

    Raises:
        ValueError: it has no port, or is no address.
    """
    if not isinstance(given, str):
        raise ValueError(f"address is text, HOST:PORT, such as localhost:8500: received {given!r}.")
    scheme, separator, _ = given.partition("://")
    if scheme.lower() in ("http", "https") and separator:
        return _read_http(given)
    if given.startswith(_WITHOUT_PORT):
        if given in _WITHOUT_PORT:
            raise ValueError(
                f"{given} stands before a name, such as unix:/path/to/socket: received {given!r}."
            )
        return Address(given, given, "")
    prefix = next((each for each in _WITH_PORT if given.startswith(each)), "")
    if separator and not prefix:
        raise ValueError(
            "address is HOST:PORT of gRPC, such as localhost:8500, or of REST, such as"
            f" http://localhost:8501, without {scheme}://: received {given!r}."
        )
    name = given.removeprefix(prefix)
    if name.startswith("//"):  # dns://AUTHORITY/HOST:PORT
        name = name[2:].partition("/")[2]
    host = ""
    for each in name.split(","):
        host = host or _host(given, each)
    return Address(given, given, host)


def _read_http(given: str) -> Address:
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    rest = [] if host is None else [parts.path.strip("/"), parts.query, parts.fragment]
    if not host or port == 0 or any(rest) or parts.username is not None:
        raise ValueError(
            "The address of REST is http://HOST:PORT or https://HOST:PORT alone, such as"
            f" http://localhost:8501: received {given!r}."
        )
    return Address(given, f"{parts.scheme}://{parts.netloc}", host)


def _host(given: str, name: str) -> str:
    if name.count(":") > 1 and not name.startswith("["):
        raise ValueError(
            f"An IPv6 address stands in brackets, with a port behind them: [{name}]:8500."
            f" Received {given!r}."
        )
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\s:/@\[\]]+):([0-9]+)", name)
    if found is None or not 0 < int(found[2]) < 65536:
        host = re.match(r"\[[^\]]*\]|[^\s:/]*", name)[0] or "localhost"  # type: ignore[index]
        raise ValueError(
            f"address is HOST:PORT, such as {host}:8500, gRPC's port as a rule, and a port is 1 to"
            f" 65535: received {given!r}."
        )
    return found[1].strip("[]")
