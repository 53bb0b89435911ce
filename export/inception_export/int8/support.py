"""The check that this machine can make and try an export in int8."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from inception_export.export import ExportError

_INSTEAD = "What does run: an export with --precision float32, bfloat16 or float16."


def check_machine() -> None:
    """Refuse what is known to fail before TensorFlow is loaded.

    Raises:
        ExportError: int8 is for x86 with oneDNN.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        raise ExportError(
            "int8 runs on x86 processors only, where TensorFlow has the operations."
            f" Received: {platform.machine()}. {_INSTEAD}"
        )
    switch = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "")
    if switch.lower() in ("0", "false"):
        raise ExportError(
            f"int8 is computed by oneDNN, which TF_ENABLE_ONEDNN_OPTS={switch} turns off. Unset it,"
            " here and where the export is served."
        )


def check_runs(log: Callable[[str], None]) -> None:
    """Try an operation.

    Raises:
        ExportError: this TensorFlow or this processor can't do it, or not exactly.
    """
    import tensorflow as tf

    from inception_export.int8.operations import NOT_EXACT, if_exact

    check_machine()
    if tf.config.list_physical_devices("GPU"):
        log(
            "int8 runs on the processor alone, on a machine with a GPU too. For a GPU:"
            " --precision float16 or bfloat16."
        )

    try:
        with tf.device("/device:CPU:0"):
            tf.function(if_exact, autograph=False)(tf.zeros([]))
    except tf.errors.InvalidArgumentError:
        raise ExportError(f"{NOT_EXACT}.") from None
    except tf.errors.OpError:
        raise ExportError(
            "int8 is computed by oneDNN, which is off in this TensorFlow, as it is by default on"
            f" processors without VNNI (AVX512_VNNI, AVX_VNNI or AMX). {_INSTEAD}"
        ) from None
