"""The script that brings models from an object store, with a folder in the store's place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.production.manifests import KUBERNETES

SCRIPT = KUBERNETES / "components" / "object-store" / "fetch-models.sh"

# The two commands of rclone that the script has, on folders.
RCLONE = """\
#!/bin/sh
set -e
test ! -e "$BROKEN" || { echo "no network" >&2; exit 1; }
case "$1" in
lsf) cd "$6" && find . -mindepth 3 -maxdepth 3 -name saved_model.pb | sed 's|^./||' ;;
copy) mkdir -p "$3" && cp -r "$2/." "$3" ;;
*) exit 2 ;;
esac
"""


@pytest.fixture(params=["stand-in", "rclone"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "rclone" and not shutil.which("rclone"):
        pytest.skip("rclone is not installed")
    if request.param == "stand-in":
        (tmp_path / "bin").mkdir()
        stand_in = tmp_path / "bin" / "rclone"
        stand_in.write_text(RCLONE)
        stand_in.chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SOURCE": str(tmp_path / "store"),
        "BROKEN": str(tmp_path / "broken"),
        "HOME": str(tmp_path),
    }


def publish(store: str, name: str, version: int, *, finished: bool = True) -> None:
    folder = Path(store) / name / str(version)
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_text(f"weights of {version}")
    if finished:
        (folder / "saved_model.pb").write_text(f"{name} {version}")


def versions(folder: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in folder.glob("[!.]*/*")}


def test_the_newest_finished_versions_are_fetched(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for version in (8, 9, 10, 11):
        publish(environment["SOURCE"], "photos", version)
    publish(environment["SOURCE"], "photos", 12, finished=False)
    publish(environment["SOURCE"], "digits", 1)
    target = tmp_path / "models"
    target.mkdir()
    subprocess.run(["sh", SCRIPT, target], env=environment, check=True)
    expected = {"photos/9", "photos/10", "photos/11", "digits/1"}
    assert versions(target) == expected
    for each in expected:
        index = target / each / "variables" / "variables.index"
        assert index.read_text() == f"weights of {each.split('/')[1]}"
        assert (target / each / "saved_model.pb").read_text() == each.replace("/", " ")


def test_a_store_that_does_not_answer_stops_the_start(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Else the server would wait for models for ever."""
    environment["SOURCE"] = str(tmp_path / "nowhere")
    done = subprocess.run(["sh", SCRIPT, tmp_path], env=environment, capture_output=True)
    assert done.returncode != 0


def test_new_versions_appear_while_it_watches(environment: dict[str, str], tmp_path: Path) -> None:
    """After a time without network, too."""
    publish(environment["SOURCE"], "photos", 1)
    target = tmp_path / "models"
    target.mkdir()
    with subprocess.Popen(
        ["sh", SCRIPT, target, "0.1"], env=environment, stderr=subprocess.PIPE
    ) as watch:
        try:
            wait_for(target, "photos/1")
            Path(environment["BROKEN"]).touch()
            assert watch.stderr is not None
            if (tmp_path / "bin").exists():  # rclone itself does not break on demand
                while b"Not fetched; again in 0.1 s" not in watch.stderr.readline():
                    assert watch.poll() is None
            publish(environment["SOURCE"], "photos", 2)
            Path(environment["BROKEN"]).unlink()
            wait_for(target, "photos/2")
        finally:
            watch.send_signal(signal.SIGTERM)


def wait_for(folder: Path, version: str) -> None:
    deadline = time.monotonic() + 10
    while version not in versions(folder):
        assert time.monotonic() < deadline, f"{version} never came"
        time.sleep(0.02)
