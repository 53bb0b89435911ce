"""What the README says to type works as it says."""

import contextlib
import json
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from inception_serving.server import ModelServer
from keras_inception.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for line in re.findall(r"^    (keras-inception .*)$", README, re.MULTILINE)
]


def test_links_lead_somewhere() -> None:
    names = ("README.md", "README.zh-CN.md", "export/README.md", "serving/README.md")
    for readme in (ROOT / name for name in names):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme.read_text("utf-8")):
            assert (readme.parent / target).exists(), f"{readme}: {target}"


def test_the_chinese_page_is_in_step() -> None:
    """The same code, names in code, tables and places to go on."""

    def code(page: str) -> list[str]:
        blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        lines = re.findall(r"^    (\S.*)$", page, re.MULTILINE)
        return blocks + [line.split("    #")[0].rstrip() for line in lines]

    def links(page: str) -> set[str]:
        found = re.findall(r"\]\(([^)]+)\)", page)
        return {each.replace(".zh-CN.", ".") for each in found} - {"README.md"}

    assert code(CHINESE) == code(README)
    assert links(README) <= links(CHINESE)
    assert CHINESE.count("\n| ") == README.count("\n| ")
    assert set(re.findall(r"`[^`\n]+`", README)) <= set(re.findall(r"`[^`\n]+`", CHINESE))


@pytest.mark.parametrize("name", ["flow.svg", "flow.zh-CN.svg"])
def test_the_picture_of_the_flow_is_the_program_s(name: str, tmp_path: Path) -> None:
    figures = ROOT / "docs" / "figures"
    runpy.run_path(str(figures / "draw.py"))["draw_flow"](tmp_path / name)
    assert (tmp_path / name).read_bytes() == (figures / name).read_bytes()


def test_each_result_stands_in_its_file() -> None:
    """Of the table "What it gives", each number as the benchmarks' programs wrote it."""

    def read(name: str) -> Any:
        return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text("utf-8"))

    table = README.split("## What it gives")[1].split("##")[0]
    fashion, speed, export = read("fashion_mnist"), read("training"), read("export")
    seeds = fashion["seeds"].values()
    right, averaged = (
        " and ".join(f"{100 * each['test'][name]:.2f}" for each in seeds)
        for name in ("accuracy", "accuracy, averaged with the mirror image")
    )
    minutes = " and ".join(str(each["minutes, from start to finished run"]) for each in seeds)
    images = {name: f"{of['median']:.1f}" for name, of in speed["images_per_second"].items()}
    gpu = read("gpu_training")["networks"]["v3"]["images_per_second"]
    served = read("serving")["v3"]
    over_grpc = served["served"]["gRPC JPEG, batching, 1 client(s)"]["p50, ms"]
    in_process = served["in-process at batch 1, ms"]
    assert abs(over_grpc / in_process - 1) < 0.1
    sizes, loads = export["served size, MB"], export["load"]
    expected = [
        f"{right} % right, two seeds; {averaged} % averaged with their mirror images",
        f"{minutes} minutes of training",
        f"{images['ours']} images/s in bfloat16; keras.applications"
        f" {images['keras.applications']}, timm under autocast {images['timm, bfloat16 autocast']}",
        f"in float32 {images['ours, float32']}, {images['keras.applications']} and"
        f" {images['timm']}; medians of five rounds",
        f"{median(gpu['ours']):,.0f} images/s; timm under torch.compile {mean(gpu['timm']):,.0f}",
        f"as long as without a server: {over_grpc:.0f} and {in_process:.0f} ms, the medians",
        f"{sizes['ours']:.0f} MB, loaded in {loads['ours']['seconds']['median']:.1f} s;"
        f" `model.export` {sizes['model.export']:.0f} MB,"
        f" {loads['model.export']['seconds']['median']:.1f} s",
    ]
    for each in expected:
        assert each in table, each
    # The Chinese page has the same numbers.
    chinese = CHINESE.split("## 能得到什么")[1].split("##")[0]
    english_numbers, chinese_numbers = (
        sorted(re.findall(r"\d[\d.,]*\d|\d", re.sub(r"\(.*?\)", "", page.split("\n\n")[1])))
        for page in (table, chinese)
    )
    assert english_numbers == chinese_numbers


def test_every_command_is_in_the_help() -> None:
    known = {
        *("models", "describe", "train", "evaluate", "report"),
        *("export", "versions", "serve", "predict"),
    }
    assert {command[0] for command in COMMANDS} == known


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[None]:
    """The command in a process of its own, on the ports that the README names."""
    with subprocess.Popen(
        [sys.executable, "-m", "keras_inception", *command], stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            assert b"gRPC on 127.0.0.1:8500" in server.stdout.readline()
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)
    assert server.returncode == 0


@pytest.mark.slow
def test_the_commands_work_in_their_order(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with PHOTOS, TEST_PHOTOS and ANOTHER.jpg; two epochs are enough here."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "PHOTOS")
    shutil.copytree(photos, "TEST_PHOTOS")
    shutil.copy(photos / "dawn" / "00.jpg", "ANOTHER.jpg")
    with contextlib.ExitStack() as stack:
        for command in COMMANDS:
            if command[0] == "serve":
                stack.enter_context(serving(command))
            else:
                assert main(command + ["--epochs", "2"] * (command[0] == "train")) == 0
    assert Path("inception_v3.svg").read_text().startswith("<")


def test_an_image_is_classified_by_curl(models: Path, photos: Path, tmp_path: Path) -> None:
    """By the line as it stands, but for the port."""
    shutil.copy(photos / "dawn" / "00.jpg", tmp_path / "ANOTHER.jpg")
    (line,) = (line.strip() for line in README.splitlines() if "base64 -w0" in line)
    with ModelServer(models, rest_port=0) as server:
        answer = subprocess.run(
            ["sh", "-c", line.replace("http://localhost:8501", str(server.rest_address))],
            cwd=tmp_path, capture_output=True, check=True,
        )  # fmt: skip
    (prediction,) = json.loads(answer.stdout)["predictions"]
    assert prediction["classes"] == ["dawn", "dusk"]
    assert prediction["scores"][0] > 0.9


def test_the_python_works(
    models: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shutil.copytree(models, "models")
    shutil.copy(photos / "dawn" / "00.jpg", "ANOTHER.jpg")
    for block in re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        exec(block, {})
    assert "labels=('dawn', 'dusk')" in capsys.readouterr().out
