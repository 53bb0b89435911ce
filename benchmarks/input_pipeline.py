"""JPEGs to augmented training batches: ours beside Keras's, torchvision's and timm's loaders.

    python benchmarks/input_pipeline.py [--output benchmarks/input_pipeline.json] [--rounds 5]
        [--torch-python .venv-parity/bin/python] [--torchvision FOLDER]

400 JPEGs of 500 x 375 pixels, quality 90, cut from scikit-learn's two photos, to float32 batches of
32 x 299 x 299 x 3: decoded, cropped at random, resized, mirrored, scaled. Each in fresh processes,
by turns, on all cores; timed after a warm-up of as many images as there are.

- ours: ``training_batches`` with crop_area 0.08 and flip; then with decoded images kept in memory,
  with bad images caught, and with the 2016 augmentation (colours, four resize methods).
- keras: ``image_dataset_from_directory`` at 341 x 341 and the layers RandomCrop, RandomFlip and
  Rescaling mapped over its batches, as Keras's guides do; without random sizes.
- torchvision, timm: ``ImageFolder``, a ``DataLoader`` with a worker a core, RandomResizedCrop
  from 0.08, RandomHorizontalFlip, to tensors, normalised; timm's own dataset and transforms.

``--torch-python`` has PyTorch and timm. ``--torchvision`` is the folder of an unpacked wheel, for a
PyTorch that it was not built for: its transforms need none of its compiled operations.

The processor's time for an image, that of all its processes, says what a loader costs where other
work takes part of the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

IMAGES, BATCH = 400, 32

CLOCK = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
folder, seconds = sys.argv[1], float(sys.argv[2])

def processor_seconds():
    # Of this process and its children, which are workers.
    own, total = os.getpid(), 0
    for each in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{each}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if own in (int(each), int(fields[1])):
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")

def measure(batches):
    for _ in range(400 // 32 + 1):
        next(batches)
    images, start, before = 0, time.monotonic(), processor_seconds()
    while time.monotonic() < start + seconds:
        images += len(next(batches)[0])
    wall, processor = time.monotonic() - start, processor_seconds() - before
    print(images / wall, 1000 * processor / images)
"""

OURS = """
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.pipeline import training_batches
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.sources.source import open_source
measure(iter(training_batches(open_source(folder), Preprocessing(299), Augmentation(
    crop_area=0.08, flip=True, {vary}), batch_size=32, epochs=1000000, {options})))
"""

KERAS = """
import keras, tensorflow as tf
data = keras.utils.image_dataset_from_directory(
    folder, image_size=(341, 341), batch_size=32, label_mode="categorical", verbose=False)
layers = [keras.layers.RandomCrop(299, 299), keras.layers.RandomFlip("horizontal"),
          keras.layers.Rescaling(1 / 127.5, -1)]
def augment(images, targets):
    for layer in layers:
        images = layer(images)
    return images, targets
data = data.map(augment, num_parallel_calls=tf.data.AUTOTUNE).repeat()
measure(iter(data.prefetch(tf.data.AUTOTUNE)))
"""

TORCH = """
import torch
if len(sys.argv) > 3:
    sys.path.insert(0, sys.argv[3])
    from torch import library as operators
    defined = operators.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        defined.define(f"{name}(Tensor x) -> Tensor")
def endless(data):
    loader = torch.utils.data.DataLoader(data, 32, shuffle=True, num_workers=os.cpu_count(),
                                         drop_last=True, persistent_workers=True)
    while True:
        yield from loader
"""

TORCHVISION = (
    TORCH
    + """
from torchvision import datasets, transforms
measure(endless(datasets.ImageFolder(folder, transforms.Compose([
    transforms.RandomResizedCrop(299), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
    transforms.Normalize((0.5,) * 3, (0.5,) * 3)]))))
"""
)

TIMM = (
    TORCH
    + """
from timm.data import ImageDataset, create_transform
measure(endless(ImageDataset(folder, transform=create_transform(
    299, is_training=True, color_jitter=None, interpolation="bilinear",
    mean=(0.5,) * 3, std=(0.5,) * 3))))
"""
)

