"""The server under requests that make no sense, for long, while versions change, and killed.

    python benchmarks/serving_endurance.py [fuzz] [soak] [swaps] [kill]
        [--scale 1.0] [--output benchmarks/serving_endurance.json]

fuzz   10,000 generated gRPC and REST requests, of messages and of bytes (serving_fuzz.py)
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
from collections.abc import Callable, Iterator, Mapping
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

from benchmarks import serving_fuzz  # noqa: E402
from benchmarks.serving_fuzz import PREDICT, Sent, save_fuzzed  # noqa: E402
from inception_serving import Client, errors  # noqa: E402
from inception_serving.messages import PredictRequest  # noqa: E402
from tests.serving.caller import Caller  # noqa: E402
from tests.serving.saved_models import (  # noqa: E402
    publish,
    save_arithmetic,
    save_colours,
    save_scorer,
)


class Server:
    """The server in a process of its own, on ports that it keeps when it is started again."""

    def __init__(self, base: Path, *flags: str, environment: Mapping[str, str]) -> None:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.rest_port = one.getsockname()[1], other.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://127.0.0.1:{self.rest_port}"
        config = base.parent / "models.config"
        config.write_text(
            "model_config_list {"
            + "".join(
                f"config {{ name: '{model.name}' base_path: '{model}' "
                "model_platform: 'tensorflow' }"
                for model in sorted(base.iterdir())
            )
            + "}"
        )
        self._command = [
            sys.executable,
            "-m",
            "inception_serving.server",
            f"--port={self.port}",
            f"--rest_api_port={self.rest_port}",
            f"--model_config_file={config}",
            *flags,
        ]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT / "serving"), **environment}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
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
        """What the process itself holds; the pages of files that it maps come and go."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return round(int(line.split()[1]) / 1024, 1)
        raise AssertionError("the server has gone")


_MODELS: dict[str, Callable[[Path], None]] = {
    "arithmetic": save_arithmetic,
    "colours": save_colours,
    "scorer": save_scorer,
}


@contextmanager
def serving(
    *flags: str,
    models: Mapping[str, Callable[[Path], None]] = _MODELS,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Server, Path]]:
    """A server of some small models, and the folder they are in."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "models")
        base.mkdir()
        for name, save in models.items():
            save(base / name / "1")
        server = Server(base, *flags, environment=environment or {})
        try:
            yield server, base
        finally:
            if server.process.poll() is None:
                server.kill()


# ---- fuzz ----

# A server's memory is also what its allocators keep of what was freed, for the next request of
# that size: glibc's, and TensorFlow's own for tensors. Here the first gives back at once what was
# freed, and the second is filled beforehand, so that growth is what somebody still holds.
_GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
_LARGEST = 12_000_000  # floats, of what fits within the bytes in flight


def fuzz(count: int) -> dict[str, Any]:
    """No answer but those of the API; how many there were of each, and what reached the model."""
    answers: Counter[str] = Counter()
    bad: list[str] = []
    memory: list[tuple[int, float]] = []
    reached = 0
    # Tensors of gigabytes, in messages of a few bytes, are refused and not run.
    # A request may hold half of what the others leave, here its floats and twice as much to answer
    # with them: an array, and a message made of it.
    flags = [f"--max_bytes_in_flight={2 * 12 * _LARGEST + 4_000_000}"]
    flags += ["--max_bytes_in_work=100000000000"]  # by its rows, which cost little in this model
    models = {serving_fuzz.MODEL: save_fuzzed}
    with (
        serving(*flags, models=models, environment=_GIVES_BACK) as (server, _),
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        caller = Caller(server.address)

        def runs() -> int:
            answer = caller.predict({}, name=serving_fuzz.MODEL, signature="count")
            return int(answer.outputs["runs"].int64_val[0])

        def send(sent: Sent) -> str:
            if sent.method == "gRPC":
                call = caller.channel.unary_unary(sent.path)
                try:
                    call(sent.content, timeout=30)
                except grpc.RpcError as error:
                    # TF Serving's answer to what does not parse is INTERNAL, without a text.
                    unparsable = error.code().name == "INTERNAL" and not error.details()
                    wrong = ("INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED")
                    if error.code().name in wrong and not unparsable:
                        bad.append(f"{error.code().name} {error.details()} to {sent}")
                    return f"gRPC {error.code().name}"
                return "gRPC OK"
            response = http.request(sent.method, sent.path, content=sent.content)
            if response.status_code >= 500 and response.status_code != 501:
                bad.append(f"{response.status_code} {response.text} to {sent}")
            return f"REST {response.status_code}"

        @seed(1)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(serving_fuzz.REQUESTS)
        def one(sent: Sent) -> None:
            nonlocal reached
            before = runs()
            answers[send(sent)] += 1
            reached += runs() > before
            if (done := sum(answers.values())) % (count // 10) == 0:
                memory.append((done, server.resident_mb()))

        large = PredictRequest()
        large.model_spec.name = serving_fuzz.MODEL
        proto = large.inputs["x"]
        proto.dtype = 1
        proto.tensor_shape.dim.add(size=_LARGEST)
        proto.float_val.append(1)
        for _ in range(10):
            answer = send(Sent("gRPC", PREDICT, large.SerializeToString()))
            assert answer == "gRPC OK", answer
        for _ in range(300):
            send(Sent("gRPC", PREDICT, b""))
            send(Sent("POST", f"/v1/models/{serving_fuzz.MODEL}:predict", b'{"instances": [1]}'))
        memory.append((0, server.resident_mb()))
        started = time.monotonic()
        one()
        took = time.monotonic() - started
        caller.channel.close()
        code = server.stop()
    first = next(mb for requests, mb in memory if requests >= count / 10)
    return {
        "requests": sum(answers.values()),
        "answers": dict(sorted(answers.items())),
        "reached the model": reached,
        "internal errors, unknown errors, time-outs": bad,
        "server's exit code": code,
        "memory after the first tenth, MB": first,
        "memory at the end, MB": memory[-1][1],
        "grown, MB": round(memory[-1][1] - first, 1),
        "memory": memory,
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
                    memory.append((done, server.resident_mb()))

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
        first = 0.0
        with ThreadPoolExecutor(clients) as pool:
            for _ in range(clients):
                pool.submit(load)
            for number in range(2, count + 2):
                started = time.monotonic()
                publish(saved, base / "arithmetic" / str(number))
                while not versions[number] and time.monotonic() < started + 60:
                    time.sleep(0.01)
                times.append(time.monotonic() - started)
                if number == 2 + count // 10:
                    first = server.resident_mb()
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
        "memory after the first tenth, MB": first,
        "memory at the end, MB": memory,
        "grown, MB": round(memory - first, 1),
        "server's exit code": code,
    }


# ---- kill ----


def kill(count: int, clients: int = 4) -> dict[str, Any]:
    """SIGKILL under load: clients that retry lose nothing but the time."""
    lost: list[str] = []
    wrong = 0
    answered = 0
    longest = longest_restart = 0.0
    lock = threading.Lock()
    with serving() as (server, _):
        over = threading.Event()

        def load() -> None:
            nonlocal wrong, answered, longest
            with Client(server.address, "arithmetic", retries=1000, timeout_s=120) as client:
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
                killed = time.monotonic()
                server.kill()
                server.start()
                longest_restart = max(longest_restart, time.monotonic() - killed)
            time.sleep(2)
            over.set()
        code = server.stop()
    return {
        "kills": count,
        "clients": clients,
        "requests answered": answered,
        "requests lost": lost,
        "wrong answers": wrong,
        "longest time from the kill to the open port, s": round(longest_restart, 1),
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
