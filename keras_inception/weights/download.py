"""Published weights, downloaded once into Keras's cache.

A download that was cut off goes on where it stopped, what arrived is compared with the published
hash (or, where none is published, with the one of the first time), and only then is it given its
name: the cache never holds half a file. Two processes may ask for the same file at once.

``KERAS_INCEPTION_WEIGHTS_URL`` names a mirror: https://HOST/PATH is then taken from
MIRROR/HOST/PATH, as ``wget -x`` lays files out.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
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
        network: ``"inception_v3"``, whose weights it holds.
        hash: ``"md5:..."``, ``"sha256:..."`` or ``"sha384:..."``, of which the beginning is enough;
            empty where none is published.
        preprocessing: what became of the images in training, by its name in
            ``keras_inception.data.preprocessing``.
    """

    url: str
    network: str
    hash: str = ""
    preprocessing: str = "default"


_SLIM = "http://download.tensorflow.org/models"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TIMM = "https://huggingface.co/timm"
_TORCH = "https://download.pytorch.org/models"

# fmt: off
PUBLISHED = {
    "slim/inception_v1": Published(
        f"{_SLIM}/inception_v1_2016_08_28.tar.gz", "inception_v1",
        "sha256:7a620c430fcaba8f8f716241f5148c4c47c035cce4e49ef02cfbe6cd1adf96a6", "slim"),
    "slim/inception_v2": Published(
        f"{_SLIM}/inception_v2_2016_08_28.tar.gz", "inception_v2",
        "sha384:c0b2efbae8fc5e237ae67637dca3f311d4b4f7da576b56067e83d95c398a2fccd50baff9cc0de64335f"
        "4d7b78e1adb07", "slim"),
    "slim/inception_v3": Published(
        f"{_SLIM}/inception_v3_2016_08_28.tar.gz", "inception_v3", preprocessing="slim"),
    "slim/inception_v4": Published(
        f"{_SLIM}/inception_v4_2016_09_09.tar.gz", "inception_v4", preprocessing="slim"),
    "slim/inception_resnet_v2": Published(
        f"{_SLIM}/inception_resnet_v2_2016_08_30.tar.gz", "inception_resnet_v2",
        preprocessing="slim"),
    "keras/inception_v3": Published(
        f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        "inception_v3", "md5:9a0d58056eeedaa3f26cb7ebd46da564"),
    "keras/inception_v3_notop": Published(
        f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "inception_v3", "md5:bcbd6486424b2319ff4ef7d526e38f63"),
    "keras/inception_resnet_v2": Published(
        f"{_KERAS}/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
        "inception_resnet_v2", "md5:e693bd0210a403b3192acc6073ad2e96"),
    "keras/inception_resnet_v2_notop": Published(
        f"{_KERAS}/inception_resnet_v2/"
        "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "inception_resnet_v2", "md5:d19885ff4a710c122648d3b5c3b684e4"),
    "timm/inception_v3.tv_in1k": Published(
        f"{_TIMM}/inception_v3.tv_in1k/resolve/main/model.safetensors", "inception_v3"),
    "timm/inception_v3.tf_in1k": Published(
        f"{_TIMM}/inception_v3.tf_in1k/resolve/main/model.safetensors", "inception_v3"),
    "timm/inception_v3.tf_adv_in1k": Published(
        f"{_TIMM}/inception_v3.tf_adv_in1k/resolve/main/model.safetensors", "inception_v3"),
    "timm/inception_v3.gluon_in1k": Published(
        f"{_TIMM}/inception_v3.gluon_in1k/resolve/main/model.safetensors", "inception_v3",
        preprocessing="torchvision"),
    "timm/inception_v4.tf_in1k": Published(
        f"{_TIMM}/inception_v4.tf_in1k/resolve/main/model.safetensors", "inception_v4"),
    "timm/inception_resnet_v2.tf_in1k": Published(
        f"{_TIMM}/inception_resnet_v2.tf_in1k/resolve/main/model.safetensors",
        "inception_resnet_v2"),
    "timm/inception_resnet_v2.tf_ens_adv_in1k": Published(
        f"{_TIMM}/inception_resnet_v2.tf_ens_adv_in1k/resolve/main/model.safetensors",
        "inception_resnet_v2"),
    # torchvision maps its images back to [-1, 1] before these two: `transform_input`.
    "torchvision/googlenet": Published(
        f"{_TORCH}/googlenet-1378be20.pth", "inception_v1", "sha256:1378be20"),
    "torchvision/inception_v3": Published(
        f"{_TORCH}/inception_v3_google-0cc3c7bd.pth", "inception_v3", "sha256:0cc3c7bd"),
}
# fmt: on

# What "imagenet" stands for.
IMAGENET = {
    "inception_v1": "slim/inception_v1",
    "inception_v2": "slim/inception_v2",
    "inception_v3": "keras/inception_v3",
    "inception_v4": "slim/inception_v4",
    "inception_resnet_v2": "keras/inception_resnet_v2",
}
CLASS_INDEX = Published(
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "",
    "md5:c2c37ea517e94d9795004a39431a14cb",
)


def locate(weights: str | os.PathLike[str], network: str, *, include_top: bool = True) -> Path:
    """The file that ``weights`` names, downloaded if it is a published one.

    Args:
        weights: a path, ``"imagenet"``, or ``"imagenet:SOURCE/NAME"``.
        network: ``"inception_v3"``.
        include_top: ``False`` takes the smaller file without classifier, where one is published.

    Raises:
        ValueError: there is no such file, and no such published weights of this network.
        DownloadError: the download failed.
    """
    if str(weights).partition(":")[0] == "imagenet":
        return _downloaded(published(str(weights), network, include_top=include_top))
    path = Path(weights)
    if not path.exists() and not Path(f"{path}.index").exists():
        raise ValueError(
            "`weights` must be None (random initialization), 'imagenet', 'imagenet:SOURCE/NAME', or"
            f" a file that exists. Received: weights={str(weights)!r}"
        )
    return path


def published(weights: str, network: str, *, include_top: bool = True) -> str:
    """The name in ``PUBLISHED`` of ``"imagenet"`` or ``"imagenet:SOURCE/NAME"``.

    Raises:
        ValueError: there is none of this network.
    """
    names = [name for name, each in PUBLISHED.items() if each.network == network]
    name = weights.partition(":")[2] or IMAGENET.get(network)
    if name not in names:
        choices = ", ".join(f"imagenet:{each}" for each in names if "notop" not in each)
        raise ValueError(
            f"`weights` names no published ImageNet weights of {network}: "
            + (f"there are {choices}" if names else "none were ever published")
            + f". Received: weights={weights!r}"
        )
    small = f"{name}_notop"
    return small if not include_top and small in names else name


def class_index() -> Path:
    """Keras's names of ImageNet's 1000 classes: JSON, {"0": ["n01440764", "tench"], ...}."""
    return fetch(CLASS_INDEX, _keras_cache() / "imagenet_class_index.json")


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


def _downloaded(name: str) -> Path:
    what = PUBLISHED[name]
    file = what.url.rpartition("/")[2]
    if name.startswith("keras/"):
        return fetch(what, _keras_cache() / file)  # where keras.applications looks too
    folder = _keras_cache() / "keras_inception" / name
    if not file.endswith(".tar.gz"):
        return fetch(what, folder / file)
    unpacked = folder / "unpacked"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(unpacked):
        if not unpacked.exists():
            _unpack(fetch(what, folder / file), unpacked)
    return _checkpoint(unpacked)


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
        TextColumn("{job.description}"),
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


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the others wait, and then find the file."""
    import fcntl

    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
