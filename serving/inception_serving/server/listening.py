"""Addresses to listen on, and the errors where they cannot be had."""

from __future__ import annotations

import contextlib
import errno
import socket

from inception_serving import errors


def bind(host: str, port: int) -> socket.socket:
    """A socket that has an address, and does not listen yet; port 0 takes a free one.

    Raises:
        errors.ServerStartError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise errors.ServerStartError(cannot_listen(host, port, str(error))) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else str(error)
        raise errors.ServerStartError(cannot_listen(host, port, reason)) from error
    return listener


def allow_many_files() -> None:
    """Let this process open as many files as the system lets it: each connection is one.

    The usual limit, 1024, is fewer than one client can open.
    """
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system that has "no limit" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cannot_listen(host: str, port: int, reason: str) -> str:
    """The text of the error."""
    return f"Cannot listen on {host_port(host, port)}: {reason}. Port 0 takes a free one."


def host_port(host: str, port: int) -> str:
    """Such as "127.0.0.1:8500", or "[::1]:8500"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """Where a server that listens on `host` can be called from the same machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
