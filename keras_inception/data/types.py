"""Names of types that recur in this room and above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Tensor = Any  # TensorFlow publishes no types
Log = Callable[[str], None]
"""Takes each line for the user."""
Advance = Callable[[int], None]
"""Takes how many more are done; for a progress bar."""
