"""Training throughput of Inception v3 on this machine: ours beside keras.applications.

    python benchmarks/training.py [--output benchmarks/training.json] [--rounds 2] [--steps 6]

139 x 139 pixels, batches of 32, 10 classes, float32, SGD, random images in memory; ours as
``keras-inception train`` runs it, the other under Keras's default ``compile``. Each in fresh
processes, by turns. The time to the first step is from the start of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import sys, time
start = time.monotonic()
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import keras, numpy as np, tensorflow as tf
who, steps = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(0)
images = random.normal(0, 1, (32, 139, 139, 3)).astype(np.float32)
targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, 32)]
if who == "ours":
    from keras_inception.training.recipe import Recipe
    from keras_inception.training.fused import fuse_batch_norm
    from keras_inception.training.metrics import metrics_for
    from keras_inception.training.network import build, compile_network
    from keras_inception.training.schedule import Schedule
    settings = {"learning_rate": 1e-3, "warmup_epochs": 0}
    recipe = Recipe(model="InceptionV3", image_size=139, epochs=1, **settings)
    model = build(recipe, 10, 0.99)
    fuse_batch_norm(model)
    compile_network(model, recipe, Schedule(recipe, steps, 1), metrics_for(10, False, True))
else:
    model = keras.applications.InceptionV3(weights=None, input_shape=(139, 139, 3), classes=10)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "categorical_crossentropy")
class Clock(keras.callbacks.Callback):
    ends = []
    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.monotonic())
data = tf.data.Dataset.from_tensors((images, targets)).repeat(steps + 1)
model.fit(data, verbose=0, callbacks=[Clock()])
ends = Clock.ends
print(ends[0] - start, *np.diff(ends))
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
    first: dict[str, list[float]] = {"ours": [], "keras.applications": []}
    speeds: dict[str, list[float]] = {who: [] for who in first}
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for who in first:
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, who, str(options.steps)],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            begin, *seconds = map(float, done.stdout.split())
            first[who].append(begin)
            speeds[who].append(32 / statistics.median(seconds))
            print(f"{who}: first step after {begin:.1f} s, {speeds[who][-1]:.2f} images/s")
    medians = {who: statistics.median(values) for who, values in speeds.items()}
    starts = {who: statistics.median(values) for who, values in first.items()}
    results: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": load},
        "images_per_second": speeds,
        "seconds_to_first_step": first,
        "speed_ratio": medians["ours"] / medians["keras.applications"],
        "first_step_ratio": starts["ours"] / starts["keras.applications"],
    }
    print(json.dumps(results, indent=1))
    Path(options.output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
