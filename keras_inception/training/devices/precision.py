"""The precision that a training computes in, where the recipe leaves it to the machine."""

from __future__ import annotations

from collections.abc import Callable

import keras

from keras_inception.runs.machine import native_bfloat16
from keras_inception.runs.recipe import Recipe


def choose_precision(recipe: Recipe, log: Callable[[str], None]) -> Recipe:
    """The recipe with ``auto`` replaced by what it comes to on this machine, which is said.

    Must come after the hosts have met, since it asks for the devices.
    """
    if recipe.precision != "auto":
        return recipe
    if native_bfloat16():
        chosen, reason = "mixed_bfloat16", "it computes bfloat16 itself"
    elif keras.config.backend() == "jax":
        chosen, reason = "float32", "with JAX only TPUs, and GPUs that compute bfloat16, count"
    else:
        chosen, reason = (
            "float32",
            "it has no instructions for bfloat16 that are known to be faster",
        )
    log(f"Precision: {chosen}, chosen for this machine, since {reason} (precision=auto)")
    return recipe.with_changes({"precision": chosen})
