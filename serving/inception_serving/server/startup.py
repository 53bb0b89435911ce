"""TensorFlow, started sooner, and without its start-up lines."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator


def load_tensorflow_quietly() -> None:
    """Import TensorFlow and let it find its devices, without its lines on stderr meanwhile.

    It writes them before it reads any log level, so the file descriptor itself is turned away; if
    it fails, all of them are shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            with _rare_garbage_collection():
                import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            output.seek(0)
            os.write(saved, output.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """A quarter less time for importing what stays, and nothing for searching it later."""
    if "tensorflow" in sys.modules:  # nothing to import, and not all that is there need stay
        yield
        return
    usual = gc.get_threshold()
    gc.set_threshold(20_000, 50, 100)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*usual)


def set_parallelism(*, intra_op: int, inter_op: int) -> None:
    """How many threads TensorFlow computes with, 0 for its own choice; before it first computes.

    Args:
        intra_op: within an operation.
        inter_op: operations at a time.
    """
    import tensorflow as tf

    if intra_op:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    if inter_op:
        tf.config.threading.set_inter_op_parallelism_threads(inter_op)
