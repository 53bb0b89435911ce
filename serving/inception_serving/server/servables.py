"""Versions in memory: loaded, served and unloaded as the disk changes.

One thread polls, loads and unloads, so requests never wait for a load. The order is TF Serving's
availability-preserving policy (core/availability_preserving_policy.cc): the new version is ready
before the old one goes, and a new one that fails leaves the old one in place.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from inception_serving import errors
from inception_serving.server.saved_model import SavedModel
from inception_serving.server.versions import ModelConfig, find_versions, fingerprint

_log = logging.getLogger(__name__)


class State(enum.IntEnum):
    """ModelVersionStatus.State's numbers (apis/get_model_status.proto)."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Version:
    """One version of one model. The fields change under the lock of `Servables` only."""

    def __init__(self, name: str, number: int, path: Path) -> None:
        self.name = name
        self.number = number
        self.path = path
        self.state = State.START
        self.error: errors.StatusError | None = None
        self.model: SavedModel | None = None
        self.in_flight = 0
        self.failed_files: tuple[tuple[str, int, int], ...] | None = None

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


class Servables:
    """Every version of every model, and the thread that keeps them in step with the disk."""

    def __init__(
        self,
        find: Callable[[], Sequence[ModelConfig]],
        load: Callable[[Path], SavedModel],
        *,
        poll_s: float,
    ) -> None:
        """Nothing is loaded before `load_first`.

        Args:
            find: the models to serve, asked anew at every poll; a model is never forgotten.
            load: loads and warms up the version in a folder, or raises.
            poll_s: the time between two looks at the disk; 0 looks once only.
        """
        self._find = find
        self._load = load
        self._poll_s = poll_s
        self._configs: dict[str, ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._complaints: dict[str, str] = {}

    # ---- requests ----

    @contextmanager
    def use(self, name: str, number: int | None) -> Iterator[tuple[Version, SavedModel]]:
        """A loaded version, held until the block ends; the latest one where no number is given.

        Raises:
            errors.NotFoundError: it is not loaded.
        """
        with self._lock:
            version = self._available(name, number)
            if version is None or version.model is None:
                wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise errors.NotFoundError(f"Servable not found for request: {wanted}")
            version.in_flight += 1
            model = version.model
        try:
            yield version, model
        finally:
            with self._lock:
                version.in_flight -= 1
                self._unload_if_idle(version)

    def versions(self, name: str) -> list[tuple[int, State, errors.StatusError | None]]:
        """Number, state and error of every version seen so far, newest first."""
        with self._lock:
            versions = self._versions.get(name, {}).values()
            found = [(version.number, version.state, version.error) for version in versions]
        return sorted(found, key=lambda entry: -entry[0])

    def names(self) -> list[str]:
        """The models seen so far."""
        with self._lock:
            return sorted(self._versions)

    # ---- life ----

    def load_first(self, *, wait_for_versions: bool) -> None:
        """Load what is there, and return when every model has a version that answers.

        Args:
            wait_for_versions: wait for a model that has no version on disk yet.

        Raises:
            errors.ServerStartError: there is no model, or one did not load.
        """
        while True:
            self._step()
            self._raise_if_failed()
            missing = [name for name in self._configs if self.latest(name) is None]
            if self._configs and not missing:
                return
            if not wait_for_versions or self._poll_s == 0:
                raise errors.ServerStartError(self._nothing_to_serve(missing))
            time.sleep(self._poll_s)

    def start(self) -> None:
        """Look at the disk every `poll_s` seconds from now on."""
        if self._poll_s > 0:
            self._thread = threading.Thread(target=self._poll, name="model-loader", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop looking, and let every version go as soon as its requests have finished."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        for versions in self._versions.values():
            for version in versions.values():
                self._unload(version)

    def latest(self, name: str) -> int | None:
        """The largest version that answers."""
        with self._lock:
            version = self._available(name, None)
            return version.number if version else None

    # ---- the loader's own ----

    def _poll(self) -> None:
        while not self._stopping.wait(self._poll_s):
            try:
                self._step()
            except Exception:  # the thread must outlive whatever one look at the disk ran into
                _log.exception("Looking for new versions failed; trying again.")

    def _step(self) -> None:
        try:
            self._configs |= {config.name: config for config in self._find()}
        except OSError as error:
            self._complain("", f"Models cannot be listed: {error}. What is loaded stays.")
        for config in self._configs.values():
            self._step_model(config)

    def _step_model(self, config: ModelConfig) -> None:
        with self._lock:
            versions = self._versions.setdefault(config.name, {})
        try:
            on_disk = find_versions(config.base_path)
        except OSError as error:
            # A disk that is away for a moment must not take the model down.
            self._complain(config.name, f"Could not find base path {config.base_path}: {error}.")
            return
        if not on_disk:
            self._complain(
                config.name,
                f"No versions of servable {config.name} found under base path "
                f"{config.base_path}. Did you forget to name your leaf directory as a number "
                "(eg. '/1/')?",
            )
        else:
            self._complaints.pop(config.name, None)
        wanted = set(list(on_disk)[-config.num_versions :])
        for number in sorted(wanted):
            if self._stopping.is_set():
                return
            version = versions.get(number) or Version(config.name, number, on_disk[number])
            version.path = on_disk[number]
            with self._lock:
                versions[number] = version
            self._load_version(version)
        self._unload_unwanted(list(versions.values()), wanted)

    def _load_version(self, version: Version) -> None:
        if version.state not in (State.START, State.END):
            return
        files = fingerprint(version.path)
        if version.failed_files == files:
            return  # nothing has changed since it failed
        self._move(version, State.LOADING)
        started = time.monotonic()
        try:
            model = self._load(version.path)
        except errors.StatusError as error:
            version.failed_files = files
            self._move(version, State.END, error=error)
        except Exception as error:
            _log.exception("Loading %s failed.", version)
            version.failed_files = files
            text = f"{type(error).__name__}: {error}"
            self._move(version, State.END, error=errors.InternalError(text))
        else:
            version.failed_files = None
            took = f", loaded in {time.monotonic() - started:.1f} s"
            self._move(version, State.AVAILABLE, model=model, note=took)

    def _unload_unwanted(self, versions: list[Version], wanted: set[int]) -> None:
        ready = [version for version in versions if version.state == State.AVAILABLE]
        unwanted = sorted(
            (version for version in ready if version.number not in wanted),
            key=lambda version: version.number,
        )
        if wanted and len(unwanted) == len(ready):
            unwanted = unwanted[:-1]  # none of the new ones is ready: the best old one stays
        for version in unwanted:
            self._unload(version)

    def _unload(self, version: Version) -> None:
        if version.state == State.AVAILABLE:
            self._move(version, State.UNLOADING)
            with self._lock:
                self._unload_if_idle(version)

    def _unload_if_idle(self, version: Version) -> None:
        if version.state == State.UNLOADING and version.in_flight == 0:
            version.model = None
            version.state = State.END
            _log.info("%s: %s", version, version.state.name)

    def _move(
        self,
        version: Version,
        state: State,
        *,
        model: SavedModel | None = None,
        error: errors.StatusError | None = None,
        note: str = "",
    ) -> None:
        with self._lock:
            version.state = state
            version.error = error
            if model is not None:
                version.model = model
        if error is None:
            _log.info("%s: %s%s", version, state.name, note)
        else:
            _log.error("%s: %s, it did not load: %s", version, state.name, error)

    def _available(self, name: str, number: int | None) -> Version | None:
        ready = {
            version.number: version
            for version in self._versions.get(name, {}).values()
            if version.state == State.AVAILABLE
        }
        if number is None:
            number = max(ready, default=None)
        return None if number is None else ready.get(number)

    def _complain(self, name: str, text: str) -> None:
        if self._complaints.get(name) != text:  # once, not at every poll
            self._complaints[name] = text
            _log.warning(text)

    def _raise_if_failed(self) -> None:
        failed = [
            f"{name} version {number} ({error})"
            for name in self.names()
            for number, state, error in self.versions(name)
            if state == State.END and error is not None
        ]
        if failed:
            raise errors.ServerStartError(
                f"{len(failed)} servable(s) did not become available: {'; '.join(failed)}"
            )

    def _nothing_to_serve(self, missing: Sequence[str]) -> str:
        if self._complaints:
            return " ".join(self._complaints.values())
        return f"No model to serve: expected a folder NAME/VERSION. Without one: {missing}"
