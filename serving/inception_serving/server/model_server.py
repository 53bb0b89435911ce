"""A server as an object: for tests, for notebooks, and for the commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from inception_serving import errors
from inception_serving.server.batching.scheduler import BatchScheduler
from inception_serving.server.budget import ByteBudget, default_limit
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.files import ConfigFile
from inception_serving.server.config.model_config import ModelConfig
from inception_serving.server.config.tls import Tls
from inception_serving.server.core import Core
from inception_serving.server.grpc.service import MAX_CALLS, GrpcServer
from inception_serving.server.listening import bind, cannot_listen, host_port, reachable
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.saved_model import SERVING_TAG
from inception_serving.server.rest.server import RestServer
from inception_serving.server.versions.folder import ModelFolder
from inception_serving.server.versions.loading import Loader
from inception_serving.server.versions.servables import Servables
from inception_serving.server.versions.table import VersionTable


class ModelServer:
    """Serve every model below a folder, over gRPC and REST.

        with ModelServer("models") as server:
            client = Client(server.address, model="flowers")

    `base_path` is BASE, of BASE/NAME/VERSION, and models that appear in it later are served from
    the next look at the disk on. Or it is the folder of one model, which holds the versions
    themselves, and `model_name` says what to call it. A model that has been served is never
    dropped, since a disk that is away for a moment looks just like a model that was deleted; an
    empty folder of a model, though, unloads it.

    The ports open once every model has a version that answers.

    Attributes:
        metrics: what has happened so far.
    """

    def __init__(
        self,
        base_path: str | os.PathLike[str] | None = None,
        *,
        model_name: str | None = None,
        model_config_file: str | os.PathLike[str] | None = None,
        model_config_poll_s: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int | None = None,
        num_versions: int | None = 1,
        poll_s: float = 1.0,
        wait_for_versions: bool = False,
        load_threads: int = 0,
        load_retries: int = 0,
        load_retry_interval_s: float = 60.0,
        labels_ahead: bool = False,
        tags: Sequence[str] = (SERVING_TAG,),
        warmup: bool = True,
        warmup_iterations: int = 1,
        check_method: bool = False,
        batching: bool | BatchingParameters = False,
        per_model_batching: bool = False,
        health_service: bool = False,
        reflection: bool = False,
        socket_path: str | os.PathLike[str] | None = None,
        tls: Tls | None = None,
        channel_arguments: Sequence[tuple[str, int | str]] = (),
        tensor_content: bool = False,
        grpc_threads: int | None = None,
        rest_threads: int | None = None,
        rest_timeout_s: float = 30.0,
        page: bool = True,
        cors: bool = False,
        metrics_path: str | None = None,
        max_bytes_in_flight: int | None = None,
        max_image_pixels: int = 1 << 26,
        grace_s: float = 30.0,
    ) -> None:
        """Nothing is loaded and nothing listens before `start`, or a `with`.

        Args:
            base_path: BASE of BASE/NAME/VERSION, or, with `model_name`, the folder NAME.
            model_name: serve `base_path` as one model of this name. It may be left out where
                `base_path` holds versions itself; the model is then called as the folder is.
            model_config_file: TF Serving's models.config, in place of `base_path`: the models,
                with version policies and labels.
            model_config_poll_s: seconds between two looks at that file; 0 looks once only.
            host: the address to listen on; "0.0.0.0" for every interface.
            port: of gRPC; 0 takes a free one.
            rest_port: of REST; 0 takes a free one, None serves no REST.
            num_versions: how many of each model's latest versions are served at a time; None for
                all of them.
            poll_s: seconds between two looks at the disk; 0 looks once only.
            wait_for_versions: where there is no version yet, wait for one rather than fail.
            load_threads: how many models load at a time; 0 is one, as in TF Serving.
            load_retries: how often a version that does not load is tried again at once. It is in
                any case tried again when its files change.
            load_retry_interval_s: the time between two of these tries.
            labels_ahead: let a new label name a version that is not loaded yet.
            tags: of the meta graph to serve.
            warmup: run the requests in each version's warm-up file before it answers.
            warmup_iterations: how often each of them is run.
            check_method: refuse a signature whose method_name is not that of the call.
            batching: run requests of many clients as one batch, with these parameters or, if
                True, the default ones.
            per_model_batching: read the parameters from each version's `batching_params.pbtxt`
                instead; a version without one is not batched.
            health_service: also serve grpc.health.v1.Health.
            reflection: also serve grpc.reflection, for grpcurl and its like.
            socket_path: of a Unix socket that gRPC is served on too, never encrypted.
            tls: encrypt gRPC; REST is never encrypted.
            channel_arguments: gRPC's own options, such as ("grpc.max_connection_age_ms", 2000).
            tensor_content: answer with `tensor_content`, which is faster to write and to read,
                where TF Serving answers with `float_val` and the like.
            grpc_threads: gRPC requests worked on at a time; if None, four for each processor, or,
                with batching, all of them, since most wait for their batch.
            rest_threads: the same for REST.
            rest_timeout_s: how long a REST request may take.
            page: show people a page at the root of the REST port.
            cors: let web pages of other origins call the REST API.
            metrics_path: where REST shows Prometheus's metrics; None for nowhere.
            max_bytes_in_flight: what all requests in flight may hold, and so the largest request;
                an eighth of the memory, at most 2 GiB, if None.
            max_image_pixels: an encoded image with more pixels is refused before it is decoded;
                0 for no limit.
            grace_s: how long requests in flight may take to finish when the server stops.
        """
        if (base_path is None) == (model_config_file is None):
            raise ValueError("Give a base_path or a model_config_file: one of them, not both.")
        self._folder: ModelFolder | None = None
        self._config_file: ConfigFile | None = None
        find: Callable[[], Sequence[ModelConfig]]
        if base_path is not None:
            find = self._folder = ModelFolder(
                Path(base_path), model_name=model_name, num_versions=num_versions
            )
        else:
            find = self._config_file = ConfigFile(str(model_config_file))
        self._model_config_poll_s = model_config_poll_s
        self._host = host
        self._requested_port = port
        self._requested_rest_port = rest_port
        self._wait_for_versions = wait_for_versions
        self._grace_s = grace_s
        self.metrics = Metrics()
        self._scheduler: BatchScheduler | None = None
        if batching:
            parameters = batching if isinstance(batching, BatchingParameters) else None
            self._scheduler = BatchScheduler(parameters or BatchingParameters(), self.metrics)
        loader = Loader(
            self.metrics,
            tags=tags,
            warmup_iterations=warmup_iterations if warmup else 0,
            scheduler=self._scheduler,
            per_model_batching=per_model_batching,
        )
        self._versions = VersionTable()
        self._servables = Servables(
            self._versions,
            find,
            loader,
            poll_s=poll_s,
            load_threads=load_threads,
            load_retries=load_retries,
            load_retry_interval_s=load_retry_interval_s,
            labels_ahead=labels_ahead,
        )
        core = Core(
            self._versions,
            self._servables.reload,
            self.metrics,
            check_method=check_method,
            max_image_pixels=max_image_pixels,
        )
        budget = ByteBudget(max_bytes_in_flight or default_limit())
        threads = MAX_CALLS if batching else 4 * (os.cpu_count() or 1)
        self._socket_path = socket_path
        self._grpc = GrpcServer(
            core,
            threads=grpc_threads or threads,
            budget=budget,
            health_service=health_service,
            reflection=reflection,
            typed=not tensor_content,
            tls=tls,
            channel_arguments=channel_arguments,
        )
        self._rest: RestServer | None = None
        if rest_port is not None:
            self._rest = RestServer(
                core,
                threads=rest_threads or threads,
                timeout_s=rest_timeout_s,
                budget=budget,
                cors=cors,
                metrics=self.metrics,
                metrics_path=metrics_path,
                show_page=page,
            )
        self._port: int | None = None
        self._rest_port: int | None = None

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
        return host_port(reachable(self._host), self.port)

    @property
    def rest_address(self) -> str | None:
        """Where REST answers, such as "http://127.0.0.1:8501"; None where it is not served."""
        if self._rest_port is None:
            return None
        return f"http://{host_port(reachable(self._host), self._rest_port)}"

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
        bind(self._host, self._requested_port).close()
        if self._requested_rest_port is not None:
            bind(self._host, self._requested_rest_port).close()
        if self._folder is not None and not self._wait_for_versions:
            self._folder.check()
        try:
            self._servables.load_first(wait_for_versions=self._wait_for_versions)
            self._open_ports()
        except BaseException:
            self.stop()
            raise
        self._servables.start()
        if self._config_file is not None:
            self._config_file.follow(self._servables.reload, self._model_config_poll_s)

    def stop(self) -> None:
        """Refuse new requests, let those in flight finish, unload everything."""
        if self._config_file is not None:
            self._config_file.stop()
        self._grpc.stop(self._grace_s)
        if self._rest is not None:
            self._rest.stop(self._grace_s)
        self._servables.stop()
        if self._scheduler is not None:
            self._scheduler.stop()

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
        if self._requested_rest_port is not None:
            listener = bind(self._host, self._requested_rest_port)
            self._rest_port = listener.getsockname()[1]
        try:
            self._port = self._grpc.bind(host_port(self._host, self._requested_port))
        except RuntimeError as error:
            raise errors.ServerStartError(
                cannot_listen(self._host, self._requested_port, "it has just been taken")
            ) from error
        if self._socket_path is not None:
            try:
                self._grpc.bind_socket(os.fspath(self._socket_path))
            except RuntimeError as error:
                raise errors.ServerStartError(
                    f"Cannot listen on the socket {os.fspath(self._socket_path)}."
                ) from error
        self._grpc.start()
        if self._rest is not None and listener is not None:
            self._rest.start(listener, grpc_address=self.address)
