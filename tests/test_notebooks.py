"""The notebooks: each runs in a kernel of its own, and is committed as it ran."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NUMBERED = sorted(FOLDER.glob("[0-9]_*.ipynb"))
LARGEST = 500_000  # bytes
# The exceptions are TensorFlow's variables, as in setup.cfg, and what the kernel itself does.
WARNINGS_ARE_ERRORS = """\
import warnings

warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy")
warnings.filterwarnings("ignore", module="ipykernel")
"""


def name(path: Path) -> str:
    return path.stem


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [each for cell in code(notebook) for each in cell.outputs]


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def written_to_stderr(notebook: nbformat.NotebookNode) -> str:
    streams = [each for each in outputs(notebook) if each.output_type == "stream"]
    return "".join(each.text for each in streams if each.name == "stderr")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_runs_in_a_clean_kernel_and_its_claims_hold(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WARNINGS_ARE_ERRORS))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()  # raises where a cell does: a claim is an assertion
    if path in NUMBERED:
        assert not written_to_stderr(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_is_committed_as_it_ran_from_top_to_bottom(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert outputs(notebook)
    assert not [each for each in outputs(notebook) if each.output_type == "error"]
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NUMBERED, ids=name)
def test_a_notebook_has_no_log_lines_and_no_paths_of_the_machine_that_ran_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not written_to_stderr(notebook)
    text = "".join(each.get("text", "") for each in outputs(notebook))
    assert not [
        folder for folder in ("/home/", "/tmp/", str(Path.home()), str(FOLDER)) if folder in text
    ]


@pytest.mark.parametrize("path", NUMBERED, ids=name)
def test_every_plot_stands_with_an_assertion(path: Path) -> None:
    """In its own cell, or in a cell before the next plot."""
    notebook = nbformat.read(path, as_version=4)
    unproven = None
    for cell in code(notebook):
        if "plt.show()" in cell.source:
            assert unproven is None, unproven
            unproven = cell.source
        if any(line.strip().startswith("assert ") for line in cell.source.splitlines()):
            unproven = None
    assert unproven is None, unproven
