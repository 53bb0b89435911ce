"""One model to serve, and which of its versions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inception_serving import errors

PLATFORM = "tensorflow"


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        name: what requests call it.
        base_path: the folder whose children are its versions.
        num_versions: how many of the latest versions are served at a time; None for all.
        versions: serve these versions instead, whichever of them are there.
        labels: names for versions, such as {"stable": 42}.
        platform: what kind of model it is; "tensorflow" is the one that is served.
        logs_requests: its requests are to be logged, which nothing here does.
    """

    name: str
    base_path: Path
    num_versions: int | None = 1
    versions: tuple[int, ...] | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    platform: str = PLATFORM
    logs_requests: bool = False

    def choose(self, on_disk: Iterable[int]) -> set[int]:
        """The versions to serve, of those on disk."""
        if self.versions is not None:
            return set(on_disk) & set(self.versions)
        newest_first = sorted(on_disk, reverse=True)
        return set(newest_first[: self.num_versions])


def check_base_path(name: str, base_path: str | os.PathLike[str]) -> None:
    """Refuse a relative folder of a model.

    Raises:
        errors.InvalidArgumentError: it is one.
    """
    if not os.path.isabs(base_path):
        raise errors.InvalidArgumentError(
            f"Expected model {name} to have an absolute path or URI; "
            f"got base_path()={os.fspath(base_path)}"
        )
