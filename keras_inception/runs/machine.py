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


def native_bfloat16() -> bool:
    """Whether what Keras's backend computes on here has instructions for bfloat16.

    NVIDIA's GPUs have from Ampere on (compute capability 8), TPUs all, x86 processors with
    AVX512_BF16 or AMX_BF16, for which TensorFlow needs oneDNN. Others are slower by it than by
    float32, processors up to four times. JAX on a processor has not been measured: not there.
    """
    import keras

    if keras.config.backend() == "jax":
        import jax

        devices = jax.local_devices()
        return all(
            each.platform == "tpu" or _capability(getattr(each, "compute_capability", "0")) >= 8
            for each in devices
        )
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(each) for each in gpus]
        return all(each.get("compute_capability", (0, 0))[0] >= 8 for each in details)
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0" and bool(
        {"avx512_bf16", "amx_bf16"} & _processor_flags()
    )


def small_maps_are_slow() -> bool:
    """Whether TensorFlow computes bfloat16 here by oneDNN's AVX512_BF16: no GPU, and no AMX."""
    import tensorflow as tf

    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    return native_bfloat16() and not on_gpu and "amx_bf16" not in _processor_flags()


def _capability(text: str) -> float:
    """``"8.0"`` as a number; what is none, such as AMD's ``gfx90a``, as 0."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _processor_flags() -> set[str]:
    """What the processor can do, in Linux's words; empty elsewhere."""
    names = Path("/proc/cpuinfo")
    if names.is_file():
        for line in names.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return set()


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
