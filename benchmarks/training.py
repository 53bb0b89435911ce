"""Training throughput of Inception v3 on this machine: ours beside keras.applications.

    python benchmarks/training.py [--output benchmarks/training.json] [--rounds 2] [--steps 6]

139 x 139 pixels, batches of 32, 10 classes, float32, SGD, random images in memory; ours as
``keras-inception train`` runs it, the other under Keras's default ``compile``. Each in fresh
processes, by turns. The time to the first step is from the start of the process. Besides the time
of the clock there is the processor's, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

SCRIPT = """
import sys, time
start = time.monotonic()
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
who, steps = sys.argv[1], int(sys.argv[2])
if who == "ours":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
import keras, numpy as np, tensorflow as tf
random = np.random.default_rng(0)
images = random.normal(0, 1, (32, 139, 139, 3)).astype(np.float32)
targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, 32)]
if who == "ours":
    from keras_inception.training.recipe import Recipe
    from keras_inception.training.fused import fuse_batch_norm
    from keras_inception.training.metrics import metrics_for
    from keras_inception.training.network import build, compile_network
    from keras_inception.training.schedule import Schedule
    from keras_inception.training.train import surroundings
    settings = {"learning_rate": 1e-3, "warmup_epochs": 0}
    recipe = Recipe(model="InceptionV3", image_size=139, epochs=1, **settings)
    around = surroundings(recipe)
    around.__enter__()
    model = build(recipe, 10, 0.99)
    fuse_batch_norm(model)
    compile_network(model, recipe, Schedule(recipe, steps, 1), metrics_for(10, False, True))
else:
    model = keras.applications.InceptionV3(weights=None, input_shape=(139, 139, 3), classes=10)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "categorical_crossentropy")
class Clock(keras.callbacks.Callback):
    ends = []
    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((time.monotonic() - start, time.process_time()))
data = tf.data.Dataset.from_tensors((images, targets)).repeat(steps + 1)
model.fit(data, verbose=0, callbacks=[Clock()])
for clock, processor in Clock.ends:
    print(clock, processor)
"""


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", default="benchmarks/training.json")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    who_all = ("ours", "keras.applications")
    # Of the clock and of the processor: seconds to the first step, and of a step after it.
    first: dict[str, list[list[float]]] = {who: [] for who in who_all}
    later: dict[str, list[list[float]]] = {who: [] for who in who_all}
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for who in who_all:
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, who, str(options.steps)],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            ends = [[float(each) for each in line.split()] for line in done.stdout.splitlines()]
            steps = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise(ends)]
            first[who].append(ends[0])
            later[who].append([statistics.median(column) for column in zip(*steps, strict=True)])
            print(
                f"{who}: first step after {ends[0][0]:.1f} s, {32 / later[who][-1][0]:.2f} images/s"
            )

    def ratio(times: dict[str, list[list[float]]], kind: int) -> float:
        ours, theirs = (statistics.median(row[kind] for row in times[who]) for who in who_all)
        return ours / theirs

    results: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": load},
        "images_per_second": {who: [32 / row[0] for row in later[who]] for who in who_all},
        "processor_seconds_per_step": {who: [row[1] for row in later[who]] for who in who_all},
        "seconds_to_first_step": {who: [row[0] for row in first[who]] for who in who_all},
        "processor_seconds_to_first_step": {who: [row[1] for row in first[who]] for who in who_all},
        "speed_ratio": 1 / ratio(later, 0),
        "speed_ratio_by_processor_time": 1 / ratio(later, 1),
        "first_step_ratio": ratio(first, 0),
        "first_step_ratio_by_processor_time": ratio(first, 1),
    }
    print(json.dumps(results, indent=1))
    Path(options.output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
