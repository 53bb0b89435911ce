"""Models and their versions on disk: BASE/NAME/VERSION/saved_model.pb."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        name: what requests call it.
        base_path: the folder whose children are its versions.
        num_versions: how many of the latest versions are served at a time.
    """

    name: str
    base_path: Path
    num_versions: int = 1


def find_versions(base_path: Path) -> dict[int, Path]:
    """Every child of `base_path` whose name is an int64, by that number, smallest first.

    As in TF Serving (sources/storage_path/file_system_storage_path_source.cc), any such child is
    a version, whatever it holds, and `00000123` is version 123.

    Raises:
        OSError: `base_path` is not there, or cannot be read.
    """
    versions: dict[int, Path] = {}
    for child in sorted(base_path.iterdir()):
        if not re.fullmatch(r"[+-]?[0-9]+", child.name) or int(child.name) not in _INT64:
            continue
        number = int(child.name)
        if number in versions:
            _log.warning(
                "Version %d exists twice: %s is used, %s is not.", number, child, versions[number]
            )
        versions[number] = child
    return dict(sorted(versions.items()))


def find_models(base: Path, *, num_versions: int = 1) -> list[ModelConfig]:
    """Every child of `base` that holds at least one version.

    Raises:
        OSError: `base` is not there, or cannot be read.
    """
    return [
        ModelConfig(child.name, child, num_versions)
        for child in sorted(base.iterdir())
        if child.is_dir() and not child.name.startswith(".") and _may_hold_versions(child)
    ]


def _may_hold_versions(folder: Path) -> bool:
    try:
        return bool(find_versions(folder))
    except OSError:
        return True  # it is for whoever loads the model to say that it cannot be read


def fingerprint(path: Path) -> tuple[tuple[str, int, int], ...]:
    """The name, size and time of change of every file of a version, to see that it has changed."""
    files = []
    for file in sorted([path, *path.rglob("*")]):
        with contextlib.suppress(FileNotFoundError):  # it has gone since
            state = file.stat()
            files.append((str(file), state.st_size, state.st_mtime_ns))
    return tuple(files)
