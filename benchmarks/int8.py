"""int8 beside float32 and bfloat16, and beside other people's: images a second on this processor.

    python benchmarks/int8.py make FOLDER
    python benchmarks/int8.py measure FOLDER [--openvino PYTHON] [--rounds 5] [--seconds 0.8]
        [--output benchmarks/int8.json]

``make`` writes what is measured, with random weights, which speed does not depend on: exports of v1
(224 px), v3 and v4 (299 px) in three precisions, and what ``model.export`` makes of the same model,
of v3 of keras.applications's. ``measure`` runs them in processes of their own, by turns, so that
whatever else the machine does meets all of them; a value is the median of the rounds, and the
spread is their smallest and largest. An export is run in a session, as TF Serving does, by
``predict_images`` on decoded images of the network's size, so its time includes the scaling of
pixels; the others get floats.

``--openvino`` names the Python of an environment with ``openvino`` and ``nncf``: OpenVINO reads
what ``model.export`` wrote, and computes in float32, in bfloat16 where the processor has it, and in
int8 as NNCF quantizes it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "export")]

NETWORKS = {"InceptionV1": 224, "InceptionV3": 299, "InceptionV4": 299}
PRECISIONS = ("float32", "bfloat16", "int8")
BATCHES = (1, 8)

# Both print a line when they are ready, and the images a second for each order: batch, seconds.
LOOP = """
def measure(call):
    print("ready", flush=True)
    for line in sys.stdin:
        batch, seconds = json.loads(line)
        call(batch), call(batch)
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
path, signature = sys.argv[1:3]
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    definition = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def[signature]
    (taken,), (given,) = definition.inputs.values(), definition.outputs.values()
    size = int(sys.argv[3])
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


def make(folder: Path, networks: list[str]) -> None:
    """Write the models, and how long each export took and how large it is."""
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_inception
    from inception_export import export_saved_model
    from keras_inception.data.preprocessing import Preprocessing

    random = np.random.default_rng(0)
    images = tf.cast(random.integers(0, 256, (16, 64, 64, 3)), tf.uint8)
    calibration = [tf.io.encode_png(image).numpy() for image in images]
    notes = folder / "made.json"
    about: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {}
    for network in networks:
        size = NETWORKS[network]
        model = getattr(keras_inception, network)(weights=None)
        for precision in PRECISIONS:
            began = time.perf_counter()
            path = export_saved_model(
                model,
                folder,
                f"{network}-{precision}",
                labels=[f"class {index}" for index in range(1000)],
                preprocessing=Preprocessing(size, crop=1.0),
                precision=precision,
                calibration=calibration if precision == "int8" else (),
                log=lambda line: None,
            )
            files = [each.stat().st_size for each in path.rglob("*") if each.is_file()]
            about[f"{network}, {precision}"] = {
                "export_seconds": time.perf_counter() - began,
                "megabytes": sum(files) / 1e6,
            }
            print(network, precision, about[f"{network}, {precision}"], flush=True)
        theirs = keras.applications.InceptionV3(weights=None) if network == "InceptionV3" else model
        theirs.export(folder / f"{network}-keras", verbose=False)
        notes.write_text(json.dumps(about, indent=1))


def runners(folder: Path, network: str, openvino: str | None) -> dict[str, list[str]]:
    """The commands that run a network in each way."""
    size = str(NETWORKS[network])
    python, theirs = sys.executable, str(folder / f"{network}-keras")
    found = {
        precision: [
            *(python, "-c", SESSION, str(folder / f"{network}-{precision}" / "1")),
            *("predict_images", size),
        ]
        for precision in PRECISIONS
    }
    found["model.export"] = [python, "-c", SESSION, theirs, "serving_default", size]
    if openvino:
        for precision in PRECISIONS:
            found[f"OpenVINO {precision}"] = [openvino, "-c", OPENVINO, theirs, precision, size]
    return found


def measure(commands: dict[str, list[str]], rounds: int, seconds: float) -> dict[str, Any]:
    """Images a second of each, by turns, at each batch size."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = {}
    for name, command in commands.items():  # one after the other: starting takes the processor
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert process.stdin is not None and process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            if not line:
                print(f"{name} did not start", flush=True)
                break
        else:
            processes[name] = process
    found: dict[str, dict[str, list[float]]] = {
        name: {f"batch {batch}": [] for batch in BATCHES} for name in processes
    }
    for _ in range(rounds):
        for batch in BATCHES:
            for name, process in processes.items():
                assert process.stdin is not None and process.stdout is not None
                print(json.dumps([batch, seconds]), file=process.stdin, flush=True)
                found[name][f"batch {batch}"].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    return {
        name: {
            batch: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            for batch, values in batches.items()
        }
        for name, batches in found.items()
    }


def processor() -> dict[str, Any]:
    """Its name, and what of it int8 and bfloat16 need."""
    text = Path("/proc/cpuinfo").read_text()
    flags = set(text.split("flags", 1)[1].split("\n", 1)[0].split())
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": sorted(flags & {"avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}),
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    """Make the models, or measure them, print a table and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=["make", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--openvino", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8)
    parser.add_argument("--output", default="benchmarks/int8.json")
    options = parser.parse_args()
    if options.step == "make":
        make(options.folder, options.networks)
        return
    results: dict[str, Any] = {"machine": processor(), "rounds": options.rounds}
    results["exports"] = json.loads((options.folder / "made.json").read_text())
    for network in options.networks:
        commands = runners(options.folder, network, options.openvino)
        results[network] = measure(commands, options.rounds, options.seconds)
        for name, batches in results[network].items():
            ratios = [
                f"{values['median']:8.1f} ({values['min']:.1f} to {values['max']:.1f}),"
                f" {values['median'] / results[network]['float32'][batch]['median']:.2f}x"
                for batch, values in batches.items()
            ]
            print(f"{network:12} {name:18}", *ratios, flush=True)
        Path(options.output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
