"""Training speed of Inception v3 on this machine: ours beside keras.applications and timm.

    python benchmarks/training.py [--rounds 5] [--steps 6] [--output benchmarks/training.json]
        [--timm-python .venv-parity/bin/python]

139 x 139 pixels, batches of 32, 10 classes, SGD with momentum 0.9 and nothing more, random images
in memory. Six are measured, each in fresh processes, by turns:

- ours as ``keras-inception train`` runs it, with ``precision: auto`` (bfloat16 where the processor
  has instructions for it) and in float32,
- keras.applications as its user runs it, ``compile`` and ``fit`` with Keras's defaults, and under
  the policy ``mixed_bfloat16``,
- timm under PyTorch, channels last, in float32 and with autocast to bfloat16, where there is the
  environment that ``make parity`` sets up.

The median of a process's steps counts, and of these the median of the rounds, with the smallest and
the largest. The time to the first step is from the start of the process. Besides the time of the
clock there is the processor's, which other programs on the machine disturb less. Each process is
written down as it ends (OUTPUT.part), so the same command goes on where it was stopped. In quiet,
on 2 cores, it takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIDES = {
    "ours": ("ours", "auto"),
    "ours, float32": ("ours", "float32"),
    "keras.applications": ("keras", "float32"),
    "keras.applications, mixed_bfloat16": ("keras", "mixed_bfloat16"),
    "timm": ("timm", "float32"),
    "timm, bfloat16 autocast": ("timm", "mixed_bfloat16"),
}
# What is held to, where the processor computes bfloat16 itself: (what, ours, theirs, at least).
# Elsewhere ours is float32 in either row, and the float32 ratios count.
TARGETS = {
    "steps, keras.applications's time by ours": ("ours", "keras.applications", 1.7),
    "steps, timm's under autocast by ours": ("ours", "timm, bfloat16 autocast", 1.1),
    "float32 steps, keras.applications's by ours": ("ours, float32", "keras.applications", 1.1),
    "float32 steps, timm's by ours": ("ours, float32", "timm", 1.05),
}
FIRST_STEP = 0.45  # of keras.applications's, at most

OURS = """
import json, sys, time
start = time.monotonic()
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
precision, size, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `keras-inception train` has it
from inception_serving.server.startup import load_tensorflow_quietly
load_tensorflow_quietly()
import keras, numpy as np, tensorflow as tf
random = np.random.default_rng(0)
images = random.normal(0, 1, (batch, size, size, 3)).astype(np.float32)
targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, batch)]
from keras_inception.runs.recipe import Recipe
from keras_inception.training.metrics import metrics_for
from keras_inception.training.network import build, compile_network
from keras_inception.training.optimization.schedule import Schedule
from keras_inception.training.train import keras_settings
settings = {"learning_rate": 1e-3, "warmup_epochs": 0, "nesterov": False}
settings |= {"weight_decay": 0.0, "label_smoothing": 0.0, "precision": precision}
recipe = Recipe(model="InceptionV3", image_size=size, epochs=1, **settings)
around = keras_settings(recipe)
around.__enter__()
model = build(recipe, 10, 0.99)
compile_network(model, recipe, Schedule(recipe, steps, 1), metrics_for(10, False, True))
"""
KERAS = """
import json, sys, time
start = time.monotonic()
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
precision, size, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
import keras, numpy as np, tensorflow as tf
random = np.random.default_rng(0)
images = random.normal(0, 1, (batch, size, size, 3)).astype(np.float32)
targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, batch)]
if precision != "float32":
    keras.config.set_dtype_policy(precision)
model = keras.applications.InceptionV3(weights=None, input_shape=(size, size, 3), classes=10)
model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "categorical_crossentropy")
"""
FIT = """
class Clock(keras.callbacks.Callback):
    ends = []
    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((time.monotonic() - start, time.process_time()))
data = tf.data.Dataset.from_tensors((images, targets)).repeat(steps + 1)
model.fit(data, verbose=0, callbacks=[Clock()])
policy = model.get_layer(index=1).dtype_policy.name
versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
print(json.dumps({"ends": Clock.ends, "computes_in": policy, "versions": versions}))
"""
TIMM = """
import json, time
start = time.monotonic()
import sys, torch
from tests.parity import no_torchvision
no_torchvision.install()
import timm
precision, size, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
torch.manual_seed(0)
model = timm.create_model("inception_v3", num_classes=10).train()
model = model.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
loss = torch.nn.CrossEntropyLoss()
images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
targets = torch.randint(10, (batch,))
ends = []
for _ in range(steps + 1):
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
        value = loss(model(images), targets)
    value.backward()
    optimizer.step()
    ends.append((time.monotonic() - start, time.process_time()))
