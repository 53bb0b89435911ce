"""The server under requests that make no sense, for long, while versions change, and killed.

    python benchmarks/serving_endurance.py [fuzz] [soak] [swaps] [kill]
        [--scale 1.0] [--output benchmarks/serving_endurance.json]

fuzz   10,000 generated gRPC and REST requests, of messages and of bytes
soak   100,000 requests, floats, images and errors mixed, and the server's memory meanwhile
swaps  200 new versions, one after the other, under load
kill   the server killed with SIGKILL under load, ten times, and started again

The server is a process of its own. `--scale` makes all of it shorter, as the tests do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "serving")]

import grpc  # noqa: E402
import httpx  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from inception_serving import Client, errors  # noqa: E402
from inception_serving.messages import PredictRequest  # noqa: E402
from tests.serving.caller import Caller, png  # noqa: E402
from tests.serving.saved_models import (  # noqa: E402
    publish,
    save_arithmetic,
    save_colours,
    save_scorer,
)

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METRICS = "/monitoring/prometheus/metrics"


class Server:
    """The server in a process of its own, on ports that it keeps when it is started again."""

    def __init__(self, base: Path, *flags: str) -> None:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.rest_port = one.getsockname()[1], other.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://127.0.0.1:{self.rest_port}"
        config, monitoring = base.parent / "models.config", base.parent / "monitoring.config"
        config.write_text(
            "model_config_list {"
            + "".join(
                f"config {{ name: '{model.name}' base_path: '{model}' "
                "model_platform: 'tensorflow' }"
                for model in sorted(base.iterdir())
            )
            + "}"
        )
        monitoring.write_text("prometheus_config { enable: true }")
        self._command = [
            sys.executable,
            "-m",
            "inception_serving.server",
            f"--port={self.port}",
            f"--rest_api_port={self.rest_port}",
            f"--model_config_file={config}",
            f"--monitoring_config_file={monitoring}",
            *flags,
        ]
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "serving")}
        self.process = subprocess.Popen(
            self._command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline().startswith("gRPC on ")

    def stop(self) -> int:
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the server has gone")

    def metric(self, start: str) -> float:
        """The sum of the metrics whose lines begin so."""
        text = httpx.get(f"{self.url}{METRICS}", timeout=30).text
        lines = [line for line in text.splitlines() if line.startswith(start)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@contextmanager
def serving(*flags: str) -> Iterator[tuple[Server, Path]]:
    """A server of three small models, and the folder they are in."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "models")
        base.mkdir()
        for name, save in (
            ("arithmetic", save_arithmetic),
            ("colours", save_colours),
            ("scorer", save_scorer),
        ):
            save(base / name / "1")
        server = Server(base, *flags)
        try:
            yield server, base
        finally:
            if server.process.poll() is None:
                server.kill()


# ---- fuzz ----

_IMAGE = png(200, 0, 0)
_FLOATS = st.floats(width=32)
# Each model's name and signature, and an input that it takes.
_RIGHT = [
    ("arithmetic", "", {"x": st.lists(_FLOATS, max_size=5)}),
    ("arithmetic", "echo", {"text": st.lists(st.binary(max_size=20), max_size=4)}),
    (
        "arithmetic",
        "two_in_two_out",
        {name: st.lists(_FLOATS, min_size=2, max_size=2) for name in ("a", "b")},
    ),
    (
        "arithmetic",
        "reshape",
        {
            "x": st.integers(3, 6).flatmap(
                lambda n: st.lists(_FLOATS, min_size=min(n, 4), max_size=4)
            )
        },
    ),
    (
        "colours",
        "",
        {"image_bytes": st.lists(st.sampled_from([_IMAGE] * 9 + [b"no image"]), max_size=3)},
    ),
]


@st.composite
def _requests(draw: Any) -> Any:
    """A PredictRequest, mostly one that the model can run."""
    name, signature, inputs = draw(st.sampled_from(_RIGHT))
    request = PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, values in inputs.items():
        drawn = draw(values)
        proto = request.inputs[key]
        is_text = key in ("text", "image_bytes")
        proto.dtype = 7 if is_text else 1
        proto.tensor_shape.dim.add(size=len(drawn))
        (proto.string_val if is_text else proto.float_val).extend(drawn)
    wrong = draw(st.sampled_from([*range(6), *[6] * 18]))
    some = request.inputs[next(iter(inputs))]
    if wrong == 0:
        some.dtype = draw(st.integers(0, 30))
    elif wrong == 1:
        del some.tensor_shape.dim[:]
        for size in draw(st.lists(st.integers(-2, 2**40), max_size=4)):
            some.tensor_shape.dim.add(size=size)
    elif wrong == 2:
        some.tensor_content = draw(st.binary(max_size=30))
    elif wrong == 3:
        request.output_filter.extend(draw(st.lists(st.sampled_from(["y", "sum", "z"]))))
    elif wrong == 4:
        request.model_spec.version.value = draw(st.integers(-3, 3))
    elif wrong == 5:
        request.inputs[draw(st.text(max_size=5))].CopyFrom(some)
    return request


