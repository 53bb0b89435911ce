"""The family in one table, without loading Keras: names, sizes, costs, published accuracies."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_inception.models.checks import check

if TYPE_CHECKING:
    from keras_inception.models.application import Builder


@dataclass(frozen=True)
class Entry:
    """A network of the family, as built by default with 1000 classes.

    Args:
        title: the builder's name, ``"InceptionV3"``; the model's is ``"inception_v3"``.
        module: where the builder is.
        size: published input size in pixels, of both sides.
        parameters: of all kinds, moving statistics included.
        gmacs: 10^9 multiplications with an addition, for one image of that size.
        top1: published accuracy on ImageNet's validation set, one crop, in percent; or ``None``.
        top5: likewise, of the five best classes.
        source: whose weights were measured, and who says so.
        weights: who has published ImageNet weights of this network.
    """

    title: str
    module: str
    size: int
    parameters: int
    gmacs: float
    top1: float | None
    top5: float | None
    source: str
    weights: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model's default name: ``"inception_v3"``."""
        return self.title.replace("Res", "_res").replace("V", "_v").lower()

    def builder(self) -> Builder:
        """The function that builds the network; loads Keras."""
        build: Builder = getattr(importlib.import_module(self.module), self.title)
        return build


_HERE = "keras_inception.models"
_SLIM = "TF-Slim's weights, TF-Slim's README"

# fmt: off
CATALOGUE = (
    Entry("InceptionV1", f"{_HERE}.inception_v1", 224, 7_013_112, 1.583, 69.8, 89.6, _SLIM,
          ("TF-Slim", "torchvision")),
    Entry("InceptionV2", f"{_HERE}.inception_v2", 224, 11_204_936, 2.019, 73.9, 91.8, _SLIM,
          ("TF-Slim",)),
    Entry("InceptionV3", f"{_HERE}.inception_v3", 299, 23_851_784, 5.713, 78.0, 93.9, _SLIM,
          ("TF-Slim", "Keras", "torchvision", "timm")),
    Entry("InceptionV4", f"{_HERE}.inception_v4", 299, 42_711_400, 12.254, 80.2, 95.2, _SLIM,
          ("TF-Slim", "timm")),
    Entry("InceptionResNetV1", f"{_HERE}.inception_resnet", 299, 24_371_384, 6.309, None, None,
          "", ()),
    Entry("InceptionResNetV2", f"{_HERE}.inception_resnet", 299, 55_873_736, 13.156, 80.4, 95.3,
          _SLIM, ("TF-Slim", "Keras", "timm")),
)
# fmt: on


def find(name: str) -> Entry:
    """The network of this name, ``"InceptionV3"`` or ``"inception_v3"``, in any case.

    Raises:
        ValueError: there is no such network; the message lists them.
    """
    wanted = str(name).lower().replace("_", "").replace("-", "")
    found = [entry for entry in CATALOGUE if entry.title.lower() == wanted]
    titles = ", ".join(entry.title for entry in CATALOGUE)
    check(bool(found), f"`name` must be a network of the family: {titles}", name=name)
    return found[0]
