"""Places where TF Serving's server runs: as a program of this machine, or in its container."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from inception_serving import errors
from inception_serving.server.listening import host_port
from inception_serving.server.options import ServerOptions

PROGRAM = "tensorflow_model_server"
# What serves: our own server, TF Serving's program, its image.
ENGINES = ("embedded", PROGRAM, "docker")
# The newest that TF Serving's own release notes name; as serving/docker/compose.yaml has it.
TAG = "2.20.0"
_EVERY_INTERFACE = ("0.0.0.0", "::")


class Place(Protocol):
    """Where the server runs: how it is started there, and what it calls our folders."""

    @property
    def name(self) -> str: ...

    @property
    def follows_links(self) -> bool:
        """Whether a model may be a link to a folder elsewhere."""
        ...

    def models(self, base: Path) -> PurePosixPath: ...

    def configs(self, folder: Path) -> PurePosixPath: ...

    def ports(self, options: ServerOptions) -> tuple[int, int | None]: ...

    def command(
        self, base: Path, configs: Path, options: ServerOptions, flags: Sequence[str]
    ) -> list[str]: ...

    def kill(self) -> None:
        """End what outlives the process that was started."""
        ...


class Program:
    """`tensorflow_model_server` on the PATH.

    Raises:
        errors.ServerStartError: it is not installed.
        errors.OptionError: `host` is one of this machine's addresses alone.
    """

    name = PROGRAM
    follows_links = True

    def __init__(self, host: str) -> None:
        if shutil.which(PROGRAM) is None:
            raise errors.ServerStartError(
                f"{PROGRAM} is not installed: sudo apt-get install tensorflow-model-server, from TF"
                " Serving's own package source, which"
                " https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/setup.md"
                " adds. Or --engine docker; or --engine embedded, which is installed."
            )
        if host not in _EVERY_INTERFACE:
            raise errors.OptionError(
                f"{PROGRAM} listens on every interface of this machine, and can be told no other."
                " Let it, by --host 0.0.0.0; or --engine docker, whose ports can be this machine's"
                f" alone. Received: host={host!r}"
            )

    def models(self, base: Path) -> PurePosixPath:
        return PurePosixPath(base)

    def configs(self, folder: Path) -> PurePosixPath:
        return PurePosixPath(folder)

    def ports(self, options: ServerOptions) -> tuple[int, int | None]:
        return options.port, options.rest_port

    def command(
        self, base: Path, configs: Path, options: ServerOptions, flags: Sequence[str]
    ) -> list[str]:
        return [PROGRAM, *flags]

    def kill(self) -> None:
        """Nothing does."""


class Container:
    """TF Serving's image, of the tag in `TF_SERVING_TAG`, by Docker.

    Raises:
        errors.ServerStartError: Docker is not installed, or its engine does not answer.
    """

    name = "docker"
    follows_links = False  # a container has the folder that is mounted, and nothing else

    def __init__(self, host: str) -> None:
        if shutil.which("docker") is None:
            raise errors.ServerStartError(
                "docker is not installed: sudo apt-get install docker.io, or see"
                " https://docs.docker.com/engine/install. Or --engine embedded, which needs none."
            )
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if asked.returncode:
            said = (asked.stderr.strip() or asked.stdout.strip() or "no word").splitlines()[-1]
            raise errors.ServerStartError(
                "Docker's engine does not answer: sudo systemctl start docker, and be of the group"
                f" docker. ({said})"
            )
        self._container = f"inception-serving-{os.getpid()}"

    def models(self, base: Path) -> PurePosixPath:
        return PurePosixPath("/models")

    def configs(self, folder: Path) -> PurePosixPath:
        return PurePosixPath("/configs")

    def ports(self, options: ServerOptions) -> tuple[int, int | None]:
        return 8500, None if options.rest_port is None else 8501

    def command(
        self, base: Path, configs: Path, options: ServerOptions, flags: Sequence[str]
    ) -> list[str]:
        image = f"tensorflow/serving:{os.environ.get('TF_SERVING_TAG') or TAG}"
        published = [f"{host_port(options.host, options.port)}:8500"]
        if options.rest_port is not None:
            published.append(f"{host_port(options.host, options.rest_port)}:8501")
        return [
            *("docker", "run", "--rm", "--name", self._container),
            # The server has no handler of SIGTERM, which process 1 needs to be ended by it.
            "--init",
            *(word for port in published for word in ("--publish", port)),
            *("--mount", _mount(base, "/models"), "--mount", _mount(configs, "/configs")),
            # The image's own is a shell script, which passes no signal on.
            *("--entrypoint", f"/usr/bin/{PROGRAM}", image, *flags),
        ]

    def kill(self) -> None:
        subprocess.run(["docker", "kill", self._container], capture_output=True)


def _mount(source: Path, target: str) -> str:
    """A folder for `docker run --mount`, which reads the fields of one line of a CSV."""
    path = f"source={source}".replace('"', '""')
    return f'type=bind,"{path}",target={target},readonly'
