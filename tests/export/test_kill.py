"""An export killed at any moment leaves the whole version, or nothing that a server would load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Exports a small network and kills itself, without any clean-up, at the n-th of the calls that
# change the disk. The comparison is left out: it changes nothing there.
SCRIPT = """
import os, shutil, sys
from pathlib import Path
import keras
import tensorflow as tf
from inception_export import publish
from keras_inception.data.preprocessing import Preprocessing

base, at = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def killing(function):
    def wrapper(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os._exit(9)
        return function(*arguments, **options)
    return wrapper

keras.utils.set_random_seed(0)
image = keras.Input((32, 32, 3))
x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
zeros = dict.fromkeys(["probabilities", "mean_probabilities", "logits", "features", "top1"], 0.0)
publish.compare = lambda *arguments: zeros
publish.write_saved_model = killing(publish.write_saved_model)
publish.write_warmup_requests = killing(publish.write_warmup_requests)
publish._sync_one = killing(publish._sync_one)
for name in ("mkdir", "write_text", "rename", "write_bytes"):
    setattr(Path, name, killing(getattr(Path, name)))
publish.export_saved_model(
    model, base, "m", labels=("a", "b"), preprocessing=Preprocessing(size=32), log=lambda line: None
)
print("CALLS", calls)
"""


def export(base: Path, at: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "export", "serving"))
    }
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, base, str(at)],
        env=environment,
        capture_output=True,
        text=True,
    )


def versions(base: Path) -> list[Path]:
    home = base / "m"
    return [path for path in home.iterdir() if path.name.isdecimal()] if home.is_dir() else []


@pytest.mark.slow
def test_killed_at_every_change_of_the_disk(tmp_path: Path) -> None:
    whole = export(tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout.split()[-1])
    (published,) = versions(tmp_path / "whole")
    files = sorted(path.relative_to(published) for path in published.rglob("*"))
    assert calls > 15
    # The syncs of single files are alike: every second call up to them, and the last three.
    points = [at for at in range(1, calls + 1) if (at <= 9 and at % 2) or at >= calls - 2]
    seen = set()
    for at in points:
        base = tmp_path / str(at)
        assert export(base, at).returncode == 9
        for version in versions(base):
            assert sorted(path.relative_to(version) for path in version.rglob("*")) == files
        seen.add(len(versions(base)))
    assert seen == {0, 1}, "one point lies before the rename, one behind it"

    # The next export cleans up what a killed one left, and takes its number.
    base = tmp_path / str(points[3])
    assert list((base / "m").glob(".tmp-*"))
    assert export(base, 0).returncode == 0
    assert not list((base / "m").glob(".tmp-*"))
    assert [path.name for path in versions(base)] == ["1"]
