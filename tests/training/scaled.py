"""The trainings that test_scale.py compares, each in a process of its own.

    KERAS_BACKEND=jax|tensorflow python -m tests.training.scaled PHOTOS FOLDER

Forked from one that has imported everything and computed nothing, since importing takes longer than
these trainings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiling takes longest

import keras

from keras_inception.inference.predict import predict
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run
from keras_inception.training import train as module
from keras_inception.training.checkpoint import Checkpoints
from keras_inception.training.devices.hosts import leave
from tests.training.test_train import one_convolution

# 30 training images, 10 for validation, which no two devices can share in batches of 8.
RECIPE = RECIPES["small"].with_changes(
    {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.05,
        "image_size": 28,
        "precision": "float32",
        "augment_crop_area": 1.0,
        "augment_flip": True,
        "validation_fraction": 0.25,
        "ema": 0.9,
        "checkpoint_minutes": 1e-9,
    }
)
STEPS = 3  # an epoch


def on_jax(photos: str, folder: Path) -> None:
    """One device, two of one host, and two hosts of which one is killed and both are resumed."""

    def two_hosts(output: str, **named: Any) -> None:
        hosts = [f"127.0.0.1:{free_port()}", "127.0.0.1:1"]
        ends = named.pop("ends", (0, 0))
        first, second = (
            start(go, photos, folder / output, RECIPE, hosts=hosts, host_index=host, **named)
            for host in range(2)
        )
        check(f"{output} 0", first, ends[0])
        check(f"{output} 1", second, ends[1])

    def one_and_its_predictions() -> None:
        run = go(photos, folder / "one", RECIPE)
        answers = [dataclasses.asdict(each) for each in predict([photos], run.path)]
        (folder / "predictions.json").write_text(json.dumps(answers))

    # Two processes at a time.
    one = start(one_and_its_predictions)
    devices = start(two_devices, photos, folder / "devices")
    check("one", one)
    check("devices", devices)
    two_hosts("hosts", kill_at=STEPS + 2, kill_host=1, ends=(1, 9))
    two_hosts("hosts", resume=True)


def on_tensorflow(photos: str, folder: Path) -> None:
    """One device and two, which draw different random numbers: without dropout."""
    module.build = without_dropout  # type: ignore[assignment]
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    started = [
        start(go, photos, folder / f"tensorflow{count}", RECIPE, devices=count) for count in (1, 2)
    ]
    for count, process in enumerate(started, 1):
        check(f"tensorflow{count}", process)


def go(
    photos: str,
    output: Path,
    recipe: Recipe,
    *,
    kill_at: int = 0,
    kill_host: int = 0,
    **named: Any,
) -> Run:
    """Train; end the process hard within a step if asked."""
    if kill_at and named.get("host_index", 0) == kill_host:
        end_within(kill_at)
    run = module.train(photos, output, recipe, **named)
    if "hosts" in named:
        import jax

        jax.distributed.shutdown()  # waits for the other, as the end of a process does
    return run


def two_devices(photos: str, output: Path) -> None:
    os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
    go(photos, output, RECIPE, devices="all")


def without_dropout(*arguments: Any, **named: Any) -> keras.Model:
    model = one_convolution(*arguments, **named)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    return model


def end_within(step: int) -> None:
    """End the process hard in a step, counted from 1."""
    count = 0
    original = Checkpoints.on_train_batch_end

    def on_train_batch_end(self: Checkpoints, *arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        if count == step:
            os._exit(9)
        original(self, *arguments, **named)

    Checkpoints.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]


def start(function: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    """Call in a process of its own; the process's number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    signal.alarm(150)  # whatever it waits for
    try:
        function(*arguments, **named)
        code = 0
    except BaseException as error:
        if not isinstance(error, ValueError):
            traceback.print_exc()
        print(f"{arguments[1:2]} {type(error).__name__}: {error}")
        code = 1
    leave(code)
    return 0


def check(name: str, process: int, expected: int = 0) -> None:
    """Wait for a process."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code == expected, f"{name} ended with {code}"


def free_port() -> int:
    with contextlib.closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    module.build = one_convolution  # type: ignore[assignment]
    module.write_report = lambda *arguments, **named: None  # type: ignore
    if keras.config.backend() == "jax":
        import jax  # noqa: F401
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401

        on_jax(sys.argv[1], Path(sys.argv[2]))
    else:
        on_tensorflow(sys.argv[1], Path(sys.argv[2]))
