"""The client beside TF Serving's own way of calling: start, encoding, many requests, batch scoring.

    python benchmarks/client.py [--beam .venv-beam/bin/python] [--output benchmarks/client.json]

    start       importing and making a client, in a fresh process: seconds and resident memory
    encoding    eight 299 x 299 x 3 float32 images into a request, and an answer of 8 x 1,000 floats
                out of its bytes, by the client, by `make_tensor_proto` and `make_ndarray`, and by
                REST's JSON
    in flight   images a second that one client process gets from a server in a process of its own,
                a request an image: one at a time, a window of 16, threads, asyncio
    scoring     (with --beam) images a second of serving/beam/score.py by workers, beside calling
                the export in a loop, one round; `make beam` makes its environment

The network is four layers, so that what is measured is the client. Ways go by turns; a value is the
median of the rounds, the spread their smallest and largest. With Beam it took 126 s on 2 processors
of an AMD EPYC, of which Beam about 40 s.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "serving")]

import numpy as np  # noqa: E402

from inception_serving import AsyncClient, Client  # noqa: E402

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "serving")}
IN_FLIGHT = 16

# Each prints what it took as JSON.
_END = """
import json, resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - began, "MB": peak}))
"""
STARTS = {
    "inception_serving": f"""
import time; began = time.perf_counter()
from inception_serving import Client
Client("localhost:8500", model="m")
{_END}""",
    "tensorflow-serving-api": f"""
import time; began = time.perf_counter()
import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel("localhost:8500"))
predict_pb2.PredictRequest()
{_END}""",
}

_TIMES = """
import json, sys, time
import numpy as np
def milliseconds(call):
    call()
    times = []
    end = time.perf_counter() + float(sys.argv[1])
    while time.perf_counter() < end or len(times) < 3:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * sorted(times)[len(times) // 2]
images = np.random.default_rng(0).random((8, 299, 299, 3), np.float32)
scores = np.random.default_rng(1).random((8, 1000), np.float32)
"""
_SHOW = """
sent = encode()
assert np.array_equal(decode(), scores)
print(json.dumps({"encode, ms": milliseconds(encode), "decode, ms": milliseconds(decode),
                  "request, MB": len(sent) / 1e6}))
"""
_ANSWER = """
answer = {messages}PredictResponse()
answer.outputs["scores"].dtype = 1
for size in scores.shape:
    answer.outputs["scores"].tensor_shape.dim.add().size = size
answer.outputs["scores"].float_val.extend(scores.ravel().tolist())  # as TF Serving answers
answered = answer.SerializeToString()
"""
ENCODINGS = {
    "inception_serving": _TIMES
    + "from inception_serving import messages, tensors"
    + _ANSWER.format(messages="messages.")
    + """
def encode():
    request = messages.PredictRequest()
    tensors.fill_proto(request.inputs["images"], images)
    return request.SerializeToString()
def decode():
    return tensors.from_proto(messages.PredictResponse.FromString(answered).outputs["scores"])
"""
    + _SHOW,
    "make_tensor_proto, make_ndarray": _TIMES
    + "import tensorflow as tf\nfrom tensorflow_serving.apis.predict_pb2 import *"
    + _ANSWER.format(messages="")
    + """
def encode():
    request = PredictRequest()
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    return request.SerializeToString()
def decode():
    return tf.make_ndarray(PredictResponse.FromString(answered).outputs["scores"])
"""
    + _SHOW,
    "REST JSON": _TIMES
    + """
answered = json.dumps({"predictions": scores.tolist()})
def encode():
    return json.dumps({"instances": images.tolist()}).encode()
def decode():
    return np.array(json.loads(answered)["predictions"], np.float32)
"""
    + _SHOW,
}

SAVE = """
import sys
import keras
import tensorflow as tf
images = keras.Input([32, 32, 3])
x = images
for filters in (16, 32, 64):
    x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
x = keras.layers.GlobalAveragePooling2D()(x)
network = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
names = tf.constant([f"class {number}" for number in range(10)])
def classify(image_bytes):
    def read(data):
        pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.image.resize(pixels, [32, 32])
    pixels = tf.map_fn(read, image_bytes, fn_output_signature=tf.float32)
    scores, indices = tf.math.top_k(network(pixels / 127.5 - 1, training=False), 5)
    return {"classes": tf.gather(names, indices), "scores": scores}
archive = keras.export.ExportArchive()
spec = tf.TensorSpec([None], tf.string, name="image_bytes")
archive.add_endpoint("serving_default", classify, input_signature=[spec])
archive.write_out(sys.argv[1], verbose=False)
"""
LOOP = """
import json, sys, time
from pathlib import Path
import tensorflow as tf
call = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
paths = sorted(Path(sys.argv[2]).iterdir())
call(image_bytes=tf.constant([paths[0].read_bytes()]))
began = time.perf_counter()
for start in range(0, len(paths), 8):
    call(image_bytes=tf.constant([path.read_bytes() for path in paths[start : start + 8]]))
print(json.dumps(len(paths) / (time.perf_counter() - began)))
"""


def ask(code: str, *arguments: str, python: str = sys.executable) -> Any:
    """What a program printed last, as JSON."""
    answer = subprocess.run(
        [python, "-c", code, *arguments],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    return json.loads(answer.stdout.splitlines()[-1])


def median(rounds: list[float], digits: int = 2) -> dict[str, Any]:
    spread = [round(min(rounds), digits), round(max(rounds), digits)]
    return {"median": round(statistics.median(rounds), digits), "spread": spread}


def by_turns(
    ways: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, dict[str, Any]]:
    """Each way once a round, so that whatever else the machine does meets all of them."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    return {
        name: {key: median([each[key] for each in values]) for key in values[0]}
        for name, values in found.items()
    }


