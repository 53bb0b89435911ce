"""Serving by TF Serving's own server: flags, configuration, signals, words.

TF Serving itself is not here. Its program is a stand-in that really serves, our own server under
that name, which takes the same flags; Docker's a program that does with a container's folders and
ports as `docker run` does, and starts the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from google.protobuf import text_format

from inception_serving import Client, ServerOptions, ServerStartError, ServingError, messages
from inception_serving.engines import external
from inception_serving.engines.external import serve_by
from inception_serving.engines.programs import Container
from keras_inception.cli import main
from tests.serving.saved_models import save_arithmetic

ROOT = Path(__file__).parents[2]
SOURCES = [str(ROOT / each) for each in ("", "export", "serving")]

# What the program answers to, and that it listens on every interface, are TF Serving's.
SERVER = f"""
import sys
sys.path[:0] = {SOURCES!r}
from inception_serving.server.flags import main
print("stand-in:", *sys.argv[1:], file=sys.stderr, flush=True)
sys.exit(main([*sys.argv[1:], "--host=0.0.0.0"]))
"""

DOCKER = f"""
import csv, sys
sys.path[:0] = {SOURCES!r}
from pathlib import Path
arguments = sys.argv[1:]
if arguments[0] == "version":
    print("28.0.0")
    sys.exit(0)
print("stand-in:", *arguments, file=sys.stderr, flush=True)
assert arguments.pop(0) == "run"
mounts, ports, host, entrypoint = {{}}, {{}}, "", ""
while arguments[0].startswith("--"):
    option = arguments.pop(0)
    if option in ("--rm", "--init"):
        continue
    value = arguments.pop(0)
    if option == "--mount":
        (row,) = csv.reader([value])
        fields = dict(part.partition("=")[::2] for part in row)
        assert fields["type"] == "bind" and "readonly" in fields
        mounts[fields["target"]] = fields["source"]
    elif option == "--publish":
        host, outside, inside = value.rsplit(":", 2)
        ports[inside] = outside
    elif option == "--entrypoint":
        entrypoint = value
image, *flags = arguments
assert image == "tensorflow/serving:2.20.0" and entrypoint == "/usr/bin/tensorflow_model_server"
here = Path(sys.argv[0]).parent / "models.config"
inside = Path(mounts["/configs"], "models.config").read_text()
here.write_text(inside.replace('"/models', '"' + mounts["/models"]))
flags = [
    flag.replace("/configs/models.config", str(here)).replace("/configs", mounts["/configs"])
    for flag in flags
]
flags = [flag.replace("=8500", "=" + ports["8500"]) for flag in flags]
flags = [flag.replace("=8501", "=" + ports.get("8501", "")) for flag in flags]
from inception_serving.server.flags import main
sys.exit(main([*flags, "--host=" + host]))
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that PATH names, and no other."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(programs: Path, name: str, code: str) -> None:
    (programs / name).write_text(f"#!{sys.executable}\n{code}")
    (programs / name).chmod(0o755)


