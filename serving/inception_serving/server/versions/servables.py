"""Versions, loaded and unloaded as the disk and the configuration change.

One thread polls and a few load, so requests never wait for a load, nor one model for another whose
disk hangs. The order is TF Serving's
availability-preserving policy (core/availability_preserving_policy.cc): the new version is ready
before the old one goes, and a new one that fails leaves the old one in place.
"""

from __future__ import annotations

import functools
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from inception_serving import errors
from inception_serving.server.config.model_config import PLATFORM, ModelConfig
from inception_serving.server.model.saved_model import Model
from inception_serving.server.versions.folder import file_states, find_versions
from inception_serving.server.versions.table import LoadedVersion, VersionState, VersionTable
from inception_serving.server.versions.threads import LoadThreads

_log = logging.getLogger(__name__)

_LOOK_S = 0.5


class Servables:
    """The threads that keep the versions in a table as they are wanted."""

    def __init__(
        self,
        table: VersionTable,
        find: Callable[[], Sequence[ModelConfig]],
        load: Callable[[ModelConfig, Path], Model],
        *,
        poll_s: float,
        load_threads: int = 0,
        load_retries: int = 0,
        load_retry_interval_s: float = 60.0,
        labels_ahead: bool = False,
    ) -> None:
        """Nothing is loaded before `load_first`.

        Args:
            table: what is loaded, and so answers requests.
            find: the models to serve, asked anew at every poll.
            load: loads and warms up the version in a folder, or raises.
            poll_s: the time between two searches of the disk; 0 searches once only.
            load_threads: how many models load at a time; 0 is one, as in TF Serving.
            load_retries: how often a version that fails is tried again at once.
            load_retry_interval_s: the time between two of these tries.
            labels_ahead: let a new label name a version that is not loaded yet.
        """
        self._table = table
        self._find = find
        self._load = load
        self._poll_s = poll_s
        self._load_retries = load_retries
        self._load_retry_interval_s = load_retry_interval_s
        self._labels_ahead = labels_ahead
        self._configs: dict[str, ModelConfig] = {}
        self._stopping = threading.Event()
        self._poller: threading.Thread | None = None
        self._loaders = LoadThreads(max(1, load_threads))
        self._step_lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}
        self._reload_lock = threading.Lock()
        self._complaints: dict[str, str] = {}

    def load_first(self, *, wait_for_versions: bool) -> None:
        """Load what is there, and return when every model has a version that answers.

        Args:
            wait_for_versions: wait for a model that has no version on disk yet.

        Raises:
            errors.ServerStartError: there is no model, or one did not load.
        """
        try:
            configs = self._find()
            self._table.set_labels(configs, ahead=self._labels_ahead)
            _check_platforms(configs)
            _check_logging(configs)
        except errors.StatusError as error:
            raise errors.ServerStartError(str(error)) from error
        except OSError:
            pass  # the step below complains
        while True:
            under_way = self._step().values()
            while wait(under_way, _LOOK_S).not_done:
                self._loaders.replace_stalled()
            self._raise_if_failed()
            missing = [name for name in self._configs if self._table.latest(name) is None]
            if self._configs and not missing:
                return
            if not wait_for_versions or self._poll_s == 0:
                raise errors.ServerStartError(self._nothing_to_serve(missing))
            time.sleep(self._poll_s)

    def start(self) -> None:
        """Search the disk every `poll_s` seconds from now on."""
        if self._poll_s > 0:
            self._poller = threading.Thread(target=self._poll, name="poller", daemon=True)
            self._poller.start()

    def reload(self, configs: Sequence[ModelConfig], is_awaited: Callable[[], bool]) -> None:
        """Serve these models and no others (model_servers/server_core.cc, ReloadConfig).

        Returns when every model that is new has a version that answers; those left out are
        unloaded.

        Args:
            is_awaited: whether anybody still waits for a model without a version to get one.

        Raises:
            errors.StatusError: what was asked for is refused, and nothing has changed; or, if it
                is an UnknownError, a new model did not load.
        """
        with self._reload_lock:
            old = dict(self._configs)
            for config in configs:
                if config.name in old and old[config.name].platform != config.platform:
                    raise errors.InvalidArgumentError(
                        "Illegal to change a model's platform. For model "
                        f"{config.name} platform was {old[config.name].platform} and new platform "
                        f"requested is {config.platform}"
                    )
            self._table.set_labels(configs, ahead=self._labels_ahead)
            _check_platforms(configs)
            self._find = lambda: configs
            new = [config.name for config in configs if config.name not in old]
            with self._step_lock:
                before = list(self._under_way.values())
            self._settle(before)  # what loads already, by the configuration that was
            self._settle(self._step().values())
            while missing := [name for name in new if self._table.latest(name) is None]:
                self._raise_if_not_loaded(missing)
                if self._stopping.wait(max(self._poll_s, 0.1)) or not is_awaited():
                    raise errors.DeadlineExceededError(
                        f"No versions found yet of {', '.join(missing)}"
                    )
                self._settle(self._step().values())
            _check_logging(configs)

    def stop(self, grace_s: float) -> None:
        """Stop searching, and let every version go as soon as its requests have finished.

        A search or a load that has not ended after `grace_s` is left to itself.
        """
        self._stopping.set()
        end = time.monotonic() + grace_s
        if self._poller is not None:
            self._poller.join(grace_s)
        self._loaders.cancel_waiting()
        wait(self._under_way.values(), max(0.0, end - time.monotonic()))
        for name in self._table.names():
            self._unload_all(name)

    # ---- the loaders' own ----

    def _poll(self) -> None:
        while not self._stopping.wait(self._poll_s):
            try:
                self._step()
            except Exception:  # the thread must outlive whatever one search ran into
                _log.exception("Looking for new versions failed; trying again.")

    def _settle(self, works: Iterable[Future[None]]) -> None:
        """Wait for what is done some time; what has stalled may never be."""
        left = set(works)
        while left and not self._stopping.is_set():
            wait(left, _LOOK_S, return_when=FIRST_COMPLETED)
            self._loaders.replace_stalled()
            left = {work for work in left if not (work.done() or self._loaders.is_stalled(work))}

    def _step(self) -> dict[str, Future[None]]:
        """Set off what every model needs, apart from those at work; the work under way."""
        self._loaders.replace_stalled()
        with self._step_lock:
            try:
                self._configs = {config.name: config for config in self._find()}
            except OSError as error:
                self._complain("", f"Models cannot be listed: {error}. What is loaded stays.")
            gone = set(self._table.names()) - self._configs.keys()
            for name in [*self._configs, *gone]:
                if name not in self._under_way or self._under_way[name].done():
                    work = functools.partial(self._step_model, name)
                    self._under_way[name] = self._loaders.submit(work)
            return dict(self._under_way)

    def _step_model(self, name: str) -> None:
        try:
            config = self._configs.get(name)
            if config is None:  # no longer asked for
                self._unload_all(name)
            else:
                self._keep_up(config)
            self._complaints.pop(f"{name}/", None)
        except Exception as error:
            # By a name that no model has, or finding its versions would end the complaint.
            self._complain(f"{name}/", f"Loading model {name} failed: {error!r}; trying again.")

    def _keep_up(self, config: ModelConfig) -> None:
        self._table.add_model(config.name)
        try:
            on_disk = find_versions(config.base_path)
        except OSError as error:
            # A disk that is away for a moment must not take the model down.
            self._complain(config.name, f"Could not find base path {config.base_path}: {error}.")
            return
        wanted = config.choose(on_disk)
        if not on_disk:
            self._complain(
                config.name,
                f"No versions of servable {config.name} found under base path "
                f"{config.base_path}. Did you forget to name your leaf directory as a number "
                "(eg. '/1/')?",
            )
        elif not wanted:
            self._complain(
                config.name,
                f"None of the versions {list(config.versions or ())} of servable {config.name} "
                f"found under base path {config.base_path}.",
            )
        else:
            self._complaints.pop(config.name, None)
        for number in sorted(wanted):
            if self._stopping.is_set():
                return
            version = self._table.add(config.name, number, on_disk[number])
            self._load_version(config, version)
        self._unload_unwanted(self._table.all_of(config.name), wanted)

    def _load_version(self, config: ModelConfig, version: LoadedVersion) -> None:
        if version.state not in (VersionState.START, VersionState.END):
            return
        files = file_states(version.path)
        if version.failed_files == files:
            return  # nothing has changed since it failed
        if any(other.state == VersionState.END for other in self._table.all_of(config.name)):
            gc.collect()  # the graph of a version that has gone is a cycle, which Python sees late
        self._table.move(version, VersionState.LOADING)
        for tries_left in reversed(range(self._load_retries + 1)):
            started = time.monotonic()
            try:
                model = self._load(config, version.path)
                break
            # A new error, without the traceback, in which is what has been loaded.
            except errors.StatusError as error:
                failure = type(error)(str(error))
            except Exception as error:
                failure = errors.InternalError(f"{type(error).__name__}: {error}")
            gc.collect()
            if tries_left:
                _log.warning("%s: trying again, it did not load: %s", version, failure)
            if not tries_left or self._stopping.wait(self._load_retry_interval_s):
                version.failed_files = files
                self._table.move(version, VersionState.END, error=failure)
                return
        version.failed_files = None
        took = f", loaded in {time.monotonic() - started:.1f} s"
        self._table.move(version, VersionState.AVAILABLE, model=model, note=took)

    def _unload_unwanted(self, versions: list[LoadedVersion], wanted: set[int]) -> None:
        ready = [version for version in versions if version.state == VersionState.AVAILABLE]
        unwanted = sorted(
            (version for version in ready if version.number not in wanted),
            key=lambda version: version.number,
        )
        if wanted and len(unwanted) == len(ready):
            unwanted = unwanted[:-1]  # none of the new ones is ready: the best old one stays
        for version in unwanted:
            self._table.unload(version)

    def _unload_all(self, name: str) -> None:
        for version in self._table.all_of(name):
            self._table.unload(version)

    def _complain(self, name: str, text: str) -> None:
        if self._complaints.get(name) != text:  # once, not at every poll
            self._complaints[name] = text
            _log.warning(text)

    def _raise_if_failed(self) -> None:
        failed = self._failures(self._table.names())
        if failed:
            error = errors.UnknownError(
                f"{len(failed)} servable(s) did not become available: {{{''.join(failed)}}}"
            )
            raise errors.ServerStartError(str(error)) from error

    def _raise_if_not_loaded(self, names: Sequence[str]) -> None:
        failed = self._failures(names)
        if failed:
            raise errors.UnknownError(
                f"{len(failed)} model(s) did not become available: {{{''.join(failed)}}}"
            )

    def _failures(self, names: Sequence[str]) -> list[str]:
        """The versions of these models that did not load, in TF Serving's words."""
        return [
            f"{{{{name: {name} version: {entry.number}}} due to error: "
            f"{errors.code_name(entry.error)}: {entry.error}}}, "
            for name in names
            for entry in self._table.versions(name)
            if entry.state == VersionState.END and entry.error is not None
        ]

    def _nothing_to_serve(self, missing: Sequence[str]) -> str:
        if self._complaints:
            return " ".join(self._complaints.values())
        return f"No model to serve: expected a folder NAME/VERSION. Without one: {missing}"


def _check_platforms(configs: Sequence[ModelConfig]) -> None:
    for config in configs:
        if config.platform != PLATFORM:
            raise errors.InvalidArgumentError(
                f"Model {config.name} requests unsupported platform {config.platform}"
            )


def _check_logging(configs: Sequence[ModelConfig]) -> None:
    """As TF Serving does, once the models are served (core/server_request_logger.cc)."""
    if any(config.logs_requests for config in configs):
        raise errors.InvalidArgumentError("No request-logger-creator provided.")
