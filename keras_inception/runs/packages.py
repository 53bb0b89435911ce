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
    if importlib.util.find_spec(package) is None:
        raise RecipeError(f"{what} needs a package that is not installed: pip install {package}")
