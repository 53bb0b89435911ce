"""Packages that some of what is offered needs, and the rest does not."""

from __future__ import annotations

import importlib.util

from keras_inception.runs.fields import RecipeError


def check_installed(package: str, what: str) -> None:
    """Refuse, before any work is done, what a package is missing for.

    Args:
        what: begins the sentence, such as ``"Following a run in mlflow"``.

    Raises:
        RecipeError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    # A folder of the name in the working directory, as wandb makes one, is found too.
    folder = spec is not None and spec.origin is None and spec.submodule_search_locations
    if spec is None or folder:
        raise RecipeError(f"{what} needs a package that is not installed: pip install {package}")