_MESSAGES = _requests().map(lambda request: request.SerializeToString())


@st.composite
def _damaged(draw: Any) -> bytes:
    data = bytearray(draw(_MESSAGES))
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
_BODIES = st.one_of(
    st.lists(_FLOATS, min_size=1, max_size=5).map(lambda row: {"instances": row}),
    st.lists(_FLOATS, max_size=5).map(lambda row: {"inputs": {"x": row}}),
    st.lists(_FLOATS, min_size=1).map(lambda row: {"instances": [{"x": x} for x in row]}),
    _JSON.map(lambda value: {"instances": [value]}),
).map(lambda body: json.dumps(body).encode())
_RAW = st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode())
# Of six requests, five are of messages that are mostly right.
_KINDS = st.sampled_from(["message", "message", "message", "json", "json", "bytes"])


def fuzz(count: int) -> dict[str, Any]:
    """No answer but those of the API; how many there were of each."""
    answers: Counter[str] = Counter()
    bad: list[str] = []
    # Tensors of gigabytes, in messages of a few bytes, are refused and not run.
    with serving("--max_bytes_in_flight=50000000") as (server, _), httpx.Client(timeout=30) as http:
        caller = Caller(server.address)
        call = caller.channel.unary_unary(PREDICT)
        url = f"{server.url}/v1/models/arithmetic:predict"

        def grpc_answer(data: bytes) -> str:
            try:
                call(data, timeout=30)
            except grpc.RpcError as error:
                if error.code().name in ("INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"):
                    bad.append(f"{error.code().name} {error.details()} for {data!r}")
                return f"gRPC {error.code().name}"
            return "gRPC OK"

        def rest_answer(body: bytes) -> str:
            response = http.post(url, content=body)
            if response.status_code >= 500 and response.status_code != 501:
                bad.append(f"{response.status_code} {response.text} for {body!r}")
            return f"REST {response.status_code}"

        @seed(1)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(_KINDS, st.data())
        def one(kind: str, data: Any) -> None:
            if sum(answers.values()) == count // 2:
                memory.append(server.resident_mb())
            if kind == "message":
                answers[grpc_answer(data.draw(_MESSAGES))] += 1
            elif kind == "json":
                answers[rest_answer(data.draw(_BODIES))] += 1
            elif data.draw(st.booleans()):
                answers[grpc_answer(data.draw(_damaged() | st.binary(max_size=60)))] += 1
            else:
                answers[rest_answer(data.draw(_RAW))] += 1

        # Those who are warm take what memory they need; what comes after would be a leak.
        for _ in range(300):
            grpc_answer(PredictRequest().SerializeToString())
            rest_answer(b'{"instances": [1]}')
        memory = [server.resident_mb()]
        started = time.monotonic()
        one()
        took = time.monotonic() - started
        memory.append(server.resident_mb())
        reached = server.metric(":tensorflow:serving:runtime_latency_count") - 300
        caller.channel.close()
        code = server.stop()
    total = sum(answers.values())
    return {
        "requests": total,
        "answers": dict(sorted(answers.items())),
        "answered by the model": round(reached),
        "internal errors, unknown errors, time-outs": bad,
        "server's exit code": code,
        "memory before, half-way and after, MB": [round(mb, 1) for mb in memory],
        "seconds": round(took, 1),
    }


# ---- soak ----


