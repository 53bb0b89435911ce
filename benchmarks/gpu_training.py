"""Training throughput on one GPU: ours on JAX beside timm's networks under PyTorch.

    python benchmarks/gpu_training.py [--networks v3 v4] [--batch-size 128] [--rounds 3]
        [--images FOLDER|made-up] [--limit 400] [--output benchmarks/gpu_training.json]

Inception v3 and v4 with 1,000 classes, 299 x 299 pixels, bfloat16 with weights in float32, SGD with
momentum, label smoothing. Ours: Keras's ``fit`` on JAX. Theirs: channels_last, autocast,
``torch.compile`` and the fused SGD. Each in a process of its own, by turns, on the same card; the
median of the rounds, and the ratio of the medians. By default one random batch that stays on the
GPU is trained on, so that the networks alone are measured. With ``--images`` (class folders, as
for training; ``made-up``: 2,000 JPEGs of 500 x 375 pixels, drawn for it) each reads them in its own
way, cropped at random and mirrored: ours by its tf.data pipeline, theirs by torchvision with as
many workers as there are cores.

Compilers take most of the time, so a process that fails, or takes longer than ``--limit`` seconds,
is noted, and its side of that network left out from there on. What is known is written after every
process.

Needs JAX with CUDA, Keras, PyTorch and timm; TensorFlow and torchvision with ``--images`` only.
``--smoke`` tries the program itself on a CPU, in minutes, with numbers that mean nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = {"v3": ("InceptionV3", "inception_v3"), "v4": ("InceptionV4", "inception_v4")}
CLASSES = 1000
SIDES = ("ours", "timm")


def main() -> None:
    """Measure by turns, print a table, write JSON; or measure one side, when asked by that."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100, help="timed, after 20 others")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", metavar="FOLDER", help="train on these, not on a random batch")
    parser.add_argument("--limit", type=float, default=400, help="seconds that a process may take")
    parser.add_argument("--compile-mode", help="of torch.compile, such as max-autotune")
    parser.add_argument("--output", default=str(ROOT / "benchmarks" / "gpu_training.json"))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--size", type=int, default=299, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure = {"ours": ours, "timm": timms}[options.side]
        print(json.dumps(measure(options.networks[0], options)))
        return
    if options.smoke:
        options.batch_size, options.steps, options.rounds, options.size = 2, 2, 1, 107
        options.limit = 3600
    elif not (gpu := the_gpu()):
        sys.exit("There is no NVIDIA GPU here. --smoke tries the program itself on a CPU.")
    results: dict[str, Any] = {
        "gpu": "none, a smoke test" if options.smoke else gpu,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "images": options.images or "one random batch on the GPU",
        "networks": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        if options.images == "made-up":
            options.images = make_up_images(Path(folder), 64 if options.smoke else 2000)
        for network in options.networks:
            rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for side in SIDES * options.rounds:
                if not any("failed" in each for each in rounds[side]):
                    rounds[side].append(run(side, network, options))
                    print(f"{network} {side}: {rounds[side][-1]}", flush=True)
                    results["networks"][network] = summary(rounds)
                    write(results, options)
    print(f"\n{results['gpu']}, batches of {options.batch_size}, medians of images a second")
    print(f"{'':8}{'ours':>10}{'timm':>10}{'ratio':>10}")
    for network, found in results["networks"].items():
        cells = [found["median"].get(side) for side in SIDES] + [found.get("ratio")]
        print(f"{network:8}" + "".join(f"{'-' if n is None else round(n, 2):>10}" for n in cells))


def summary(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What is known of a network."""
    failed = {
        side: each["failed"] for side, some in rounds.items() for each in some if "failed" in each
    }
    good = {side: [each for each in some if "failed" not in each] for side, some in rounds.items()}
    good = {side: some for side, some in good.items() if some}

    def of(name: str) -> dict[str, list[Any]]:
        return {side: [each[name] for each in some] for side, some in good.items()}

    medians = {side: statistics.median(some) for side, some in of("images_per_second").items()}
    both = len(medians) == len(SIDES)
    return {
        "images_per_second": of("images_per_second"),
        "median": medians,
        "seconds_to_first_step": of("seconds_to_first_step"),
        "versions": {side: some[0] for side, some in of("versions").items()},
        **({"failed": failed} if failed else {}),
        **({"ratio": medians["ours"] / medians["timm"]} if both else {}),
    }


def write(results: dict[str, Any], options: argparse.Namespace) -> None:
    """All that is known so far."""
    if not options.smoke:
        Path(options.output).write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def make_up_images(folder: Path, count: int) -> str:
    """Class folders of JPEGs of 500 x 375 pixels, patches of colour under noise."""
    import numpy as np
    from PIL import Image

    def draw(number: int) -> None:
        random = np.random.default_rng(number)
        patches = random.integers(0, 255, (15, 20, 3)).repeat(25, 0).repeat(25, 1)
        pixels = patches + random.normal(0, 12, patches.shape)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(folder / f"{number % 10}" / f"{number}.jpg", quality=90)

    for label in range(10):
        (folder / f"{label}").mkdir()
    with ThreadPoolExecutor() as threads:
        list(threads.map(draw, range(count)))
    return str(folder)


def the_gpu() -> str:
    """Its name and driver, as NVIDIA's own tool tells; nothing if there is none."""
    try:
        command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.splitlines()[0] if said.strip() else ""


def run(side: str, network: str, options: argparse.Namespace) -> dict[str, Any]:
    """What one side measures in a fresh process."""
    passed = [f"--{name}={getattr(options, name)}" for name in ("steps", "size")]
    passed += [f"--batch-size={options.batch_size}"]
    passed += [f"--images={options.images}"] if options.images else []
    passed += [f"--compile-mode={options.compile_mode}"] if options.compile_mode else []
    passed += ["--smoke"] if options.smoke else []
    command = [sys.executable, __file__, "--side", side, "--networks", network, *passed]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"had not finished after {options.limit:.0f} s"}
    if done.returncode:
        return {"failed": f"ended with code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Keras on JAX, without TensorFlow unless images are read."""
    start = time.monotonic()
    os.environ["KERAS_BACKEND"] = "jax"
    sys.path.insert(0, str(ROOT))
    if not options.images:
        sys.modules["tensorflow"] = None  # nothing of it is needed
    import jax
    import keras
    import numpy as np

    import keras_inception
    from keras_inception.runs.recipe import Recipe
    from keras_inception.training.optimization.optimizers import make_optimizer

    if not options.smoke and jax.default_backend() != "gpu":
        sys.exit("JAX sees no GPU: pip install 'jax[cuda13]'")
    keras.config.set_dtype_policy("mixed_bfloat16")
    size, batch_size = options.size, options.batch_size
    if options.images:
        batches, classes = _our_batches(options)
    else:
        random = np.random.default_rng(0)
        images = random.normal(0, 1, (batch_size, size, size, 3)).astype(np.float32)
        targets = np.eye(CLASSES, dtype=np.float32)[random.integers(0, CLASSES, batch_size)]
        batches, classes = _forever(jax.device_put((images, targets))), CLASSES
    model = getattr(keras_inception, NETWORKS[network][0])(
        classes=classes, input_shape=(size, size, 3), classifier_activation=None
    )
    model.compile(
        make_optimizer(Recipe(), model, 0.01),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    )
    few = 2 if options.smoke else 20
    model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    first = time.monotonic() - start
    model.fit(batches, steps_per_epoch=few, shuffle=False, verbose=0)
    start = time.monotonic()
    model.fit(
        batches, steps_per_epoch=options.steps, shuffle=False, verbose=0
    )  # ends by reading the loss
    seconds = time.monotonic() - start
    return _result(options, seconds, first, keras=keras, jax=jax)


def timms(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """timm's network, in the way PyTorch trains fastest."""
    start = time.monotonic()
    if importlib.util.find_spec("torchvision") is None:
        sys.path.insert(0, str(ROOT))
        from tests.parity import no_torchvision

        no_torchvision.install()  # which timm asks for, and does not use here
    import timm
    import torch

    device = torch.device("cpu" if options.smoke else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    size, batch_size = options.size, options.batch_size
    if options.images:
        batches, classes = _their_batches(options, device)
    else:
        images = torch.randn(batch_size, 3, size, size, device=device)
        images = images.to(memory_format=torch.channels_last)
        targets = torch.randint(0, CLASSES, (batch_size,), device=device)
        batches, classes = _forever((images, targets)), CLASSES
    model = timm.create_model(NETWORKS[network][1], num_classes=classes).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(images: Any, targets: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(forward(images), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    forward = model if options.smoke else torch.compile(model, mode=options.compile_mode)
    step(*next(batches)).item()
    first = time.monotonic() - start
    for _ in range(2 if options.smoke else 20):
        loss = step(*next(batches))
    loss.item()
    start = time.monotonic()
    for _ in range(options.steps):
        loss = step(*next(batches))
    loss.item()  # waits for the GPU
    seconds = time.monotonic() - start
    return _result(options, seconds, first, torch=torch, timm=timm)


def _result(
    options: argparse.Namespace, seconds: float, first: float, **libraries: Any
) -> dict[str, Any]:
    return {
        "images_per_second": options.batch_size * options.steps / seconds,
        "seconds_to_first_step": first,
        "versions": {name: library.__version__ for name, library in libraries.items()},
    }


def _forever(batch: Any) -> Iterator[Any]:
    while True:
        yield batch


def _our_batches(options: argparse.Namespace) -> tuple[Any, int]:
    from keras_inception.data.augmentation.settings import Augmentation
    from keras_inception.data.pipeline import training_batches
    from keras_inception.data.preprocessing import Preprocessing
    from keras_inception.data.sources.source import open_source
    from keras_inception.runs.machine import leave_gpus_to_keras

    leave_gpus_to_keras()
    examples = open_source(options.images)
    batches = training_batches(
        examples,
        Preprocessing(options.size),
        Augmentation(crop_area=0.08, flip=True),
        batch_size=options.batch_size,
        epochs=10**6,
        cache_megabytes=0,
    )
    return batches, len(examples.labels)


def _their_batches(options: argparse.Namespace, device: Any) -> tuple[Iterator[Any], int]:
    import torch
    from torchvision import datasets, transforms

    augmentation = transforms.Compose(
        [
            transforms.RandomResizedCrop(options.size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    folder = datasets.ImageFolder(options.images, augmentation)
    loader = torch.utils.data.DataLoader(
        folder,
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count() or 1,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )

    def batches() -> Iterator[Any]:
        while True:
            for images, targets in loader:
                images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
                yield images, targets.to(device, non_blocking=True)

    return batches(), len(folder.classes)


if __name__ == "__main__":
    main()
