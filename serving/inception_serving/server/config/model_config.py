"""One model to serve, and which of its versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


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
    """

    name: str
    base_path: Path
    num_versions: int | None = 1
    versions: tuple[int, ...] | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    platform: str = "tensorflow"

    def choose(self, on_disk: Iterable[int]) -> set[int]:
        """The versions to serve, of those on disk."""
        if self.versions is not None:
            return set(on_disk) & set(self.versions)
        newest_first = sorted(on_disk, reverse=True)
        return set(newest_first[: self.num_versions])
