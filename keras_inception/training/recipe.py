"""How a network is trained, as data: the Python API, the YAML file and the command line read it.

This module loads neither Keras nor TensorFlow, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml


class RecipeError(ValueError):
    """A recipe breaks a rule; the message names the setting, the rule and the value received."""


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type of its setting; numbers and switches may come as text."""
    choices = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value in choices:
            return value
        listed = ", ".join(map(str, choices))
        raise RecipeError(f"`{name}` must be one of {listed}. Received: {name}={value!r}")
    if isinstance(hint, types.UnionType):
        if value is None or value == "none":
            return None
        (hint,) = (choice for choice in choices if choice is not types.NoneType)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    try:
        if hint is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if isinstance(value, bool) or (hint is int and int(value) != float(value)):
            raise ValueError
        return hint(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise RecipeError(f"`{name}` must be {words[hint]}. Received: {name}={value!r}") from None


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does to its images and its network.

    Flat, units in the names. Every setting's meaning stands beside it and is what ``--help``
    prints. A named recipe or a YAML file holds only differences from these defaults.

    Raises:
        RecipeError: a setting breaks its rule.
    """

    # The network
    model: str = _setting("InceptionV3", "the network, such as InceptionV1 or inception_v3")
    image_size: int | None = _setting(
        None, "height and width of the network's input in pixels; the network's own by default"
    )
    stem: Literal["imagenet", "small"] = _setting(
        "imagenet", "small is for images of 28 to 96 pixels"
    )
    width: float = _setting(1.0, "factor on every filter count")
    dropout: float | None = _setting(
        None, "rate before the classifier, 0 to below 1; as published by default"
    )
    aux: bool = _setting(False, "train with the auxiliary heads; they are left out of the result")
    variant: str | None = _setting(None, "variant of the network; its default if not given")
    batch_norm_momentum: float = _setting(
        0.99, "of the moving statistics, 0 to below 1; lower it when an epoch has few steps"
    )

    # Where it starts from
    weights: str | None = _setting(
        None,
        "start from these: imagenet, imagenet:SOURCE/NAME, or a file or run; else from random ones",
    )
    trainable_from: str | None = _setting(
        None, "freeze every layer before this end point, such as mixed_6a; none if not given"
    )
    freeze_batch_norm: bool = _setting(
        False, "leave batch norm as the weights have it; what fine-tuning on few images needs"
    )

    # The images
    crop: float = _setting(0.875, "fraction of the shorter side kept when evaluating, 0 to 1")
    augment_crop_area: float = _setting(
        1.0, "smallest part of the image's area in a random training crop; 1: no random crops"
    )
    augment_flip: bool = _setting(False, "mirror half of the training images left to right")
    validation_fraction: float = _setting(
        0.1, "of each class, set apart for validation when no validation folder is given"
    )

    # The optimization
    epochs: int = _setting(100, "passes over the training images")
    batch_size: int = _setting(32, "images a step")
    optimizer: Literal["sgd", "adamw"] = _setting("sgd", "sgd is with Nesterov momentum 0.9")
    learning_rate: float = _setting(0.1, "at the peak, after the warm-up")
    warmup_epochs: float = _setting(1.0, "of linear rise from 0; then a cosine falls to 0")
    weight_decay: float = _setting(1e-4, "on kernels only, times the learning rate each step")
    label_smoothing: float = _setting(0.1, "share of the target spread over all classes")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = _setting(
        "float32", "Keras's dtype policy"
    )
    seed: int = _setting(0, "of the initial weights, the split, the order and the augmentation")

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for setting in dataclasses.fields(self):
            value = _coerce(setting.name, getattr(self, setting.name), hints[setting.name])
            object.__setattr__(self, setting.name, value)
        for name, holds, rule in (
            ("image_size", self.image_size is None or self.image_size >= 1, "at least 1"),
            ("width", self.width > 0, "above 0"),
            ("dropout", self.dropout is None or 0 <= self.dropout < 1, "at least 0 and below 1"),
            ("batch_norm_momentum", 0 <= self.batch_norm_momentum < 1, "at least 0 and below 1"),
            ("crop", 0 < self.crop <= 1, "above 0 and at most 1"),
            ("augment_crop_area", 0 < self.augment_crop_area <= 1, "above 0 and at most 1"),
            ("validation_fraction", 0 <= self.validation_fraction < 1, "at least 0 and below 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("warmup_epochs", self.warmup_epochs >= 0, "at least 0"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1"),
        ):
            if not holds:
                raise RecipeError(
                    f"`{name}` must be {rule}. Received: {name}={getattr(self, name)!r}"
                )

    def with_changes(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with other values for some settings, by name.

        Raises:
            RecipeError: there is no such setting, or a value breaks its rule.
        """
        settings = [setting.name for setting in dataclasses.fields(self)]
        unknown = [name for name in changes if name not in settings]
        if unknown:
            raise RecipeError(
                f"There is no setting {', '.join(map(repr, unknown))}."
                f" The settings are: {', '.join(settings)}."
            )
        return dataclasses.replace(self, **changes)

    def save(self, path: str | Path) -> None:
        """Write every setting as YAML."""
        Path(path).write_text(yaml.safe_dump(dataclasses.asdict(self), sort_keys=False), "utf-8")


RECIPES: dict[str, Recipe] = {
    # Inception v3 from scratch, in the manner of today's published trainings of it.
    "default": Recipe(augment_crop_area=0.08, augment_flip=True),
    # From published weights, downloaded once, to one's own classes: a new classifier, batch norm
    # as it was, the rest trained gently.
    "finetune": Recipe(
        weights="imagenet",
        freeze_batch_norm=True,
        augment_crop_area=0.35,
        augment_flip=True,
        epochs=15,
        learning_rate=0.005,
    ),
    # A first look at one's own photos on a laptop's CPU: a quarter of GoogLeNet's width at 96
    # pixels; about 2 minutes for 500 photos on 2 cores.
    "quick": Recipe(
        model="InceptionV1",
        image_size=96,
        stem="small",
        width=0.5,
        dropout=0.2,
        batch_norm_momentum=0.9,
        augment_crop_area=0.35,
        augment_flip=True,
        epochs=30,
        batch_size=32,
        learning_rate=0.05,
        weight_decay=5e-4,
    ),
    # Small images such as scanned digits: nearly all of the image, not mirrored.
    "small": Recipe(
        model="InceptionV1",
        image_size=32,
        stem="small",
        width=0.25,
        dropout=0.2,
        batch_norm_momentum=0.9,
        crop=1.0,
        augment_crop_area=0.8,
        epochs=20,
        batch_size=64,
        learning_rate=0.05,
        weight_decay=5e-4,
    ),
}


def load_recipe(name_or_path: str) -> Recipe:
    """A named recipe, or a YAML file of differences from the default one.

    The file may start from another recipe: ``recipe: small``.

    Raises:
        RecipeError: there is neither such a recipe nor such a file, or the file's settings break
            their rules.
    """
    if name_or_path in RECIPES:
        return RECIPES[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(
            f"There is no recipe or YAML file {name_or_path!r}."
            f" The recipes are: {', '.join(RECIPES)}."
        )
    try:
        changes = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(changes, dict):
        raise RecipeError(f"{path} must hold settings, one `name: value` a line.")
    return load_recipe(changes.pop("recipe", "default")).with_changes(changes)
