"""int8 beside float32 and bfloat16, and beside other people's: images a second on this processor.

    python benchmarks/int8.py FOLDER [--only models speed server time accuracy]
        [--networks InceptionV1 InceptionV3 InceptionV4] [--openvino-python PYTHON]
        [--rounds 5] [--seconds 3] [--again] [--output benchmarks/int8.json]

models: what is measured is written to FOLDER, with random weights, which speed does not depend on:
exports of v1 (224 px), v3 and v4 (299 px) in three precisions, and what ``model.export`` makes of
the same network, of v3 of keras.applications's. Once; nothing is timed.

speed: each runs in a process of its own, all by turns, so that whatever else the machine does meets
all of them; a value is the median of the rounds, the spread their smallest and largest. An export
is run in a session, as TF Serving does, by ``predict_images`` on decoded images of the network's
size, so its time includes the scaling of pixels; that in float32 under TF Serving's
``--mixed_precision=bfloat16``, too. The others get floats. Memory is the process's, at the end.
``--openvino-python`` names the Python of an environment with ``openvino``, for int8 with ``nncf``:
OpenVINO reads what ``model.export`` wrote.

server: v3 through our server, JPEGs over gRPC, one client and sixteen with batching.

time: v3 is exported once more in each precision, and timed.

accuracy: small networks are trained on digits, on Fashion-MNIST (Debian's dataset-fashion-mnist)
and on crops of two photographs, told apart by where they were cut; the test images' accuracy is
taken of the Keras model and of its export in int8.

What FOLDER or the output has already is kept, unless ``--again``: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "export"), str(ROOT / "serving")]

NETWORKS = {"InceptionV1": 224, "InceptionV3": 299, "InceptionV4": 299}
PRECISIONS = ("float32", "bfloat16", "int8")
MIXED = "float32, --mixed_precision=bfloat16"
BATCHES = (1, 8)
CLIENTS = (1, 16)

# Both print a line when they are ready; to each order, batch and seconds, the images a second; and
# at the end the megabytes that they hold.
LOOP = """
def measure(call):
    print("ready", flush=True)
    for line in sys.stdin:
        batch, seconds = json.loads(line)
        if not batch:
            pages = int(open("/proc/self/statm").read().split()[1])
            print(pages * 4096 / 1e6, flush=True)
            continue
        call(batch)
        count, began = 0, time.perf_counter()
        while count < 2 or time.perf_counter() < began + seconds:
            call(batch)
            count += 1
        print(count * batch / (time.perf_counter() - began), flush=True)
"""
SESSION = (
    """
import json, sys, time
import numpy as np
import tensorflow as tf
"""
    + LOOP
    + """
path, signature, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
config = tf.compat.v1.ConfigProto()
if "--mixed_precision=bfloat16" in sys.argv:
    config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = 1  # ON
with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
    definition = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def[signature]
    (taken,), (given,) = definition.inputs.values(), definition.outputs.values()
    images = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), np.uint8)
    if tf.dtypes.as_dtype(taken.dtype) == tf.float32:
        images = (images / 127.5 - 1).astype(np.float32)
    run = session.make_callable(given.name, [taken.name])
    measure(lambda batch: run(images[:batch]))
"""
)
OPENVINO = (
    """
import json, sys, time
import numpy as np
import openvino as ov
"""
    + LOOP
    + """
path, precision, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = ov.convert_model(path)
model.reshape([-1, size, size, 3])
images = np.random.default_rng(0).uniform(-1, 1, (8, size, size, 3)).astype(np.float32)
if precision == "int8":
    import nncf
    model = nncf.quantize(model, nncf.Dataset([images[:1], images[1:2], images[2:3]]))
hint = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"}
compiled = ov.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"} | hint)
request = compiled.create_infer_request()
measure(lambda batch: request.infer([images[:batch]]))
"""
)
SERVER = """
import sys
from pathlib import Path
from inception_serving import ModelServer
from inception_serving.server.config.files import read_batching
with ModelServer(sys.argv[1], batching=read_batching(Path(sys.argv[2]))) as server:
    print(server.address, flush=True)
    sys.stdin.read()
