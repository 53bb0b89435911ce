"""The compose files: by Compose's own schema, and by starting what they start."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from inception_serving import ModelServer
from inception_serving.server.config.files import read_batching
from inception_serving.server.flags import build_parser
from inception_serving.server.unsupported_flags import refusal
from tests.production.manifests import DOCKER, SERVING, compose, flags

GPU = ("compose.yaml", "compose.gpu.yaml")
_SPECIFICATION = get_builtin_schema("vendor.compose-spec")
SCHEMA = jsonschema.validators.validator_for(_SPECIFICATION)(_SPECIFICATION)


def server(*names: str, **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(*names, **variables)["services"]["server"]
    return found


@pytest.mark.parametrize("names", [(), ("compose.gpu.yaml",), GPU])
def test_compose_files_keep_to_the_specification(names: tuple[str, ...]) -> None:
    SCHEMA.validate(compose(*names))


def test_a_misspelt_field_would_be_seen() -> None:
    wrong = compose()
    wrong["services"]["server"]["volums"] = []
    with pytest.raises(jsonschema.ValidationError, match="volums"):
        SCHEMA.validate(wrong)


def test_the_image_is_chosen() -> None:
    assert server()["image"] == "tensorflow/serving:2.20.0"
    assert server(*GPU)["image"] == "tensorflow/serving:2.20.0-gpu"
    assert server(*GPU, TF_SERVING_TAG="2.19.1")["image"] == "tensorflow/serving:2.19.1-gpu"


def test_a_gpu_is_asked_for_and_shared() -> None:
    (device,) = server(*GPU)["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert server(*GPU)["environment"]["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert server(*GPU)["command"] == server()["command"]


def test_precision_is_chosen() -> None:
    chosen = server(MIXED_PRECISION="bfloat16", SESSION_CONFIG="/configs/session_config.pbtxt")
    given, default = flags(chosen["command"]), flags(server()["command"])
    assert (default["mixed_precision"], given["mixed_precision"]) == ("", "bfloat16")
    assert default["tensorflow_session_config_file"] == ""
    assert given["tensorflow_session_config_file"] == "/configs/session_config.pbtxt"


def test_example_env_names_every_variable_with_its_default() -> None:
    text = "".join((DOCKER / name).read_text("utf-8") for name in GPU)
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    lines = (DOCKER / "example.env").read_text("utf-8").splitlines()
    assert dict(line.split("=", 1) for line in lines if line and line[0] != "#") == used


def test_what_is_mounted_is_there() -> None:
    """But for the models, which are yours."""
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source not in compose()["volumes"] and source != "../../models":
                assert (DOCKER / source).exists(), source


def test_every_file_of_a_flag_is_in_the_mounted_folder() -> None:
    chosen = server(SESSION_CONFIG="/configs/session_config.pbtxt")
    files = [value for value in flags(chosen["command"]).values() if value.startswith("/configs/")]
    assert len(files) == 4
    for file in files:
        assert (DOCKER / file.removeprefix("/")).is_file(), file


def test_every_flag_is_one_of_the_server() -> None:
    """What our own server lacks, it knows by name."""
    ours = build_parser()
    _, unknown = ours.parse_known_args(server()["command"])
    assert {flag.split("=")[0] for flag in unknown} == {"--tensorflow_session_config_file"}
    for flag in unknown:
        assert "is a flag of tensorflow_model_server" in refusal(flag)


def test_there_are_threads_to_fill_batches() -> None:
    parameters = read_batching(DOCKER / "configs" / "batching_params.pbtxt")
    threads = int(flags(server()["command"])["grpc_max_threads"])
    assert threads >= parameters.max_batch_size * (parameters.num_batch_threads + 1)


def test_the_ports_are_open_to_this_machine_alone() -> None:
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def health_check(live: ModelServer, model: str) -> int:
    """The exit status of the container's health check, with the live server's port."""
    kind, *command = server()["healthcheck"]["test"]
    assert kind == "CMD"
    command[-1] = command[-1].replace("8501", str(live.rest_port))
    done = subprocess.run(command, env={"MODEL_NAME": model, "PATH": "/usr/bin:/bin"}, timeout=10)
    return done.returncode


def test_the_health_check_tells_a_model_that_answers(live: ModelServer) -> None:
    assert health_check(live, "photos") == 0
    assert health_check(live, "nobody") != 0


def test_the_health_check_fails_where_nothing_listens(live: ModelServer) -> None:
    class Nobody:
        rest_port = 1

    assert health_check(Nobody(), "photos") != 0  # type: ignore[arg-type]


def test_grafana_finds_its_dashboards() -> None:
    mounted = dict(volume.split(":")[:2] for volume in compose()["services"]["grafana"]["volumes"])
    provisioning = SERVING / "monitoring/grafana/provisioning/dashboards/inception.yaml"
    (provider,) = yaml.safe_load(provisioning.read_text("utf-8"))["providers"]
    assert mounted["../monitoring/grafana/dashboards"] == provider["options"]["path"]


def test_the_model_image_holds_the_models() -> None:
    lines = (DOCKER / "model-image.Dockerfile").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "FROM busybox:1.37",
        "COPY . /models",
    ]
