"""Published weights, downloaded once into Keras's cache.

A download that was cut off goes on where it stopped, what arrived is compared with the published
hash, and only then is it given its name: the cache never holds half a file. Where no hash is
published, the first file is opened and compared with the network that it is for, then its hash is
recorded beside it, and any other is refused from then on; :func:`forget` undoes the record. Two
processes may ask for the same file at once.

``KERAS_INCEPTION_WEIGHTS_URL`` names a mirror: https://HOST/PATH is then taken from
MIRROR/HOST/PATH, as ``wget -x`` lays files out. ``HF_ENDPOINT`` names one of huggingface.co, as for
Hugging Face's own programs.
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
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_inception.weights.file import check_unpacked, reading

MIRROR = "KERAS_INCEPTION_WEIGHTS_URL"
HUGGING_FACE = "https://huggingface.co"
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
            ``keras_inception.data.preprocessing``, and
        protocol: what of it was otherwise, by the fields' names there.
    """

    url: str
    hash: str = ""
    preprocessing: str = "default"
    protocol: Mapping[str, Any] = field(default_factory=dict)


# Raises ValueError unless a file is what it should be.
Check = Callable[[Path], object]


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


def download(name: str, what: Published, check: Check | None = None) -> Path:
    """Published weights in Keras's cache, downloaded unless they are there.

    Args:
        name: ``"SOURCE/NAME"``, the folder in the cache; Keras's own lie where
            ``keras.applications`` looks for them.
        check: of the weights, where no hash is published, before one is recorded.

    Returns:
        The file; of an archive, the checkpoint in it.

    Raises:
        DownloadError: the download failed, or the archive holds no checkpoint.
    """
    path = _place(name, what)
    if not path.name.endswith(".tar.gz"):
        return fetch(what, path, check)
    unpacked = path.with_name("unpacked")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(unpacked):
        if not unpacked.exists():
            archive = fetch(what, path, check and (lambda archive: _check_archive(archive, check)))
            _unpack(archive, unpacked)
            archive.unlink()
    return _checkpoint(unpacked)


def forget(name: str, what: Published) -> list[Path]:
    """Remove what was downloaded, and the hash recorded of it: the next download is the first.

    Args:
        name: ``"SOURCE/NAME"``, as for :func:`download`.

    Returns:
        The files and folders that were removed.
    """
    path = _place(name, what)
    if not path.parent.exists():
        return []
    removed = []
    with _locked(path):
        unpacked = path.with_name("unpacked")
        if path.name.endswith(".tar.gz") and unpacked.exists():
            shutil.rmtree(unpacked)
            removed.append(unpacked)
        for each in (path, _record(path), _part(path), _tag(_part(path))):
            if each.exists():
                each.unlink()
                removed.append(each)
    return removed


def fetch(what: Published, path: Path, check: Check | None = None) -> Path:
    """Download a file to ``path``, unless it is there already.

    Args:
        check: of the file, where no hash is published, before one is recorded.

    Raises:
        DownloadError: it can't be reached, was cut off, or is not the published file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record, part = _record(path), _part(path)
    with _locked(path):
        known = what.hash
        if not known and record.exists():
            known = f"sha256:{record.read_text().strip()}"
        if path.exists() and _is(path, known):
            return path
        url = mirrored(what.url)
        _download(url, part)
        if not _is(part, known):
            page = _web_page(part)
            part.unlink()
            when = "as published"
            if not what.hash:
                when = (
                    f"of the first download, recorded in {record}. If the first was the wrong one,"
                    " `keras-inception weights forget` undoes the record"
                )
            raise DownloadError(
                f"{url} is not the expected file: its hash is not {known}, {when}.{page}"
            )
        if not known:
            _check(part, check, url)
            record.write_text(f"{_digest(part, 'sha256')}\n")
        os.replace(part, path)
    return path


def _check(part: Path, check: Check | None, url: str) -> None:
    """Refuse and remove a file that is not what it should be."""
    try:
        if check is not None:
            check(part)
    except ValueError as error:
        part.unlink()
        raise DownloadError(f"What {url} sent was not kept: {error}") from error


def _check_archive(archive: Path, check: Check) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        unpacked = Path(folder, "unpacked")
        _unpack(archive, unpacked)
        check(_checkpoint(unpacked))


def is_published(path: Path, what: Published) -> bool:
    """Whether a file is the published one, by its hash; false where none is published."""
    return bool(what.hash) and _is(path, what.hash)


def _web_page(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(100).lstrip().lower()
    page = head.startswith((b"<!doctype html", b"<html"))
    return " What came is a web page, such as a proxy's or a network's login." if page else ""


def _place(name: str, what: Published) -> Path:
    """Where in the cache a file lies."""
    file = what.url.rpartition("/")[2]
    if name.startswith("keras/"):
        return _keras_cache() / file
    return _keras_cache() / "keras_inception" / name / file


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def mirrored(url: str) -> str:
    """The address on the mirror, if there is one."""
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint and url.startswith(f"{HUGGING_FACE}/"):
        url = endpoint.rstrip("/") + url.removeprefix(HUGGING_FACE)
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


def _keras_cache() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def _unpack(archive: Path, folder: Path) -> None:
    """The archive's files, without its folders, in ``folder``, which appears when complete."""
    size, unpacked = archive.stat().st_size, 0
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        with reading(archive), tarfile.open(archive) as tar:
            for member in tar:
                unpacked += member.size
                check_unpacked(archive, size, unpacked)
                source = tar.extractfile(member) if member.isfile() else None
                if source is not None:
                    with source, open(Path(temporary, Path(member.name).name), "wb") as target:
                        shutil.copyfileobj(source, target, _CHUNK)
        os.rename(temporary, folder)
        os.mkdir(temporary)  # for its removal


def _checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob("*.index")) or sorted(folder.glob("*.ckpt*"))
    if not found:
        raise DownloadError(f"{folder} holds no checkpoint.")
    return found[0]


def _download(url: str, part: Path) -> None:
    """Download to ``part``, from where it ends, if the server still has the same file."""
    tag = _tag(part)
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
            elif not str(response.headers["Content-Range"]).startswith(f"bytes {have}-"):
                tag.unlink()  # what comes is not what was asked for: begin anew
                return _download(url, part)
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
        raise DownloadError(f"{url} answers {error.code} {error.reason}.{_ways(url)}") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, DownloadError):
            raise
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{url} could not be downloaded: {reason}.{_kept(part)}{_ways(url)}"
        ) from None
    if total > have and part.stat().st_size != total:
        raise DownloadError(f"{url} was cut off.{_kept(part, total)}")
    tag.unlink(missing_ok=True)


def _ways(url: str) -> str:
    """What helps where the address can't be reached."""
    hub = " (HF_ENDPOINT for huggingface.co alone)" if url.startswith(HUGGING_FACE) else ""
    return (
        f" Where it can't be reached, {MIRROR} names a mirror, which has https://HOST/PATH under"
        f" MIRROR/HOST/PATH{hub}; or give a file that you have. See docs/weights.md."
    )


def _kept(part: Path, total: int | None = None) -> str:
    if not part.exists() or not _tag(part).exists():
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
