"""Downloads, by the code that downloads: against a server on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import keras_inception
from keras_inception import load_weights
from keras_inception.cli import main
from keras_inception.data.preprocessing import named
from keras_inception.models.catalogue import CATALOGUE, find, find_published
from keras_inception.models.weight_files import open_for
from keras_inception.published.imagenet import preprocessing_of
from keras_inception.weights.download import DownloadError, Published, fetch, mirrored
from tests.weights.checkpoints import Values, random_values, released, write_v1
from tests.weights.mirror import archived, mirror, publish
from tests.weights.server import Server

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 2000  # 512,000 bytes
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
WHAT = Published("https://example.com/there/file.bin", SHA256)
PATH = "/example.com/there/file.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A mirror that has the file, and a cache that is empty."""
    with mirror(monkeypatch, tmp_path / "keras") as served:
        served.files[PATH] = CONTENT
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
    with pytest.raises(DownloadError, match=r"first .*, recorded in .*bin\.sha256. If .*forget"):
        fetch(replace(WHAT, hash=""), path)
    assert not path.exists()


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:100])
    assert fetch(WHAT, tmp_path / "file.bin").read_bytes() == CONTENT


def test_404(server: Server, tmp_path: Path) -> None:
    del server.files[PATH]
    with pytest.raises(DownloadError, match=r"file.bin answers 404 Not Found\. Where it can't be"):
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
    assert "KERAS_INCEPTION_WEIGHTS_URL names a mirror, which has https://HOST/PATH under" in line


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


@pytest.fixture(scope="module")
def slim_v1(tmp_path_factory: pytest.TempPathFactory) -> tuple[Values, bytes]:
    """TF-Slim's Inception v1 with random values, and its archive: a checkpoint of 2016."""
    folder, values = tmp_path_factory.mktemp("slim"), random_values(released("inception_v1"))
    return values, archived(write_v1(folder / "inception_v1.ckpt", values))


def test_imagenet(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slim_v1: tuple[Values, bytes],
) -> None:
    """All the way: TF-Slim's archive with a checkpoint of 2016 in it, into Inception v1."""
    values, content = slim_v1
    publish(content, server, monkeypatch, hashed=True)
    model = keras_inception.InceptionV1(weights="imagenet")
    assert model.get_layer("inception_3a_branch_2_b_3x3")  # of TF-Slim's variant
    np.testing.assert_array_equal(
        model.get_layer("logits").bias, values["InceptionV1/Logits/Conv2d_0c_1x1/biases"][1:]
    )
    assert load_weights(model, "imagenet:slim/inception_v1") == []
    assert len(server.requests) == 1
    folder = tmp_path / "keras/models/keras_inception/slim/inception_v1"
    assert names(folder) == {"unpacked"}


