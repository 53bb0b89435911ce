"""Imports run one way, and importing a package loads nothing heavy."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "keras_inception", ROOT / "export", ROOT / "serving"]

# What each part may import of ours, itself always included; longest name first.
MAY_IMPORT = {
    "keras_inception.data": set(),
    "keras_inception.weights": set(),
    "keras_inception.models": {"keras_inception.weights"},
    "keras_inception.training": {
        "keras_inception.data",
        "keras_inception.published.imagenet",
        "keras_inception.models",
    },
    "inception_serving": set(),
    "inception_export": {"keras_inception.data", "keras_inception.training"},
    "keras_inception.commands": {
        "keras_inception.data",
        "keras_inception.models",
        "keras_inception.training",
        "keras_inception.published.conversion",
        "keras_inception.inference.evaluate",
        "keras_inception.inference.predict",
        "keras_inception.inference.predictors",
        "inception_export",
        "inception_serving",
    },
    # What asks runs, exports and servers alike.
    "keras_inception.inference.predict": {"keras_inception.inference.predictors"},
    "keras_inception.inference.evaluate": {
        "keras_inception.inference.columns",
        "keras_inception.data",
        "keras_inception.inference.predictors",
        "keras_inception.training",
    },
    "keras_inception.inference.columns": {
        "keras_inception.data",
        "keras_inception.inference.predictors",
    },
    "keras_inception.inference.predictors": {
        "keras_inception.data",
        "keras_inception.training",
        "inception_serving",
    },
    # Published weights, their images and class names.
    "keras_inception.published.imagenet": {"keras_inception.data", "keras_inception.weights"},
    "keras_inception.published.conversion": {"keras_inception.models", "keras_inception.weights"},
    # The top: public names, loaded on first use, and the command.
    "keras_inception": {
        "keras_inception.commands",
        "keras_inception.published.conversion",
        "keras_inception.inference.evaluate",
        "keras_inception.published.imagenet",
        "keras_inception.inference.predict",
        "keras_inception.models",
        "keras_inception.training",
        "keras_inception.weights",
        "inception_serving",
    },
}
PARTS = sorted(MAY_IMPORT, key=len, reverse=True)


def part_of(module: str) -> str | None:
    return next((part for part in PARTS if f"{module}.".startswith(f"{part}.")), None)


def modules() -> list[tuple[str, Path]]:
    found = []
    for source in SOURCES:
        root = source.parent if source.name == "keras_inception" else source
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found.append((".".join(part for part in parts if part != "__init__"), path))
    return found


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_imports_run_one_way(module: str, path: Path) -> None:
    own = part_of(module)
    assert own is not None
    for name in imported(path):
        part = part_of(name)
        if name == "keras_inception.version.__version__" or part in (None, own):
            continue
        assert part in MAY_IMPORT[own], f"{module} must not import {name}"


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("from keras_inception.training.train import train\n")
    (name,) = imported(path)
    assert part_of(name) == "keras_inception.training"
    assert part_of(name) not in MAY_IMPORT["keras_inception.models"]


@pytest.mark.parametrize("package", ["keras_inception", "inception_export", "inception_serving"])
def test_importing_a_package_loads_neither_keras_nor_tensorflow(package: str) -> None:
    script = (
        f"import sys, {package}\n"
        "heavy = {'keras', 'tensorflow', 'grpc', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    path = [str(ROOT), str(ROOT / "export"), str(ROOT / "serving")]
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n{script}"], check=True
    )


@pytest.mark.parametrize(
    "command",
    [
        *("", "train", "recipes", "augment-preview", "data", "evaluate", "report"),
        *("export", "serve", "predict", "weights", "weights verify"),
    ],
)
def test_help_answers_at_once(command: str) -> None:
    arguments = [sys.executable, "-m", "keras_inception", *command.split(), "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "usage: keras-inception" in answer.stdout
    # The processor's time, which other processes do not lengthen as they do the clock's.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
