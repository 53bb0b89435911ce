"""Published weights, downloaded once into Keras's cache.

A download that was cut off goes on where it stopped, what arrived is compared with the published
hash (or, where none is published, with the one of the first time), and only then is it given its
name: the cache never holds half a file. Two processes may ask for the same file at once.

``KERAS_INCEPTION_WEIGHTS_URL`` names a mirror: https://HOST/PATH is then taken from
MIRROR/HOST/PATH, as ``wget -x`` lays files out.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIRROR = "KERAS_INCEPTION_WEIGHTS_URL"
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20


class DownloadError(OSError):
    """A file could not be downloaded, or is not the published one; the cache is as before."""


@dataclass(frozen=True)
class Published:
    """A file that somebody has published.

    Args:
        url: where.
        hash: ``"md5:..."``, ``"sha256:..."`` or ``"sha384:..."``, of which the beginning is enough;
            empty where none is published.
        preprocessing: what became of the images in training, by its name in
            ``keras_inception.data.preprocessing``.
    """

    url: str
    hash: str = ""
    preprocessing: str = "default"


def existing(weights: str | os.PathLike[str]) -> Path:
    """The path of weights that are a file; a TensorFlow checkpoint may be named by its prefix.

    Raises:
        ValueError: there is none.
    """
    path = Path(weights)
    if not path.exists() and not Path(f"{path}.index").exists():
        raise ValueError(
            "`weights` must be None (random initialization), 'imagenet', 'imagenet:SOURCE/NAME', or"
            f" a file that exists. Received: weights={str(weights)!r}"
        )
    return path


def download(name: str, what: Published) -> Path:
    """Published weights in Keras's cache, downloaded unless they are there.

    Args:
        name: ``"SOURCE/NAME"``, the folder in the cache; Keras's own lie where
            ``keras.applications`` looks for them.

    Returns:
        The file; of an archive, the checkpoint in it.

    Raises:
        DownloadError: the download failed, or the archive holds no checkpoint.
    """
    file = what.url.rpartition("/")[2]
    if name.startswith("keras/"):
        return fetch(what, _keras_cache() / file)
    folder = _keras_cache() / "keras_inception" / name
    if not file.endswith(".tar.gz"):
        return fetch(what, folder / file)
    unpacked = folder / "unpacked"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(unpacked):
        if not unpacked.exists():
            _unpack(fetch(what, folder / file), unpacked)
    return _checkpoint(unpacked)


def fetch(what: Published, path: Path) -> Path:
    """Download a file to ``path``, unless it is there already.

    Raises:
        DownloadError: it can't be reached, was cut off, or is not the published file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record = path.with_name(f"{path.name}.sha256")
    with _locked(path):
        known = what.hash
        if not known and record.exists():
            known = f"sha256:{record.read_text().strip()}"
        if path.exists() and _is(path, known):
            return path
        part = path.with_name(f"{path.name}.part")
        _download(mirrored(what.url), part)
        if not _is(part, known):
            part.unlink()
            when = "as published" if what.hash else f"of the first download, recorded in {record}"
            raise DownloadError(
                f"{what.url} is not the expected file: its hash is not {known}, {when}."
            )
        if not what.hash:
            record.write_text(f"{_digest(part, 'sha256')}\n")
        os.replace(part, path)
    return path


def mirrored(url: str) -> str:
    """The address on the mirror, if there is one."""
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


def _keras_cache() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def _unpack(archive: Path, folder: Path) -> None:
    """The archive's files, without its folders, in ``folder``, which appears when complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        with tarfile.open(archive) as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isfile() else None
                if source is not None:
                    with source, open(Path(temporary, Path(member.name).name), "wb") as target:
                        shutil.copyfileobj(source, target, _CHUNK)
        os.rename(temporary, folder)
        os.mkdir(temporary)  # for its removal
    archive.unlink()


def _checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob("*.index")) or sorted(folder.glob("*.ckpt*"))
    if not found:
        raise DownloadError(f"{folder} holds no checkpoint.")
    return found[0]


def _download(url: str, part: Path) -> None:
    """Download to ``part``, from where it ends, if the server still has the same file."""
    tag = part.with_name(f"{part.name}.tag")
    have = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"User-Agent": "keras_inception", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        ) as response:
            if response.status != 206:
                have = 0
            validator = response.headers["ETag"] or response.headers["Last-Modified"]
            if validator:
                tag.write_text(validator)
            total = have + int(response.headers["Content-Length"] or 0)
            with open(part, "ab" if have else "wb") as stream:
                _copy(response, stream, url, have, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # what is there is as long as the file, or longer
            part.unlink()
            return _download(url, part)
        raise DownloadError(f"{url} answers {error.code} {error.reason}.") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, DownloadError):
            raise
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{url} could not be downloaded: {reason}.{_kept(part)}") from None
    if total > have and part.stat().st_size != total:
        raise DownloadError(f"{url} was cut off.{_kept(part, total)}")
    tag.unlink(missing_ok=True)


def _kept(part: Path, total: int | None = None) -> str:
    if not part.exists() or not part.with_name(f"{part.name}.tag").exists():
        return ""
    of = f" of {total:,}" if total else ""
    return f" {part.stat().st_size:,}{of} bytes are kept; the next try goes on from there."


def _copy(response: Any, stream: Any, url: str, have: int, total: int) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(url.rpartition("/")[2], total=total or None, completed=have)
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            progress.advance(task, len(chunk))


def _is(path: Path, known: str) -> bool:
    """Whether the file's hash begins as the known one; true where none is known."""
    kind, _, digest = known.partition(":")
    return not known or _digest(path, kind).startswith(digest)


def _digest(path: Path, kind: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def _locked(path: Path) -> AbstractContextManager[Any]:
    """One process at a time; the others wait, and then find the file."""
    from filelock import FileLock

    return FileLock(path.with_name(f"{path.name}.lock"))
