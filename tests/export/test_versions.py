"""Versions listed, pruned and withdrawn, the one that is served never touched."""

import json
from pathlib import Path

import pytest

from inception_export.versions import (
    VersionError,
    list_versions,
    next_version,
    prune,
    withdraw,
)
from keras_inception.cli import main


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in (1, 2, 3, 10):
        extra = tmp_path / "m" / str(number) / "assets.extra"
        extra.mkdir(parents=True)
        manifest = {"model": "inception_v1", "metrics": {"accuracy": number / 10}}
        (extra / "keras_inception.json").write_text(json.dumps(manifest))
    (tmp_path / "m" / ".tmp-11").mkdir()
    (tmp_path / "m" / "notes").mkdir()
    return tmp_path / "m"


def numbers(home: Path) -> list[int]:
    return [export.version for export in list_versions(home)]


def test_versions_are_numbers_the_newest_first(home: Path) -> None:
    assert numbers(home) == [10, 3, 2, 1]
    assert list_versions(home)[0].manifest["metrics"]["accuracy"] == 1.0
    assert list_versions(home)[0].size > 0
    assert next_version(home) == 11


def test_prune_keeps_the_newest_and_those_in_use(home: Path) -> None:
    assert [each.version for each in prune(home, 2, frozenset({1}))] == [2]
    assert numbers(home) == [10, 3, 1]
    with pytest.raises(VersionError, match="keep=0"):
        prune(home, 0)


def test_withdraw_falls_back_and_can_be_undone(home: Path) -> None:
    newest, before = withdraw(home)
    assert (newest.version, before.version) == (10, 3)
    assert numbers(home) == [3, 2, 1]
    assert next_version(home) == 11
    (home / ".withdrawn-10").rename(home / "10")
    assert numbers(home) == [10, 3, 2, 1]


def test_the_only_version_is_not_withdrawn(home: Path) -> None:
    prune(home, 1)
    with pytest.raises(VersionError, match="has 1 version; withdrawing"):
        withdraw(home)
    assert numbers(home) == [10]


def test_the_command_lists_prunes_and_rolls_back(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versions", str(home)]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["versions", str(home), "--keep", "3"]) == 0
    assert "Removed version 1" in capsys.readouterr().out
    assert main(["versions", str(home), "--rollback"]) == 0
    assert "Withdrew version 10; the newest is now 3." in capsys.readouterr().out
    assert main(["versions", str(home / "nowhere")]) == 1
    assert "There is no model's folder" in capsys.readouterr().err


def test_names_are_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    extra = tmp_path / "m" / "20260101" / "assets.extra"
    extra.mkdir(parents=True)
    manifest = {
        "model": "inception_resnet_v2_of_ours[bold]",
        "classes": 1000,
        "precision": "mixed_bfloat16",
        "metrics": {"mean_average_precision": 0.9, "loss": 0.1},
        "parity": {"probabilities": 1e-7},
    }
    (extra / "keras_inception.json").write_text(json.dumps(manifest))
    assert main(["versions", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    for name in ("20260101", manifest["model"], "mixed_bfloat16", "mean_average_precision 0.9000"):
        assert name in said


def test_a_server_follows_a_rollback_without_a_failed_request(
    models: Path, run, photos: Path, tmp_path: Path
) -> None:
    import shutil
    import time

    from inception_serving import Client, ModelServer

    home = tmp_path / "base" / "photos"
    for version in ("1", "2"):
        shutil.copytree(models / "photos" / "1", home / version)
    image = photos / "dawn" / "00.jpg"
    with (
        ModelServer(tmp_path / "base", poll_s=0.1) as server,
        Client(server.address, model="photos") as client,
    ):
        assert server.models == {"photos": 2}
        withdraw(home)
        deadline = time.monotonic() + 60
        while server.models != {"photos": 1}:
            assert client.predict(image).label == "dawn"
            assert time.monotonic() < deadline
        assert client.predict(image).label == "dawn"
