"""What the pages tell to type is run as it stands, page by page, in one folder with one server.

Trainings take one epoch of a small network, by options behind those of the page. Whatever can't
be run here is marked on its page, with the reason.
"""

import ast
import asyncio
import contextlib
import csv
import inspect
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from inception_export.export import ExportError
from inception_export.int8.support import check_runs
from inception_serving import AsyncClient, Client
from inception_serving.server import ModelServer
from keras_inception import RECIPES, InceptionV1, save_weights, train
from keras_inception.cli import main
from keras_inception.runs.run import Run
from tests.pages import PAGES, ROOT, blocks
from tests.training.test_train import one_convolution

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "checked_here")]
# test_readme.py runs the README; the other pages in Chinese tell to type what the English ones do.
ELSEWHERE = {Path("README.md"), Path("README.zh-CN.md")}
ELSEWHERE |= {page for page in PAGES if page.match("docs/zh/*.md") and page.stem != "cluster"}
BLOCKS = {page: [each for each in blocks(page) if not each.not_run] for page in PAGES}


@pytest.fixture(scope="module")
def folder(photos: Path, run: Run, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything that the pages take for granted: images, runs, exports, weights."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("PHOTOS", "TEST_PHOTOS", "SOME_PHOTOS", "DATA", "CELLS"):
        shutil.copytree(photos, folder / name)
    for name in ("ANOTHER.jpg", "photo.jpg", "a.jpg"):
        shutil.copy(photos / "dawn" / "00.jpg", folder / name)
    shutil.copy(photos / "dusk" / "01.png", folder / "b.png")
    write_tables(folder)
    tiny = RECIPES["small"].with_changes({"epochs": 1, "precision": "float32"})
    with of_one_convolution():
        path = train(photos, folder / "RUN", tiny, log=lambda line: None).path
    for name in ("photos", "mine"):
        shutil.copytree(path, folder / "runs" / name)
    shutil.copytree(run.path, folder / "runs" / "old")
    shutil.copy(path / "model.keras", folder / "MODEL.keras")
    shutil.copy(path / "labels.txt", folder)
    for name in ("photos", "flowers"):
        shutil.copytree(models / "photos", folder / "models" / name)
    slim = InceptionV1(weights=None, variant="slim", classes=1001)
    save_weights(slim, folder / "inception_v1.ckpt")
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    (recipe,) = re.findall(r"^```yaml\n(# mine\.yaml.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "mine.yaml").write_text(recipe)
    return folder


def write_tables(folder: Path) -> None:
    """photos.csv, of one label an image, and several.csv, of one or two."""
    images = sorted((folder / "PHOTOS").rglob("*.jpg"))
    for name, column, more in (("photos", "label", ""), ("several", "labels", "|outdoors")):
        rows = [(path, path.parent.name + more * (i % 2)) for i, path in enumerate(images)]
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", column), *rows])


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ModelServer]:
    with ModelServer(folder / "models", poll_s=0.2) as server:
        yield server


@pytest.mark.parametrize(
    "page", [page for page in PAGES if BLOCKS[page] and page not in ELSEWHERE], ids=str
)
def test_what_the_page_says_works(
    page: Path, folder: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = {
        "asyncio": asyncio,
        "AsyncClient": AsyncClient,
        "paths": ["ANOTHER.jpg"],
        "pixels": np.zeros((1, 40, 30, 3), np.uint8),
        "model": keras.saving.load_model("RUN/model.keras"),
        "batches": [np.zeros((2, 28, 28, 3), np.float32)],
    }
    with Client(server.address, "photos") as client:
        for block in BLOCKS[page]:
            print(block)  # which a failure shows
            if block.language == "python":
                type_python(of_here(block.text, server), names | {"client": client})
            for command in block.commands if block.language == "shell" else ():
                type_command(of_here(command, server), server)


def of_here(text: str, server: ModelServer) -> str:
    return text.replace("localhost:8500", server.address).replace('"cat"', '"dawn"')


def type_python(text: str, names: dict[str, Any]) -> None:
    """Run it, what it awaits at the top too, as a notebook does."""
    if "train(" in text:
        shutil.rmtree("runs/mine", ignore_errors=True)
    code = compile(text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with of_one_convolution():
        if inspect.iscoroutine(result := eval(code, names)):
            asyncio.run(result)


def type_command(command: str, server: ModelServer) -> None:
    words = shlex.split(command, comments=True)
    if "int8" in words:
        try:
            check_runs(lambda line: None)
        except ExportError as error:
            pytest.skip(str(error))
    if words[:2] == ["keras-inception", "serve"]:
        wait_for_the_newest(server)
    elif words[0] != "keras-inception":
        subprocess.run(["bash", "-c", command], check=True)
    elif "--weights" in words:
        assert main(made_small(words[1:])) == 0, command
    else:
        with of_one_convolution():
            assert main(made_small(words[1:])) == 0, command


@contextlib.contextmanager
def of_one_convolution() -> Iterator[None]:
    """No network that is trained is larger."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_inception.training.train.build", one_convolution)
        yield


def wait_for_the_newest(server: ModelServer) -> None:
    """The server serves already; a new version takes it a moment."""
    for model in Path("models").iterdir():
        newest = max(int(path.name) for path in model.iterdir() if path.name.isdigit())
        with Client(server.address, model.name, version=newest) as client:
            client.wait_until_ready(timeout_s=60)


def made_small(words: list[str]) -> list[str]:
    """A command that takes seconds."""
    if words[0] == "bench":
        return [*words, "--seconds", "0.5", "--warmup", "0.1"]
    if words[0] != "train" or "--resume" in words:
        return words
    if "--output" in words:  # of a command before
        shutil.rmtree(words[words.index("--output") + 1], ignore_errors=True)
    fewer = ["--folds", "2"] if "--folds" in words else []
    network = ["--model", "InceptionV1", "--stem", "small", "--width", "0.125", "--no-aux"]
    size = [] if "--weights" in words else ["--image-size", "28"]
    # Of which an accumulated gradient needs as many batches as it is of.
    epochs = "4" if "--gradient-accumulation-steps" in words else "1"
    return [*words, *fewer, *network, *size, "--epochs", epochs, "--weight-decay", "0"]
