"""A bar of progress on the terminal, for commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


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
