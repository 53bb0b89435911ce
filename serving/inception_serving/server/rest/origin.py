"""Requests that a web page makes a browser send, told from those of programs.

A browser is on this machine, whatever page it shows: a page may send it to 127.0.0.1 with a form,
and a page's name may be made to mean 127.0.0.1 (DNS rebinding). What the browser adds tells on it:
the page's own name in `Host`, and where the request is from in `Origin` and `Sec-Fetch-Site`
(https://fetch.spec.whatwg.org/#origin-header, https://www.w3.org/TR/fetch-metadata/). A program
sends none of the last two.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from inception_serving import errors

_ALWAYS = ("localhost",)


class Origins:
    """Which names this server answers to, and from where it takes orders."""

    def __init__(self, host: str, allowed_hosts: Collection[str], *, cors: bool) -> None:
        """Nothing is looked up.

        Args:
            host: the address that the server listens on. On one that others reach, any `Host` is
                as good: whoever asks could have asked by the address.
            allowed_hosts: further names, such as a tunnel's.
            cors: pages of other origins may call.
        """
        self._is_local = _is_loopback(host)
        self._allowed = frozenset(name.lower() for name in allowed_hosts)
        self._cors = cors

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse a request that a foreign page made.

        Args:
            headers: by their names in lower case.

        Raises:
            errors.PermissionDeniedError: one of the headers says so.
        """
        host = headers.get("host", "")
        if self._is_local and host and not self._is_own(_name(host)):
            raise errors.PermissionDeniedError(
                f"This server listens on this machine only, and does not answer to the host "
                f"{host[:100]!r}: --allowed_hosts adds names to localhost."
            )
        if method in ("GET", "HEAD", "OPTIONS") or self._cors:
            return
        origin = headers.get("origin")
        is_foreign = origin is not None and not self._is_same(origin, host)
        if is_foreign or headers.get("sec-fetch-site", "").lower() == "cross-site":
            raise errors.PermissionDeniedError(
                f"A page of another origin may not call this server: received Origin "
                f"{(origin or '')[:100]!r}. --rest_api_enable_cors_support lets every page."
            )

    def _is_own(self, name: str) -> bool:
        return name in _ALWAYS or name in self._allowed or _is_loopback(name)

    def _is_same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            name = (parts.hostname or "").lower()
        except ValueError:
            return False
        return bool(name) and (parts.netloc.lower() == host.lower() or name in self._allowed)


def _name(host: str) -> str:
    """The name in a `Host` header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in _ALWAYS