COLOURS = "any_resize=True, brightness=32 / 255, saturation=0.5, contrast=0.5, hue=0.2"


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", default="benchmarks/input_pipeline.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each process, timed")
    parser.add_argument(
        "--torch-python", help="a Python with PyTorch, timm and perhaps torchvision"
    )
    parser.add_argument("--torchvision", help="the folder of an unpacked wheel")
    options = parser.parse_args()

    scripts = {
        "ours": (sys.executable, OURS.format(augmentation="", options="cache_megabytes=0")),
        "keras": (sys.executable, KERAS),
        "ours, kept in memory": (sys.executable, OURS.format(augmentation="", options="")),
        "ours, bad images caught": (
            sys.executable,
            OURS.format(augmentation="", options="cache_megabytes=0, on_bad=print"),
        ),
        "ours, 2016": (
            sys.executable,
            OURS.format(augmentation=COLOURS, options="cache_megabytes=0"),
        ),
        "ours, 2016, kept in memory": (
            sys.executable,
            OURS.format(augmentation=COLOURS, options=""),
        ),
    }
    if options.torch_python:
        scripts["torchvision"] = (options.torch_python, TORCHVISION)
        scripts["timm"] = (options.torch_python, TIMM)
    speeds: dict[str, list[float]] = {who: [] for who in scripts}
    costs: dict[str, list[float]] = {who: [] for who in scripts}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder))
        for _ in range(options.rounds):
            for who, (python, script) in scripts.items():
                arguments = [folder, str(options.seconds)]
                if python == options.torch_python and options.torchvision:
                    arguments.append(options.torchvision)
                done = subprocess.run(
                    [python, "-c", CLOCK + script, *arguments],
                    check=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                speed, cost = map(float, done.stdout.split())
                speeds[who].append(speed)
                costs[who].append(cost)
    write(options.output, speeds, costs, load)


def write(
    output: str, speeds: dict[str, list[float]], costs: dict[str, list[float]], load: float
) -> None:
    """A table of medians, and JSON of everything."""
    cores = os.cpu_count() or 1
    print(f"{'':28}images/s   a core   (least-most)      ms of processor an image")
    for who, values in speeds.items():
        median, cost = statistics.median(values), statistics.median(costs[who])
        spread = f"({min(values):.0f}-{max(values):.0f})"
        print(f"{who:28}{median:8.0f}  {median / cores:7.0f}   {spread:12}  {cost:10.2f}")
    others = [who for who in speeds if not who.startswith("ours")]
    best = max(others, key=lambda who: statistics.median(speeds[who]))
    cheapest = min(others, key=lambda who: statistics.median(costs[who]))
    results: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": cores, "load_before": load},
        "images_per_second": speeds,
        "processor_ms_per_image": costs,
        "images_per_second_and_core": {
            who: statistics.median(values) / cores for who, values in speeds.items()
        },
        "best_other": best,
        "speed_ratio": statistics.median(speeds["ours"]) / statistics.median(speeds[best]),
        "processor_ratio": statistics.median(costs[cheapest]) / statistics.median(costs["ours"]),
    }
    print(
        f"ours to {best}: {results['speed_ratio']:.2f};"
        f" in processor time to {cheapest}: {results['processor_ratio']:.2f}"
    )
    Path(output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def make_images(folder: Path) -> None:
    """Crops of the two photos, from half of their width to all of it."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_image

    random = np.random.default_rng(0)
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.fromarray(load_sample_image(name))
        (folder / name.removesuffix(".jpg")).mkdir()
        for number in range(IMAGES // 2):
            width = int(random.integers(photo.width // 2, int(photo.height * 4 / 3)))
            height = width * 3 // 4
            left = int(random.integers(0, photo.width - width + 1))
            top = int(random.integers(0, photo.height - height + 1))
            crop = photo.crop((left, top, left + width, top + height))
            path = folder / name.removesuffix(".jpg") / f"{number}.jpg"
            crop.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


if __name__ == "__main__":
    main()
