"""A run of notebooks in place: each from its top, in a kernel of its own.

    python notebooks/run.py notebooks/1_*.ipynb

The Chinese notebook of the same name has the same code, cell for cell, so it is run once for both.
What it prints and draws is kept in both, and nothing of when and on which machine that was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; raises where a cell does."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if any(kind.startswith("image/") for kind in output.get("data", {})):
                output.data.pop("text/plain", None)  # "<Figure size ...>"
    return notebook


def keep(ran: nbformat.NotebookNode, path: Path) -> None:
    """Write the outputs of a run into a notebook of the same code."""
    notebook = nbformat.read(path, as_version=4)
    for cell, source in zip(notebook.cells, ran.cells, strict=True):
        if cell.cell_type == "code":
            if cell.source != source.source:
                raise SystemExit(f"{path}: this cell is not the English one's:\n{cell.source}")
            cell.outputs, cell.execution_count = source.outputs, source.execution_count
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for english in map(Path, sys.argv[1:]):
        start = time.monotonic()
        ran = run(english)
        for each in (english, english.parent / "zh" / english.name):
            keep(ran, each)
        print(f"{english}: {time.monotonic() - start:.0f} s", flush=True)
