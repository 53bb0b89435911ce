"""Fashion-MNIST: an Inception network trained on this machine, and its test accuracy.

    python benchmarks/fashion_mnist.py [--data /usr/share/datasets/fashion-mnist]
        [--recipe fashion-mnist] [--run FOLDER] [--output benchmarks/fashion_mnist.json]

The images are Debian's (`apt-get install dataset-fashion-mnist`). The recipe trains on 54,000 of
the 60,000 training images; the other 6,000 choose the checkpoint. The 10,000 test images are read
at the end, when nothing is left to choose: as they are served, and averaged with their mirror
images. A run that was stopped goes on when the program is started again with its folder, and the
time counts both parts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "export"), str(ROOT / "serving")]

from keras_inception import evaluate  # noqa: E402
from keras_inception.runs.machine import describe_machine  # noqa: E402
from keras_inception.runs.named_recipes import NOTES, load_recipe  # noqa: E402
from keras_inception.runs.run import open_run  # noqa: E402
from keras_inception.training.train import train  # noqa: E402


def main() -> None:
    """Train, measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--recipe", default="fashion-mnist")
    parser.add_argument("--run", type=Path, default=Path("runs/fashion-mnist"))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/fashion_mnist.json")
    options = parser.parse_args()
    training = options.data / "train-images-idx3-ubyte.gz"
    if not training.is_file():
        sys.exit(f"There is no {training}: apt-get install dataset-fashion-mnist")
    recipe = load_recipe(options.recipe)
    load = os.getloadavg()[0]
    took = options.run / "seconds.json"
    before: list[float] = json.loads(took.read_text()) if took.exists() else []
    began, processor = time.monotonic(), time.process_time()
    if not (options.run / "model.keras").exists():
        try:
            train(training, options.run, recipe, resume=True)
        finally:
            if options.run.is_dir():
                took.write_text(json.dumps([*before, time.monotonic() - began]))
    used = time.process_time() - processor
    run = open_run(options.run)
    test, mirrored = (
        evaluate(
            options.run, options.data / "t10k-images-idx3-ubyte.gz", crops=crops, batch_size=500
        )
        for crops in (1, 2)
    )
    result: dict[str, Any] = {
        "recipe": options.recipe,
        "note": NOTES.get(options.recipe, ""),
        "machine": describe_machine(),
        "load of the machine before": round(load, 1),
        "parameters": run.load_model().count_params(),
        "minutes of training, from start to finished run": round(
            sum(json.loads(took.read_text())) / 60, 1
        ),
        "minutes of processor time of the last part": round(used / 60, 1),
        "validation": run.record["validation"],
        "test": {
            "images": test.images,
            "accuracy": test.accuracy,
            "accuracy, averaged with the mirror image": mirrored.accuracy,
        },
    }
    print(json.dumps(result, indent=1))
    options.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