@contextmanager
def serving(base: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The command in a process of its own, once it has said where it answers over gRPC and REST."""
    script = f"import sys; sys.path[:0] = {SOURCES!r}\nfrom keras_inception.cli import main\n"
    command = ["serve", str(base), "--port", "0", "--rest-port", "0", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{script}sys.exit(main({command!r}))"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout and process.stderr
        grpc, rest = process.stdout.readline(), process.stdout.readline()
        assert grpc.startswith("gRPC on 127.0.0.1:"), process.stderr.read()
        yield process, grpc.split()[-1], rest.split()[-1].removesuffix("/v1/models/NAME")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        print(said)


def half_plus_two(address: str, model: str) -> list[float]:
    with Client(address, model=model) as client:
        answer = client.predict_tensors(
            {"x": np.array([1, 2], np.float32)}, signature="serving_default"
        )
    return [float(each) for each in next(iter(answer.values()))]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow_model_server", "docker"])
def test_models_are_served_as_by_our_own(
    programs: Path, tmp_path: Path, engine: str, capfd: pytest.CaptureFixture[str]
) -> None:
    install(programs, engine, DOCKER if engine == "docker" else SERVER)
    base = tmp_path / "models, all"
    for version in (1, 2):
        save_arithmetic(base / "sums" / str(version))
    host = () if engine == "docker" else ("--host", "0.0.0.0")
    options = ("--engine", engine, *host, "--num-versions", "2", "--metrics", "--health")
    with serving(base, *options) as (process, grpc, rest):
        with Client(grpc, model="sums") as client:
            found = [(each.version, each.state) for each in client.status()]
        assert found == [(2, "AVAILABLE"), (1, "AVAILABLE")]
        assert half_plus_two(grpc, "sums") == [2.5, 3.0]
        status = httpx.get(f"{rest}/v1/models/sums", timeout=20).json()
        assert len(status["model_version_status"]) == 2
        assert ":tensorflow:" in httpx.get(f"{rest}/monitoring/prometheus/metrics").text
        if engine != "docker":  # the stand-in has only a copy of the list of models
            save_arithmetic(base / "later" / "1")
            with Client(grpc, model="later") as client:
                assert client.wait_until_ready(60) == 1
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 0
    said = capfd.readouterr().out
    assert "--enable_grpc_healthcheck_service=true" in said
    assert "--max_num_load_retries=0" in said


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder that looks like models; nothing loads them here."""
    (tmp_path / "models" / "flowers" / "3").mkdir(parents=True)
    (tmp_path / "models" / "notes").mkdir()
    return tmp_path / "models"


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(list(map(str, arguments))) == 1
    (*_, line) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("tensorflow_model_server", "apt-get install tensorflow-model-server"),
        ("docker", "docker is not installed: sudo apt-get install docker.io"),
    ],
)
def test_what_is_not_installed_is_told_with_what_installs_it(
    programs: Path, base: Path, engine: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in said(capsys, "serve", base, "--engine", engine, "--port", 0)


def test_a_docker_without_an_engine_is_told(
    programs: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(programs, "docker", "import sys; print('no daemon', file=sys.stderr); sys.exit(1)")
    line = said(capsys, "serve", base, "--engine", "docker", "--port", 0)
    assert "sudo systemctl start docker" in line and line.endswith("(no daemon)")


def test_no_program_listens_to_the_world_unasked(
    programs: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(programs, "tensorflow_model_server", "raise SystemExit(9)")
    line = said(capsys, "serve", base, "--engine", "tensorflow_model_server", "--port", 0)
    assert "listens on every interface" in line and "Received: host='127.0.0.1'" in line


def test_a_server_that_ends_by_itself_is_told(
    programs: Path, base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install(programs, "tensorflow_model_server", "print('cannot', flush=True); raise SystemExit(7)")
    with pytest.raises(ServerStartError, match="_server has ended with exit code 7"):
        serve_by("tensorflow_model_server", base, host="0.0.0.0", port=0, rest_port=0)
    captured = capfd.readouterr()
    assert captured.out == "" and "cannot" in captured.err


def test_a_server_that_does_not_end_is_ended(
    programs: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs, and hears no SIGTERM."""
    pid = programs / "pid"
    code = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({str(pid)!r}, "w").write(str(os.getpid()))
time.sleep(600)
"""
    install(programs, "tensorflow_model_server", code)

    def stop_once_it_runs(*_: object) -> None:
        for _ in range(600):
            if pid.exists() and pid.read_text():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.05)

    monkeypatch.setattr(external._External, "_wait_until_ready", stop_once_it_runs)
    options = ServerOptions(host="0.0.0.0", port=0, grace_s=0.1)
    serve_by("tensorflow_model_server", base, options=options, reload_config=False)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_what_only_our_own_server_can_do_is_refused(programs: Path, base: Path) -> None:
    with pytest.raises(ServingError, match="`cors` is not handed on to docker"):
        serve_by("docker", base, cors=True)
    with pytest.raises(ServingError, match=r"one of 'embedded', .* Received: engine='podman'"):
        serve_by("podman", base)
    with pytest.raises(ServerStartError, match="No model to serve in"):
        serve_by("docker", base / "notes")


def test_the_list_of_models_has_the_paths_of_the_container(programs: Path, base: Path) -> None:
    install(programs, "docker", "print('28')")
    configs = programs.parent
    server = external._External(Container("127.0.0.1"), base.resolve(), configs, 1.0)

    def models(found: Sequence[external.ModelConfig]) -> list[tuple[str, str, str]]:
        server.write_models(found)
        text = (configs / "models.config").read_text()
        config = text_format.Parse(text, messages.ModelServerConfig())
        return [
            (each.name, each.base_path, str(each.model_version_policy).split()[0])
            for each in config.model_config_list.config
        ]

    assert models(external.ModelFolder(base)()) == [("flowers", "/models/flowers", "latest")]
    alone = external.ModelFolder(base / "flowers", num_versions=None)()
    assert models(alone) == [("flowers", "/models/flowers", "all")]
    one = external._External(Container("127.0.0.1"), (base / "flowers").resolve(), configs, 1.0)
    one.write_models(alone)
    assert 'base_path: "/models"\n' in (configs / "models.config").read_text()


def test_a_model_that_is_a_link(programs: Path, base: Path, tmp_path: Path) -> None:
    """A program follows it; in a container it leads nowhere."""
    install(programs, "docker", "print('28')")
    install(programs, "tensorflow_model_server", "")
    models = (tmp_path / "linked").resolve()
    models.mkdir()
    (models / "flowers").symlink_to(base / "flowers")
    found = external.ModelFolder(models)()
    server = external._External(external.Program("0.0.0.0"), models, programs.parent, 1.0)
    server.write_models(found)
    written = (programs.parent / "models.config").read_text()
    assert f'base_path: "{models}/flowers"\n' in written
    container = external._External(Container("127.0.0.1"), models, programs.parent, 1.0)
    with pytest.raises(
        ServerStartError, match=r"linked/flowers is a link to .*, and the container"
    ):
        container.write_models(found)
    container.write_models(found)  # which is told once


def test_a_container_has_ports_of_this_machine_alone(programs: Path) -> None:
    install(programs, "docker", "print('28')")
    container = Container("127.0.0.1")
    options = ServerOptions(port=8600, rest_port=None)
    command = container.command(Path('/a, "b"'), Path("/c"), options, ["--port=8500"])
    assert command[:4] == ["docker", "run", "--rm", "--name"]
    assert [each for each in command if each.startswith("127.")] == ["127.0.0.1:8600:8500"]
    assert 'type=bind,"source=/a, ""b""",target=/models,readonly' in command
    assert command[-2:] == ["tensorflow/serving:2.20.0", "--port=8500"]
