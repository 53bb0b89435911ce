"""A bar of progress and tables on the terminal, for commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@contextlib.contextmanager
def progress(images: int) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on a terminal's standard error; elsewhere nothing.

    Yields:
        A function to be told how many images are done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    from rich.progress import TaskProgressColumn as RateColumn

    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(show_speed=True),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("images", total=images)
        yield lambda done: bar.advance(task, done)


def print_table(table: Table) -> None:
    """Print a table with every word whole: on a narrow terminal folded, elsewhere on one line."""
    from rich.console import Console

    for column in table.columns:
        column.overflow = "fold"
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, Console(width=10_000).measure(table).maximum))
    console.print(table)
