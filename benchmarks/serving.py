"""Served against called in the same process: requests a second, latency, start.

    python benchmarks/serving.py [--models small v1 v3] [--clients 1 4 16 64]
        [--rounds 3] [--seconds 3] [--saturated SECONDS] [--base CHECKOUT]
        [--output benchmarks/serving.json]

The same SavedModel is called in a process of its own, at every batch size and with one and two
calling threads (the best of this sweep is "in-process"), and through the server, with batching and
without, over gRPC with floats, over gRPC with JPEG bytes and over REST with JPEG bytes, by 1, 4, 16
and 64 clients. Rounds go by turns, so that whatever else the machine does meets all of them;
a value is the median of the rounds, and the spread is their smallest and largest. Clients and
server share the machine's processors, which the in-process calls have for themselves.

`--saturated 30` adds what 64 clients get out of the batching server in so many seconds, beside the
in-process rate at 16 images a call measured before and after: in 3 seconds v3 answers 50 requests,
of which beginning and end are a large part.

Beside it stands a bare handler of gRPC's: `grpc.server`, tensorflow-serving-api's messages,
TensorFlow's conversions and a session, nothing checked, which is what Python allows; and with
`--base` the server of another checkout.

Three networks: `small`, four layers, which costs next to nothing, so the server is all that is
measured; `v1`, Inception v1 of a quarter of the width for 28 x 28 pixels, whose calls cost the same
for one image as for several, so batching pays; `v3`, which is bound by arithmetic.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "serving")]

import grpc  # noqa: E402
import numpy as np  # noqa: E402

SIZES = {"small": 32, "v1": 28, "v3": 299}
BATCHES = (1, 2, 4, 8, 16)
BATCHING = "max_batch_size { value: 16 } max_enqueued_batches { value: 100 }"

# In a process of its own: it prints a line when it is ready, and a measurement for each order.
IN_PROCESS = """
import json, sys, threading, time
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
run = loaded.signatures["floats"]
size = int(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    batch, threads, seconds = json.loads(line)
    images = np.random.default_rng(0).random([batch, size, size, 3], np.float32)
    run(images=tf.constant(images))
    counts, times = [0] * threads, []
    end = time.perf_counter() + seconds
    def work(index):
        while (began := time.perf_counter()) < end:
            run(images=tf.constant(images))["scores"].numpy()
            times.append(time.perf_counter() - began)
            counts[index] += batch
    workers = [threading.Thread(target=work, args=[index]) for index in range(threads)]
    started = time.perf_counter()
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    took = time.perf_counter() - started
    print(json.dumps([sum(counts) / took, sorted(times)[len(times) // 2]]), flush=True)
"""


def save(name: str, path: Path) -> None:
    """A network with random weights, and two signatures: floats, and encoded images."""
    import keras
    import tensorflow as tf

    import keras_inception

    size = SIZES[name]
    if name == "v1":
        network = keras_inception.InceptionV1(
            input_shape=(size, size, 3), classes=10, width=0.25, stem="small"
        )
    elif name == "v3":
        network = keras_inception.InceptionV3()
    else:
        images = keras.Input([size, size, 3])
        x = images
        for filters in (16, 32, 64):
            x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        network = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))

    def floats(images: Any) -> Any:
        return {"scores": network(images, training=False)}

    def from_bytes(image_bytes: Any) -> Any:
        def decode(data: Any) -> Any:
            pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
            return tf.image.resize(pixels, [size, size])

        images = tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32)
        return floats(images / 127.5 - 1)

    archive = keras.export.ExportArchive()
    floats_spec = tf.TensorSpec([None, size, size, 3], tf.float32, name="images")
    archive.add_endpoint("floats", floats, input_signature=[floats_spec])
    bytes_spec = tf.TensorSpec([None], tf.string, name="image_bytes")
    archive.add_endpoint("serving_default", from_bytes, input_signature=[bytes_spec])
    archive.write_out(str(path), verbose=False)


# What Python allows: a session behind gRPC, and nothing checked. It prints a line when it is ready.
BARE = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
session = tf.compat.v1.Session(graph=tf.Graph())
with session.graph.as_default():
    signatures = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1]).signature_def
calls = {}
for name in ("floats", "serving_default"):
    (feed,), (fetch,) = signatures[name].inputs.values(), signatures[name].outputs.values()
    with session.graph.as_default():
        calls[name] = session.make_callable(fetch.name, [feed.name])
class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        (value,) = request.inputs.values()
        run = calls[request.model_spec.signature_name or "serving_default"]
        response = predict_pb2.PredictResponse()
        response.outputs["scores"].CopyFrom(tf.make_tensor_proto(run(tf.make_ndarray(value))))
        return response
server = grpc.server(ThreadPoolExecutor(16))
prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
server.add_insecure_port(sys.argv[2])
server.start()
print("ready", flush=True)
threading.Event().wait()
"""


class InProcess:
    def __init__(self, saved_model: Path, size: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_PROCESS, str(saved_model), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def measure(self, batch: int, threads: int, seconds: float) -> tuple[float, float]:
        """Images a second, and the median seconds of a call."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([batch, threads, seconds]), file=self._process.stdin, flush=True)
        rate, median = json.loads(self._process.stdout.readline())
        return rate, median

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def serving(base: Path, batching: bool, checkout: Path = ROOT) -> Iterator[tuple[str, str, float]]:
    """The addresses of a server process, and when it was started."""
    port, rest_port = free_port(), free_port()
    flags = []
    if batching:
        (base.parent / "batching.config").write_text(BATCHING)
        flags = ["--enable_batching", f"--batching_parameters_file={base.parent}/batching.config"]
    started = time.perf_counter()
    with process(
        *("-m", "inception_serving.server", f"--port={port}", f"--rest_api_port={rest_port}"),
        *("--model_name=m", f"--model_base_path={base}", *flags),
        checkout=checkout,
    ):
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}", started


@contextmanager
def bare(base: Path) -> Iterator[str]:
    """The address of a handler that does nothing but to run the session."""
    address = f"127.0.0.1:{free_port()}"
    with process("-c", BARE, str(base / "1"), address):
        yield address


@contextmanager
def process(*arguments: str, checkout: Path = ROOT) -> Iterator[None]:
    """Python with these arguments, from when it has printed a line."""
    sources = os.pathsep.join([str(checkout / "serving"), str(checkout)])
    started = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": sources},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert started.stdout
    started.stdout.readline()
    try:
        yield
    finally:
        started.kill()
        started.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def caller(kind: str, address: str, url: str, size: int) -> Callable[[], None]:
    """A function that makes one request; a client of its own for each thread."""
    import io

    from PIL import Image

    from inception_serving import messages, tensors

    rng = np.random.default_rng(0)
    if kind == "gRPC floats":
        value, name, signature = rng.random([1, size, size, 3], np.float32), "images", "floats"
    else:
        file = io.BytesIO()
        pixels = rng.integers(0, 255, [size, size, 3], np.uint8)
        Image.fromarray(pixels).resize([size, size]).save(file, "JPEG")
        value, name, signature = np.array([file.getvalue()], object), "image_bytes", ""
    if kind == "REST JPEG":
        encoded = base64.b64encode(value[0]).decode()
        body = json.dumps({"instances": [{"b64": encoded}]}).encode()
        # The lightest there is: a client takes from the server the processors that they share.
        connection = HTTPConnection(url.removeprefix("http://"), timeout=120)

        def post() -> None:
            connection.request("POST", "/v1/models/m:predict", body)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise HTTPException(response.status)

        return post
    request = messages.PredictRequest()
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    tensors.fill_proto(request.inputs[name], value)
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection each
    stub = messages.PredictionServiceStub(grpc.insecure_channel(address, options))

    def predict() -> None:
        stub.Predict(request, timeout=120)

    return predict


def load(make: Callable[[], Callable[[], None]], clients: int, seconds: float) -> Any:
    """Requests a second, the latencies' median and 99th percentile in ms, and the failures."""
    calls = [make() for _ in range(clients)]
    times: list[float] = []
    failed = 0
    ready = threading.Barrier(clients + 1)
    end = 0.0

    def work(call: Callable[[], None]) -> None:
        nonlocal failed
        call()  # connect
        ready.wait()
        ready.wait()
        while (began := time.perf_counter()) < end:
            try:
                call()
            except (grpc.RpcError, OSError, HTTPException):
                failed += 1
            else:
                times.append(time.perf_counter() - began)

    with ThreadPoolExecutor(clients) as pool:
        workers = [pool.submit(work, call) for call in calls]
        ready.wait()
        started = time.perf_counter()
        end = started + seconds
        ready.wait()
        for worker in workers:
            worker.result()
        took = time.perf_counter() - started
    times.sort()
    return (
        len(times) / took,
        times[len(times) // 2] * 1e3,
        times[len(times) * 99 // 100] * 1e3,
        failed,
    )


def summary(rounds: list[Any]) -> dict[str, Any]:
    rates, medians, tails, failures = zip(*rounds, strict=True)
    return {
        "requests/s": round(statistics.median(rates), 2),
        "requests/s, spread": [round(min(rates), 2), round(max(rates), 2)],
        "p50, ms": round(statistics.median(medians), 2),
        "p99, ms": round(statistics.median(tails), 2),
        "failed": sum(failures),
    }


KINDS = ("gRPC floats", "gRPC JPEG", "REST JPEG")
Table = dict[tuple[str, str, int], list[Any]]  # by kind, server and clients: a round each


def measure(
    name: str, clients: list[int], rounds: int, seconds: float, other: Path | None
) -> dict[str, Any]:
    size = SIZES[name]
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "m")
        save(name, base / "1")
        direct = InProcess(base / "1", size)
        sweep = {
            (batch, threads): direct.measure(batch, threads, seconds)[0]
            for batch in BATCHES
            for threads in (1, 2)
        }
        best = max(sweep, key=lambda key: sweep[key])
        result["in-process sweep, images/s"] = {
            f"batch {batch}, {threads} thread(s)": round(rate, 1)
            for (batch, threads), rate in sweep.items()
        }
        result["best in-process"] = {"batch": best[0], "threads": best[1]}
        in_process: list[float] = []
        alone: list[float] = []
        starts: list[float] = []
        table: Table = {}

        def ask(server: str, address: str, url: str, kinds: Sequence[str]) -> None:
            for kind in kinds:
                for many in clients:
                    make = lambda kind=kind: caller(kind, address, url, size)  # noqa: E731
                    entry = load(make, many, seconds)
                    table.setdefault((kind, server, many), []).append(entry)

        def served(server: str, checkout: Path = ROOT) -> None:
            with serving(base, server == "batching", checkout) as (address, url, started):
                caller("gRPC floats", address, url, size)()
                if checkout == ROOT:
                    starts.append(time.perf_counter() - started)
                ask(server, address, url, KINDS)

        def served_bare() -> None:
            with bare(base) as address:
                ask("bare handler", address, "", KINDS[:2])

        turns = [
            lambda: served("batching"),
            lambda: served("no batching"),
            *([lambda: served("base", other)] if other else []),
            served_bare,
        ]
        for number in range(rounds):
            in_process.append(direct.measure(*best, seconds)[0])
            alone.append(direct.measure(1, 1, seconds)[1])
            for turn in turns if number % 2 else reversed(turns):
                turn()
        direct.stop()
    best_rate = statistics.median(in_process)
    one_client = statistics.median(entry[1] for entry in table["gRPC floats", "no batching", 1])
    result["in-process, images/s"] = round(best_rate, 2)
    result["in-process, images/s, spread"] = [round(min(in_process), 2), round(max(in_process), 2)]
    result["in-process at batch 1, ms"] = round(statistics.median(alone) * 1e3, 2)
    result["start to first answer, s"] = round(statistics.median(starts), 1)
    result["overhead of a request at batch 1, ms"] = round(
        one_client - statistics.median(alone) * 1e3, 2
    )
    result["served"] = {
        f"{kind}, {server}, {many} client(s)": {
            **summary(entries),
            "of in-process": round(statistics.median(e[0] for e in entries) / best_rate, 3),
        }
        for (kind, server, many), entries in table.items()
    }
    result["beside"] = beside(table, clients)
    return result


def beside(table: Table, clients: list[int]) -> dict[str, Any]:
    """Our requests/s without batching over those of the others, round by round: the median."""
    ratios = {}
    for kind in KINDS:
        for many in clients:
            ours = table[kind, "no batching", many]
            # gRPC's bare handler for REST as well: nothing else is as bare.
            for server, like in (
                ("bare handler", KINDS[1] if kind == KINDS[2] else kind),
                ("base", kind),
            ):
                if theirs := table.get((like, server, many)):
                    each = [round(a[0] / b[0], 3) for a, b in zip(ours, theirs, strict=True)]
                    ratios[f"{kind}, {many} client(s), over {server}"] = {
                        "median": statistics.median(each),
                        "rounds": each,
                    }
    return ratios


def saturated(name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """64 clients of the batching server, over the in-process rate around it."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "m")
        save(name, base / "1")
        direct = InProcess(base / "1", SIZES[name])
        for kind in ("gRPC floats", "gRPC JPEG"):
            ratios, failed = [], 0
            for _ in range(rounds):
                before = direct.measure(16, 2, seconds / 2)[0]
                with serving(base, True) as (address, url, _):
                    make = lambda kind=kind: caller(kind, address, url, SIZES[name])  # noqa: E731
                    make()()
                    rate, _, _, lost = load(make, 64, seconds)
                after = direct.measure(16, 2, seconds / 2)[0]
                ratios.append(round(2 * rate / (before + after), 3))
                failed += lost
            result[kind] = {
                "of in-process": statistics.median(ratios),
                "rounds": ratios,
                "failed": failed,
            }
        direct.stop()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--saturated", type=float, metavar="SECONDS")
    parser.add_argument("--base", type=Path, metavar="CHECKOUT", help="another, served beside")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/serving.json")
    options = parser.parse_args()
    results: dict[str, Any] = (
        json.loads(options.output.read_text()) if options.output.exists() else {}
    )
    for name in options.models:
        before = os.getloadavg()[0]
        results[name] = {
            "machine": f"{platform.machine()}, {os.cpu_count()} processors",
            "load of the machine before": round(before, 1),
            "rounds": options.rounds,
            "seconds a measurement": options.seconds,
            **measure(
                name, sorted({1, *options.clients}), options.rounds, options.seconds, options.base
            ),
        }
        if options.saturated:
            results[name]["saturated by 64 clients, batching"] = {
                "seconds a measurement": options.saturated,
                **saturated(name, options.rounds, options.saturated),
            }
        options.output.write_text(json.dumps(results, indent=2) + "\n")
        print(name)
        for key, value in results[name].items():
            if key not in ("served", "beside"):
                print(f"    {key}: {value}")
        for key, ratio in results[name]["beside"].items():
            print(f"    {key:45} {ratio['median']:5.2f} {ratio['rounds']}")
        for key, row in results[name]["served"].items():
            low, high = row["requests/s, spread"]
            print(
                f"    {key:45} {row['requests/s']:8.1f}/s ({low:.1f} to {high:.1f})  "
                f"p50 {row['p50, ms']:8.1f} ms  p99 {row['p99, ms']:8.1f} ms  "
                f"{row['of in-process']:5.2f} of in-process  failed {row['failed']}"
            )


if __name__ == "__main__":
    main()
