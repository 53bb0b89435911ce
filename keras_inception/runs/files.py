"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal


@contextlib.contextmanager
def atomic_write(path: Path, mode: Literal["w", "wb"]) -> Iterator[IO[Any]]:
    """Write a file beside its place and rename it: at ``path`` is a whole file, old or new.

    Text is UTF-8; of a file's name each byte that is none is written as ``\\udcfc``, which JSON
    reads again as it was.
    """
    beside = path.with_name(f"{path.name}.tmp")
    text = {"encoding": "utf-8", "newline": "", "errors": "backslashreplace"} if mode == "w" else {}
    with beside.open(mode, **text) as file:  # type: ignore[call-overload]
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_disk_space(folder: Path, need: int) -> None:
    """Refuse to write ``need`` bytes where there is no room for them.

    Raises:
        OSError: the disk of ``folder`` has less than that free.
    """
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"{need / 1e6:,.0f} MB are to be written to {folder}, where {free / 1e6:,.0f} MB are"
            " free. Make room; a run that has begun then goes on from its last checkpoint, which"
            " is kept, with --resume."
        )
