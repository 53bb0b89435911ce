"""Small trainings that are killed, for test_kill.py.

    python -m tests.training.killed FOLDER POINT...

The points are numbers of writes, syncs and renames of files, counted through a training. For each
a training in a process of its own, in FOLDER/POINT, that ends before that one as by `kill -9`.

    python -m tests.training.killed FOLDER every

One training that is not killed, and in FOLDER/POINT what a kill there would have left, for every
point; where only the file being written differs, the last of them is left.

Either way they are all gone on with, and beside them is FOLDER/whole, never killed.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from numpy.lib import format as npy

from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.training import train as module
from keras_inception.training.train import train
from tests.training.test_train import one_convolution

# 12 training images: every other step is followed by a checkpoint within the epoch. The first
# epoch trains the classifier alone, the second all.
RECIPE = RECIPES["small"].with_changes(
    {
        "weights": "imagenet",  # in name; the network is the one below
        "head_epochs": 1,
        "epochs": 2,
        "batch_size": 6,
        "image_size": 28,
        "augment_crop_area": 1.0,
        "augment_flip": True,
        "ema": 0.9,
        "checkpoint_minutes": 1e-9,
        "deterministic": True,
        "validation_fraction": 0.25,
    }
)
module.build = one_convolution  # type: ignore[assignment]
# It would look for these weights.
module.check_settings = lambda *arguments: None  # type: ignore
module.decided_by_weights = lambda recipe: None  # type: ignore[assignment]
# Made from what has been kept, again and again if need be.
module.write_report = module.draw_curves = lambda *arguments, **named: None  # type: ignore


def go(output: Path) -> None:
    """Begin a run, or go on with it."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    data = Examples(("a", "b"), Pixels.of(pixels), np.arange(16) % 2)
    train(data, output, RECIPE, check_images="none", resume=True, log=lambda line: None)


def before_each(act: Callable[[int], None]) -> None:
    """Have `act` called before every sync and rename, and in the middle of writing."""
    passed = arrays = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            nonlocal passed
            passed += 1
            act(passed)
            return function(*arguments, **named)

        return wrapper

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    write, counted_write = npy.write_array, counted(npy.write_array)

    def write_array(*arguments: Any, **named: Any) -> None:
        # A checkpoint has over twenty arrays; some of them will do.
        nonlocal arrays
        arrays += 1
        (counted_write if arrays % 8 == 0 else write)(*arguments, **named)

    npy.write_array = write_array


def kill(folder: Path, points: list[int]) -> None:
    """Train as often as there are points, each in a process of its own, and kill it there."""

    def die(at: int) -> Callable[[int], None]:
        return lambda passed: os._exit(9) if passed == at else None

    for point in points:
        child = os.fork()  # TensorFlow has been imported but has not computed yet
        if child == 0:
            before_each(die(point))
            go(folder / str(point))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def keep_every(folder: Path) -> None:
    """Train once, and keep the run's folder as it is at each point."""
    run = folder / "every"
    seen: dict[bytes, Path] = {}

    def keep(point: int) -> None:
        kept = folder / f"{point:02d}"
        shutil.copytree(run, kept, ignore=shutil.ignore_patterns("logs"))
        files = sorted(each for each in kept.rglob("*") if each.is_file())
        content = [
            (str(each.relative_to(kept)), each.read_bytes())
            for each in files
            if each.suffix != ".tmp"
        ]
        same = hashlib.sha256(repr(content).encode()).digest()
        if same in seen:
            shutil.rmtree(seen[same])
        seen[same] = kept
        (folder / "points").write_text(str(point))

    before_each(keep)
    go(run)
    shutil.rmtree(run)
    os._exit(0)


def main() -> None:
    """See above."""
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["every"]:
        child = os.fork()
        if child == 0:
            keep_every(folder)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        kill(folder, [int(point) for point in sys.argv[2:]])
    for run in sorted(each for each in folder.iterdir() if each.is_dir()):
        go(run)
    go(folder / "whole")


if __name__ == "__main__":
    main()
