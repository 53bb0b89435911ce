"""The server as a process: flags, signals, exit codes."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import grpc
import httpx
import numpy as np
import pytest

from inception_serving import ModelServer
from inception_serving.errors import ServerStartError
from inception_serving.server import flags
from inception_serving.server.flags import main
from inception_serving.server.run import run
from tests.serving.caller import Caller, free_port

SOURCES = Path(__file__).parents[2] / "serving"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCES)}


@contextmanager
def running(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process, once it has printed its first address, and that address."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        address = re.fullmatch(r"gRPC on (127\.0\.0\.1:\d+)\n", line)
        assert address, line + (process.communicate(timeout=30)[1] if not line else "")
        yield process, address[1]
    finally:
        process.kill()
        process.communicate()


def test_a_server_seldom_searches_all_objects_for_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves Python's thresholds as it found them."""
    # Which would end this process, were another test's threads at work.
    ending = SimpleNamespace(start=lambda: None, cancel=lambda: None)
    monkeypatch.setattr("inception_serving.server.run._ending", lambda seconds: ending)
    before, meanwhile = gc.get_threshold(), []

    def start() -> None:
        meanwhile.append(gc.get_threshold())
        signal.raise_signal(signal.SIGTERM)

    options = SimpleNamespace(grace_s=1.0)
    server = SimpleNamespace(
        options=options, budget=SimpleNamespace(), start=start, join=lambda timeout_s: True
    )
    run(cast(ModelServer, server))
    assert meanwhile == [(*before[:2], 1000)]
    assert gc.get_threshold() == before


def test_sigterm_lets_requests_finish(base: Path) -> None:
    """Row 54; and the flags are tensorflow_model_server's."""
    rest_port = free_port()
    with running(
        "-m",
        "inception_serving.server",
        "--port=0",
        f"--rest_api_port={rest_port}",
        "--model_name=sums",
        f"--model_base_path={base / 'arithmetic'}",
        "--enable_grpc_healthcheck_service",
        "--enable_model_warmup=false",
    ) as (process, address):
        caller = Caller(address)
        assert process.stdout
        rest_line = process.stdout.readline()
        status = httpx.get(f"http://127.0.0.1:{rest_port}/v1/models/sums", timeout=20).json()
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(
                caller.predict, {"seconds": np.float32(2.5)}, name="sums", signature="slow"
            )
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.stderr
            log = ""
            while "Stopping" not in log:
                log += process.stderr.readline()
            time.sleep(0.1)  # from the line to the closed door
            with pytest.raises(grpc.RpcError) as refused:
                other = Caller(address)
                other.predict({"x": np.array([0], np.float32)}, name="sums", timeout_s=5)
            assert not slow.done()
            assert slow.result(20).outputs["turns"].int_val[0] > 0
        other.channel.close()
        caller.channel.close()
        log += process.communicate(timeout=30)[1]

    assert rest_line == f"REST on http://127.0.0.1:{rest_port}/v1/models/NAME\n"
    assert [entry["version"] for entry in status["model_version_status"]] == ["7"]
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert process.returncode == 0
    assert re.sub(r"^\S+ \S+ | in \d+\.\d s$", "", log, flags=re.M) == (
        "INFO sums version 7: LOADING\n"
        "INFO sums version 7: AVAILABLE, loaded\n"
        "INFO Stopping: requests in flight may finish.\n"
        "INFO sums version 7: UNLOADING\n"
        "INFO sums version 7: END\n"
    )


def test_ctrl_c_stops_serve(base: Path) -> None:
    """`serve()`: every model below BASE; nothing of TensorFlow's on stderr, no stack trace.

    But for what it says of the signature in float16, where the processor has no such arithmetic.
    """
    code = f"from inception_serving import serve; serve({str(base)!r}, port=0, rest_port=0)"
    with running("-c", code) as (process, address):
        caller = Caller(address)
        answer = caller.predict({"x": np.array([0], np.float32)})
        caller.channel.close()
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=30)

    assert answer.outputs["y"].float_val[0] == 2
    assert process.returncode == 0
    assert "colours version 1: AVAILABLE" in log
    lines = [line for line in log.splitlines() if "oneDNN supports DT_HALF only" not in line]
    assert all(re.match(r"\d{4}-\d\d-\d\d \S+ INFO ", line) for line in lines), log


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    command = [sys.executable, "-m", "inception_serving.server", "--port=0"]

    done = subprocess.run(
        [*command, f"--model_base_path={tmp_path}"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )

    assert done.returncode == 255
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-2].startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: default version: 1} due to error: NOT_FOUND: Specified file path does not appear"
    )


