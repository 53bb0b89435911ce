"""How a network is trained, as data: the Python API, the YAML file and the command line read it.

This module loads neither Keras nor TensorFlow, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from keras_inception.runs.fields import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    POSITIVE,
    POSITIVE_UP_TO_1,
    UP_TO_1,
    UP_TO_HALF,
    RecipeError,
    check_known,
    check_within,
    coerce,
)
from keras_inception.runs.fields import setting as _setting


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
        None,
        "height and width of the network's input in pixels; the network's own by default",
        AT_LEAST_1,
    )
    stem: Literal["imagenet", "small"] = _setting(
        "imagenet", "small is for images of 28 to 96 pixels"
    )
    width: float = _setting(1.0, "factor on every filter count", POSITIVE)
    dropout: float | None = _setting(
        None, "rate before the classifier, 0 to below 1; as published by default", BELOW_1
    )
    aux: bool = _setting(False, "train with the auxiliary heads; they are left out of the result")
    variant: str | None = _setting(None, "variant of the network; its default if not given")
    batch_norm_momentum: float | Literal["auto"] = _setting(
        "auto", "of the moving statistics, 0 to below 1; auto: by the number of steps", BELOW_1
    )

    # Where it starts from
    weights: str | None = _setting(
        None,
        "start from these: imagenet, imagenet:SOURCE/NAME, or a file or run; else from random ones",
    )
    head_epochs: int = _setting(
        0, "of the epochs, the first so many train the classifier alone, which is new", AT_LEAST_0
    )
    head_learning_rate: float | None = _setting(
        None, "in these epochs, constant; learning_rate if not given", POSITIVE
    )
    trainable_from: str | None = _setting(
        None, "freeze every layer before this end point, such as mixed_6a; none if not given"
    )
    freeze_batch_norm: bool = _setting(
        False, "leave batch norm as the weights have it; what fine-tuning on few images needs"
    )
    recalibrate: bool = _setting(
        False, "after training, measure batch norm's statistics again over the training images"
    )

    # The images
    crop: float = _setting(
        0.875, "fraction of the shorter side kept when evaluating, 0 to 1", POSITIVE_UP_TO_1
    )
    augment_crop_area: float = _setting(
        1.0,
        "smallest part of the image's area in a random training crop; 1: no random crops",
        POSITIVE_UP_TO_1,
    )
    augment_crop_aspect: float | None = _setting(
        None,
        "widest ratio of a random crop's sides, narrowest its inverse; 4/3 if not given",
        AT_LEAST_1,
    )
    augment_any_resize: bool = _setting(
        False, "resize random crops by one of four methods at random, as in 2016"
    )
    augment_flip: bool = _setting(False, "mirror half of the training images left to right")
    augment_shift_pixels: int = _setting(
        0, "move training images by up to so many pixels of the input; for small ones", AT_LEAST_0
    )
    augment_brightness: float = _setting(
        0.0, "change at most, as part of the range, 0 to 1; 0.125 in 2016", UP_TO_1
    )
    augment_saturation: float = _setting(
        0.0, "factor 1 - this to 1 + this, 0 to 1; 0.5 in 2016", UP_TO_1
    )
    augment_contrast: float = _setting(
        0.0, "factor 1 - this to 1 + this, 0 to 1; 0.5 in 2016", UP_TO_1
    )
    augment_hue: float = _setting(
        0.0, "turn at most, as part of the colour circle, 0 to 0.5; 0.2 in 2016", UP_TO_HALF
    )
    augment_rand_operations: int = _setting(
        0, "of RandAugment on each image; 2 is usual", AT_LEAST_0
    )
    augment_rand_strength: float | None = _setting(
        None, "of RandAugment, 0 to 1; 0.5 if not given", UP_TO_1
    )
    augment_erase: float = _setting(
        0.0, "share of images with a rectangle of noise (random erasing), 0 to 1", UP_TO_1
    )
    augment_mixup_alpha: float = _setting(
        0.0,
        "of mixup, which blends two images and their targets, 0 (off) to 1; 0.2 is usual",
        UP_TO_1,
    )
    augment_cutmix_alpha: float = _setting(
        0.0,
        "of CutMix, which sets a part of one into another, 0 (off) to 1; with mixup, by turns",
        UP_TO_1,
    )
    validation_fraction: float = _setting(
        0.1, "of each class, set apart for validation when no validation data are given", BELOW_1
    )

    # The optimization
    epochs: int = _setting(100, "passes over the training images", AT_LEAST_1)
    batch_size: int = _setting(32, "images a step", AT_LEAST_1)
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw"] = _setting(
        "sgd", "rmsprop is TensorFlow 1's: its mean square starts at one"
    )
    momentum: float | None = _setting(
        None, "of sgd and rmsprop, 0 to below 1; 0.9 if not given", BELOW_1
    )
    nesterov: bool | None = _setting(None, "Nesterov's momentum, of sgd; true if not given")
    epsilon: float | None = _setting(
        None, "of rmsprop (inside the root, 1.0 if not given), adam and adamw (1e-7)", POSITIVE
    )
    learning_rate: float = _setting(0.1, "at the peak, after the warm-up", POSITIVE)
    warmup_epochs: float = _setting(1.0, "of linear rise from 0", AT_LEAST_0)
    schedule: Literal["cosine", "exponential", "constant"] = _setting(
        "cosine", "of the learning rate after the warm-up: to 0, in steps by decay_rate, or level"
    )
    decay_rate: float | None = _setting(
        None, "factor of the exponential schedule; 0.94 if not given", POSITIVE_UP_TO_1
    )
    decay_epochs: float | None = _setting(
        None, "between two decays of the exponential schedule; 2 if not given", POSITIVE
    )
    weight_decay: float = _setting(
        1e-4,
        "on kernels only; to the gradient as from an L2 loss, with adamw apart from it",
        AT_LEAST_0,
    )
    clip_norm: float | None = _setting(
        None,
        "longest gradient, the norm of all weights' together; longer ones are shortened",
        POSITIVE,
    )
    class_weights: bool = _setting(
        False, "weigh images in the loss so that every class counts alike, however many it has"
    )
    label_smoothing: float = _setting(0.1, "share of the target spread over all classes", BELOW_1)
    ema: float | None = _setting(
        None,
        "decay of the moving averages of the weights, 0 to below 1, which are the result",
        BELOW_1,
    )
    early_stopping_epochs: int | None = _setting(
        None, "stop after so many epochs without a lower validation loss", AT_LEAST_1
    )
    checkpoint_minutes: float | None = _setting(
        15.0, "between two checkpoints within an epoch; at its end there is always one", POSITIVE
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = _setting(
        "float32", "Keras's dtype policy"
    )
    deterministic: bool = _setting(
        False, "the same numbers every time to the last bit, by slower operations"
    )
    seed: int = _setting(0, "of the initial weights, the split, the order and the augmentation")

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for setting in dataclasses.fields(self):
            value = coerce(setting.name, getattr(self, setting.name), hints[setting.name])
            check_within(setting.name, value, setting.metadata["within"])
            object.__setattr__(self, setting.name, value)
        starts = self.weights is not None
        mixes = {
            "augment_mixup_alpha": self.augment_mixup_alpha,
            "augment_cutmix_alpha": self.augment_cutmix_alpha,
        }
        for name, holds, rule in (
            (
                "head_epochs",
                self.head_epochs <= self.epochs,
                f"at most epochs, which is {self.epochs}",
            ),
            ("head_epochs", starts or not self.head_epochs, "0 without weights"),
            (
                "head_learning_rate",
                self.head_learning_rate is None or self.head_epochs > 0,
                "left out without head_epochs",
            ),
            ("trainable_from", starts or self.trainable_from is None, "left out without weights"),
            ("freeze_batch_norm", starts or not self.freeze_batch_norm, "false without weights"),
            (
                "recalibrate",
                not (self.recalibrate and self.freeze_batch_norm),
                "false with freeze_batch_norm",
            ),
            (
                "augment_crop_aspect",
                self.augment_crop_aspect is None or self.augment_crop_area < 1,
                "left out without augment_crop_area below 1",
            ),
            (
                "augment_any_resize",
                not self.augment_any_resize or self.augment_crop_area < 1,
                "false without augment_crop_area below 1",
            ),
            (
                "augment_shift_pixels",
                self.image_size is None or self.augment_shift_pixels < self.image_size,
                f"below image_size, which is {self.image_size}",
            ),
            (
                "augment_rand_strength",
                self.augment_rand_strength is None or self.augment_rand_operations > 0,
                "left out without augment_rand_operations",
            ),
            *(
                (name, alpha == 0 or self.batch_size > 1, "0 with a batch_size of 1")
                for name, alpha in mixes.items()
            ),
            (
                "momentum",
                self.momentum is None or self.optimizer in ("sgd", "rmsprop"),
                f"left out with optimizer={self.optimizer}",
            ),
            (
                "nesterov",
                self.nesterov is None or self.optimizer == "sgd",
                f"left out with optimizer={self.optimizer}",
            ),
            (
                "epsilon",
                self.epsilon is None or self.optimizer != "sgd",
                "left out with optimizer=sgd",
            ),
            (
                "decay_rate",
                self.decay_rate is None or self.schedule == "exponential",
                f"left out with schedule={self.schedule}",
            ),
            (
                "decay_epochs",
                self.decay_epochs is None or self.schedule == "exponential",
                f"left out with schedule={self.schedule}",
            ),
        ):
            if not holds:
                raise RecipeError(
                    f"`{name}` must be {rule}. Received: {name}={getattr(self, name)!r}"
                )

    def augmentation(self) -> dict[str, Any]:
        """The arguments of ``Augmentation`` that are given."""
        prefix = "augment_"
        return {
            name.removeprefix(prefix): value
            for name, value in dataclasses.asdict(self).items()
            if name.startswith(prefix) and value is not None
        }

    def with_changes(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with other values for some settings, by name.

        Raises:
            RecipeError: there is no such setting, or a value breaks its rule.
        """
        check_known(changes, (setting.name for setting in dataclasses.fields(self)))
        return dataclasses.replace(self, **changes)

    def to_yaml(self) -> str:
        """Every setting, one a line."""
        text: str = yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)
        return text

    def save(self, path: str | Path) -> None:
        """Write every setting as YAML."""
        Path(path).write_text(self.to_yaml(), "utf-8")
