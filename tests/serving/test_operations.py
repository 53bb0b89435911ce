"""What operators turn on: metrics, TLS, Unix sockets, reflection, CORS, gRPC's own options.

Sources, below tensorflow_serving/: util/prometheus_exporter.cc, servables/tensorflow/util.cc,
model_servers/server.cc, model_servers/http_server.cc, model_servers/http_rest_api_util.cc.
"""

from __future__ import annotations

import logging
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_management_pb2

from inception_serving import Client, ModelServer, errors
from inception_serving.commands.cli import main
from inception_serving.predictions.served import read_served
from inception_serving.server.config import files
from inception_serving.server.config.tls import Tls
from inception_serving.server.metrics import Counter, Histogram
from tests.serving.caller import Caller, free_port
from tests.serving.model.test_examples import classification, multi
from tests.serving.test_client import make_certificate
from tests.serving.test_command import running

X = {"x": np.array([1], np.float32)}
METRICS = "/monitoring/prometheus/metrics"


class TestMetrics:
    @pytest.fixture
    def measured(self, base: Path) -> Iterator[tuple[ModelServer, Caller]]:
        with ModelServer(
            base, rest_port=0, batching=True, metrics_path=METRICS, load_threads=2
        ) as server:
            caller = Caller(server.address)
            with caller.channel:
                yield server, caller

    def lines(self, server: ModelServer) -> list[str]:
        response = httpx.get(f"{server.rest_address}{METRICS}", timeout=20)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain"
        return response.text.splitlines()

    def test_names_and_labels(self, measured: tuple[ModelServer, Caller]) -> None:
        """Row 59."""
        server, caller = measured
        caller.predict(X)
        url = f"{server.rest_address}/v1/models/arithmetic:predict"
        httpx.post(url, json={"instances": [1]}, timeout=20)
        httpx.get(url.removesuffix(":predict"), timeout=20)
        httpx.get(f"{server.rest_address}/v1/models/nobody's", timeout=20)
        caller.predictions.Classify(classification("", 1, 2), timeout=20)
        caller.predictions.MultiInference(multi(("", "classify")), timeout=20)
        for name in ("arithmetic", "nobody's", "nobody else's"):
            with pytest.raises(grpc.RpcError):
                caller.predict({}, name=name)

        lines = self.lines(server)

        serving = ":tensorflow:serving:"
        arithmetic = 'model_name="arithmetic",API'
        for line in (
            f"# TYPE {serving}request_count counter",
            f'{serving}request_count{{model_name="arithmetic",status="OK"}} 3',
            f'{serving}request_count{{model_name="scorer",status="OK"}} 1',
            f'{serving}request_count{{model_name="arithmetic",status="INVALID_ARGUMENT"}} 1',
            f'{serving}request_count{{model_name="",status="NOT_FOUND"}} 3',
            f'{serving}request_latency_count{{{arithmetic}="Predict",entrypoint="GRPC"}} 1',
            f'{serving}request_latency_count{{{arithmetic}="predict",entrypoint="REST"}} 1',
            f'{serving}request_latency_count{{{arithmetic}="",entrypoint="REST"}} 1',
            f'{serving}runtime_latency_count{{{arithmetic}="Predict",runtime="TF1"}} 2',
            f'{serving}request_example_count_total{{model="scorer"}} 2',
            f'{serving}request_example_counts_sum{{model="scorer"}} 2',
            f'{serving}request_example_counts_count{{model="scorer"}} 1',
            f"{serving}batching_session:wrapped_run_count{{}} 3",
            f"{serving}batching_session:input_batch_size_count{{}} 3",
            f'{serving}batching_session:padding_size_count{{execution_batch_size="2"}} 1',
            f"{serving}batching_session:queuing_latency_count"
            '{thread_pool_name="model_server_batch_threads"} 3',
            ":tensorflow:core:graph_runs{} 4",
            ":tensorflow:core:graph_run_time_usecs_histogram_count{} 4",
            ":tensorflow:core:graph_run_output_tensor_bytes_count{} 4",
        ):
            assert line in lines
        joined = "\n".join(lines)
        sums = re.findall(r"_(?:latency|usecs_histogram)_sum\{.*\} (.*)", joined)
        assert sums and all(value.isdigit() for value in sums)  # whole microseconds
        assert re.search(r':model_warmup_latency_count\{model_path=".*",status="OK"\} 1', joined)
        assert re.search(r':load_attempt_count\{model_path=".*",status="success"\} 1', joined)
        limits = re.findall(rf'{serving}request_latency_bucket.*="predict".*le="(.*)"', joined)
        assert limits[:5] == ["10", "18", "32.4", "58.32", "104.976"]
        assert (len(limits), limits[-1]) == (34, "+Inf")

    def test_elsewhere_and_nowhere(self, server: ModelServer, tmp_path: Path) -> None:
        file = tmp_path / "monitoring.config"
        file.write_text("prometheus_config { enable: true path: '/metrics' }")
        named = files.metrics_path(file)
        file.write_text("prometheus_config { enable: true }")
        default = files.metrics_path(file)
        file.write_text("prometheus_config { path: '/metrics' }")
        disabled = files.metrics_path(file)

        assert (named, default, disabled) == ("/metrics", METRICS, None)
        assert httpx.get(f"{server.rest_address}{METRICS}", timeout=20).status_code == 404

    def test_of_a_reload(self, measured: tuple[ModelServer, Caller], base: Path) -> None:
        """Row 56: model_service_impl.cc, `metric_names`."""
        name = "/tensorflow/cc/saved_model/load_attempt_count"
        _, caller = measured
        request = model_management_pb2.ReloadConfigRequest(metric_names=[name, "/nope"])
        config = request.config.model_config_list.config.add()
        config.name, config.base_path = "two", str(base / "arithmetic")
        config.model_platform = "tensorflow"

        response = caller.models.HandleReloadConfigRequest(request, timeout=20)

        assert [(metric.name, metric.int64_value_increase) for metric in response.metric] == [
            ("/nope", 0),
            (name, 1),
        ]

    def test_text(self) -> None:
        """prometheus_exporter.cc: quotes and backslashes are escaped; a limit is the next one's."""
        counter, histogram = Counter("/a-b/c", ["x"]), Histogram("/h", [1, 2], ["y"])
        counter.add('q"\\\n')
        for value in (0.5, 1, 7):
            histogram.observe("z", value=value)

        assert list(counter.lines()) == ["# TYPE :a:b:c counter", r':a:b:c{x="q\"\\\n"} 1']
        assert list(histogram.lines()) == [
            "# TYPE :h histogram",
            ':h_bucket{y="z",le="1"} 1',
            ':h_bucket{y="z",le="2"} 2',
            ':h_bucket{y="z",le="+Inf"} 3',
            ':h_sum{y="z"} 8.5',
            ':h_count{y="z"} 3',
        ]


