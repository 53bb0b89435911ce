"""The machine that a run is on: what it is, and who has its GPUs."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """System, processor, memory, GPUs, and Keras's backend, for run.json and the report."""
    import keras

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "gpus": _gpus(),
        "python": platform.python_version(),
        "backend": keras.config.backend(),
    }


def leave_gpus_to_keras() -> None:
    """Keep TensorFlow, which then only reads images, from taking the GPUs' memory from JAX."""
    import keras
    import tensorflow as tf

    if keras.config.backend() != "tensorflow" and tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it has begun, and so they have been taken
            tf.config.set_visible_devices([], "GPU")


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    if names.is_file():
        for line in names.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    import keras

    if keras.config.backend() == "jax":
        import jax

        return [each.device_kind for each in jax.local_devices() if each.platform == "gpu"]
    import tensorflow as tf

    return [
        tf.config.experimental.get_device_details(each).get("device_name", each.name)
        for each in tf.config.list_physical_devices("GPU")
    ]
