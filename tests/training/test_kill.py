"""A run killed at any moment goes on, and ends as if it had not been."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_inception.runs.run import open_run

ROOT = Path(__file__).parents[2]


def check(folder: Path, *points: str) -> int:
    """Kill at the points and go on; how many were killed."""
    command = [sys.executable, "-m", "tests.training.killed", folder, *points]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = open_run(folder / "whole")
    killed = [each for each in folder.iterdir() if each.is_dir() and each.name != "whole"]
    for path in killed:
        run = open_run(path)
        for one, other in zip(
            whole.load_model().get_weights(), run.load_model().get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other, err_msg=path.name)
        for name in ("history.csv", "validation.csv", "labels.txt", "recipe.yaml"):
            assert (run.path / name).read_text() == (whole.path / name).read_text(), path.name
        assert run.record == whole.record, path.name
        for file in ("best.npz", "last.npz"):
            with (
                np.load(whole.path / "checkpoints" / file) as one,
                np.load(run.path / "checkpoints" / file) as other,
            ):
                assert one.files == other.files
                for name in one.files:
                    np.testing.assert_array_equal(one[name], other[name], err_msg=path.name)
        assert not list(path.rglob("*.tmp")), path.name
    return len(killed)


def test_killed_while_writing_a_checkpoint(tmp_path: Path) -> None:
    """By a real end of the process, within an epoch; there is an older checkpoint."""
    assert check(tmp_path, "10") == 1


@pytest.mark.slow
def test_killed_at_every_write_sync_and_rename(tmp_path: Path) -> None:
    assert check(tmp_path, "every") > 8
    assert int((tmp_path / "points").read_text()) > 35
