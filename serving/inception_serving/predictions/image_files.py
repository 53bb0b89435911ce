"""Image files that a person names one by one or by their folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from inception_serving.predictions.prediction import PredictionError
from inception_serving.walk import Walk


def list_images(
    places: Sequence[str | Path], log: Callable[[str], object] = lambda line: None
) -> list[str]:
    """Image files named one by one, or those below the folders named, in order.

    In folders the same is left out as in training.

    Args:
        log: is told of each folder what was left out.

    Raises:
        PredictionError: a place does not exist, or holds no file.
    """
    paths: list[str] = []
    if "" in places:
        raise PredictionError("An image or folder needs a name. Received: ''")
    for place in map(Path, places):
        if place.is_dir():
            walk = Walk(place)
            found = walk.files()
            if not found:
                raise PredictionError(f"{place} holds no images. {walk.note()}".rstrip())
            if walk.left_out:
                log(f"In {place}: {walk.note()}")
            paths += [os.path.join(place, os.fsdecode(name)) for name in found]
        elif place.is_file():
            paths.append(str(place))
        else:
            raise PredictionError(f"There is no image or folder {place}.")
    return paths
