"""A live server, started with the container's own flags and files."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from inception_serving import ModelServer
from inception_serving.server.flags import build_parser, options_from_flags
from inception_serving.server.options import ServerOptions
from inception_serving.server.unsupported_flags import without_idle_flags
from tests.production.manifests import DOCKER, compose
from tests.serving.caller import Caller, free_port, png
from tests.serving.saved_models import save_colours


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """The compose file's server: `photos` has answered and refused; its version 2 did not load."""
    models = tmp_path_factory.mktemp("models")
    save_colours(models / "photos" / "1")
    with ModelServer(options=container_options(models, models)) as server:
        use(server)
        broken = models / "photos" / "2"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"no model")
        wait_for(server, f'load_attempt_count{{model_path="{broken}",status="fail"}}')
        yield server


def container_options(models: Path, configs: Path) -> ServerOptions:
    """The options that compose.yaml's command stands for, with paths and ports of this machine."""
    for file in (DOCKER / "configs").iterdir():
        text = file.read_text("utf-8").replace('"/models/', f'"{models}/')
        (configs / file.name).write_text(text, "utf-8")
    arguments = [
        each.replace("=/configs/", f"={configs}/")
        for each in without_idle_flags(compose()["services"]["server"]["command"])
    ]
    given = vars(build_parser().parse_args(arguments))
    return options_from_flags({**given, "port": 0, "rest_api_port": free_port()})


def use(server: ModelServer) -> None:
    """Predictions over gRPC and REST, and two that fail, each by a status of its own."""
    image = png(250, 0, 0)
    caller = Caller(server.address)
    with caller.channel:
        for _ in range(3):
            caller.predict({"image_bytes": [image]}, name="photos")
        with pytest.raises(grpc.RpcError):  # INVALID_ARGUMENT
            caller.predict({"image_bytes": [b"no image"]}, name="photos")
        with pytest.raises(grpc.RpcError):  # FAILED_PRECONDITION
            caller.predict({"image_bytes": [image]}, name="photos", signature="none")
    body = {"instances": [{"b64": base64.b64encode(image).decode()}]}
    urllib.request.urlopen(
        f"{server.rest_address}/v1/models/photos:predict", json.dumps(body).encode(), timeout=20
    ).close()


def wait_for(server: ModelServer, line: str) -> None:
    """Until the metrics have such a line."""
    deadline = time.monotonic() + 20
    while line not in server.metrics.text():
        assert time.monotonic() < deadline, f"never seen: {line}"
        time.sleep(0.05)
