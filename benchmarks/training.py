"""Training throughput of Inception v3 on this machine: ours beside keras.applications and timm.

    python benchmarks/training.py [--output benchmarks/training.json] [--rounds 3] [--steps 8]
        [--pytorch .venv-parity/bin/python]

139 x 139 pixels, batches of 32, 10 classes, float32, SGD with momentum 0.9 and nothing more, random
images in memory; ours as ``keras-inception train`` runs it, keras.applications's under Keras's
default ``compile``, timm's under PyTorch, channels last, where there is the environment that ``make
parity`` sets up. Each in fresh processes, by turns. The time to the first step is from the start of
the process. Besides the time of the clock there is the processor's, which other programs on the
machine disturb less.

On a processor with AVX512 TensorFlow has oneDNN's kernels on for everyone; on others only ours
turns them on. keras.applications's is therefore also measured without them.
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

ROOT = Path(__file__).parents[1]

WITHOUT = "keras.applications without oneDNN"

SCRIPT = """
import sys, time
start = time.monotonic()
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
who, steps = sys.argv[1], int(sys.argv[2])
if who == "ours":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from inception_serving.server.startup import load_tensorflow_quietly
    load_tensorflow_quietly()
elif who.endswith("without oneDNN"):
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
import keras, numpy as np, tensorflow as tf
random = np.random.default_rng(0)
images = random.normal(0, 1, (32, 139, 139, 3)).astype(np.float32)
targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, 32)]
if who == "ours":
    from keras_inception.runs.recipe import Recipe
    from keras_inception.training.metrics import metrics_for
    from keras_inception.training.network import build, compile_network
    from keras_inception.training.optimization.schedule import Schedule
    from keras_inception.training.train import keras_settings
    settings = {"learning_rate": 1e-3, "warmup_epochs": 0, "nesterov": False}
    settings |= {"weight_decay": 0.0, "label_smoothing": 0.0, "precision": "float32"}
    recipe = Recipe(model="InceptionV3", image_size=139, epochs=1, **settings)
    around = keras_settings(recipe)
    around.__enter__()
    model = build(recipe, 10, 0.99)
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

TIMM = """
import time
start = time.monotonic()
import sys, torch
from tests.parity import no_torchvision
no_torchvision.install()
import timm
torch.manual_seed(0)
model = timm.create_model("inception_v3", num_classes=10).train()
model = model.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
loss = torch.nn.CrossEntropyLoss()
images = torch.randn(32, 3, 139, 139).to(memory_format=torch.channels_last)
targets = torch.randint(10, (32,))
for _ in range(int(sys.argv[2]) + 1):
    optimizer.zero_grad()
    loss(model(images), targets).backward()
    optimizer.step()
    print(time.monotonic() - start, time.process_time())
"""


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", default="benchmarks/training.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--pytorch", type=Path, default=ROOT / ".venv-parity/bin/python")
    options = parser.parse_args()
    who_all = ["ours", "keras.applications", WITHOUT]
    if options.pytorch.exists():
        who_all.append("timm")
    # Of the clock and of the processor: seconds to the first step, and of a step after it.
    first: dict[str, list[list[float]]] = {who: [] for who in who_all}
    later: dict[str, list[list[float]]] = {who: [] for who in who_all}
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for who in who_all:
            python, script = (options.pytorch, TIMM) if who == "timm" else (sys.executable, SCRIPT)
            done = subprocess.run(
                [python, "-c", script, who, str(options.steps)],
                cwd=ROOT,
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

    def theirs_to_ours(times: dict[str, list[list[float]]], kind: int) -> dict[str, float]:
        median = {who: statistics.median(row[kind] for row in times[who]) for who in who_all}
        return {who: median[who] / median["ours"] for who in who_all[1:]}

    results: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": load},
        "images_per_second": {who: [32 / row[0] for row in later[who]] for who in who_all},
        "processor_seconds_per_step": {who: [row[1] for row in later[who]] for who in who_all},
        "seconds_to_first_step": {who: [row[0] for row in first[who]] for who in who_all},
        "processor_seconds_to_first_step": {who: [row[1] for row in first[who]] for who in who_all},
        "their_time_of_a_step_to_ours": theirs_to_ours(later, 0),
        "their_processor_time_of_a_step_to_ours": theirs_to_ours(later, 1),
        "their_time_to_the_first_step_to_ours": theirs_to_ours(first, 0),
    }
    print(json.dumps(results, indent=1))
    Path(options.output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
