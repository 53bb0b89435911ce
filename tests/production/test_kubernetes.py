"""The manifests: by Kubernetes's own schemas, and by what they promise."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from inception_serving import ModelServer
from inception_serving.server.config.files import metrics_path, read_batching, read_models
from inception_serving.server.flags import build_parser
from inception_serving.server.unsupported_flags import refusal
from tests.production.manifests import (
    DOCKER,
    KUBERNETES,
    RENDERED,
    compose,
    flags,
    of_kind,
    pod_spec,
    resources,
    server_container,
)

NAMES = [path.stem for path in RENDERED]
NEWEST = kubernetes_validate.latest_version()
OLDEST = "1.29"  # has sidecars by default
KSERVE = KUBERNETES / "kserve"


@pytest.mark.parametrize(
    ("name", "version"), [*((name, NEWEST) for name in NAMES), ("object-store", OLDEST)]
)
def test_every_resource_keeps_to_its_schema(name: str, version: str) -> None:
    for resource in resources(name):
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_misspelt_field_would_be_seen() -> None:
    (wrong,) = of_kind("base", "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_there_is_a_rendering_of_the_base_and_of_each_overlay() -> None:
    assert set(NAMES) == {"base", *(path.name for path in (KUBERNETES / "overlays").iterdir())}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl renders, and is not installed")
def test_the_renderings_are_of_today(tmp_path: Path) -> None:
    subprocess.run(["sh", KUBERNETES / "render.sh", tmp_path], check=True)
    for path in RENDERED:
        assert (tmp_path / path.name).read_text("utf-8") == path.read_text("utf-8"), path.name


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_is_there(name: str) -> None:
    """Config maps, claims and the autoscaler's target; secrets are yours to make."""
    there = {(each["kind"], each["metadata"]["name"]) for each in resources(name)}
    for volume in pod_spec(name)["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in there
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
    (autoscaler,) = of_kind(name, "HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in there


@pytest.mark.parametrize("name", NAMES)
def test_every_mount_has_its_volume(name: str) -> None:
    spec = pod_spec(name)
    volumes = {each["name"] for each in spec["volumes"]}
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize("name", NAMES)
def test_services_find_the_pods(name: str) -> None:
    (deployment,) = of_kind(name, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in server_container(name)["ports"]}
    services = of_kind(name, "Service")
    assert len(services) == 2
    for service in services:
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    (headless,) = (each for each in services if each["spec"].get("clusterIP") == "None")
    assert headless["metadata"]["name"] == "inception-grpc"


def mounted_files(name: str) -> dict[str, str]:
    """Text by path in the container, of what config maps bring."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(name, "ConfigMap")}
    volumes = {each["name"]: each.get("configMap") for each in pod_spec(name)["volumes"]}
    return {
        f"{mount['mountPath']}/{file}": text
        for mount in server_container(name)["volumeMounts"]
        if volumes[mount["name"]]
        for file, text in maps[volumes[mount["name"]]["name"]].items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_flags_name_files_that_are_mounted(name: str) -> None:
    given = flags(server_container(name)["args"]).values()
    files = {each for each in given if each.startswith("/")} - {"/configs/tls/ssl.config"}
    assert files == set(mounted_files(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_server_takes_its_flags_and_files(name: str, tmp_path: Path) -> None:
    """What our own server lacks, it knows by name."""
    arguments = server_container(name)["args"]
    known, unknown = build_parser().parse_known_args(arguments)
    for flag in unknown:
        assert "is a flag of tensorflow_model_server" in refusal(flag)
    files = {}
    for path, text in mounted_files(name).items():
        files[path] = tmp_path / Path(path).name
        files[path].write_text(text, "utf-8")
    (model,) = read_models(files[known.model_config_file])
    assert (model.name, model.base_path) == ("photos", Path("/models/photos"))
    assert model.labels == ({} if name == "model-image" else {"stable": 1})
    annotations = of_kind(name, "Deployment")[0]["spec"]["template"]["metadata"]["annotations"]
    assert metrics_path(files[known.monitoring_config_file]) == annotations["prometheus.io/path"]
    batching = read_batching(files[known.batching_parameters_file])
    assert known.grpc_max_threads >= batching.max_batch_size * (batching.num_batch_threads + 1)


@pytest.mark.parametrize("name", NAMES)
def test_threads_are_the_containers_processors(name: str) -> None:
    server = server_container(name)
    given, limits = flags(server["args"]), server["resources"]["limits"]
    assert server["resources"]["requests"]["cpu"] == limits["cpu"]
    assert server["resources"]["requests"]["memory"] == limits["memory"]
    for flag in ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"):
        assert int(given[flag]) == int(limits["cpu"])


def test_a_gpu_is_limited_and_measured_by_its_queue() -> None:
    server = server_container("gpu")
    assert server["image"] == "tensorflow/serving:2.20.0-gpu"
    assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert flags(server["args"])["tensorflow_session_config_file"].endswith("session_config.pbtxt")
    (autoscaler,) = of_kind("gpu", "HorizontalPodAutoscaler")
    (metric,) = autoscaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "inception_requests_in_flight"
    assert "nvidia.com/gpu" not in server_container("base")["resources"]["limits"]


@pytest.mark.parametrize("name", NAMES)
def test_a_rolling_update_has_time_for_every_request(name: str) -> None:
    """tests/production/test_rolling_update.py shows that these times lose nothing."""
    server, spec = server_container(name), pod_spec(name)
    arguments = flags(server["args"])["grpc_channel_arguments"]
    channel = dict(each.split("=") for each in arguments.split(","))
    sleep, seconds = server["lifecycle"]["preStop"]["exec"]["command"]
    age, grace = (
        int(channel[f"grpc.max_connection_{each}_ms"]) / 1000 for each in ("age", "age_grace")
    )
    assert sleep == "sleep"
    assert int(seconds) > 1.1 * age + grace  # gRPC varies the age by a tenth
    assert spec["terminationGracePeriodSeconds"] > int(seconds)
    assert spec["shareProcessNamespace"]  # or SIGTERM is ignored
    (deployment,) = of_kind(name, "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("name", NAMES)
def test_no_container_is_root_or_writes_to_its_image(name: str) -> None:
    spec = pod_spec(name)
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_readiness_is_the_models_state(live: ModelServer) -> None:
    """Asked of a server that has the model, loaded and not."""
    probe = server_container("base")["readinessProbe"]["exec"]["command"]
    assert probe == compose()["services"]["server"]["healthcheck"]["test"][1:]  # tested there
    command = [*probe[:-1], probe[-1].replace("8501", str(live.rest_port))]
    environment = {"PATH": "/usr/bin:/bin", "MODEL_NAME": "photos"}
    assert subprocess.run(command, env=environment, timeout=10).returncode == 0
    environment["MODEL_NAME"] = "nobody"
    assert subprocess.run(command, env=environment, timeout=10).returncode != 0


def test_readiness_sees_a_model_that_failed() -> None:
    """TF Serving answers 200 for it."""
    _, _, script = server_container("base")["readinessProbe"]["exec"]["command"]
    last = script.strip().splitlines()[-1].replace("<&3", "")
    for state, status in (("AVAILABLE", 0), ("END", 1), ("LOADING", 1)):
        answer = json.dumps({"model_version_status": [{"version": "1", "state": state}]}, indent=1)
        done = subprocess.run(["bash", "-c", last], input=answer, text=True)
        assert done.returncode == status, state


def test_the_models_come_from_where_the_overlay_says() -> None:
    def source(name: str) -> tuple[dict[str, Any], list[str]]:
        spec = pod_spec(name)
        (volume,) = (each for each in spec["volumes"] if each["name"] == "models")
        return volume, [each["name"] for each in spec.get("initContainers", [])]

    assert source("base") == (
        {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        [],
    )
    own = {"name": "models", "emptyDir": {"sizeLimit": "10Gi"}}
    assert source("object-store") == (own, ["fetch", "watch"])
    assert source("model-image") == (own, ["model"])
    for name in ("object-store", "model-image"):
        assert not of_kind(name, "PersistentVolumeClaim")


def test_tls_is_a_secret_and_a_flag() -> None:
    (volume,) = (each for each in pod_spec("tls")["volumes"] if each["name"] == "tls")
    assert volume["secret"] == {"secretName": "inception-tls", "defaultMode": 0o440}
    given = flags(server_container("tls")["args"])
    assert given["ssl_config_file"] == "/configs/tls/ssl.config"


def test_kserves_service_keeps_to_its_schema() -> None:
    schema = json.loads((KSERVE / "inferenceservice.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    service = yaml.safe_load((KSERVE / "inferenceservice.yaml").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(service)
    service["spec"]["predictor"]["model"]["storageURI"] = "s3://models/photos"
    with pytest.raises(jsonschema.ValidationError, match="storageURI"):
        validator.validate(service)


def test_kserves_service_scales_as_its_mode_can() -> None:
    """KServe refuses `cpu` where Knative scales (inference_service_validation.go)."""
    service = yaml.safe_load((KSERVE / "inferenceservice.yaml").read_text("utf-8"))
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Knative"}
    assert service["spec"]["predictor"]["scaleMetric"] in ("concurrency", "rps")


def test_kserves_server_takes_its_flags() -> None:
    service = yaml.safe_load((KSERVE / "inferenceservice.yaml").read_text("utf-8"))
    model = service["spec"]["predictor"]["model"]
    known = build_parser().parse_args(model["args"])
    cpu = int(model["resources"]["limits"]["cpu"])
    assert known.tensorflow_intra_op_parallelism == known.tensorflow_inter_op_parallelism == cpu
    image = server_container("base")["image"]
    assert image == f"tensorflow/serving:{model['runtimeVersion']}"
    assert image == compose()["services"]["server"]["image"]


def test_docker_and_kubernetes_watch_the_same_path() -> None:
    ours = metrics_path(DOCKER / "configs" / "monitoring.config")
    assert ours == metrics_path(KUBERNETES / "base" / "configs" / "monitoring.config")
