"""A server as an object: for tests, for notebooks, and for the commands."""

from __future__ import annotations

import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from inception_serving import errors
from inception_serving.server.batching.scheduler import BatchScheduler
from inception_serving.server.budget import (
    ByteBudget,
    Workspace,
    default_limit,
    default_work_limit,
)
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.files import ConfigFile
from inception_serving.server.core import Core
from inception_serving.server.grpc.service import MAX_CALLS, GrpcServer
from inception_serving.server.listening import bind, cannot_listen, host_port, reachable
from inception_serving.server.metrics import Metrics
from inception_serving.server.options import ServerOptions
from inception_serving.server.rest.origin import Origins
from inception_serving.server.rest.server import RestServer
from inception_serving.server.versions.folder import ModelFolder
from inception_serving.server.versions.loading import Loader
from inception_serving.server.versions.servables import Servables
from inception_serving.server.versions.table import VersionTable

_log = logging.getLogger(__name__)


class ModelServer:
    """Serve every model below a folder, over gRPC and REST.

        with ModelServer("models") as server:
            client = Client(server.address, model="flowers")

    `base_path` is BASE, of BASE/NAME/VERSION, and models that appear in it later are served as
    soon as they are found. Or it is the folder of one model, which holds the versions
    themselves, and `model_name` says what to call it. A model that has been served is never
    dropped, since a disk that is away for a moment looks just like a model that was deleted; an
    empty folder of a model, though, unloads it.

    The ports open once every model has a version that answers.

    Attributes:
        options: how it serves.
        metrics: what has happened so far.
        budget: the bytes of the requests in flight.
    """

    def __init__(
        self,
        base_path: str | os.PathLike[str] | None = None,
        *,
        options: ServerOptions | None = None,
        **changes: Any,
    ) -> None:
        """Nothing is loaded and nothing listens before `start`, or a `with`.

        Args:
            base_path: BASE of BASE/NAME/VERSION, or, with `model_name`, the folder NAME; None
                where `model_config_file` says what to serve.
            options: how to serve; the defaults of `ServerOptions` if None.
            **changes: other values for some of the options, by name.

        Raises:
            TypeError: there is no such option.
            errors.OptionError: an option breaks its rule.
            ValueError: both of a folder and a config file are given, or neither.
        """
        self.options = (options or ServerOptions()).with_changes(changes)
        if (base_path is None) == (self.options.model_config_file is None):
            raise ValueError("Give a base_path or a model_config_file: one of them, not both.")
        self.metrics = Metrics()
        self._folder: ModelFolder | None = None
        self._config_file: ConfigFile | None = None
        if base_path is not None:
            self._folder = ModelFolder(
                Path(base_path),
                model_name=self.options.model_name,
                num_versions=self.options.num_versions,
            )
        else:
            self._config_file = ConfigFile(str(self.options.model_config_file))
        self._scheduler = self._make_scheduler()
        self._versions = VersionTable()
        self._servables = self._make_servables()
        core = Core(
            self._versions,
            self._servables.reload,
            self.metrics,
            check_method=self.options.check_method,
            max_image_pixels=self.options.max_image_pixels,
            workspace=Workspace(self.options.max_bytes_in_work or default_work_limit()),
        )
        self.budget = ByteBudget(self.options.max_bytes_in_flight or default_limit())
        self._grpc = self._make_grpc(core, self.budget)
        self._rest = None if self.options.rest_port is None else self._make_rest(core, self.budget)
        self._port: int | None = None
        self._rest_port: int | None = None

    def _make_scheduler(self) -> BatchScheduler | None:
        batching = self.options.batching
        if not batching:
            return None
        parameters = BatchingParameters() if isinstance(batching, bool) else batching
        return BatchScheduler(parameters, self.metrics)

    def _make_servables(self) -> Servables:
        options = self.options
        loader = Loader(
            self.metrics,
            tags=options.tags,
            warmup_iterations=options.warmup_iterations if options.warmup else 0,
            scheduler=self._scheduler,
            per_model_batching=options.per_model_batching,
            mixed_precision=options.mixed_precision,
        )
        find = self._folder or self._config_file
        assert find is not None
        return Servables(
            self._versions,
            find,
            loader,
            poll_s=options.poll_s,
            load_threads=options.load_threads,
            load_retries=options.load_retries,
            load_retry_interval_s=options.load_retry_interval_s,
            labels_ahead=options.labels_ahead,
        )

    def _make_grpc(self, core: Core, budget: ByteBudget) -> GrpcServer:
        options = self.options
        return GrpcServer(
            core,
            threads=options.grpc_threads or self._default_threads(),
            budget=budget,
            health_service=options.health_service,
            reflection=options.reflection,
            typed=not options.tensor_content,
            tls=options.tls,
            channel_arguments=options.channel_arguments,
            reload_config=options.reload_config,
            refuse_when_busy=options.refuse_when_busy,
        )

    def _make_rest(self, core: Core, budget: ByteBudget) -> RestServer:
        options = self.options
        return RestServer(
            core,
            threads=options.rest_threads or self._default_threads(),
            timeout_s=options.rest_timeout_s,
            budget=budget,
            cors=options.cors,
            metrics=self.metrics,
            metrics_path=options.metrics_path,
            show_page=options.page,
            origins=Origins(options.host, options.allowed_hosts, cors=options.cors),
        )

    def _default_threads(self) -> int:
        # With batching most requests only wait for their batch.
        return MAX_CALLS if self.options.batching else 4 * (os.cpu_count() or 1)

    @property
    def port(self) -> int:
        """The port of gRPC."""
        if self._port is None:
            raise RuntimeError("The server has no port before it has started.")
        return self._port

    @property
    def rest_port(self) -> int | None:
        """The port of REST; None where REST is not served."""
        return self._rest_port

    @property
    def address(self) -> str:
        """Where gRPC answers, such as "127.0.0.1:8500"."""
        return host_port(reachable(self.options.host), self.port)

    @property
    def rest_address(self) -> str | None:
        """Where REST answers, such as "http://127.0.0.1:8501"; None where it is not served."""
        if self._rest_port is None:
            return None
        return f"http://{host_port(reachable(self.options.host), self._rest_port)}"

    @property
    def models(self) -> dict[str, int | None]:
        """The models, each with its latest version that answers."""
        return {name: self._versions.latest(name) for name in self._versions.names()}

    def start(self) -> None:
        """Load every model, then open the ports.

        Raises:
            errors.ServerStartError: no model, a model that does not load, a port in use.
        """
        # A port that is taken should not cost the time of a load to find out.
        bind(self.options.host, self.options.port).close()
        if self.options.rest_port is not None and self.options.rest_required:
            bind(self.options.host, self.options.rest_port).close()
        if self._folder is not None and not self.options.wait_for_versions:
            self._folder.check()
        try:
            self._servables.load_first(wait_for_versions=self.options.wait_for_versions)
            self._open_ports()
        except BaseException:
            self.stop()
            raise
        self._servables.start()
        if self._config_file is not None:
            self._config_file.follow(self._servables.reload, self.options.model_config_poll_s)

    def stop(self) -> None:
        """Refuse new requests, let those in flight finish, unload everything.

        Work that has not ended after `grace_s` is left to itself.
        """
        if self._config_file is not None:
            self._config_file.stop()
        grace_s = self.options.grace_s
        end = time.monotonic() + grace_s
        with ThreadPoolExecutor(1) as beside:  # both refuse what is new from now on
            if self._rest is not None:
                beside.submit(self._rest.stop, grace_s)
            self._grpc.stop(grace_s)
        self._servables.stop(max(0.0, end - time.monotonic()))
        if self._scheduler is not None:
            self._scheduler.stop(max(0.0, end - time.monotonic()))

    def join(self, timeout_s: float) -> bool:
        """Wait, after `stop`, for what was left to itself; whether all has ended in time."""
        end = time.monotonic() + timeout_s
        has_ended = self._grpc.join(timeout_s)
        return has_ended and (self._rest is None or self._rest.join(end - time.monotonic()))

    def __enter__(self) -> ModelServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _open_ports(self) -> None:
        # Both are taken before either answers, so that a server is up as a whole or not at all.
        listener = None
        if self.options.rest_port is not None:
            listener = self._bind_rest(self.options.rest_port)
        try:
            self._port = self._grpc.bind(host_port(self.options.host, self.options.port))
        except RuntimeError as error:
            if self.options.tls is not None:  # the port itself could be had, a moment ago
                text = (
                    "Failed to BuildAndStart gRPC server: the keys or the certificates of TLS are "
                    "no PEM, or do not belong together."
                )
                raise errors.ServerStartError(text) from errors.InvalidArgumentError(text)
            raise errors.ServerStartError(
                cannot_listen(self.options.host, self.options.port, "it has just been taken")
            ) from error
        if self.options.socket_path is not None:
            try:
                self._grpc.bind_socket(os.fspath(self.options.socket_path))
            except RuntimeError as error:
                raise errors.ServerStartError(
                    f"Cannot listen on the socket {os.fspath(self.options.socket_path)}."
                ) from error
        self._grpc.start()
        if self._rest is not None and listener is not None:
            self._rest.start(listener, grpc_address=self.address)

    def _bind_rest(self, port: int) -> socket.socket | None:
        """The socket of REST; None where it cannot be had, and need not be."""
        try:
            listener = bind(self.options.host, port)
        except errors.ServerStartError as error:
            if self.options.rest_required:
                raise
            where = host_port(self.options.host, port)
            _log.error("Failed to start HTTP Server at %s: there is no REST. %s", where, error)
            return None
        self._rest_port = listener.getsockname()[1]
        return listener
