"""Accuracy in bfloat16 beside float32: the same recipe, the same seeds, other people's images.

    python benchmarks/precision.py [--data demo/digits/train] [--test demo/digits/test]
        [--recipe small] [--change epochs=8 width=0.25] [--seeds 0 1 2 3 4] [--runs FOLDER]
        [--output benchmarks/precision.json]

Each seed is trained once in each precision, by turns. What two precisions differ by says something
only beside what two seeds do: both are printed, of the validation images that chose the checkpoint
and of the test images. What was stopped goes on when the program is started again with its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

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

PRECISIONS = ("float32", "mixed_bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "demo/digits/train")
    parser.add_argument("--test", type=Path, default=ROOT / "demo/digits/test")
    parser.add_argument("--recipe", default="small", help="a name or a YAML file")
    parser.add_argument("--change", nargs="+", default=[], help="settings of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/precision.json")
    options = parser.parse_args()
    changed = {name: yaml.safe_load(value) for name, value in map(_split, options.change)}
    recipe = load_recipe(options.recipe).with_changes(changed)
    rows: dict[str, dict[int, Any]] = {precision: {} for precision in PRECISIONS}
    for seed in options.seeds:
        for precision in PRECISIONS:
            changes = {"seed": seed, "precision": precision}
            folder = options.runs / f"{precision}-{seed}"
            rows[precision][seed] = measured(folder, options, recipe.with_changes(changes))
            print(precision, seed, rows[precision][seed], flush=True)
    result = {
        "recipe": options.recipe,
        "changes": changed,
        "data": "/".join(options.data.parts[-2:]),
        "machine": describe_machine(),
        "mean and deviation of the seeds": {
            precision: {
                which: summary([row[which] for row in rows[precision].values()])
                for which in ("validation accuracy", "test accuracy")
            }
            for precision in PRECISIONS
        },
        "seeds": rows,
    }
    print(json.dumps(result["mean and deviation of the seeds"], indent=1))
    options.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _split(change: str) -> list[str]:
    return change.split("=", 1)


def measured(folder: Path, options: argparse.Namespace, recipe: Recipe) -> dict[str, float]:
    if not (folder / "model.keras").exists():
        train(options.data, folder, recipe, resume=True)
    test = evaluate(folder, options.test)
    validation = open_run(folder).record["validation"]
    return {"validation accuracy": validation["accuracy"], "test accuracy": test.accuracy}


def summary(values: list[float]) -> list[float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return [round(statistics.mean(values), 4), round(deviation, 4)]


if __name__ == "__main__":
    main()
