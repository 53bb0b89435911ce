"""A server as an object: for tests, for notebooks, and for the commands."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from inception_serving import errors
from inception_serving.server.core import Core
from inception_serving.server.grpc_api import GrpcServer
from inception_serving.server.rest_api import RestServer
from inception_serving.server.saved_model import SavedModel
from inception_serving.server.servables import Servables
from inception_serving.server.versions import ModelConfig, find_models, find_versions
from inception_serving.server.warmup import warm_up


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
    """

    def __init__(
        self,
        base_path: str | os.PathLike[str],
        *,
        model_name: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int | None = None,
        num_versions: int = 1,
        poll_s: float = 1.0,
        wait_for_versions: bool = False,
        warmup: bool = True,
        health_service: bool = False,
        tensor_content: bool = False,
        grpc_threads: int | None = None,
        rest_threads: int | None = None,
        rest_timeout_s: float = 30.0,
        grace_s: float = 30.0,
    ) -> None:
        """Nothing is loaded and nothing listens before `start`, or a `with`.

        Args:
            base_path: BASE of BASE/NAME/VERSION, or, with `model_name`, the folder NAME.
            model_name: serve `base_path` as one model of this name. It may be left out where
                `base_path` holds versions itself; the model is then called as the folder is.
            host: the address to listen on; "0.0.0.0" for every interface.
            port: of gRPC; 0 takes a free one.
            rest_port: of REST; 0 takes a free one, None serves no REST.
            num_versions: how many of each model's latest versions are served at a time.
            poll_s: seconds between two looks at the disk; 0 looks once only.
            wait_for_versions: where there is no version yet, wait for one rather than fail.
            warmup: run the requests in each version's warm-up file before it answers.
            health_service: also serve grpc.health.v1.Health.
            tensor_content: answer with `tensor_content`, which is faster to write and to read,
                where TF Serving answers with `float_val` and the like.
            grpc_threads: gRPC requests worked on at a time; four for each processor if None.
            rest_threads: REST requests worked on at a time; four for each processor if None.
            rest_timeout_s: how long a REST request may take.
            grace_s: how long requests in flight may take to finish when the server stops.
        """
        self._base_path = Path(base_path)
        self._model_name = model_name
        self._host = host
        self._requested_port = port
        self._requested_rest_port = rest_port
        self._num_versions = num_versions
        self._warmup = warmup
        self._wait_for_versions = wait_for_versions
        self._grace_s = grace_s
        threads = 4 * (os.cpu_count() or 1)
        self._servables = Servables(self._find_models, self._load, poll_s=poll_s)
        core = Core(self._servables)
        self._grpc = GrpcServer(
            core,
            threads=grpc_threads or threads,
            health_service=health_service,
            typed=not tensor_content,
        )
        self._rest: RestServer | None = None
        if rest_port is not None:
            self._rest = RestServer(core, threads=rest_threads or threads, timeout_s=rest_timeout_s)
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
        return _address(_reachable(self._host), self.port)

    @property
    def rest_address(self) -> str | None:
        """Where REST answers, such as "http://127.0.0.1:8501"; None where it is not served."""
        if self._rest_port is None:
            return None
        return f"http://{_address(_reachable(self._host), self._rest_port)}"

    @property
    def models(self) -> dict[str, int | None]:
        """The models, each with its latest version that answers."""
        return {name: self._servables.latest(name) for name in self._servables.names()}

    def start(self) -> None:
        """Load every model, then open the ports.

        Raises:
            errors.ServerStartError: no model, a model that does not load, a port in use.
        """
        # A port that is taken should not cost the time of a load to find out.
        _bind(self._host, self._requested_port).close()
        if self._requested_rest_port is not None:
            _bind(self._host, self._requested_rest_port).close()
        self._check_base_path()
        self._servables.load_first(wait_for_versions=self._wait_for_versions)
        try:
            self._open_ports()
        except BaseException:
            self.stop()
            raise
        self._servables.start()

    def stop(self) -> None:
        """Refuse new requests, let those in flight finish, unload everything."""
        self._grpc.stop(self._grace_s)
        if self._rest is not None:
            self._rest.stop(self._grace_s)
        self._servables.stop()

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
            listener = _bind(self._host, self._requested_rest_port)
            self._rest_port = listener.getsockname()[1]
        try:
            self._port = self._grpc.bind(_address(self._host, self._requested_port))
        except RuntimeError as error:
            raise errors.ServerStartError(
                _cannot_listen(self._host, self._requested_port, "it has just been taken")
            ) from error
        self._grpc.start()
        if self._rest is not None and listener is not None:
            self._rest.start(listener)

    def _check_base_path(self) -> None:
        try:
            if self._model_name is None and find_versions(self._base_path):
                self._model_name = self._base_path.resolve().name
            found = bool(self._find_models())
        except OSError as error:
            if self._wait_for_versions:
                return
            raise errors.ServerStartError(
                f"{self._base_path} cannot be read: {error.strerror or error}."
            ) from error
        if not found and not self._wait_for_versions:
            raise errors.ServerStartError(
                f"No model to serve in {self._base_path}: expected folders NAME/VERSION, where "
                "VERSION is a number, such as flowers/1/saved_model.pb."
            )

    def _find_models(self) -> Sequence[ModelConfig]:
        if self._model_name is not None:
            return [ModelConfig(self._model_name, self._base_path, self._num_versions)]
        return find_models(self._base_path, num_versions=self._num_versions)

    def _load(self, path: Path) -> SavedModel:
        model = SavedModel(path)
        if self._warmup:
            warm_up(model, path)
        return model


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise errors.ServerStartError(_cannot_listen(host, port, "a port is 0 to 65535"))
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise errors.ServerStartError(_cannot_listen(host, port, str(error))) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else str(error)
        raise errors.ServerStartError(_cannot_listen(host, port, reason)) from error
    return listener


def _cannot_listen(host: str, port: int, reason: str) -> str:
    return f"Cannot listen on {_address(host, port)}: {reason}. Port 0 takes a free one."


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