"""
BATCHING = "max_batch_size { value: 8 } batch_timeout_micros { value: 0 }"


def export(model: Any, base: Path, name: str, size: int, precision: str) -> Path:
    """An export of a network of 1000 classes; int8 is calibrated on noise."""
    import numpy as np
    import tensorflow as tf

    from inception_export import export_saved_model
    from keras_inception.data.preprocessing import Preprocessing

    noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3))
    calibration = [tf.io.encode_png(tf.cast(image, tf.uint8)).numpy() for image in noise]
    return export_saved_model(
        model,
        base,
        name,
        labels=[f"class {index}" for index in range(1000)],
        preprocessing=Preprocessing(size, crop=1.0),
        precision=precision,
        calibration=calibration if precision == "int8" else (),
        log=lambda line: None,
    )


def make_models(folder: Path, network: str, options: argparse.Namespace) -> dict[str, float]:
    """Write what is not there yet; the megabytes of each."""
    import keras

    import keras_inception

    build = getattr(keras_inception, network)
    base, theirs = folder / "models" / network, folder / "keras" / network
    for precision in PRECISIONS:
        if not (base / precision / "1").exists():
            export(build(weights=None), base, precision, NETWORKS[network], precision)
            print(f"models: {network}, {precision}", flush=True)
    if not theirs.exists():
        other = keras.applications.InceptionV3 if network == "InceptionV3" else build
        scratch = theirs.with_name(f".{network}")
        shutil.rmtree(scratch, ignore_errors=True)
        other(weights=None).export(scratch, verbose=False)
        scratch.rename(theirs)
    homes = {precision: base / precision / "1" for precision in PRECISIONS}
    return {
        name: sum(each.stat().st_size for each in home.rglob("*") if each.is_file()) / 1e6
        for name, home in (homes | {"model.export": theirs}).items()
    }


def commands(folder: Path, network: str, openvino: str | None) -> dict[str, list[str]]:
    """The commands that run a network in each way."""
    size, python = str(NETWORKS[network]), sys.executable
    ours, theirs = folder / "models" / network, str(folder / "keras" / network)
    found = {
        precision: [python, "-c", SESSION, str(ours / precision / "1"), "predict_images", size]
        for precision in PRECISIONS
    }
    found[MIXED] = [*found["float32"], "--mixed_precision=bfloat16"]
    found["model.export"] = [python, "-c", SESSION, theirs, "serving_default", size]
    if openvino:
        for precision in PRECISIONS:
            found[f"OpenVINO {precision}"] = [openvino, "-c", OPENVINO, theirs, precision, size]
    return found


class Runner:
    """A process that runs a network when it is told to."""

    def __init__(self, command: list[str]) -> None:
        """Start it, and wait until it is ready.

        Raises:
            RuntimeError: it does not start.
        """
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()) != "ready\n":
            if not line:
                _, error = self._process.communicate()
                raise RuntimeError((error.strip().splitlines() or ["it was killed"])[-1])

    def order(self, batch: int, seconds: float) -> float:
        """Images a second; with a batch of 0, megabytes."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([batch, seconds]), file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        """Let it end."""
        self._process.communicate()


def measure_speed(
    folder: Path, network: str, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Images a second in each way by turns, and the memory of each."""
    runners: dict[str, Runner] = {}
    for name, command in commands(folder, network, options.openvino_python).items():
        try:  # one after the other: starting takes the processor
            runners[name] = Runner(command)
        except (RuntimeError, OSError) as error:
            print(f"speed: {network}, {name} is left out: {error}", flush=True)
    seen: dict[str, dict[str, list[float]]] = {name: {} for name in runners}
    for _ in range(options.rounds):
        for batch in BATCHES:
            for name, runner in runners.items():
                rate = runner.order(batch, options.seconds)
                seen[name].setdefault(f"batch {batch}", []).append(rate)
    found = {
        name: {batch: summary(rates) for batch, rates in batches.items()}
        | {"megabytes of memory": runners[name].order(0, 0)}
        for name, batches in seen.items()
    }
    for runner in runners.values():
        runner.stop()
    return found


