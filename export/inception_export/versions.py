"""The versions of a model on disk, as TF Serving counts them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class VersionError(ValueError):
    """A version can't be removed or withdrawn; nothing was changed."""


@dataclass(frozen=True)
class Version:
    """A version's folder.

    Args:
        number: its name.
        path: where it is.
        size: of its files, in bytes.
        manifest: what our export says of it; empty for one of another's making.
    """

    number: int
    path: Path
    size: int
    manifest: dict[str, Any]


def list_versions(home: str | Path) -> list[Version]:
    """Every version in a model's folder ``BASE/NAME``, the newest first.

    A version is any folder whose name is a number, as for TF Serving.

    Raises:
        VersionError: there is no such folder.
    """
    home = Path(home)
    if not home.is_dir():
        raise VersionError(f"There is no model's folder {home}.")
    versions = []
    for child in home.iterdir():
        if child.is_dir() and re.fullmatch(r"\d+", child.name):
            files = [path for path in child.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            versions.append(Version(int(child.name), child, size, read_manifest(child)))
    return sorted(versions, key=lambda version: version.number, reverse=True)


def read_manifest(saved_model: Path) -> dict[str, Any]:
    """What an export of ours says of itself; empty for any other SavedModel."""
    path = saved_model / "assets.extra" / "keras_inception.json"
    if not path.is_file():
        return {}
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return manifest


def next_version(home: str | Path) -> int:
    """One more than the largest version in a model's folder; 1 if there is none.

    Withdrawn versions count: a number is never given twice.
    """
    home = Path(home)
    names = [child.name for child in home.iterdir()] if home.is_dir() else []
    numbers = [re.fullmatch(r"(?:\.withdrawn-)?(\d+)", name) for name in names]
    return max((int(number[1]) for number in numbers if number), default=0) + 1


def prune(home: str | Path, keep: int, in_use: frozenset[int] = frozenset()) -> list[Version]:
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
    for version in list_versions(home)[keep:]:
        if version.number not in in_use:
            # Out of sight first: a server must not see it lose its files one by one.
            hidden = version.path.with_name(f".tmp-removed-{version.number}")
            version.path.rename(hidden)
            shutil.rmtree(hidden)
            removed.append(version)
    return removed


def withdraw(home: str | Path) -> tuple[Version, Version]:
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
    newest.path.rename(newest.path.with_name(f".withdrawn-{newest.number}"))
    return newest, before
