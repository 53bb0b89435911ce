"""Exports measured: what they cost to make, and what they are worth served.

    python benchmarks/export.py [--output benchmarks/export.json] [--rounds 7]

Two exporters write the same weights, keras.applications's InceptionV3 at random: ours, and
``model.export``. Speeds are taken in one process, the two by turns, so that a busy machine slows
both; load time and memory are taken in fresh processes, by turns as well. Ours is asked through
``predict_images``, so its time includes the resize that the other leaves to its caller, and through
its network alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

EXPORT = """
import resource, sys, time
start = time.monotonic()
import keras_inception
from inception_export import export_saved_model
from keras_inception.data.preprocessing import Preprocessing
model = getattr(keras_inception, sys.argv[1])()
begin = time.monotonic()
labels = [f"class {index}" for index in range(1000)]
path = export_saved_model(
    model, sys.argv[2], "m", labels=labels, preprocessing=Preprocessing(size=299),
    log=lambda line: None,
)
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(path, time.monotonic() - begin, own / 1e6, child / 1e6)
"""

LOAD = """
import sys, time
import tensorflow as tf
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1e3
tf.constant(1) + 1
before, begin = resident(), time.monotonic()
loaded = tf.saved_model.load(sys.argv[1])
print(time.monotonic() - begin, resident() - before)
"""


def run(script: str, *arguments: object) -> list[str]:
    """A script in a process of its own; the words that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout.split()


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def megabytes(folder: Path) -> float:
    """Of all files below, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def throughput(ours: Path, theirs: Path, rounds: int) -> dict[str, Any]:
    """Images a second by both, by turns, at batch 1 and 8."""
    import numpy as np
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (8, 299, 299, 3), np.uint8)
    floats = images.astype(np.float32) / 127.5 - 1
    loaded = {
        "ours": tf.saved_model.load(str(ours)),
        "model.export": tf.saved_model.load(str(theirs)),
    }
    predict_images = loaded["ours"].signatures["predict_images"]
    serve = loaded["model.export"].signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    calls = {
        "ours": lambda size: predict_images(images=tf.constant(images[:size])),
        "model.export": lambda size: serve(**{name: tf.constant(floats[:size])}),
    }
    results: dict[str, Any] = {}
    for size in (1, 8):
        times: dict[str, list[float]] = {who: [] for who in calls}
        for round_ in range(rounds + 1):
            for who, call in calls.items():
                begin = time.perf_counter()
                call(size)
                if round_:  # the first one warms up
                    times[who].append(size / (time.perf_counter() - begin))
        ratios = [a / b for a, b in zip(times["ours"], times["model.export"], strict=True)]
        results[f"batch {size}"] = {
            **{who: spread(values) for who, values in times.items()},
            "ratio": spread(ratios),
        }
    return results


def first_requests(base: Path, rounds: int) -> dict[str, Any]:
    """The first Predict after loading beside the median of the 20 after it, in milliseconds."""
    from inception_export.parity import sample_images
    from inception_serving import Client, ModelServer

    image = sample_images()[0]
    results: dict[str, Any] = {}
    for warmup in (True, False):
        first, later = [], []
        for _ in range(rounds):
            with (
                ModelServer(base, warmup=warmup) as server,
                Client(server.address, model="m") as client,
            ):
                client.metadata()
                times = []
                for _ in range(21):
                    begin = time.perf_counter()
                    client.predict(image)
                    times.append((time.perf_counter() - begin) * 1000)
                first.append(times[0])
                later.append(statistics.median(times[1:]))
        results["with warm-up" if warmup else "without"] = {
            "first_ms": spread(first),
            "median_ms": spread(later),
            "ratio": spread([one / other for one, other in zip(first, later, strict=True)]),
        }
    return results


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", default="benchmarks/export.json")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    results: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0],
        }
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for builder in ("InceptionV3", "InceptionV4"):
            path, seconds, own, child = run(EXPORT, builder, folder / builder)
            results[f"export {builder}"] = {
                "seconds": float(seconds),
                "peak_gb": max(float(own), float(child)),
                "megabytes": megabytes(Path(path)),
            }
            print(builder, results[f"export {builder}"], flush=True)

        import keras

        from inception_export import export_saved_model
        from keras_inception.data.preprocessing import Preprocessing

        model = keras.applications.InceptionV3(weights=None)
        ours = export_saved_model(
            model,
            folder / "ours",
            "m",
            labels=[f"class {index}" for index in range(1000)],
            preprocessing=Preprocessing(size=299, crop=1.0),
        )
        theirs = folder / "theirs"
        model.export(theirs, verbose=False)
        results["served size, MB"] = {"ours": megabytes(ours), "model.export": megabytes(theirs)}
        loads: dict[str, list[list[float]]] = {"ours": [], "model.export": []}
        for _ in range(3):
            for who, path in (("ours", ours), ("model.export", theirs)):
                loads[who].append([float(word) for word in run(LOAD, path)])
        results["load"] = {
            who: {
                "seconds": spread([seconds for seconds, _ in values]),
                "resident_mb": spread([growth for _, growth in values]),
            }
            for who, values in loads.items()
        }
        results["images/s"] = throughput(ours, theirs, options.rounds)
        results["first request"] = first_requests(folder / "ours", 3)
    results["machine"]["load_after"] = os.getloadavg()[0]
    results["machine"]["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps(results, indent=1))
    Path(options.output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
