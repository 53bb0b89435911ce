"""Parity with other people's implementations: run by `make parity`, in an environment of its own.

Where that environment is not the one running (requirements.txt beside this file), nothing here is
collected.
"""

from __future__ import annotations

import importlib.util
import os

# tf-slim is written for the Keras of its day; this must stand before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if not all(map(importlib.util.find_spec, ("jax", "tf_slim", "timm", "torch"))):
    collect_ignore_glob = ["test_*.py"]
