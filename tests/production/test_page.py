"""docs/production.md: its commands are there, its numbers are measured, its recipes work."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from inception_serving import ModelServer
from inception_serving.server.config.files import read_tls
from keras_inception import cli
from tests.production.manifests import KUBERNETES
from tests.production.test_rolling_update import start
from tests.serving.caller import Caller, png
from tests.serving.saved_models import save_colours
from tests.test_readme import serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "production.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line) for line in re.findall(r"^    (\.?\w[\w/.-]* .*)$", PAGE, re.MULTILINE)
]
OURS = [command[1:] for command in COMMANDS if command[0] == "keras-inception"]


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def known(command: list[str]) -> bool:
    """Whether this version has the subcommand."""
    with pytest.raises(SystemExit) as stop, contextlib.redirect_stdout(None):
        cli.main([command[0], "--help"])
    return stop.value.code == 0


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert len(targets) > 8
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target


@pytest.mark.parametrize("command", OURS, ids=" ".join)
def test_a_command_of_ours_is_one_that_there_is(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known(command):
        pytest.skip(f"this version has no `keras-inception {command[0]}`")
    options = cli._parser().parse_args(command)
    assert options.subcommand == command[0]


def test_what_other_commands_name_is_there() -> None:
    named = [
        word
        for command in COMMANDS
        if command[0] != "keras-inception"
        for word in command
        if word.startswith("serving/")
    ]
    assert len(named) > 7
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_numbers_are_those_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "serving.json").read_text("utf-8"))
    v3, v1 = measured["v3"], measured["v1"]
    one, many = "gRPC JPEG, batching, 1 client(s)", "gRPC JPEG, batching, 64 client(s)"
    for title, key in (
        ("images/s in the same process, the best batch", ("in-process, images/s",)),
        ("requests/s, JPEG over gRPC, 1 client", ("served", one, "requests/s")),
        ("requests/s, JPEG over gRPC, 64 clients, batching", ("served", many, "requests/s")),
        ("p50 with 1 client, ms", ("served", one, "p50, ms")),
        ("p50 with 64 clients, ms", ("served", many, "p50, ms")),
        ("start to first answer, s", ("start to first answer, s",)),
    ):
        values = []
        for network in (v3, v1):
            value = network
            for each in key:
                value = value[each]
            values.append(str(value))
        assert f"| {title} | {' | '.join(values)} |" in PAGE
    plain = "gRPC JPEG, no batching, 64 client(s)"
    without, with_ = (v1["served"][each]["requests/s"] for each in (plain, many))
    assert f"{without:.0f} requests a second without, {with_:.0f} with it" in PAGE
    gain = v3["served"][many]["requests/s"] / v3["served"][plain]["requests/s"] - 1
    assert f"gains {gain:.0%}".replace("%", " %") in PAGE
    export = json.loads((ROOT / "benchmarks" / "export.json").read_text("utf-8"))
    loaded = export["load"]["ours"]
    assert (
        f"The export of v3 is {export['export InceptionV3']['megabytes']:.0f} MB, loads in"
        f" {loaded['seconds']['median']:.1f} s and takes {loaded['resident_mb']['median']:.0f} MB"
    ) in PAGE


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_the_keys_are_written_as_the_server_reads_them(tmp_path: Path) -> None:
    (script,) = blocks("sh")
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, capture_output=True)
    tls = read_tls(tmp_path / "ssl.config")
    assert tls.key == (tmp_path / "key.pem").read_bytes()
    assert tls.certificate == (tmp_path / "certificate.pem").read_bytes()


def test_clients_take_servers_in_turn() -> None:
    """With the page's options, on two servers that one name stands for."""
    snippet, _ = blocks("python")
    (one, first), (two, second) = start(b"one", []), start(b"two", [])
    address = f"ipv4:127.0.0.1:{first},127.0.0.1:{second}"
    assert "dns:///inception-grpc:8500" in snippet
    scope: dict[str, grpc.Channel] = {}
    exec(snippet.replace("dns:///inception-grpc:8500", address), scope)
    with scope["channel"] as channel, ThreadPoolExecutor(4) as threads:
        call = channel.unary_unary("/any/Call")
        deadline = time.monotonic() + 10
        while {*threads.map(lambda _: call(b"", timeout=5), range(8))} != {b"one", b"two"}:
            assert time.monotonic() < deadline
    for server in (one, two):
        server.stop(grace=None).wait()


def test_a_canary_is_released_and_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the file that the cluster begins with, to the page's, and back; no server restarts."""
    models, config = tmp_path / "models", tmp_path / "models.config"
    for version in ("1", "2"):
        save_colours(models / "photos" / version)
    image = png(250, 0, 0)
    (tmp_path / "ANOTHER.jpg").write_bytes(image)
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> None:
        beside = tmp_path / "new"
        beside.write_text(text.replace('"/models/', f'"{models}/'), "utf-8")
        beside.rename(config)

    def answering(label: str) -> int | None:
        """The version behind a label; None where no version has it."""
        try:
            answer = caller.predict({"image_bytes": [image]}, name="photos", label=label)
        except grpc.RpcError:
            return None
        return int(answer.model_spec.version.value)

    def wait_for(label: str, version: int) -> None:
        deadline = time.monotonic() + 20
        while answering(label) != version:
            assert time.monotonic() < deadline, f"{label} is never {version}"
            time.sleep(0.1)

    (canary,) = blocks("")
    write((KUBERNETES / "base" / "configs" / "models.config").read_text("utf-8"))
    with ModelServer(
        model_config_file=str(config), model_config_poll_s=0.2, poll_s=0.2, labels_ahead=True
    ) as server:
        caller = Caller(server.address)
        assert answering("stable") == 1
        write(canary)
        wait_for("canary", 2)
        assert answering("stable") == 1
        _, snippet = blocks("python")
        exec(snippet.replace("localhost:8500", server.address), {})
        assert "red" in capsys.readouterr().out
        write(canary.replace('key: "stable" value: 1', 'key: "stable" value: 2'))
        wait_for("stable", 2)
        write(canary)
        wait_for("stable", 1)
        caller.channel.close()


@pytest.mark.slow
def test_the_commands_up_to_the_container_work_in_their_order(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with PHOTOS, TEST_PHOTOS and ANOTHER.jpg; two epochs are enough here."""
    monkeypatch.chdir(tmp_path)
    for name in ("PHOTOS", "TEST_PHOTOS"):
        shutil.copytree(photos, name)
    shutil.copy(photos / "dawn" / "00.jpg", "ANOTHER.jpg")
    laptop, _, rest = PAGE.partition("## In a container")
    with contextlib.ExitStack() as stack:
        for line in re.findall(r"^    keras-inception (.*)$", laptop, re.MULTILINE):
            command = shlex.split(line)
            if command[0] == "serve":
                stack.enter_context(serving(command))
            elif known(command):
                assert cli.main(command + ["--epochs", "2"] * (command[0] == "train")) == 0
        for line in re.findall(r"^    keras-inception ((?:bench|predict) .*)$", rest, re.MULTILINE):
            quick = ["--seconds", "0.5", "--warmup", "0.1"] if line.startswith("bench") else []
            assert cli.main(shlex.split(line) + quick) == 0
    assert {"scores.csv", "bench.svg", "bench.json"} <= {path.name for path in Path().iterdir()}
    assert {path.name for path in Path("configs").iterdir()} == {
        *("models.config", "batching_params.pbtxt"),
        *("monitoring.config", "session_config.pbtxt"),
    }
