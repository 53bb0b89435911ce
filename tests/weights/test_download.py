"""Downloads, by the code that downloads: against a server on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import keras_inception
from keras_inception import load_weights
from keras_inception.data.preprocessing import named
from keras_inception.models.catalogue import CATALOGUE, find
from keras_inception.published.imagenet import preprocessing_of
from keras_inception.weights.download import DownloadError, Published, fetch
from tests.weights.checkpoints import random_values, released, write_v1
from tests.weights.server import Server, serve

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 2000  # 512,000 bytes
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
WHAT = Published("https://example.com/there/file.bin", SHA256)
PATH = "/example.com/there/file.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A mirror that has the file, and a cache that is empty."""
    with serve() as served:
        served.files[PATH] = CONTENT
        monkeypatch.setenv("KERAS_INCEPTION_WEIGHTS_URL", f"{served.url}/")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield served


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    for _ in range(2):
        assert fetch(WHAT, path) == path
        assert path.read_bytes() == CONTENT
    assert server.requests == [(PATH, None)]
    assert names(path.parent) == {"file.bin"}


def test_what_was_cut_off_goes_on(server: Server, tmp_path: Path) -> None:
    server.cut_after = 200_000
    with pytest.raises(DownloadError) as caught:
        fetch(WHAT, tmp_path / "file.bin")
    assert str(caught.value) == (
        f"{server.url}{PATH} was cut off. 200,000 of 512,000 bytes are kept; the next try goes on"
        " from there."
    )
    assert not (tmp_path / "file.bin").exists()
    assert fetch(WHAT, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [(PATH, None), (PATH, "bytes=200000-")]
    assert names(tmp_path) == {"file.bin"}


@pytest.mark.parametrize("change", ["ranges", "content"])
def test_where_it_cannot_go_on_it_begins_anew(change: str, server: Server, tmp_path: Path) -> None:
    """The server does not resume, or has another file now: no halves of two files are joined."""
    server.cut_after = 200_000
    what = replace(WHAT, hash="")
    with pytest.raises(DownloadError):
        fetch(what, tmp_path / "file.bin")
    if change == "ranges":
        server.ranges = False
    else:
        server.files[PATH] = CONTENT[::-1]
    assert fetch(what, tmp_path / "file.bin").read_bytes() == server.files[PATH]


def test_a_wrong_hash_is_refused(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=f"is not the expected file: its hash is not {SHA256}"):
        fetch(WHAT, tmp_path / "file.bin")
    assert names(tmp_path) == set()


def test_the_first_hash_is_recorded_where_none_is_published(server: Server, tmp_path: Path) -> None:
    path = fetch(replace(WHAT, hash=""), tmp_path / "file.bin")
    assert (tmp_path / "file.bin.sha256").read_text().strip() == SHA256.removeprefix("sha256:")
    path.unlink()
    server.files[PATH] = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=r"of the first download, recorded in .*bin\.sha256"):
        fetch(replace(WHAT, hash=""), path)
    assert not path.exists()


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:100])
    assert fetch(WHAT, tmp_path / "file.bin").read_bytes() == CONTENT


def test_404(server: Server, tmp_path: Path) -> None:
    del server.files[PATH]
    with pytest.raises(DownloadError, match=r"file.bin answers 404 Not Found\.$"):
        fetch(WHAT, tmp_path / "file.bin")
    assert names(tmp_path) == set()


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.files["/elsewhere"] = server.files.pop(PATH)
    server.redirects[PATH] = "/elsewhere"
    server.cut_after = 1000
    with pytest.raises(DownloadError, match="was cut off"):
        fetch(WHAT, tmp_path / "file.bin")
    assert fetch(WHAT, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests[-1] == ("/elsewhere", "bytes=1000-")


def test_no_network_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_INCEPTION_WEIGHTS_URL", "http://127.0.0.1:9")  # nobody there
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    from keras_inception.cli import main

    assert main(["weights", "verify", "imagenet", "--model", "InceptionV4"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("keras-inception weights: http://127.0.0.1:9/download.tensorflow.org/")
    assert "could not be downloaded: [Errno 111] Connection refused." in line


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    server.slow = 1.0
    script = (
        "import sys; from pathlib import Path\n"
        "from keras_inception.weights.download import Published, fetch\n"
        "print(fetch(Published(*sys.argv[1:3]), Path(sys.argv[3])).stat().st_size)\n"
    )
    arguments = [sys.executable, "-c", script, WHAT.url, SHA256, str(tmp_path / "file.bin")]
    processes = [
        subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ))
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == [b"512000"] * 2
    assert server.requests == [(PATH, None)]
    assert names(tmp_path) == {"file.bin"}


def test_imagenet(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the way: TF-Slim's archive with a checkpoint of 2016 in it, into Inception v1."""
    values = random_values(released("inception_v1"))
    write_v1(tmp_path / "inception_v1.ckpt", values)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "inception_v1.ckpt", "inception_v1.ckpt")
    published = CATALOGUE["InceptionV1"].weights
    what = published["slim/inception_v1"]
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    monkeypatch.setitem(published, "slim/inception_v1", replace(what, hash=f"sha256:{digest}"))
    server.files["/" + what.url.partition("://")[2]] = archive.getvalue()
    model = keras_inception.InceptionV1(weights="imagenet")
    assert model.get_layer("inception_3a_branch_2_b_3x3")  # of TF-Slim's variant
    np.testing.assert_array_equal(
        model.get_layer("logits").bias, values["InceptionV1/Logits/Conv2d_0c_1x1/biases"][1:]
    )
    assert load_weights(model, "imagenet:slim/inception_v1") == []
    assert len(server.requests) == 1
    folder = tmp_path / "keras/models/keras_inception/slim/inception_v1"
    assert names(folder) == {"unpacked"}


def test_every_network_has_its_weights() -> None:
    for entry in CATALOGUE.values():
        if entry.imagenet:
            assert entry.published("imagenet") == entry.imagenet
            assert entry.imagenet in entry.weights
    assert find("inception_v3").published("imagenet", include_top=False) == (
        "keras/inception_v3_notop"
    )
    v4 = find("inception_v4")
    assert v4.published("imagenet:timm/inception_v4.tf_in1k") == "timm/inception_v4.tf_in1k"
    with pytest.raises(ValueError, match="inception_resnet_v1: none were ever published"):
        find("inception_resnet_v1").locate("imagenet")
    with pytest.raises(ValueError, match=r"there are imagenet:slim/inception_v4, imagenet:timm"):
        v4.locate("imagenet:keras/inception_v4")


def test_published_weights_name_a_preprocessing_that_there_is() -> None:
    for entry in CATALOGUE.values():
        for name, what in entry.weights.items():
            assert preprocessing_of(f"imagenet:{name}", entry.size) == named(
                what.preprocessing, entry.size
            )
    assert preprocessing_of("imagenet:slim/inception_v4", 299).resize == "stretch"
    assert preprocessing_of("some/file.ckpt", 299) == named("default", 299)


def test_the_progress_of_a_download_is_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """On a terminal; elsewhere nothing is."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fetch(WHAT, tmp_path / "file.bin")
    assert "file.bin" in capsys.readouterr().err
