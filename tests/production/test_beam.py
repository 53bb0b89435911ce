"""Batch scoring by Beam, in its own environment, on 2,000 images: `make beam`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.production.manifests import SERVING
from tests.serving.saved_models import save_colours

PYTHON = SERVING.parent / ".venv-beam" / "bin" / "python"
IMAGES = 2000

pytestmark = [
    pytest.mark.slow,
    # What `make beam` leaves last: one that was interrupted has a Python and no packages.
    pytest.mark.skipif(
        not (PYTHON.parents[1] / ".installed").exists(), reason="`make beam` makes the environment"
    ),
]

# The rows of Parquet files, as JSON.
READ = """\
import json, sys
import pyarrow.parquet
rows = [row for path in sys.argv[1:] for row in pyarrow.parquet.read_table(path).to_pylist()]
json.dump(rows, sys.stdout)
"""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "colours" / "1"
    save_colours(path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 in ten folders, and two files that are none."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        place = folder / str(number % 10)
        place.mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    (folder / "3" / "empty.png").write_bytes(b"")
    (folder / "7" / "text.png").write_bytes(b"no image")
    return folder


def command(export: Path, images: Path, output: Path, *more: str) -> list[str]:
    score = str(SERVING / "beam" / "score.py")
    given = [f"--export={export}", f"--images={images}/**", f"--output={output}"]
    return [str(PYTHON), score, *given, *more]


def rows(folder: Path, pattern: str) -> list[dict[str, Any]]:
    paths = sorted(map(str, folder.glob(pattern)))
    assert paths
    done = subprocess.run([PYTHON, "-c", READ, *paths], check=True, capture_output=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def check(folder: Path, export: Path, images: Path) -> None:
    """Each image once, with the export's own answer; each that is none with its reason."""
    failed = rows(folder, "scores-failed-*.parquet")
    formats = "JPEG, JPEG XL, PNG, GIF, BMP, WebP"
    assert {Path(row["path"]).name: row["error"] for row in failed} == {
        "empty.png": "Input is empty.",
        "text.png": f"Unknown image file format. One of {formats} required.",
    }
    assert len(failed) == 2
    scored = {row["path"]: row for row in rows(folder, "scores-0*.parquet")}
    paths = sorted(str(path) for path in images.rglob("*.png") if path.stem.isdigit())
    assert sorted(scored) == paths
    assert len(rows(folder, "scores-0*.parquet")) == IMAGES
    call = tf.saved_model.load(str(export)).signatures["serving_default"]
    answers = call(image_bytes=tf.constant([Path(path).read_bytes() for path in paths]))
    for path, classes, scores in zip(
        paths, answers["classes"].numpy(), answers["scores"].numpy(), strict=True
    ):
        assert scored[path]["classes"] == [each.decode() for each in classes]
        np.testing.assert_allclose(scored[path]["scores"], scores, atol=1e-6)


def test_a_run_that_was_killed_leaves_nothing_and_is_run_again(
    export: Path, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores"
    with subprocess.Popen(command(export, images, output), stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("beam-temp-*")):  # it has begun
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        run.kill()
    assert not list(tmp_path.glob("*.parquet"))
    subprocess.run(command(export, images, output), check=True, capture_output=True)
    check(tmp_path, export, images)


def test_several_processes_give_the_same(export: Path, images: Path, tmp_path: Path) -> None:
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
    subprocess.run(
        command(export, images, tmp_path / "scores", *workers),
        check=True, capture_output=True, env=environment,
    )  # fmt: skip
    check(tmp_path, export, images)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--export=nowhere"], "--export must be the folder of one version.* Received: nowhere"),
        (["--signature=nope"], "as these do: serving_default. Received: nope"),
        (["--batch-size=0"], "--batch-size must be 1 or more. Received: 0"),
    ],
)
def test_mistakes_are_told_before_any_image_is_read(
    export: Path, images: Path, tmp_path: Path, options: list[str], rule: str
) -> None:
    done = subprocess.run(
        command(export, images, tmp_path / "scores", *options), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert re.search(rule, done.stderr.splitlines()[-1])
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_text(export: Path, images: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.mkdir()
    content = next(iter((images / "0").iterdir())).read_bytes()
    (names / os.fsdecode(b"\xfc\n.png")).write_bytes(content)
    subprocess.run(command(export, names, tmp_path / "scores"), check=True, capture_output=True)
    (row,) = rows(tmp_path, "scores-0*.parquet")
    assert row["path"] == f"{names}/\\udcfc\n.png"


def test_answers_that_are_there_are_not_mixed_with_new_ones(
    export: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores-00000-of-00001.parquet").write_bytes(b"")
    done = subprocess.run(
        command(export, images, tmp_path / "scores"), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--output must not be there yet. Received: " in done.stderr


def test_a_pattern_of_nothing_is_refused(export: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(export, tmp_path / "nowhere", tmp_path / "scores"), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--images matches no file. Received: " in done.stderr
