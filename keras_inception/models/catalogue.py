"""The family in one table: a row has all of a network but the network itself, and loads no Keras.

To add a network: its row here, its file in ``models/networks``, and, where others have published
weights, what they call its layers in the tables of ``weights``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

from keras_inception.models.checks import check
from keras_inception.weights.download import Check, Published, download, existing


@dataclass(frozen=True)
class Variant:
    """One of the networks that share a name.

    Args:
        telling: a layer's name, ``*`` for anything, that no other variant has; empty for the one
            that it is when no other is told.
        conventions: what it changes, fields of
            :class:`keras_inception.models.conventions.Conventions`.
    """

    telling: str = ""
    conventions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A network of the family.

    Args:
        title: the builder's name, ``"InceptionV3"``; the model's and the file's is
            ``"inception_v3"``.
        size: published input size in pixels, of both sides.
        minimum: the smallest side in pixels that leaves a grid after every layer.
        aux_minimum: the same with auxiliary heads; ``None`` if it has none.
        dropout: rate before the classifier: v1's is its paper's, the others' are TF-Slim's.
        telling: a layer that no other network of the family has, as early as there is one, or
            several that no other has all of.
        parameters: of all kinds, moving statistics included, as built by default, 1000 classes.
        gmacs: 10^9 multiplications with an addition, for one image of the published size.
        variants: the choices by name, the default first.
        former_variants: what variants were called before, with their names of today.
        top1: published accuracy on ImageNet's validation set, one crop, in percent; or ``None``.
        top5: likewise, of the five best classes.
        source: whose weights were measured, and who says so.
        weights: published ImageNet weights by ``"SOURCE/NAME"``; a name with ``_notop`` behind it
            is the same without a classifier.
        imagenet: which of them ``"imagenet"`` stands for.
    """

    title: str
    size: int
    minimum: int
    aux_minimum: int | None
    dropout: float
    telling: tuple[str, ...]
    parameters: int
    gmacs: float
    variants: Mapping[str, Variant]
    former_variants: Mapping[str, str] = field(default_factory=dict)
    top1: float | None = None
    top5: float | None = None
    source: str = ""
    weights: Mapping[str, Published] = field(default_factory=dict)
    imagenet: str = ""

    @property
    def name(self) -> str:
        """The model's default name: ``"inception_v3"``."""
        return self.title.replace("Res", "_res").replace("V", "_v").lower()

    @property
    def with_top(self) -> list[str]:
        """The published weights that have a classifier, by name."""
        return [name for name in self.weights if not name.endswith("_notop")]

    def builder(self) -> Any:
        """The :class:`keras_inception.models.application.Application` of this row; loads Keras."""
        module = importlib.import_module(f"keras_inception.models.networks.{self.name}")
        return getattr(module, self.title)

    def variant_of(self, layers: Collection[str]) -> str:
        """The variant that has layers of these names."""
        told = [name for name, each in self.variants.items() if matching(layers, each.telling)]
        return told[0] if told else next(name for name, v in self.variants.items() if not v.telling)

    def published(self, weights: str, *, include_top: bool = True) -> str:
        """The name of ``"imagenet"`` or ``"imagenet:SOURCE/NAME"`` among the published weights.

        Args:
            include_top: ``False`` takes the smaller file without classifier, where there is one.

        Raises:
            ValueError: there are none of this name; the message lists those that there are.
        """
        name = weights.partition(":")[2] or self.imagenet
        if name not in self.weights:
            choices = ", ".join(f"imagenet:{each}" for each in self.with_top)
            raise ValueError(
                f"`weights` names no published ImageNet weights of {self.name}: "
                + (f"there are {choices}" if choices else "none were ever published")
                + f". Received: weights={weights!r}"
            )
        small = f"{name}_notop"
        return small if not include_top and small in self.weights else name

    def locate(
        self,
        weights: str | os.PathLike[str],
        *,
        include_top: bool = True,
        check: Check | None = None,
    ) -> Path:
        """The file that ``weights`` names, downloaded if it is a published one.

        Args:
            weights: a path, ``"imagenet"``, or ``"imagenet:SOURCE/NAME"``.
            include_top: ``False`` takes the smaller file without classifier, where there is one.
            check: raises ValueError unless a file holds this network's weights; asked where no
                hash is published.

        Raises:
            ValueError: there is no such file, and no such published weights of this network.
            DownloadError: the download failed.
        """
        if str(weights).partition(":")[0] != "imagenet":
            return existing(weights)
        name = self.published(str(weights), include_top=include_top)
        return download(name, self.weights[name], check)