def test_what_has_no_published_hash_is_compared_with_the_network(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    slim_v1: tuple[Values, bytes],
) -> None:
    """A login page, an archive of something else, values that no training leaves, a bomb."""
    values, content = slim_v1
    what = publish(content, server, monkeypatch, hashed=False)
    path = "/" + what.url.partition("://")[2]
    entry = find("inception_v1")
    folder = tmp_path / "keras/models/keras_inception/slim/inception_v1"
    name = "InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1/BatchNorm/moving_variance"

    def variant(**changes: np.ndarray | None) -> bytes:
        kept = {n: v for n, v in (values | changes).items() if v is not None}
        return archived(write_v1(tmp_path / "inception_v1.ckpt", kept))

    (tmp_path / "page.ckpt").write_bytes(b"<!DOCTYPE html><title>Log in</title>")
    (tmp_path / "zeros.ckpt").write_bytes(bytes(1 << 26))
    for sent, message in (
        (b"<!DOCTYPE html><title>Log in</title>", r"inception_v1.*gz\.part is damaged, or cut"),
        (archived(tmp_path / "page.ckpt"), "holds no weights that can be read.* It is a web page"),
        (archived(tmp_path / "zeros.ckpt"), "is not unpacked: 67,108,864 bytes are to come out"),
        (content[: len(content) // 2], "is damaged, or cut short"),
        (variant(**{name: None}), f"Missing: .*{name}"),
        (variant(**{name: values[name] * np.nan}), f"is damaged: {name} is no weight"),
        (variant(**{name: -values[name]}), f"is damaged: {name} is no weight"),
    ):
        server.files[path] = sent
        with pytest.raises(DownloadError, match=rf"^What http.* sent was not kept: .*{message}"):
            open_for(entry, "imagenet")
        assert names(folder) == set()
    server.files[path] = content
    open_for(entry, "imagenet")
    assert names(folder) == {"unpacked", f"{Path(path).name}.sha256"}
    # What was recorded decides from now on, until it is forgotten.
    for kept in ("unpacked", None):
        if kept:
            shutil.rmtree(folder / kept)
            server.files[path] = variant(**{name: values[name] + 1})
            with pytest.raises(DownloadError, match="keras-inception weights forget` undoes"):
                open_for(entry, "imagenet")
            assert main(["weights", "forget", "imagenet:InceptionV1"]) == 0
            assert f"{Path(path).name}.sha256" in capsys.readouterr().out
        open_for(entry, "imagenet")
    assert main(["weights", "forget", "imagenet:slim/inception_v1"]) == 0
    assert names(folder) == set()
    assert main(["weights", "forget", "imagenet:slim/inception_v1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing is kept of slim/inception_v1."


def test_a_login_page_in_place_of_a_file_with_a_hash(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = b"\n<html><title>Log in</title></html>"
    with pytest.raises(DownloadError, match=r"as published\. What came is a web page"):
        fetch(WHAT, tmp_path / "file.bin")


def test_another_range_than_was_asked_for(server: Server, tmp_path: Path) -> None:
    """A proxy that answers with some other piece: it is not joined to what is there."""
    server.cut_after = 200_000
    what = replace(WHAT, hash="")
    with pytest.raises(DownloadError):
        fetch(what, tmp_path / "file.bin")
    server.shifted = 1000
    assert fetch(what, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [(PATH, None), (PATH, "bytes=200000-"), (PATH, None)]


def test_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://huggingface.co/timm/x/resolve/main/model.safetensors"
    monkeypatch.delenv("KERAS_INCEPTION_WEIGHTS_URL", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert mirrored(url) == "https://hub.example/timm/x/resolve/main/model.safetensors"
    assert mirrored(WHAT.url) == WHAT.url
    monkeypatch.setenv("KERAS_INCEPTION_WEIGHTS_URL", "https://mirror.example/weights/")
    assert mirrored(WHAT.url) == "https://mirror.example/weights/example.com/there/file.bin"


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


def test_published_weights_bring_a_protocol_that_there_is() -> None:
    for entry in CATALOGUE.values():
        for name, what in entry.weights.items():
            protocol = preprocessing_of(f"imagenet:{name}", entry.size)
            assert protocol == replace(named(what.preprocessing, entry.size), **what.protocol)
    assert preprocessing_of("imagenet:slim/inception_v4", 299).resize == "stretch"
    timm = preprocessing_of("imagenet:timm/inception_resnet_v2.tf_in1k", 299)
    assert (timm.interpolation, timm.crop, timm.mean[0]) == ("bicubic", 0.8975, 127.5)
    gluon = preprocessing_of("imagenet:timm/inception_v3.gluon_in1k", 299)
    assert (gluon.interpolation, gluon.crop, gluon.mean[0]) == ("bicubic", 0.875, 123.675)
    assert preprocessing_of("some/file.ckpt", 299) == named("default", 299)


def test_published_weights_are_found_by_their_network_or_their_own_name() -> None:
    assert find_published("imagenet:InceptionV4") == (
        CATALOGUE["InceptionV4"],
        "slim/inception_v4",
    )
    timm = "timm/inception_v3.gluon_in1k"
    assert find_published(f"imagenet:{timm}") == (CATALOGUE["InceptionV3"], timm)
    with pytest.raises(ValueError, match=r"with one of InceptionV1, .*timm/.* Received: 'imagenet"):
        find_published("imagenet:InceptionV9")
    with pytest.raises(ValueError, match="none were ever published"):
        find_published("imagenet:InceptionResNetV1")


def test_the_progress_of_a_download_is_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """On a terminal; elsewhere nothing is."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fetch(WHAT, tmp_path / "file.bin")
    assert "file.bin" in capsys.readouterr().err
