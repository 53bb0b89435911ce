"""The versions of a model on disk, as TF Serving counts them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from inception_export.export import Export, find_versions


class VersionError(ValueError):
    """A version can't be removed or withdrawn; nothing was changed."""


def list_versions(home: str | Path) -> list[Export]:
    """Every version in a model's folder ``BASE/NAME``, the newest first.

    Raises:
        VersionError: there is no such folder.
    """
    if not Path(home).is_dir():
        raise VersionError(f"There is no model's folder {home}.")
    return find_versions(home)


def next_version(home: str | Path) -> int:
    """One more than the largest version in a model's folder; 1 if there is none.

    Withdrawn versions count: a number is never given twice.
    """
    home = Path(home)
    names = [child.name for child in home.iterdir()] if home.is_dir() else []
    numbers = [re.fullmatch(r"(?:\.withdrawn-)?(\d+)", name) for name in names]
    return max((int(number[1]) for number in numbers if number), default=0) + 1


def prune(home: str | Path, keep: int, in_use: frozenset[int] = frozenset()) -> list[Export]:
    """Remove all but the newest ``keep`` versions.

    Args:
        keep: at least 1, so that what a server serves by default stays.
        in_use: versions that a server serves all the same; they stay, too.

    Returns:
        The versions removed.

    Raises:
        VersionError: ``keep`` is below 1, or there is no such folder.
    """
    if keep < 1:
        raise VersionError(f"`keep` must be at least 1. Received: keep={keep}")
    removed = []
    for export in list_versions(home)[keep:]:
        if export.version not in in_use:
            # Out of sight first: a server must not see it lose its files one by one.
            hidden = export.path.with_name(f".tmp-removed-{export.version}")
            export.path.rename(hidden)
            shutil.rmtree(hidden)
            removed.append(export)
    return removed


def withdraw(home: str | Path) -> tuple[Export, Export]:
    """Take the newest version back, so that a server falls back to the one before it.

    The folder is renamed to ``.withdrawn-NUMBER``, which no server takes for a version. A server
    that polls loads the version before first and drops the newest only then; renaming it back
    undoes all.

    Returns:
        The version withdrawn and the one that is the newest now.

    Raises:
        VersionError: there is no version to fall back to.
    """
    versions = list_versions(home)
    if len(versions) < 2:
        raise VersionError(
            f"{home} has {len(versions)} version{'s'[: len(versions) != 1]}; withdrawing the newest"
            " needs another to fall back to."
        )
    newest, before = versions[:2]
    newest.path.rename(newest.path.with_name(f".withdrawn-{newest.version}"))
    return newest, before
