"""The versions in memory, as requests find them.

Whoever loads and unloads them is `servables.Servables`; a version that requests still use goes
with the last of them.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inception_serving import errors
from inception_serving.server.config.model_config import ModelConfig
from inception_serving.server.model.saved_model import Model

_log = logging.getLogger(__name__)


class VersionState(enum.IntEnum):
    """ModelVersionStatus.State's numbers (apis/get_model_status.proto)."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class LoadedVersion:
    """One version of one model. The fields change under the lock of `VersionTable` only."""

    def __init__(self, name: str, number: int, path: Path) -> None:
        self.name = name
        self.number = number
        self.path = path
        self.state = VersionState.START
        self.error: errors.StatusError | None = None
        self.model: Model | None = None
        self.in_flight = 0
        self.failed_files: tuple[tuple[str, int, int], ...] | None = None

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True)
class VersionInfo:
    """A version as its model's status shows it; without signatures where it does not answer."""

    number: int
    state: VersionState
    error: errors.StatusError | None
    labels: Sequence[str]
    signatures: Mapping[str, Any]


class VersionTable:
    """Every version of every model seen so far, from any thread."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, LoadedVersion]] = {}
        # Those that answer, and the latest of them, for requests, which should not look for them.
        self._ready: dict[str, dict[int, LoadedVersion]] = {}
        self._latest: dict[str, int] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        self._lock = threading.Lock()

    # ---- requests ----

    def acquire(self, name: str, number: int | None) -> tuple[LoadedVersion, Model]:
        """A loaded version, held until its `release`; the latest one where no number is given.

        Raises:
            errors.NotFoundError: it is not loaded.
        """
        with self._lock:
            version = self._available(name, number)
            if version is None or version.model is None:
                wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise errors.NotFoundError(f"Servable not found for request: {wanted}")
            version.in_flight += 1
            return version, version.model

    def release(self, version: LoadedVersion) -> None:
        """End what `acquire` began."""
        with self._lock:
            version.in_flight -= 1
            self._unload_if_idle(version)

    def labelled(self, name: str, label: str) -> int:
        """The version that a label names.

        Raises:
            errors.InvalidArgumentError: the model has no such label.
        """
        number = self._labels.get(name, {}).get(label)
        if number is None:
            raise errors.InvalidArgumentError(f"Unrecognized servable version label: {label}")
        return number

    def versions(self, name: str) -> list[VersionInfo]:
        """Every version of a model seen so far, newest first, with what it offers."""
        labels = self._labels.get(name, {})
        with self._lock:
            found = [
                VersionInfo(
                    version.number,
                    version.state,
                    version.error,
                    sorted(label for label in labels if labels[label] == version.number),
                    version.model.signatures if version.model else {},
                )
                for version in self._versions.get(name, {}).values()
            ]
        return sorted(found, key=lambda entry: -entry.number)

    def knows(self, name: str) -> bool:
        """Whether there is, or was, a model of this name."""
        return name in self._versions

    def names(self) -> list[str]:
        """The models seen so far."""
        with self._lock:
            return sorted(self._versions)

    def latest(self, name: str) -> int | None:
        """The largest version that answers."""
        with self._lock:
            version = self._available(name, None)
            return version.number if version else None

    # ---- for whoever loads ----

    def add_model(self, name: str) -> None:
        """Know a model from now on, whatever versions it has."""
        with self._lock:
            self._versions.setdefault(name, {})

    def add(self, name: str, number: int, path: Path) -> LoadedVersion:
        """A version, which lies at `path` now; the one that is known, if it is."""
        with self._lock:
            versions = self._versions[name]
            version = versions.setdefault(number, LoadedVersion(name, number, path))
            version.path = path
            return version

    def all_of(self, name: str) -> list[LoadedVersion]:
        """Every version of a model."""
        with self._lock:
            return list(self._versions[name].values())

    def move(
        self,
        version: LoadedVersion,
        state: VersionState,
        *,
        model: Model | None = None,
        error: errors.StatusError | None = None,
        note: str = "",
    ) -> None:
        """Change a version's state, with its model or its error, and log it."""
        with self._lock:
            version.state = state
            version.error = error
            if model is not None:
                version.model = model
            ready = self._ready.setdefault(version.name, {})
            if state == VersionState.AVAILABLE:
                ready[version.number] = version
            else:
                ready.pop(version.number, None)
            self._latest[version.name] = max(ready, default=0)
        if error is None:
            _log.info("%s: %s%s", version, state.name, note)
        else:
            _log.error("%s: %s, it did not load: %s", version, state.name, error)

    def unload(self, version: LoadedVersion) -> None:
        """Let a version go as soon as nobody uses it."""
        if version.state == VersionState.AVAILABLE:
            self.move(version, VersionState.UNLOADING)
            with self._lock:
                self._unload_if_idle(version)

    def set_labels(self, configs: Sequence[ModelConfig], *, ahead: bool) -> None:
        """Labels as configured, if each names a version that answers.

        Args:
            ahead: a new label may name a version that is not loaded yet.

        Raises:
            errors.FailedPreconditionError: one does not.
        """
        for config in configs:
            for label, number in config.labels.items():
                known = self._labels.get(config.name, {}).get(label, number)
                if ahead and known == number:
                    continue
                with self._lock:
                    available = self._available(config.name, number)
                if available is None:
                    raise errors.FailedPreconditionError(
                        f"Request to assign label to version {number} of model {config.name}, "
                        "which is not currently available for inference"
                    )
        self._labels = {config.name: config.labels for config in configs}

    def _unload_if_idle(self, version: LoadedVersion) -> None:
        if version.state == VersionState.UNLOADING and version.in_flight == 0:
            version.model = None
            version.state = VersionState.END
            _log.info("%s: %s", version, version.state.name)

    def _available(self, name: str, number: int | None) -> LoadedVersion | None:
        ready = self._ready.get(name, {})
        return ready.get(self._latest.get(name, 0) if number is None else number)