class TestTls:
    """Row 63: server.cc, BuildServerCredentialsFromSSLConfigFile."""

    def config(self, folder: Path, more: str = "") -> tuple[Path, Path, Tls]:
        key, certificate = make_certificate(folder)
        file = folder / "ssl.config"
        pem = f"server_key: {key.read_text()!r} server_cert: {certificate.read_text()!r}"
        file.write_text(f"{pem} {more.format(ca=repr(certificate.read_text()))}")
        return key, certificate, files.read_tls(file)

    def test_one_sided(self, base: Path, tmp_path: Path) -> None:
        _, certificate, tls = self.config(tmp_path)
        with ModelServer(base / "arithmetic", tls=tls) as server:
            address = f"localhost:{server.port}"
            with Client(address, "arithmetic", root_certificates=certificate) as client:
                answer = client.predict_tensors({"x": [1.0]})["y"]
            with (
                Client(server.address, "arithmetic", retries=0, timeout_s=3) as plain,
                pytest.raises(errors.StatusError),
            ):
                plain.status()

        assert answer.tolist() == [2.5]

    def test_mutual(self, base: Path, tmp_path: Path) -> None:
        key, certificate, tls = self.config(tmp_path, "custom_ca: {ca} client_verify: true")
        with ModelServer(base / "arithmetic", tls=tls) as server:
            address = f"localhost:{server.port}"
            own = {"client_key": key, "client_certificate": certificate}
            with Client(address, "arithmetic", root_certificates=certificate, **own) as client:
                answer = client.predict_tensors({"x": [1.0]})["y"]
            with (
                Client(
                    address, "arithmetic", root_certificates=certificate, retries=0, timeout_s=3
                ) as nobody,
                pytest.raises(errors.StatusError),
            ):
                nobody.status()

        assert answer.tolist() == [2.5]

    def test_something_is_missing(self, tmp_path: Path) -> None:
        file = tmp_path / "ssl.config"
        file.write_text("server_key: 'k'")
        with pytest.raises(errors.InvalidArgumentError, match="a server_key and a server_cert"):
            files.read_tls(file)
        file.write_text("server_key: 'k' server_cert: 'c' client_verify: true")
        with pytest.raises(errors.InvalidArgumentError, match="client_verify needs a custom_ca"):
            files.read_tls(file)


