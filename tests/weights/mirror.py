"""A mirror on this machine, with archives that stand for the published ones."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keras_inception.models.catalogue import CATALOGUE
from keras_inception.weights.download import Published
from tests.weights.server import Server, serve


@contextlib.contextmanager
def mirror(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Server]:
    """A server that all downloads come from, into a cache of its own."""
    with serve() as served:
        monkeypatch.setenv("KERAS_INCEPTION_WEIGHTS_URL", f"{served.url}/")
        monkeypatch.setenv("KERAS_HOME", str(cache))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield served


def archived(*files: Path) -> bytes:
    """The files as a .tar.gz."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for file in files:
            tar.add(file, file.name)
    return archive.getvalue()


def publish(
    content: bytes, server: Server, monkeypatch: pytest.MonkeyPatch, *, hashed: bool
) -> Published:
    """Let an archive be what is published as TF-Slim's Inception v1."""
    published = CATALOGUE["InceptionV1"].weights
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}" if hashed else ""
    what = replace(published["slim/inception_v1"], hash=digest)
    monkeypatch.setitem(published, "slim/inception_v1", what)
    server.files["/" + what.url.partition("://")[2]] = content
    return what
