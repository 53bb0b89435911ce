"""The house: imports run one way, rooms stay small, and importing a package loads nothing heavy."""

import ast
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"keras_inception": ROOT, "inception_export": ROOT / "export"}
SOURCES["inception_serving"] = ROOT / "serving"

# What each room may import of ours, itself always included (docs/architecture.md draws it). A
# room's own rooms are in it; what is not named here is the top floor, which may import everything.
_BASE = {"data", "models", "weights"}
ROOMS: dict[str, set[str]] = {
    "data": {"inception_serving"},
    "weights": set(),
    "models": {"weights"},
    "published": _BASE,
    "evaluation": _BASE,
    "runs": _BASE,
    "report": {"evaluation", "runs", "data"},
    "training": {"report", "evaluation", "runs", "published", *_BASE},
    "inception_export": {"evaluation", "runs", "published", *_BASE},
    "inception_serving": set(),
    "inference": {
        *("inception_export", "inception_serving"),
        *("report", "evaluation", "runs", "published", *_BASE),
    },
}
# Names without a home of their own, for all.
FOR_ALL = {"keras_inception.version", "keras_inception.renamed"}

MODULES_OF_A_ROOM = 14
LINES_OF_A_FUNCTION = 60
PARAMETERS = 12
# keras.applications's parameters with ours behind them.
BUILDERS = "keras_inception.models.application"


def room_of(module: str) -> str | None:
    """The room a module is in; ``None`` for the top floor, and for what is not ours."""
    parts = [*module.split("."), ""]
    name = parts[1] if parts[0] == "keras_inception" else parts[0]
    return name if name in ROOMS else None


def modules() -> list[tuple[str, Path]]:
    found = []
    for package, root in SOURCES.items():
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found.append((".".join(part for part in parts if part != "__init__"), path))
    return found


MODULES = modules()
NAMES = {module for module, _ in MODULES}


def imported(path: Path) -> list[str]:
    """What a file imports: ``package.module`` or ``package.module.name``."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    return next((each for each in (name, name.rpartition(".")[0]) if each in NAMES), None)


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[module for module, _ in MODULES])
def test_imports_run_one_way(module: str, path: Path) -> None:
    own = room_of(module)
    for name in map(module_of, imported(path)):
        if own is None or name is None or name in FOR_ALL or room_of(name) == own:
            continue
        assert room_of(name) in ROOMS[own], f"{module} must not import {name}"


def test_no_circle_of_modules_or_rooms() -> None:
    """Nor among the rooms within a room; a file beside rooms counts as one."""
    arrows = {
        module: {name for name in map(module_of, imported(path)) if name} - {module}
        for module, path in MODULES
    }
    for depth in (2, 3, 4):
        graph: dict[str, set[str]] = {}
        for module, names in arrows.items():
            own = ".".join(module.split(".")[:depth])
            others = {".".join(name.split(".")[:depth]) for name in names if name not in PACKAGES}
            if module not in PACKAGES:
                graph.setdefault(own, set()).update(others - {own})
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"A circle: {' <- '.join(error.args[1])}")


PACKAGES = {module for module, path in MODULES if path.name == "__init__.py"}


def test_no_room_is_a_hall() -> None:
    """`commands` is a file a command."""
    rooms = Counter(path.parent for _, path in MODULES if path.name != "__init__.py")
    halls = {
        str(room.relative_to(ROOT)): count
        for room, count in rooms.items()
        if count > MODULES_OF_A_ROOM and room.name != "commands"
    }
    assert not halls


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def test_functions_are_short() -> None:
    """Without their docstring."""
    long = {}
    for module, node in functions():
        first = node.body[0]
        documented = ast.get_docstring(node) is not None
        docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
        lines = (node.end_lineno or 0) - node.lineno + 1 - docstring
        if lines > LINES_OF_A_FUNCTION:
            long[f"{module}.{node.name}"] = lines
    assert not long


def test_parameter_lists_are_short() -> None:
    """A builder's follows keras.applications's."""
    many = {}
    for module, node in functions():
        count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        if count > PARAMETERS and module != BUILDERS:
            many[f"{module}.{node.name}"] = count
    assert not many


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[module for module, _ in MODULES])
def test_a_module_says_what_it_is(module: str, path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert docstring
    assert not docstring.startswith(("What", "Which", "How ", "Where", "Whether", "Looking"))


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("from keras_inception.training.train import train\n")
    (name,) = imported(path)
    assert module_of(name) == "keras_inception.training.train"
    assert room_of(name) == "training"
    assert room_of(name) not in ROOMS["models"]


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
        *("export", "serve", "status", "predict", "weights", "weights verify"),
    ],
)
def test_help_answers_at_once(command: str) -> None:
    arguments = [sys.executable, "-m", "keras_inception", *command.split(), "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "usage: keras-inception" in answer.stdout
    # The processor's time, which other processes lengthen less than they do the clock's: a slow one
    # takes 0.3 s, beside others 0.6; with TensorFlow some seconds.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
