"""TensorFlow, started without its start-up lines."""

from __future__ import annotations

import os
import sys
import tempfile


def load_tensorflow_quietly() -> None:
    """Import TensorFlow and let it find its devices, without what it says meanwhile on stderr.

    It says it before it reads any log level, so the file descriptor itself is turned away; if it
    fails, everything is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            said.seek(0)
            os.write(saved, said.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