@contextmanager
def serving(base: Path) -> Iterator[str]:
    """The address of a server process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inception_serving.server", "--port=0", "--model_name=m",
         f"--model_base_path={base}"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


def pictures(count: int) -> list[bytes]:
    """JPEGs of 32 x 32 pixels."""
    from PIL import Image

    random = np.random.default_rng(0)
    encoded = []
    for _ in range(count):
        file = io.BytesIO()
        pixels = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(file, "JPEG")
        encoded.append(file.getvalue())
    return encoded


def one_at_a_time(address: str, images: list[bytes]) -> None:
    with Client(address, "m") as client:
        for image in images:
            client.predict(image)


def window(address: str, images: list[bytes]) -> None:
    with Client(address, "m", batch_size=1, in_flight=IN_FLIGHT) as client:
        assert len(list(client.predict_stream(images))) == len(images)


def threads(address: str, images: list[bytes]) -> None:
    with (
        Client(address, "m", batch_size=1, in_flight=IN_FLIGHT) as client,
        ThreadPoolExecutor(IN_FLIGHT) as pool,
    ):
        assert len(list(pool.map(client.predict, images))) == len(images)


def coroutines(address: str, images: list[bytes]) -> None:
    async def run() -> None:
        async with AsyncClient(address, "m", batch_size=1, in_flight=IN_FLIGHT) as client:
            assert len(await asyncio.gather(*map(client.predict, images))) == len(images)

    asyncio.run(run())


WAYS = {
    "one at a time": one_at_a_time,
    f"a window of {IN_FLIGHT}, predict_stream": window,
    f"{IN_FLIGHT} threads": threads,
    "asyncio": coroutines,
}


def in_flight(saved_model: Path, images: list[bytes], rounds: int) -> dict[str, Any]:
    def timed(way: Callable[[str, list[bytes]], None], address: str) -> dict[str, float]:
        began, busy = time.perf_counter(), time.process_time()
        way(address, images)
        seconds = time.perf_counter() - began
        client = 1000 * (time.process_time() - busy) / len(images)
        return {"images/s": len(images) / seconds, "client's processor, ms an image": client}

    with serving(saved_model.parent) as address:
        one_at_a_time(address, images[:50])
        ways = {name: lambda way=way: timed(way, address) for name, way in WAYS.items()}
        return by_turns(ways, rounds)


def scoring(saved_model: Path, images: list[bytes], folder: Path, python: str) -> dict[str, Any]:
    """Images a second of a loop, and of whole runs of Beam and beyond what few images take."""
    few, many = len(images) // 2, 16 * len(images)
    for count in (few, many):
        place = folder / f"pictures-{count}"
        place.mkdir()
        for number in range(count):
            (place / f"{number}.jpg").write_bytes(images[number % len(images)])
    place = folder / f"pictures-{many}"
    found: dict[str, Any] = {"images": many}
    found["a loop, images/s"] = round(ask(LOOP, str(saved_model), str(place), python=python), 1)
    for workers in (1, 2):
        seconds = {
            count: score(saved_model, folder, count, workers, python) for count in (few, many)
        }
        found[f"Beam, workers: {workers}"] = {
            "s of the whole run": round(seconds[many], 1),
            f"s with {few} images": round(seconds[few], 1),
            "images/s, the start left out": round((many - few) / (seconds[many] - seconds[few]), 1),
        }
    return found


def score(saved_model: Path, folder: Path, count: int, workers: int, python: str) -> float:
    """Seconds of a whole run, the start of Python, TensorFlow and the runner included."""
    began = time.perf_counter()
    mode = "in_memory" if workers == 1 else "multi_processing"
    subprocess.run(
        [python, str(ROOT / "serving" / "beam" / "score.py"), "--export", str(saved_model),
         "--images", f"{folder}/pictures-{count}/*",
         "--output", str(folder / f"scores-{count}-{workers}"),
         f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000, help="a way and round (%(default)s)")
    parser.add_argument("--beam", metavar="PYTHON", help="of the environment that has Beam")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/client.json")
    options = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} processors"
    load = round(os.getloadavg()[0], 1)
    results: dict[str, Any] = {"machine": machine, "load of the machine before": load}
    results["start"] = by_turns(
        {name: lambda code=code: ask(code) for name, code in STARTS.items()}, options.rounds
    )
    results["encoding"] = by_turns(
        {name: lambda code=code: ask(code, "1") for name, code in ENCODINGS.items()},
        options.rounds,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        saved_model = folder / "m" / "1"
        subprocess.run(
            [sys.executable, "-c", SAVE, str(saved_model)], check=True, capture_output=True
        )
        images = pictures(options.images)
        results["in flight"] = in_flight(saved_model, images, options.rounds)
        if options.beam:
            results["scoring"] = scoring(saved_model, images, folder, options.beam)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
