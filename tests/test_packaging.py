"""What is installed: two distributions, three packages, typed, with the licence, without tests."""

import configparser
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from inception_serving import ModelServer
from inception_serving.version import __version__

ROOT = Path(__file__).parents[1]
# The folder of each distribution, with where its packages are.
DISTRIBUTIONS = {
    ROOT: [ROOT / "keras_inception", ROOT / "export" / "inception_export"],
    ROOT / "serving": [ROOT / "serving" / "inception_serving"],
}


def setup_of(folder: Path) -> configparser.RawConfigParser:
    setup = configparser.RawConfigParser()
    setup.read(folder / "setup.cfg")
    return setup


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=["keras-inception", "inception-serving"])
def test_every_package_is_listed(folder: Path) -> None:
    listed = set(setup_of(folder)["options"]["packages"].split())
    found = {
        ".".join(init.parent.relative_to(top.parent).parts)
        for top in DISTRIBUTIONS[folder]
        for init in top.rglob("__init__.py")
    }
    assert listed == found


def test_both_are_of_one_version() -> None:
    """Its one source is inception_serving/version.py; the requirement has to name it too."""
    needs = setup_of(ROOT)["options"]["install_requires"].split()
    assert f"inception-serving[server]=={__version__}" in needs
    for folder in DISTRIBUTIONS:
        assert setup_of(folder)["metadata"]["version"].endswith(
            "inception_serving.version.__version__"
        )


def test_what_both_require_is_of_the_same_bounds() -> None:
    def bounds(folder: Path) -> dict[str, str]:
        options = setup_of(folder)
        lines = options["options"]["install_requires"].split("\n")
        for extra in options["options.extras_require"].values():
            lines += extra.split("\n")
        pairs = (line.partition(">=") for line in lines)
        return {name.lower(): bound for name, _, bound in pairs if bound}

    ours, clients = bounds(ROOT), bounds(ROOT / "serving")
    both = set(ours) & set(clients)
    assert {"grpcio", "numpy", "protobuf", "httpx", "tensorflow"} <= both
    assert {name: ours[name] for name in both} == {name: clients[name] for name in both}


def build_wheel(folder: Path, output: Path) -> Path:
    # Other builds may be under way in the same folder, which share its `build`.
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", output, folder],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = output.glob("*.whl")
    return wheel


@pytest.mark.slow
@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=["keras-inception", "inception-serving"])
def test_the_wheel_holds_what_it_should(folder: Path, tmp_path: Path) -> None:
    wheel = build_wheel(folder, tmp_path)
    assert wheel.name.split("-")[1] == __version__
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {top.name for top in DISTRIBUTIONS[folder]}
    for package in tops:
        assert f"{package}/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    for top in DISTRIBUTIONS[folder]:
        files = (
            path for path in top.rglob("*") if path.is_file() and "__pycache__" not in str(path)
        )
        # The code, and what it reads: templates, a page, descriptors of messages.
        assert {str(path.relative_to(top.parent)) for path in files} <= set(names)


@pytest.mark.slow
def test_a_client_machine_needs_that_wheel_alone(
    models: Path, photos: Path, tmp_path: Path
) -> None:
    """In an environment with nothing but the wheel and what pip installs for it."""
    wheel = build_wheel(ROOT / "serving", tmp_path)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    bin_ = tmp_path / "bare" / "bin"
    site = next((tmp_path / "bare" / "lib").glob("python*/site-packages"))
    before = size_of(site)
    pip = [bin_ / "pip", "install", "--disable-pip-version-check", "--quiet", "--retries", "0"]
    installed = subprocess.run([*pip, wheel], capture_output=True, text=True)
    if installed.returncode and "No matching distribution" in installed.stderr:
        pytest.skip(f"No package index: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    assert size_of(site) - before < MOST_INSTALLED_BYTES
    listed = subprocess.run(
        [bin_ / "pip", "list", "--format", "json", "--disable-pip-version-check"],
        check=True, capture_output=True,
    )  # fmt: skip
    packages = {each["name"].lower() for each in json.loads(listed.stdout)}
    assert packages - {"pip", "setuptools"} == {
        *("inception-serving", "grpcio", "numpy", "protobuf", "typing_extensions")
    }
    with ModelServer(models) as server:
        served = f"{server.address}/photos"

        def ask(*arguments: str) -> str:
            answer = subprocess.run(
                [bin_ / "inception-serving", *arguments],
                check=True, capture_output=True, text=True, cwd=tmp_path,
                env={"PATH": os.environ["PATH"]},  # without PYTHONPATH
            )  # fmt: skip
            return answer.stdout

        assert "AVAILABLE" in ask("status", served)
        assert "logits(image_bytes: string [?])" in ask("metadata", served)
        image = str(photos / "dawn" / "00.jpg")
        found = json.loads(ask("predict", image, "--with", served, "--format", "json"))
        assert found[0]["labels"] == ["dawn", "dusk"]
        output = tmp_path / "all.csv"
        ask("predict", str(photos), "--with", served, "--output", str(output))
        assert len(output.read_text().splitlines()) == 1 + 40 * 2
        export = str(models / "photos")
        shown = ask("verify", server.address, "--model", "photos", "--export", export)
        assert "answers as" in shown
        bench = ["bench", server.address, "--model", "photos", image]
        assert "p99 ms" in ask(*bench, "--seconds", "0.3", "--warmup", "0.1")


# grpcio, NumPy and protobuf, byte-compiled; NumPy is most of it.
MOST_INSTALLED_BYTES = 130_000_000


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_citation_and_the_changelog_are_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"
    heading = f"## [{__version__}] - {citation['date-released']}\n"
    assert heading in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("citation-file-format", "CITATION.cff"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/wish.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_files_that_others_read_are_as_their_schemas_say(schema: str, file: str) -> None:
    content = yaml.safe_load((ROOT / file).read_text("utf-8"))
    # JSON has no dates.
    content = json.loads(json.dumps(content, default=str))
    jsonschema.validate(content, get_builtin_schema(f"vendor.{schema}"))
