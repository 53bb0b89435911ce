"""TF Serving's own server, started with our server's options, watched, and stopped.

Its flags are those that our own server takes, so models, versions, ports and answers are the same.
The models below the folder are listed in a configuration file, which is written anew when another
model appears there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from google.protobuf import text_format

from inception_serving import errors, messages
from inception_serving.client.client import Client
from inception_serving.engines.programs import ENGINES, Container, Place, Program
from inception_serving.server.config import protos
from inception_serving.server.config.model_config import ModelConfig
from inception_serving.server.listening import bind, host_port, reachable
from inception_serving.server.options import SERVE_DEFAULTS, ServerOptions
from inception_serving.server.versions.folder import ModelFolder

# What is handed on; whatever else our own server can be told is not.
_HANDED_ON = {
    *("host", "port", "rest_port", "num_versions", "page", "health_service", "batching"),
    *("metrics_path", "mixed_precision", "grace_s"),
}
_POLL_S = 2  # between two looks for other models, here and in TF Serving
_MODELS, _MONITORING = "models.config", "monitoring.config"


def serve_by(
    engine: str,
    base_path: str | os.PathLike[str],
    *,
    options: ServerOptions = SERVE_DEFAULTS,
    **changes: Any,
) -> None:
    """Serve every model below a folder by TF Serving, until SIGTERM or SIGINT (Ctrl+C).

    Its own log goes to stderr, the addresses to stdout once every model answers. Call it from the
    main thread, where Python handles signals. TF Serving ends at once when it is told to: requests
    in flight are lost, which those of our own server are not.

    Args:
        engine: of `ENGINES`, and not the first, which is `inception_serving.serve`.
        base_path: BASE of BASE/NAME/VERSION, or one model's folder.
        options: how to serve; see `inception_serving.serve`. There is no page.
        **changes: other values for some of the options, by name.

    Raises:
        TypeError: there is no such option.
        errors.OptionError: an option breaks its rule, or is our own server's alone.
        errors.ServerStartError: the program is not installed, there is no model, a port is in use,
            or it ended before it answered.
        errors.ServingError: it ended later by itself.
    """
    if engine not in ENGINES[1:]:
        raise errors.OptionError(
            f"`engine` must be one of {', '.join(map(repr, ENGINES))}. Received: engine={engine!r}"
        )
    options = options.with_changes(changes)
    _check_handed_on(engine, options)
    base = Path(base_path).resolve()
    folder = ModelFolder(base, num_versions=options.num_versions)
    folder.check()
    program: Place = Container(options.host) if engine == "docker" else Program(options.host)
    with _ports(options) as (host, port, rest_port), tempfile.TemporaryDirectory() as configs:
        Path(configs).chmod(0o755)  # a container's user may be another
        server = _External(program, base, Path(configs), options.grace_s)
        server.write_models(folder())
        (Path(configs) / _MONITORING).write_text(_monitoring(options.metrics_path), "utf-8")
        options = dataclasses.replace(options, host=host, port=port, rest_port=rest_port)
        server.run(folder, options)


def _check_handed_on(engine: str, options: ServerOptions) -> None:
    changed = [
        field.name
        for field in dataclasses.fields(ServerOptions)
        if field.name not in _HANDED_ON
        and getattr(options, field.name) != getattr(SERVE_DEFAULTS, field.name)
    ]
    if changed or not isinstance(options.batching, bool):
        raise errors.OptionError(
            f"`{(changed or ['batching'])[0]}` is not handed on to {engine}: it is an option of the"
            " engine embedded."
        )


def _monitoring(path: str | None) -> str:
    config = protos.MonitoringConfig()
    config.prometheus_config.enable = path is not None
    config.prometheus_config.path = path or ""
    return str(text_format.MessageToString(config))


@contextlib.contextmanager
def _ports(options: ServerOptions) -> Iterator[tuple[str, int, int | None]]:
    """The host as a number, and the ports, which are free and, where 0 was asked for, chosen."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bind(options.host, options.port))
        host, port, *_ = listener.getsockname()
        rest_port = None
        if options.rest_port is not None:
            rest = stack.enter_context(bind(options.host, options.rest_port))
            rest_port = rest.getsockname()[1]
    yield host, port, rest_port  # closed by now, or the server could not have them


