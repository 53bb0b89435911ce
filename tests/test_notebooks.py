"""The notebooks: each runs in a kernel of its own, and is kept as it ran, in both languages."""

import re
import shlex
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from keras_inception.cli import _parser

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
ENGLISH = sorted(FOLDER.glob("[0-9]_*.ipynb"))
CHINESE = sorted((FOLDER / "zh").glob("[0-9]_*.ipynb"))
NOTES = [ROOT / "docs" / "notes.md", ROOT / "docs" / "notes.zh-CN.md"]
LARGEST = 500_000  # bytes
# The exceptions are TensorFlow's variables, as in setup.cfg, and what the kernel itself does.
WARNINGS_ARE_ERRORS = """\
import warnings

warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy")
warnings.filterwarnings("ignore", module="ipykernel")
"""
# "3 §4 [6, 7]": notebook 3, its section 4, and there the cells that ran as In [6] and In [7].
REFERENCE = re.compile(r"\b(\d) §(\d) \[([\d, ]+)\]")
HAN = re.compile("[\u4e00-\u9fff]")


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [each for cell in cells(path, "code") for each in cell.outputs]


def written(path: Path, stream: str) -> str:
    streams = [each for each in outputs(path) if each.output_type == "stream"]
    return "".join(each.text for each in streams if each.name == stream)


def asserts(source: str) -> bool:
    return any(line.strip().startswith("assert ") for line in source.splitlines())


def headings(path: Path) -> list[str]:
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    return re.findall(r"^(#+ (?:\d\. )?)", text, re.MULTILINE)


def links(path: Path) -> list[str]:
    """Without the way from one folder to another, and without the language."""
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    found = re.findall(r"\]\(([^)]+)\)", text)
    return [Path(link).name.replace(".zh-CN.md", ".md") for link in found]


def sections(path: Path) -> dict[int, int]:
    """By the number of each code cell, as it ran: the number of the section that it stands in."""
    found, section = {}, 0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            found[cell.execution_count] = section
        elif numbers := re.findall(r"^## (\d)\. ", cell.source, re.MULTILINE):
            section = int(numbers[-1])
    return found


def rows(notes: Path) -> list[list[str]]:
    """The tables' rows: the claim, the cells, how it stands."""
    lines = [line for line in notes.read_text("utf-8").splitlines() if line.startswith("| ")]
    split = [[part.strip() for part in line.strip("|").split(" | ")] for line in lines]
    return [row for row in split if set(row[0]) != {"-"} and REFERENCE.search(row[1])]


@pytest.mark.slow
@pytest.mark.parametrize("path", ENGLISH, ids=name)
def test_a_notebook_runs_in_a_clean_kernel_and_its_claims_hold(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WARNINGS_ARE_ERRORS))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()  # raises where a cell does: a claim is an assertion
    streams = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    assert not [each.text for each in streams if each.get("name") == "stderr"]


@pytest.mark.parametrize("path", ENGLISH + CHINESE, ids=name)
def test_a_notebook_is_committed_as_it_ran_from_top_to_bottom(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert outputs(path)
    assert not [each for each in outputs(path) if each.output_type == "error"]
    for cell in cells(path, "code"):
        drawn = [each for each in cell.outputs if "image/jpeg" in each.get("data", {})]
        assert len(drawn) == cell.source.count("plt.show()"), cell.source
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", ENGLISH + CHINESE, ids=name)
def test_a_notebook_has_no_log_lines_and_no_paths_of_the_machine_that_ran_it(path: Path) -> None:
    assert not written(path, "stderr")
    text = written(path, "stdout")
    assert "warning" not in text.lower()
    folders = (str(Path.home()), tempfile.gettempdir(), str(FOLDER.parent))
    assert not [folder for folder in folders if f"{folder.rstrip('/')}/" in text]
    assert not re.search(r"(?<![\w.])/(?:\w+/){2}", text), text  # of another machine


@pytest.mark.parametrize("path", ENGLISH, ids=name)
def test_every_plot_stands_with_an_assertion(path: Path) -> None:
    """In its own cell, or in a cell before the next plot."""
    unproven = None
    for cell in cells(path, "code"):
        if "plt.show()" in cell.source:
            assert unproven is None, unproven
            unproven = cell.source
        if asserts(cell.source):
            unproven = None
    assert unproven is None, unproven


def test_there_is_a_chinese_notebook_for_every_english_one() -> None:
    assert [path.name for path in CHINESE] == [path.name for path in ENGLISH]
    assert len(ENGLISH) == 8


@pytest.mark.parametrize("path", CHINESE, ids=name)
def test_a_chinese_notebook_has_the_english_ones_code_and_a_translation_of_its_text(
    path: Path,
) -> None:
    english = FOLDER / path.name
    kinds = [
        [cell.cell_type for cell in nbformat.read(each, as_version=4).cells]
        for each in (path, english)
    ]
    assert kinds[0] == kinds[1]
    assert [cell.source for cell in cells(path, "code")] == [
        cell.source for cell in cells(english, "code")
    ]
    assert [cell.outputs for cell in cells(path, "code")] == [
        cell.outputs for cell in cells(english, "code")
    ]
    assert all(HAN.search(cell.source) for cell in cells(path, "markdown"))
    assert headings(path) == headings(english)
    assert links(path) == links(english)


@pytest.mark.parametrize("path", ENGLISH + CHINESE, ids=name)
def test_what_a_notebook_links_to_is_there(path: Path) -> None:
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", ENGLISH + CHINESE, ids=name)
def test_a_command_that_a_notebook_tells_to_type_is_one(path: Path) -> None:
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    typed = re.findall(r"^    keras-inception (.+)$", text, re.MULTILINE)
    assert bool(typed) == path.name.startswith("7")
    for command in typed:
        _parser().parse_args(shlex.split(command))  # ends with 2 where it is none


@pytest.mark.parametrize("notes", NOTES, ids=lambda path: path.name)
def test_every_claim_of_the_notes_names_a_cell_that_asserts_it(notes: Path) -> None:
    claims = rows(notes)
    table = [line for line in notes.read_text("utf-8").splitlines() if line.startswith("| ")]
    headers = sum(set(line) <= set("| -") for line in table)
    assert len(claims) == len(table) - 2 * headers > 50, "a row without a cell"
    for claim, shown, stands in claims:
        assert claim and stands
        for number, section, names in REFERENCE.findall(shown):
            (path,) = [each for each in ENGLISH if each.name.startswith(number)]
            source = {cell.execution_count: cell.source for cell in cells(path, "code")}
            for cell in map(int, names.split(",")):
                assert sections(path).get(cell) == int(section), (claim, shown)
                assert asserts(source[cell]), (claim, shown)


def test_the_chinese_table_of_claims_names_the_same_cells() -> None:
    english, chinese = ([REFERENCE.findall(row[1]) for row in rows(notes)] for notes in NOTES)
    assert english == chinese