def test_without_tensorflow_a_line_says_what_to_install(tmp_path: Path) -> None:
    """As where there is nothing but the client."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    flags = ["--port=0", f"--model_base_path={tmp_path / 'm'}"]
    for code in (
        f"from inception_serving.server.flags import main; sys.exit(main({flags!r}))",
        "from inception_serving import ModelServer",
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.modules['tensorflow'] = None\n{code}"],
            capture_output=True, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        assert done.returncode
        assert "pip install 'inception-serving[server]'" in done.stderr.splitlines()[-1]


def test_help_loads_neither_tensorflow_nor_grpc() -> None:
    code = (
        "import sys, inception_serving, inception_serving.server.flags as flags\n"
        "try:\n"
        "    flags.main(['--help'])\n"
        "except SystemExit as done:\n"
        "    print({'tensorflow', 'grpc', 'numpy'} & set(sys.modules), done.code)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )

    assert done.stdout.splitlines()[-1] == "set() 0"
    assert "--rest_api_port" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--prot=8500"], "unknown argument: --prot=8500. --help lists the flags."),
        (["8500"], "unknown argument: 8500. --help lists the flags."),
        (
            ["--prefer_tflite_model=true", "--prefer_tflite_model=false"],
            "--prefer_tflite_model is a flag of tensorflow_model_server that this server does not "
            "support: no TFLite model is served.",
        ),
        (
            ["--model_base_path=/m", "--port=1", "--rest_api_port=1"],
            "--rest_api_port and --port are both 1: they must differ.",
        ),
        (
            ["--grpc_channel_arguments=grpc.max_connection_age_ms"],
            "expected key=value: received 'grpc.max_connection_age_ms'",
        ),
        (["--port=http"], "argument --port: expected a port, 0 to 65535: received 'http'"),
        (["--port=70000"], "argument --port: expected a port, 0 to 65535: received '70000'"),
        (
            ["--enable_model_warmup=maybe"],
            "argument --enable_model_warmup: expected true or false: received 'maybe'",
        ),
        (
            ["--grpc_max_threads=0"],
            "argument --grpc_max_threads: expected a whole number, 1 or more: received '0'",
        ),
        (
            ["--file_system_poll_wait_seconds=-1"],
            "expected a whole number, 0 or more: received '-1'",
        ),
    ],
)
def test_wrong_flags(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Row 68."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(text)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            [],
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        ),
        (
            ["--model_base_path=a/b"],
            "Expected model default to have an absolute path or URI; got base_path()=a/b",
        ),
        (
            ["--model_base_path=/m", "--batching_parameters_file=b"],
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
        (
            [
                "--model_base_path=/m",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.",
        ),
    ],
    ids=["no models", "a relative path", "batching parameters alone", "all parallelism"],
)
def test_flags_that_contradict_each_other(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """model_servers/server.cc, BuildAndStart."""
    assert main(arguments) == 255
    assert capsys.readouterr().err == (f"Failed to start server. Error: INVALID_ARGUMENT: {text}\n")


def test_tls_that_is_none(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """model_servers/server.cc, BuildAndStart: the port is not to blame."""
    file = tmp_path / "ssl.config"
    file.write_text("server_key: 'no key' server_cert: 'no certificate'")

    code = main(["--port=0", f"--model_base_path={base}/keras", f"--ssl_config_file={file}"])

    assert code == 255
    assert (
        "Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"
        in capsys.readouterr().err
    )


def test_a_rest_port_that_is_taken(base: Path) -> None:
    """model_servers/server.cc: gRPC alone is served, and the log says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ServerStartError, match="the port is in use"),
            ModelServer(base / "keras", rest_port=port),
        ):
            pass
        with ModelServer(base / "keras", rest_port=port, rest_required=False) as server:
            assert server.models == {"keras": 1}
            assert server.rest_address is None


# tensorflow_model_server --help, 2.20 (model_servers/main.cc): every flag with its default value.
DEFAULTS = {
    "port": "8500",
    "grpc_socket_path": "",
    "rest_api_port": "0",
    "rest_api_num_threads": "8",
    "rest_api_timeout_in_ms": "30000",
    "rest_api_enable_cors_support": "false",
    "enable_batching": "false",
    "allow_version_labels_for_unavailable_models": "false",
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": "false",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": "0",
    "model_name": "default",
    "model_base_path": "/models/default",
    "num_load_threads": "0",
    "num_unload_threads": "0",
    "max_num_load_retries": "5",
    "load_retry_interval_micros": "60000000",
    "file_system_poll_wait_seconds": "1",
    "flush_filesystem_caches": "true",
    "tensorflow_session_parallelism": "0",
    "tensorflow_session_config_file": "",
    "tensorflow_intra_op_parallelism": "0",
    "tensorflow_inter_op_parallelism": "0",
    "use_alts_credentials": "false",
    "ssl_config_file": "",
    "platform_config_file": "",
    "per_process_gpu_memory_fraction": "0.0",
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "grpc_max_threads": "8",
    "enable_model_warmup": "true",
    "num_request_iterations_for_warmup": "0",
    "monitoring_config_file": "",
    "remove_unused_fields_from_bundle_metagraph": "true",
    "prefer_tflite_model": "false",
    "enable_signature_method_name_check": "false",
    "xla_cpu_compilation_enabled": "false",
    "xla_gpu_compilation_enabled": "false",
    "thread_pool_factory_config_file": "",
    "mixed_precision": "",
    "skip_initialize_tpu": "false",
    "enable_grpc_healthcheck_service": "false",
    "enable_serialization_as_tensor_content": "false",
}
# Those that it has and this server refuses, but for values that ask for what is done anyway.
REFUSED = {
    "enable_profiler": "true",
    "num_tflite_interpreters_per_pool": "1",
    "num_tflite_pools": "1",
    "num_unload_threads": "2",
    "per_process_gpu_memory_fraction": "0.5",
    "platform_config_file": "platform.config",
    "prefer_tflite_model": "true",
    "tensorflow_session_config_file": "session.config",
    "thread_pool_factory_config_file": "threads.config",
    "use_alts_credentials": "true",
}


def test_every_flag_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 68: what changes nothing there is taken here."""
    started: list[object] = []
    monkeypatch.setattr(flags, "run", started.append)

    assert main([f"--{name}={value}" for name, value in DEFAULTS.items()]) == 0
    assert len(started) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_refused_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Row 68: by name, with what to do instead; and the README lists them."""
    with pytest.raises(SystemExit) as caught:
        main(["--model_base_path=/m", f"--{name}={REFUSED[name]}"])

    assert caught.value.code == 2
    text = capsys.readouterr().err
    start = f"--{name} is a flag of tensorflow_model_server that this server does not support: "
    assert start in text
    assert f"`--{name}" in (SOURCES / "README.md").read_text("utf-8")