class _External:
    """A server that is another process."""

    def __init__(self, place: Place, base: Path, configs: Path, grace_s: float) -> None:
        self._place = place
        self._base = base
        self._configs = configs
        self._grace_s = grace_s
        self._models: list[ModelConfig] = []
        self._stopping = threading.Event()

    def write_models(self, models: Sequence[ModelConfig]) -> None:
        """Write the list of models, for the server to read, where it is another than before.

        Raises:
            errors.ServerStartError: one is a link to a folder that the server does not see; once.
        """
        if list(models) == self._models:
            return
        self._models = list(models)
        for each in models:
            if self._place.follows_links or each.base_path.resolve().is_relative_to(self._base):
                continue
            raise errors.ServerStartError(
                f"{each.base_path} is a link to {each.base_path.resolve()}, and the container has"
                f" {self._base} alone: put the model's files there. Or --engine embedded."
            )
        config = messages.ModelServerConfig()
        for each in models:
            model = config.model_config_list.config.add()
            model.name, model.model_platform = each.name, each.platform
            inside = each.base_path.relative_to(self._base)
            model.base_path = str(self._place.models(self._base) / inside)
            if each.num_versions is None:
                model.model_version_policy.all.SetInParent()
            else:
                model.model_version_policy.latest.num_versions = each.num_versions
        beside = self._configs / f"{_MODELS}.tmp"
        beside.write_text(text_format.MessageToString(config), "utf-8")
        os.replace(beside, self._configs / _MODELS)  # so that half a file is never read

    def run(self, folder: ModelFolder, options: ServerOptions) -> None:
        """Start it, say where it answers, and stop it on a signal; watch it meanwhile."""
        command = self._place.command(self._base, self._configs, options, self._flags(options))
        address = host_port(reachable(options.host), options.port)
        with self._signals():
            # A session of its own: Ctrl+C is for this process, which then stops the other.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
            )
            try:
                for model in [each.name for each in self._models]:
                    self._wait_until_ready(process, address, model)
                if not self._stopping.is_set():
                    print(f"gRPC on {address}", flush=True)
                    if options.rest_port is not None:
                        rest = host_port(reachable(options.host), options.rest_port)
                        print(f"REST on http://{rest}/v1/models/NAME", flush=True)
                while not self._stopping.wait(_POLL_S):
                    if process.poll() is not None:
                        self._ended(process, errors.ServingError)
                    try:
                        self.write_models(folder())
                    except errors.ServerStartError as error:  # those before it stay served
                        print(error, file=sys.stderr, flush=True)
                    except OSError:  # a disk that is away for a moment
                        pass
            finally:
                self._stop(process)

    def _flags(self, options: ServerOptions) -> list[str]:
        port, rest_port = self._place.ports(options)
        configs = self._place.configs(self._configs)
        flags = [
            f"--port={port}",
            f"--rest_api_port={rest_port or 0}",
            f"--model_config_file={configs / _MODELS}",
            f"--model_config_file_poll_wait_seconds={_POLL_S}",
            # As our own server: it would try five times, a minute apart, before it said a word.
            "--max_num_load_retries=0",
        ]
        if options.health_service:
            flags.append("--enable_grpc_healthcheck_service=true")
        if options.batching:
            flags.append("--enable_batching=true")
        if options.metrics_path is not None:
            flags.append(f"--monitoring_config_file={configs / _MONITORING}")
        if options.mixed_precision is not None:
            flags.append(f"--mixed_precision={options.mixed_precision}")
        return flags

    def _wait_until_ready(self, process: Any, address: str, model: str) -> None:
        """As long as the process lives: a large model takes minutes."""
        with Client(address, model=model, timeout_s=5.0, retries=0) as client:
            while not self._stopping.is_set():
                with contextlib.suppress(errors.StatusError):
                    client.wait_until_ready(0.5)
                    return
                if process.poll() is not None:
                    self._ended(process, errors.ServerStartError)

    def _ended(self, process: Any, error: type[errors.ServingError]) -> NoReturn:
        code = process.returncode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise error(f"{self._place.name} has ended {how}: the lines above are its own.")

    def _stop(self, process: Any) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                self._place.kill()
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, lambda *_: self._stopping.set())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