def test_a_unix_socket(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Row 62: --grpc_socket_path, beside the port."""
    socket = tmp_path / "grpc.sock"
    with ModelServer(base / "arithmetic", socket_path=socket) as server:
        assert stat.S_ISSOCK(socket.stat().st_mode)
        for address in (f"unix:{socket}", server.address):
            with Client(address, "arithmetic") as client:
                assert client.predict_tensors({"x": [1.0]})["y"].tolist() == [2.5]
        for name in ("arithmetic", "arithmetic/7"):
            assert main(["status", f"unix:{socket}/{name}"]) == 0
            assert re.search(r"7 +AVAILABLE", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("unix:/run/a.sock/photos", ("unix:/run/a.sock", "photos", None)),
        ("unix:a.sock/photos/2", ("unix:a.sock", "photos", 2)),
        ("unix:///run/a.sock/photos/2", ("unix:///run/a.sock", "photos", 2)),
        ("unix:8500/photos", ("unix:8500", "photos", None)),
        ("unix:a.sock", None),
        ("unix:/photos", None),
    ],
)
def test_a_model_behind_a_unix_socket_has_a_name(name: str, parts: Any) -> None:
    assert read_served(name) == parts


def test_reflection(base: Path) -> None:
    """Row 67; TF Serving has none."""
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    with ModelServer(base / "arithmetic", reflection=True, health_service=True) as server:
        caller = Caller(server.address)
        with caller.channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
            requests = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(
                    file_containing_symbol="tensorflow.serving.PredictRequest"
                ),
            ]
            requests += [
                reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
                for service in (
                    "tensorflow.serving.PredictionService",
                    "tensorflow.serving.ModelService",
                    "grpc.health.v1.Health",
                    "grpc.reflection.v1alpha.ServerReflection",
                )
            ]
            answers = list(stub.ServerReflectionInfo(iter(requests), timeout=20))
    services, file, *of_services = answers

    assert {service.name for service in services.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    assert b"PredictRequest" in file.file_descriptor_response.file_descriptor_proto[0]
    for answer in of_services:
        assert answer.WhichOneof("message_response") == "file_descriptor_response"


def test_open_streams_of_reflection_do_not_put_off_the_end(base: Path) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    asked = threading.Event()

    def ask_once() -> Iterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        asked.wait(30)  # and say no more

    server = ModelServer(base / "arithmetic", reflection=True, grace_s=20)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        streams = [stub.ServerReflectionInfo(ask_once(), timeout=60) for _ in range(40)]
        assert next(streams[0]).HasField("list_services_response")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 10
        asked.set()


def test_a_stream_of_reflection_may_not_wait_for_ever(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    monkeypatch.setattr("inception_serving.server.grpc.arrivals._MESSAGE_S", 0.5)
    monkeypatch.setattr("inception_serving.server.grpc.arrivals._ALONE_S", 0.1)
    said_all = threading.Event()

    def ask_once() -> Iterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        said_all.wait(30)

    with (
        ModelServer(base / "arithmetic", reflection=True) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            ask_once(), timeout=20
        )
        assert next(stream).HasField("list_services_response")
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        said_all.set()
    assert ended.value.code() == grpc.StatusCode.CANCELLED


def test_what_is_no_question_of_reflection_is_told_so_and_not_logged(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from grpc_reflection.v1alpha import reflection_pb2

    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with (
        ModelServer(base / "arithmetic", reflection=True) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        (answer,) = channel.stream_stream(method)(iter([b"\xff\xff"]), timeout=20)
    response = reflection_pb2.ServerReflectionResponse.FromString(answer)
    assert response.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_reflection_and_health_are_off_unless_asked_for(base: Path) -> None:
    with ModelServer(base / "arithmetic") as server:
        caller = Caller(server.address)
        with caller.channel, pytest.raises(grpc.RpcError) as caught:
            health_pb2_grpc.HealthStub(caller.channel).Check(
                health_pb2.HealthCheckRequest(), timeout=20
            )

    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


class TestCors:
    """http_rest_api_util.cc, AddCORSHeaders."""

    def test_on(self, base: Path) -> None:
        with ModelServer(base / "arithmetic", rest_port=0, cors=True) as server:
            url = f"{server.rest_address}/v1/models/arithmetic:predict"
            origin = {"Origin": "https://example.org"}
            preflight = httpx.options(url, headers=origin, timeout=20)
            without = httpx.options(url, timeout=20)
            answer = httpx.post(url, json={"instances": [1]}, headers=origin, timeout=20)
            error = httpx.post(url, json={}, headers=origin, timeout=20)

        assert [one.status_code for one in (preflight, without, answer, error)] == [
            200,
            400,
            200,
            400,
        ]
        for response in (preflight, answer, error):
            assert response.headers["access-control-allow-origin"] == "*"
            assert response.headers["access-control-allow-methods"] == "POST, GET"
            assert response.headers["access-control-allow-headers"] == "Content-Type"

    def test_off(self, server: ModelServer) -> None:
        url = f"{server.rest_address}/v1/models/arithmetic:predict"
        origin = {"Origin": "https://example.org"}
        preflight = httpx.options(url, headers=origin, timeout=20)
        answer = httpx.post(url, json={"instances": [1]}, headers=origin, timeout=20)

        assert preflight.status_code == 200
        assert answer.status_code == 403  # nothing is run for a page of another origin
        assert "access-control-allow-origin" not in answer.headers


def test_an_operators_command_line(base: Path, tmp_path: Path) -> None:
    """Row 68: every kind of flag at once, on one process."""
    key, certificate = make_certificate(tmp_path)
    files = {
        "models.config": "model_config_list { config { name: 'sums' base_path: "
        f"'{base / 'arithmetic'}' model_platform: 'tensorflow' }} }}",
        "batching.config": "max_batch_size { value: 2 }",
        "monitoring.config": "prometheus_config { enable: true }",
        "ssl.config": f"server_key: {key.read_text()!r} server_cert: {certificate.read_text()!r}",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    rest_port = free_port()
    with running(
        "-m",
        "inception_serving.server",
        "--port=0",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={tmp_path}/models.config",
        "--model_config_file_poll_wait_seconds=60",
        "--enable_batching",
        f"--batching_parameters_file={tmp_path}/batching.config",
        f"--monitoring_config_file={tmp_path}/monitoring.config",
        f"--ssl_config_file={tmp_path}/ssl.config",
        f"--grpc_socket_path={tmp_path}/grpc.sock",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=60000,grpc.primary_user_agent=x",
        "--tensorflow_session_parallelism=1",
        "--max_num_load_retries=5",
        "--load_retry_interval_micros=1000",
        "--num_load_threads=2",
        "--num_request_iterations_for_warmup=2",
        "--rest_api_enable_cors_support",
        "--enable_signature_method_name_check=false",
        "--flush_filesystem_caches=true",
        "--xla_gpu_compilation_enabled=false",
    ) as (_, address):
        secure = f"localhost:{address.rpartition(':')[2]}"
        with Client(secure, "sums", root_certificates=certificate) as client:
            answer = client.predict_tensors({"x": [1.0]})["y"]
            with pytest.raises(errors.InvalidArgumentError) as caught:
                client.predict_tensors({"x": [1.0, 2.0, 3.0]})
        with Client(f"unix:{tmp_path}/grpc.sock", "sums") as client:
            version = client.wait_until_ready()
        metrics = httpx.get(f"http://127.0.0.1:{rest_port}{METRICS}", timeout=20).text

    assert answer.tolist() == [2.5]
    assert str(caught.value) == "Task size 3 is larger than maximum input batch size 2"
    assert version == 7
    assert ':request_count{model_name="sums",status="OK"} 1' in metrics


def test_the_version() -> None:
    command = [sys.executable, "-m", "inception_serving.server", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0
    assert done.stdout.startswith("inception_serving")