def measure_server(folder: Path, network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of JPEGs over gRPC, by turns."""
    import numpy as np
    import tensorflow as tf

    from inception_serving import bench

    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype(np.uint8)
    images = [
        tf.io.encode_jpeg(tf.cast(tf.image.resize(each, [360, 480]), tf.uint8)).numpy()
        for each in pixels
    ]
    (folder / "batching.pbtxt").write_text(BATCHING)
    seen: dict[str, dict[str, list[float]]] = {each: {} for each in PRECISIONS}
    with serving(folder / "models" / network, folder / "batching.pbtxt") as address:
        for _ in range(options.rounds):
            for clients in CLIENTS:
                for precision in PRECISIONS:
                    result = bench(
                        address,
                        precision,
                        images,
                        clients=clients,
                        seconds=4 * options.seconds,
                        warmup_s=0.3,
                    )
                    if result.errors:
                        raise RuntimeError(f"The server refused requests: {result.errors}")
                    rates = seen[precision].setdefault(f"{clients} clients", [])
                    rates.append(result.images_per_s)
    return {
        precision: {clients: summary(rates) for clients, rates in each.items()}
        for precision, each in seen.items()
    }


@contextmanager
def serving(base: Path, batching: Path) -> Iterator[str]:
    """The address of a server process of the models in a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(base), str(batching)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


def measure_time(folder: Path, network: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of an export in each precision."""
    import keras_inception

    model = getattr(keras_inception, network)(weights=None)
    found = {}
    for precision in PRECISIONS:
        scratch = folder / "scratch"
        began = time.monotonic()
        export(model, scratch, precision, NETWORKS[network], precision)
        found[precision] = time.monotonic() - began
        shutil.rmtree(scratch)
    return found


def measure_accuracy(folder: Path, data: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """The accuracy of a small network and of its export in int8, on images that neither has seen.

    ``None`` where the data is not on this machine.
    """
    from inception_export import export_run
    from inception_export.samples import EncodedImages
    from keras_inception import train
    from keras_inception.data.sources.source import open_source
    from keras_inception.runs.named_recipes import load_recipe

    sources = DATA[data](folder / "data" / data)
    if sources is None:
        return None
    training, test = sources
    network, changes = TRAINED[data]
    most = {"epochs": min(options.epochs, changes["epochs"])}
    recipe = dataclasses.replace(load_recipe("small"), model=network, **changes | most)
    run = train(training, folder / "runs" / data, recipe, resume=True, log=lambda line: None)
    examples = open_source(test, run.labels)
    base = folder / "accuracy"
    shutil.rmtree(base / data, ignore_errors=True)
    path = export_run(
        run.path,
        base,
        data,
        precision="int8",
        samples=EncodedImages(examples.images),
        sample_classes=[run.labels[target] for target in examples.targets],
        max_accuracy_loss=1.0,
        max_accuracy_fall=1.0,
        log=lambda line: None,
    )
    manifest = json.loads((path / "assets.extra" / "keras_inception.json").read_text())
    kept = ("images", "keras_accuracy", "accuracy", "accuracy_loss", "changed_class")
    return {
        "network": f"{network}, width {recipe.width}, {recipe.image_size} px",
        **{name: manifest["samples"][name] for name in kept},
        "largest and mean difference of probabilities": [
            manifest["parity"]["probabilities"],
            manifest["parity"]["mean_probabilities"],
        ],
        "multiply_adds": manifest["int8"]["multiply_adds"],
        "method": manifest["int8"]["method"],
    }


def digits(folder: Path) -> tuple[Path, Path]:
    """scikit-learn's scans, as folders."""
    from examples.digits import write_digits

    if not folder.exists():
        write_digits(folder.with_name(".digits"))
        folder.with_name(".digits").rename(folder)
    return folder / "train", folder / "test"


def fashion_mnist(folder: Path) -> tuple[Path, Path] | None:
    """Debian's files, where they are installed."""
    home = Path("/usr/share/datasets/fashion-mnist")
    if not home.exists():
        print(f"accuracy: there is no {home}: apt-get install dataset-fashion-mnist", flush=True)
        return None
    return home / "train-images-idx3-ubyte.gz", home / "t10k-images-idx3-ubyte.gz"


def photographs(folder: Path) -> tuple[Path, Path]:
    """Crops of scikit-learn's two photographs; the class is which, and which quarter of it."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    for part, count in (("train", 150), ("test", 400)):
        for number, pixels in enumerate(load_sample_images().images):
            for quarter in range(4):
                home = folder / part / f"{number}-{quarter}"
                if home.exists():
                    continue
                scratch = home.with_name(f".{home.name}")
                scratch.mkdir(parents=True, exist_ok=True)
                height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
                top, left = height * (quarter // 2), width * (quarter % 2)
                for index in range(count):
                    side = int(random.integers(80, 161))
                    y = top + int(random.integers(0, height - side + 1))
                    x = left + int(random.integers(0, width - side + 1))
                    crop = Image.fromarray(pixels[y : y + side, x : x + side])
                    crop.save(scratch / f"{index:03}.jpg", quality=90)
                scratch.rename(home)
    return folder / "train", folder / "test"


DATA: dict[str, Callable[[Path], tuple[Path, Path] | None]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "photographs": photographs,
}
# The network, and what differs from the recipe `small`.
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("InceptionV4", {"epochs": 12}),
    "fashion-mnist": ("InceptionV1", {"image_size": 28, "epochs": 3, "batch_size": 128}),
    "photographs": ("InceptionV3", {"image_size": 75, "stem": "imagenet", "epochs": 40}),
}


def summary(values: list[float]) -> dict[str, float]:
    """Their median and spread."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def describe(found: dict[str, Any], beside: str = "float32") -> None:
    """Print a line for each way: images a second, and how many times those of another way."""
    for name, columns in found.items():
        cells = [
            f"{column} {each['median']:7.1f} ({each['min']:.1f} to {each['max']:.1f}),"
            f" {each['median'] / found[beside][column]['median']:.2f}x"
            for column, each in columns.items()
            if isinstance(each, dict)
        ]
        print(f"  {name:38}", *cells, sep="  ", flush=True)


def check_targets(results: dict[str, Any]) -> Iterator[str]:
    """What int8 is to be worth, and whether it is."""
    for network in ("InceptionV3", "InceptionV4"):
        speed = results.get("speed", {}).get(network, {})
        if "int8" not in speed:
            continue
        for batch, least in (("batch 1", 2.6), ("batch 8", 2.8)):
            rate = speed["int8"][batch]["median"]
            times = rate / speed["float32"][batch]["median"]
            yield f"{network}, {batch}: {times:.2f} times float32 (at least {least} is wanted)"
            if other := speed.get("OpenVINO bfloat16"):
                times = rate / other[batch]["median"]
                yield f"{network}, {batch}: {times:.2f} times OpenVINO's bfloat16 (at least 1.0)"


def main() -> None:
    """Measure what is asked for and not known yet, print it, and write JSON after each part."""
    options = read_options()
    output = options.output
    results: dict[str, Any] = json.loads(output.read_text("utf-8")) if output.exists() else {}

    def part(name: str, of: str, measure: Callable[..., Any]) -> None:
        if name not in options.only or (of in results.get(name, {}) and not options.again):
            return
        load = os.getloadavg()[0]
        found = measure(options.folder, of, options)
        if found is None:
            return
        results.setdefault(name, {})[of] = found
        results.setdefault("load of the machine before", {})[f"{name}, {of}"] = round(load, 1)
        output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        print(f"{name}, {of}:", flush=True)
        if name in ("speed", "server"):
            describe(found)
        else:
            print(json.dumps(found), flush=True)

    from keras_inception.runs.machine import describe_machine

    results["machine"] = describe_machine() | {"flags": flags()}
    for network in options.networks:
        part("models", network, make_models)
    for network in options.networks:
        part("speed", network, measure_speed)
    if "InceptionV3" in options.networks:
        part("server", "InceptionV3", measure_server)
        part("time", "InceptionV3", measure_time)
    for data in options.data:
        part("accuracy", data, measure_accuracy)
    print(*check_targets(results), sep="\n")


def flags() -> list[str]:
    """What of the processor int8 and bfloat16 need."""
    text = Path("/proc/cpuinfo").read_text()
    known = set(text.split("flags", 1)[1].split("\n", 1)[0].split())
    return sorted(known & {"avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"})


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = ["models", "speed", "server", "time", "accuracy"]
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--openvino-python", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, default=40, help="at most")
    parser.add_argument("--again", action="store_true", help="measure what is known already")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/int8.json")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