_README = "TF-Slim's weights, TF-Slim's README"  # whose accuracies these are
_SLIM = "http://download.tensorflow.org/models"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TORCH = "https://download.pytorch.org/models"


def _timm(*names: str, crop: float = 0.875, preprocessing: str = "default") -> dict[str, Published]:
    """As timm's own table has them (``default_cfgs`` of each module, timm 1.0.31)."""
    url = "https://huggingface.co/timm/{}/resolve/main/model.safetensors"
    protocol = {"interpolation": "bicubic", "crop": crop}
    return {
        f"timm/{name}": Published(url.format(name), "", preprocessing, protocol) for name in names
    }


# fmt: off
_ENTRIES = (
    Entry(
        "InceptionV1", size=224, minimum=1, aux_minimum=65, dropout=0.4,
        telling=("inception_3a_branch_3_a_max_pool",), parameters=7_013_112, gmacs=1.583,
        variants={
            "paper": Variant("inception_3a_branch_2_b_5x5"),
            "slim": Variant(),
            "torchvision": Variant("stem_a_7x7_pad"),
        },
        top1=69.8, top5=89.6, source=_README,
        weights={
            "slim/inception_v1": Published(
                f"{_SLIM}/inception_v1_2016_08_28.tar.gz",
                "sha256:7a620c430fcaba8f8f716241f5148c4c47c035cce4e49ef02cfbe6cd1adf96a6", "slim"),
            # torchvision maps its images back to [-1, 1] before this one: `transform_input`.
            "torchvision/googlenet": Published(
                f"{_TORCH}/googlenet-1378be20.pth", "sha256:1378be20"),
        },
        imagenet="slim/inception_v1",
    ),
    Entry(
        "InceptionV2", size=224, minimum=1, aux_minimum=65, dropout=0.2,
        telling=("inception_3a_branch_3_a_avg_pool",), parameters=11_204_936, gmacs=2.019,
        variants={"full": Variant("stem_a_*_bn"), "slim": Variant()},
        former_variants={"paper": "full"},
        top1=73.9, top5=91.8, source=_README,
        weights={
            "slim/inception_v2": Published(
                f"{_SLIM}/inception_v2_2016_08_28.tar.gz",
                "sha384:c0b2efbae8fc5e237ae67637dca3f311d4b4f7da576b56067e83d95c398a2fccd50baff9cc0"
                "de64335f4d7b78e1adb07", "slim"),
        },
        imagenet="slim/inception_v2",
    ),
    Entry(
        "InceptionV3", size=299, minimum=75, aux_minimum=107, dropout=0.2,
        telling=("stem_e_1x1", "mixed_5c_branch_1_a_1x1"), parameters=23_851_784, gmacs=5.713,
        variants={
            "slim": Variant(),
            "paper": Variant("mixed_5b_branch_1_b_3x3"),
            "torchvision": Variant("*_avg_pool_pad", {"average_counts_padding": True}),
        },
        top1=78.0, top5=93.9, source=_README,
        weights={
            "slim/inception_v3": Published(
                f"{_SLIM}/inception_v3_2016_08_28.tar.gz", preprocessing="slim"),
            "keras/inception_v3": Published(
                f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
                "md5:9a0d58056eeedaa3f26cb7ebd46da564"),
            "keras/inception_v3_notop": Published(
                f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "md5:bcbd6486424b2319ff4ef7d526e38f63"),
            # Back to [-1, 1] here too.
            "torchvision/inception_v3": Published(
                f"{_TORCH}/inception_v3_google-0cc3c7bd.pth", "sha256:0cc3c7bd"),
            **_timm("inception_v3.tv_in1k", "inception_v3.tf_in1k", "inception_v3.tf_adv_in1k"),
            **_timm("inception_v3.gluon_in1k", preprocessing="torchvision"),
        },
        imagenet="keras/inception_v3",
    ),
    Entry(
        "InceptionV4", size=299, minimum=75, aux_minimum=107, dropout=0.2,
        telling=("stem_d",), parameters=42_711_400, gmacs=12.254,
        variants={"released": Variant()},
        top1=80.2, top5=95.2, source=_README,
        weights={
            "slim/inception_v4": Published(
                f"{_SLIM}/inception_v4_2016_09_09.tar.gz", preprocessing="slim"),
            **_timm("inception_v4.tf_in1k"),
        },
        imagenet="slim/inception_v4",
    ),
    Entry(
        "InceptionResNetV1", size=299, minimum=75, aux_minimum=None, dropout=0.2,
        telling=("stem_g_3x3", "block35_1_b_linear"), parameters=24_371_384, gmacs=6.309,
        variants={"released": Variant()},
    ),
    Entry(
        "InceptionResNetV2", size=299, minimum=75, aux_minimum=107, dropout=0.2,
        telling=("block35_10_b_linear",), parameters=55_873_736, gmacs=13.156,
        variants={"released": Variant()},
        top1=80.4, top5=95.3, source=_README,
        weights={
            "slim/inception_resnet_v2": Published(
                f"{_SLIM}/inception_resnet_v2_2016_08_30.tar.gz", preprocessing="slim"),
            "keras/inception_resnet_v2": Published(
                f"{_KERAS}/inception_resnet_v2/"
                "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
                "md5:e693bd0210a403b3192acc6073ad2e96"),
            "keras/inception_resnet_v2_notop": Published(
                f"{_KERAS}/inception_resnet_v2/"
                "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "md5:d19885ff4a710c122648d3b5c3b684e4"),
            **_timm("inception_resnet_v2.tf_in1k", "inception_resnet_v2.tf_ens_adv_in1k",
                    crop=0.8975),
        },
        imagenet="keras/inception_resnet_v2",
    ),
)
# fmt: on

CATALOGUE = {entry.title: entry for entry in _ENTRIES}


def find(name: str) -> Entry:
    """The network of this name, ``"InceptionV3"`` or ``"inception_v3"``, in any case.

    Raises:
        ValueError: there is no such network; the message lists them.
    """
    wanted = str(name).lower().replace("_", "").replace("-", "")
    found = [entry for title, entry in CATALOGUE.items() if title.lower() == wanted]
    check(bool(found), f"`name` must be a network of the family: {', '.join(CATALOGUE)}", name=name)
    return found[0]


def recognize(layers: Collection[str]) -> tuple[str, str] | None:
    """The network and the variant of these layers, ``("inception_v3", "slim")``.

    Args:
        layers: the names of all layers of a model or a file, those without weights too.

    Returns:
        ``None`` if it is no network of the family.
    """
    for entry in CATALOGUE.values():
        if all(name in layers for name in entry.telling):
            return entry.name, entry.variant_of(layers)
    return None


def find_published(weights: str) -> tuple[Entry, str]:
    """The network of published weights, and their name among its own.

    Args:
        weights: ``"imagenet:InceptionV4"``, the network's usual ones, or
            ``"imagenet:SOURCE/NAME"``.

    Raises:
        ValueError: there are none of this name; the message lists the choices.
    """
    wanted = weights.removeprefix("imagenet:")
    for entry in _ENTRIES:
        if wanted in entry.weights:
            return entry, wanted
    try:
        entry = find(wanted)
    except ValueError:
        names = [name for entry in _ENTRIES for name in entry.with_top]
        choices = [entry.title for entry in _ENTRIES if entry.imagenet] + names
        raise ValueError(
            "Published weights are imagenet:NETWORK or imagenet:SOURCE/NAME, with one of"
            f" {', '.join(choices)}. Received: {weights!r}"
        ) from None
    return entry, entry.published("imagenet")


def published_row(weights: str) -> Published | None:
    """What is known of ``"imagenet:SOURCE/NAME"``; ``None`` for anything else."""
    name = weights.removeprefix("imagenet:")
    return next((entry.weights[name] for entry in _ENTRIES if name in entry.weights), None)