def soak(count: int, clients: int = 8) -> dict[str, Any]:
    """Floats, images and errors mixed; the memory is watched from the first tenth on."""
    rng = np.random.default_rng(0)
    from io import BytesIO

    from PIL import Image

    def jpeg(size: int) -> bytes:
        file = BytesIO()
        pixels = rng.integers(0, 255, [size, size, 3], np.uint8)
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    images = [jpeg(size) for size in (32, 64, 100, 150)]
    memory: list[tuple[int, float]] = []
    wrong: list[str] = []
    with serving() as (server, _):
        caller = Caller(server.address)
        done = 0
        lock = threading.Lock()

        def expect(code: str | None, call: Callable[[], Any]) -> Any:
            try:
                return call()
            except grpc.RpcError as error:
                if error.code().name != code:
                    wrong.append(f"{error.code().name}: {error.details()}")
                return None

        def one(number: int) -> None:
            nonlocal done
            kind = number % 8
            if kind < 3:
                x = np.array([number % 1000], np.float32)
                answer = expect(None, lambda: caller.predict({"x": x}))
                if answer and answer.outputs["y"].float_val[0] != x[0] / 2 + 2:
                    wrong.append("another answer")
            elif kind < 6:
                image = images[number % len(images)]
                expect(None, lambda: caller.predict({"image_bytes": [image]}, name="colours"))
            elif kind == 6:
                expect(
                    "INVALID_ARGUMENT",
                    lambda: caller.predict({"image_bytes": [b"no image"]}, name="colours"),
                )
            else:
                expect("NOT_FOUND", lambda: caller.predict({}, name=f"nobody {number}"))
            with lock:
                done += 1
                if done % max(1, count // 20) == 0:
                    memory.append((done, round(server.resident_mb(), 1)))

        started = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            for _ in pool.map(one, range(count)):
                pass
        took = time.monotonic() - started
        caller.channel.close()
        code = server.stop()
    first = next(mb for requests, mb in memory if requests >= count / 10)
    return {
        "requests": count,
        "clients": clients,
        "wrong answers": wrong,
        "memory after the first tenth, MB": first,
        "memory at the end, MB": memory[-1][1],
        "grown, MB": round(memory[-1][1] - first, 1),
        "memory": memory,
        "server's exit code": code,
        "requests/s": round(count / took),
    }


# ---- swaps ----


def swaps(count: int, clients: int = 4) -> dict[str, Any]:
    """New versions under load: no request fails, and every version answers."""
    failed: list[str] = []
    versions: Counter[int] = Counter()
    with serving() as (server, base), tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "saved")
        save_arithmetic(saved)
        caller = Caller(server.address)
        over = threading.Event()

        def load() -> None:
            x = np.array([1], np.float32)
            while not over.is_set():
                try:
                    answer = caller.predict({"x": x})
                    versions[answer.model_spec.version.value] += 1
                except grpc.RpcError as error:
                    failed.append(f"{error.code().name}: {error.details()}")

        times = []
        with ThreadPoolExecutor(clients) as pool:
            for _ in range(clients):
                pool.submit(load)
            for number in range(2, count + 2):
                started = time.monotonic()
                publish(saved, base / "arithmetic" / str(number))
                while not versions[number] and time.monotonic() < started + 60:
                    time.sleep(0.01)
                times.append(time.monotonic() - started)
                shutil.rmtree(base / "arithmetic" / str(number - 1))
            over.set()
        caller.channel.close()
        memory = server.resident_mb()
        code = server.stop()
    return {
        "swaps": count,
        "requests": sum(versions.values()),
        "failed requests": failed,
        "versions that answered": sum(1 for number in range(2, count + 2) if versions[number]),
        "seconds from disk to the first answer, median": round(float(np.median(times)), 2),
        "memory at the end, MB": round(memory, 1),
        "server's exit code": code,
    }


# ---- kill ----


def kill(count: int, clients: int = 4) -> dict[str, Any]:
    """SIGKILL under load: clients that retry lose nothing but the time."""
    lost: list[str] = []
    wrong = 0
    answered = 0
    longest = 0.0
    lock = threading.Lock()
    with serving() as (server, _):
        over = threading.Event()

        def load() -> None:
            nonlocal wrong, answered, longest
            with Client(server.address, "arithmetic", retries=60, timeout_s=120) as client:
                number = 0
                while not over.is_set():
                    number += 1
                    started = time.monotonic()
                    try:
                        y = client.predict_tensors({"x": [float(number)]})["y"]
                    except errors.ServingError as error:
                        lost.append(f"{type(error).__name__}: {error}")
                        continue
                    with lock:
                        answered += 1
                        wrong += y.tolist() != [number / 2 + 2]
                        longest = max(longest, time.monotonic() - started)

        with ThreadPoolExecutor(clients) as pool:
            for _ in range(clients):
                pool.submit(load)
            for _ in range(count):
                time.sleep(2)
                server.kill()
                server.start()
            time.sleep(2)
            over.set()
        code = server.stop()
    return {
        "kills": count,
        "clients": clients,
        "requests answered": answered,
        "requests lost": lost,
        "wrong answers": wrong,
        "longest request, s": round(longest, 1),
        "server's exit code": code,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["fuzz", "soak", "swaps", "kill"])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/serving_endurance.json")
    options = parser.parse_args()
    runs: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
        "fuzz": (fuzz, 10_000),
        "soak": (soak, 100_000),
        "swaps": (swaps, 200),
        "kill": (kill, 10),
    }
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    for name in options.what:
        run, count = runs[name]
        results[name] = run(max(1, round(count * options.scale)))
        print(name, flush=True)
        for key, value in results[name].items():
            if key != "memory":
                print(f"    {key:45} {value}", flush=True)
        options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
