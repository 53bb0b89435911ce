"""What each image more costs before and in training: resident memory and time to the first batch.

    python benchmarks/growth.py [--sizes 1000 10000 100000 1000000] [--output growth.json]

Folders of 100 classes are made of links to a few hundred small JPEGs, in a temporary folder. Each
size is trained on for some steps in a fresh process by the code of ``keras-inception train``, a
tenth of the images set apart, the run's folder written; only the network is of one convolution.
The time begins when the libraries are loaded and ends with the first step; the memory is the
process's after the last one. Up to 20,000 images are all decoded and compared before; of more,
those to validate on are decoded. Goals, from the smallest size to the largest: at most 200 bytes
and 20 microseconds an image.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CLASSES, PHOTOS = 100, 400
GOALS = {"bytes_an_image": 200, "microseconds_an_image": 20}

SCRIPT = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import keras
from keras_inception.data.preparation.prepare import prepare
from keras_inception.training import train
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.run import create_run

def one_convolution(recipe, classes, *others, **settings):
    image = keras.Input((recipe.image_size, recipe.image_size, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x)

class Clock(keras.callbacks.Callback):
    first = None
    def on_train_batch_end(self, batch, logs=None):
        Clock.first = Clock.first or time.monotonic()

def quiet(line):
    pass

data, output = sys.argv[1:]
train.build = one_convolution
recipe = RECIPES["small"].with_changes({"epochs": 1, "augment_crop_area": 0.5})
start = time.monotonic()
prepared = prepare(data, log=quiet)
found = time.monotonic()
with train.keras_settings(recipe):
    job = train.build_job(recipe, prepared, quiet)
    create_run(output, recipe, prepared, job.preprocessing)
    job.compile("all")
    job.model.fit(job.batches(1), steps_per_epoch=10, callbacks=[Clock()], verbose=0)
resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
counts = len(prepared.training), len(prepared.validation)
print(*counts, found - start, Clock.first - start, resident)
"""


def main() -> None:
    """Make the folders, measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", default="benchmarks/growth.json")
    sizes = [1_000, 10_000, 100_000, 1_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    options = parser.parse_args()
    rows = []
    print(f"{'images':>9} {'found':>8} {'first step':>10} {'resident':>9}")
    load = os.getloadavg()[0]
    for size in sorted(options.sizes):
        with tempfile.TemporaryDirectory() as folder:
            link_photos(Path(folder), size)
            rows.append(measure(Path(folder), size))
        row = rows[-1]
        print(
            f"{size:9,} {row['found_s']:6.2f} s {row['first_step_s']:8.2f} s"
            f" {row['resident_bytes'] / 1e6:6.0f} MB"
        )
    growth = [between(one, other) for one, other in itertools.pairwise(rows)]
    if len(rows) > 2:
        growth.append(between(rows[0], rows[-1]))
    for each in growth:
        print(
            f"{each['from']:,} to {each['to']:,}: {each['bytes_an_image']:.0f} bytes and"
            f" {each['microseconds_an_image']:.1f} microseconds an image"
        )
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {load:.1f} before",
        "python": platform.python_version(),
        "sizes": rows,
        "growth": growth,
        "goals": GOALS,
    }
    Path(options.output).write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def link_photos(folder: Path, size: int) -> None:
    """``folder/data/CLASS/PHOTO``: links to crops of real photos."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    (folder / "photos").mkdir()
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for number in range(PHOTOS):
        left, top = number * 7 % 560, number * 11 % 360
        crop = photos[number % 2].crop((left, top, left + 64, top + 48))
        crop.save(folder / "photos" / f"{number}.jpg", quality=85)
    for label in range(CLASSES):
        (folder / "data" / f"n{label:08d}").mkdir(parents=True)
    for number in range(size):
        label = number % CLASSES
        name = folder / "data" / f"n{label:08d}" / f"n{label:08d}_{number:07d}.JPEG"
        os.link(folder / "photos" / f"{number * 31 % PHOTOS}.jpg", name)


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Train in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "data"), str(folder / "run")],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{size} images: {done.stderr[-3000:]}")
    training, validation, found, first, resident = done.stdout.split()
    return {
        "images": size,
        "training_images": int(training),
        "validation_images": int(validation),
        "found_s": float(found),
        "first_step_s": float(first),
        "resident_bytes": int(resident),
    }


def between(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What each image more has cost."""
    images = other["images"] - one["images"]
    return {
        "from": one["images"],
        "to": other["images"],
        "bytes_an_image": (other["resident_bytes"] - one["resident_bytes"]) / images,
        "microseconds_an_image": 1e6 * (other["first_step_s"] - one["first_step_s"]) / images,
    }


if __name__ == "__main__":
    main()
