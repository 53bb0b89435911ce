"""A model on a server by the name that people give it.

That is HOST:PORT/NAME or HOST:PORT/NAME/VERSION, over gRPC; with http:// before it, over REST. A
Unix socket's is unix:PATH/NAME or unix:PATH/NAME/VERSION.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Of a socket's path, as little as leaves a name, and a number that is then the version.
_NAME = re.compile(
    r"(?P<address>(https?://)?[^/\\]+:\d+|unix:.+?)/(?P<model>[^/]+)(/(?P<version>\d+))?"
)


class Served(NamedTuple):
    """Where a model is served; ``version`` is ``None`` for the latest."""

    address: str
    model: str
    version: int | None


def read_served(name: str) -> Served | None:
    """The parts of a name; ``None`` if it is no server's model's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    version = found["version"]
    return Served(found["address"], found["model"], None if version is None else int(version))


def almost_served(name: str) -> str:
    """What is wrong with a name that was likely meant to be a server's model's; else ``""``."""
    if address := re.fullmatch(r"([^/\\]+:\d+)/?", name):
        return (
            f"{name} is a server's address without a model: HOST:PORT/NAME, such as"
            f" {address[1]}/photos. gRPC does not list a server's models; the page of"
            " `keras-inception serve`, on its REST port, does."
        )
    if re.fullmatch(r"[^/\\]+:\d+/[^/]+/.+", name):
        return (
            "A server's model is named as HOST:PORT/NAME or HOST:PORT/NAME/VERSION, where VERSION"
            f" is a number. Received: {name}"
        )
    if url := re.match(r"https?://([^/:]*)", name):
        return (
            "A server's model is named as HOST:PORT/NAME of gRPC, such as"
            f" {url[1] or 'localhost'}:8500/photos, or http://HOST:PORT/NAME of REST, such as"
            f" http://{url[1] or 'localhost'}:8501/photos. Received: {name}"
        )
    return ""


def parse_served(name: str) -> Served:
    """The parts of a name.

    Raises:
        ValueError: it is no server's model's.
    """
    found = read_served(name)
    if found is None:
        raise ValueError(
            almost_served(name)
            or f"A server's model is named as HOST:PORT/NAME. Received: {name!r}"
        )
    return found