versions = {"torch": torch.__version__, "timm": timm.__version__}
print(json.dumps({"ends": ends, "computes_in": precision, "versions": versions}))
"""
SCRIPTS = {"ours": OURS + FIT, "keras": KERAS + FIT, "timm": TIMM}

Row = dict[str, Any]


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/training.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="timed, after the first")
    parser.add_argument("--timm-python", type=Path, default=ROOT / ".venv-parity/bin/python")
    parser.add_argument("--size", type=int, default=139, help="pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    sides = [side for side in SIDES if SIDES[side][0] != "timm" or options.timm_python.exists()]
    if len(sides) < len(SIDES):
        print(f"There is no {options.timm_python}: timm is not measured.", file=sys.stderr)
    part = options.output.with_name(f"{options.output.name}.part")
    settings = {name: getattr(options, name) for name in ("steps", "size", "batch_size")}
    rows = read_part(part, settings)
    for number in range(options.rounds):
        for side in sides:
            if not any((row["round"], row["side"]) == (number, side) for row in rows):
                rows.append(measure(side, number, options))
                part.write_text(json.dumps({"settings": settings, "rows": rows}) + "\n", "utf-8")
    results = summary([row for row in rows if row["round"] < options.rounds], settings)
    print_table(results)
    options.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    part.unlink()


def read_part(part: Path, settings: Row) -> list[Row]:
    """What an earlier start has measured with the same settings."""
    if not part.exists():
        return []
    before = json.loads(part.read_text("utf-8"))
    if before["settings"] != settings:
        sys.exit(f"{part} is of other settings, {before['settings']}: remove it to begin anew.")
    rows: list[Row] = before["rows"]
    return rows


def measure(side: str, number: int, options: argparse.Namespace) -> Row:
    """One process: seconds to the first step's end, and of a step after it."""
    kind, precision = SIDES[side]
    python = str(options.timm_python) if kind == "timm" else sys.executable
    arguments = [precision, *map(str, (options.size, options.batch_size, options.steps))]
    load = os.getloadavg()[0]
    paths = os.pathsep.join(str(ROOT / each) for each in ("", "export", "serving"))
    done = subprocess.run(
        [python, "-c", SCRIPTS[kind], *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-2000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    steps = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise(said["ends"])]
    clock, processor = (statistics.median(column) for column in zip(*steps, strict=True))
    first = said["ends"][0][0]
    print(f"{side}: first step after {first:.1f} s, {options.batch_size / clock:.2f} images/s")
    return {
        "side": side,
        "round": number,
        "load": load,
        "first": first,
        "step": clock,
        "processor": processor,
        "computes_in": said["computes_in"],
        "versions": said["versions"],
    }


def summary(rows: list[Row], settings: Row) -> Row:
    """What is written down of all processes."""
    sys.path[:0] = [str(ROOT), str(ROOT / "export"), str(ROOT / "serving")]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from keras_inception.runs.machine import describe_machine, native_bfloat16

    sides = list(dict.fromkeys(row["side"] for row in rows))

    def of(side: str, what: str) -> list[Any]:
        return [row[what] for row in rows if row["side"] == side]

    def ratio(ours: str, theirs: str, what: str) -> float:
        return statistics.median(of(theirs, what)) / statistics.median(of(ours, what))

    def rates(side: str) -> Row:
        each = [settings["batch_size"] / seconds for seconds in of(side, "step")]
        return {"median": statistics.median(each), "rounds": each}

    native = native_bfloat16()
    held = {}
    for what, (ours, theirs, least) in TARGETS.items():
        if theirs in sides and (native or what.startswith("float32")):
            found = ratio(ours, theirs, "step")
            held[what] = {"measured": found, "at least": least, "met": found >= least}
    found = 1 / ratio("ours", "keras.applications", "first")
    held["time to the first step, ours by keras.applications's"] = {
        "measured": found, "at most": FIRST_STEP, "met": found <= FIRST_STEP,
    }  # fmt: skip
    return {
        "command": "python benchmarks/training.py",
        "machine": describe_machine() | {"native_bfloat16": native},
        "load_before_each": [round(row["load"], 2) for row in rows],
        "settings": settings | {"rounds": len(of(sides[0], "step"))},
        "computes_in": {side: of(side, "computes_in")[0] for side in sides},
        "versions": {
            name: version for row in rows for name, version in row["versions"].items()
        },
        "images_per_second": {side: rates(side) for side in sides},
        "processor_seconds_per_step": {side: of(side, "processor") for side in sides},
        "seconds_to_first_step": {side: of(side, "first") for side in sides},
        "targets": held,
    }  # fmt: skip


def print_table(results: Row) -> None:
    """As docs/training.md has it, and what came of the targets."""
    print(
        "\n| | images/s | seconds from the command to the first step's end |\n| --- | --- | --- |"
    )
    for side, rates in results["images_per_second"].items():
        first = results["seconds_to_first_step"][side]
        each, middle = rates["rounds"], statistics.median(first)
        print(
            f"| {side} ({results['computes_in'][side]}) | {rates['median']:.1f}"
            f" ({min(each):.1f} to {max(each):.1f}) |"
            f" {middle:.1f} ({min(first):.1f} to {max(first):.1f}) |"
        )
    print()
    for what, held in results["targets"].items():
        bound = "at least" if "at least" in held else "at most"
        met = "met" if held["met"] else "NOT met"
        print(f"{what}: {held['measured']:.2f}, {bound} {held[bound]}: {met}")


if __name__ == "__main__":
    main()
