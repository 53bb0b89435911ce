"""Fashion-MNIST: an Inception network trained on this machine, two seeds, and its test accuracy.

    python benchmarks/fashion_mnist.py [--data /usr/share/datasets/fashion-mnist] [--seeds 0 1]
        [--recipe fashion-mnist] [--runs FOLDER] [--output benchmarks/fashion_mnist.json]

The images are Debian's (`apt-get install dataset-fashion-mnist`). The recipe, one of the named ones
or a YAML file, trains on 54,000 of the 60,000 training images; the other 6,000 choose the
checkpoint. The 10,000 test images are read once a seed, when all seeds are trained and nothing is
left to choose: as they are served, and averaged with their mirror images. What was stopped goes on
when the program is started again with its folder, and the time counts all parts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `keras-inception train` has it
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "export"), str(ROOT / "serving")]

from keras_inception import evaluate  # noqa: E402
from keras_inception.runs.machine import describe_machine  # noqa: E402
from keras_inception.runs.named_recipes import load_recipe  # noqa: E402
from keras_inception.runs.recipe import Recipe  # noqa: E402
from keras_inception.runs.run import open_run  # noqa: E402
from keras_inception.training.train import train  # noqa: E402

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--recipe", default="fashion-mnist", help="a name or a YAML file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--runs", type=Path, default=Path("runs/fashion-mnist"))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/fashion_mnist.json")
    options = parser.parse_args(arguments)
    training, test = (options.data / f"{name}-images-idx3-ubyte.gz" for name in ("train", "t10k"))
    for file in (training, test):
        if not file.is_file():
            sys.exit(f"There is no {file}: apt-get install dataset-fashion-mnist")
    recipe = load_recipe(options.recipe)
    folders = {seed: options.runs / f"seed-{seed}" for seed in options.seeds}
    for seed, folder in folders.items():
        train_seed(folder, training, recipe.with_changes({"seed": seed}))
    rows = {seed: measured(folder, test) for seed, folder in folders.items()}
    result = {
        "command": f"python benchmarks/fashion_mnist.py --recipe {options.recipe}",
        "recipe": options.recipe,
        "machine": describe_machine(),
        "mean test accuracy": statistics.mean(row["test"]["accuracy"] for row in rows.values()),
        "seeds": rows,
    }
    print(json.dumps(result, indent=1))
    options.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


def train_seed(folder: Path, images: Path, recipe: Recipe) -> None:
    """Train, or go on, and keep what time each part took beside the run."""
    parts = folder.with_name(f"{folder.name}-parts.json")
    before: list[Row] = json.loads(parts.read_text()) if parts.exists() else []
    if (folder / "model.keras").exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    load, began, processor = os.getloadavg()[0], time.monotonic(), time.process_time()
    try:
        train(images, folder, recipe, resume=True)
    finally:
        part = {
            "minutes": round((time.monotonic() - began) / 60, 2),
            "processor minutes": round((time.process_time() - processor) / 60, 2),
            "load before": round(load, 1),
        }
        parts.write_text(json.dumps([*before, part]))


def measured(folder: Path, images: Path) -> Row:
    """What is known of a finished run; the test images are read the first time only."""
    kept = folder.with_name(f"{folder.name}-test.json")
    if not kept.exists():
        once, mirrored = (evaluate(folder, images, crops=crops, batch_size=500) for crops in (1, 2))
        kept.write_text(
            json.dumps(
                {
                    "images": once.images,
                    "accuracy": once.accuracy,
                    "accuracy, averaged with the mirror image": mirrored.accuracy,
                }
            )
        )
    run = open_run(folder)
    parts = json.loads(folder.with_name(f"{folder.name}-parts.json").read_text())
    return {
        "precision": run.recipe.precision,
        "parameters": run.load_model().count_params(),
        "minutes, from start to finished run": round(sum(each["minutes"] for each in parts), 1),
        "parts": parts,
        "validation": run.record["validation"],
        "test": json.loads(kept.read_text()),
    }


if __name__ == "__main__":
    main()
