"""The recipe: how a network is trained, as data for the Python API, YAML files and commands.

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
    AT_LEAST_2,
    BELOW_1,
    POSITIVE,
    POSITIVE_UP_TO_1,
    SEED,
    UP_TO_1,
    UP_TO_180,
    UP_TO_HALF,
    RecipeError,
    check_known,
    check_within,
    coerce,
)
from keras_inception.runs.fields import setting as _setting
from keras_inception.runs.needs import NEEDS


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does to its images and its network.

    Flat, units in the names. Every setting's meaning stands beside it and is what ``--help``
    prints. A named recipe or a YAML file holds only differences from these defaults.

    Raises:
        RecipeError: a setting breaks its rule.
    """

    # The network
    model: str = _setting("InceptionV3", "name of the network, such as InceptionV1 or inception_v3")
    image_size: int | None = _setting(
        None,
        "height and width of the network's input in pixels; by default the network's own",
        AT_LEAST_1,
    )
    image_size_start: int | None = _setting(
        None,
        "height and width in pixels of the first epochs' training images, which grow to image_size;"
        " by default all have that size",
        AT_LEAST_1,
    )
    image_size_stages: int | None = _setting(
        None,
        "number of sizes that growing training images have, for equal parts of the epochs; by"
        " default 4",
        AT_LEAST_2,
    )
    stem: Literal["imagenet", "small"] = _setting(
        "imagenet", "first layers of the network: imagenet, or small for images of 28 to 96 pixels"
    )
    width: float = _setting(1.0, "factor on the number of filters of every layer", POSITIVE)
    dropout: float | None = _setting(
        None,
        "dropout rate before the classifier, 0 to below 1; by default 0.4 for Inception v1, as its"
        " paper, and 0.2 for the others, as TF-Slim",
        BELOW_1,
    )
    aux: bool = _setting(False, "train with the auxiliary heads, which are left out of the result")
    variant: str | None = _setting(None, "variant of the network; by default the network's own")
    batch_norm_momentum: float | Literal["auto"] = _setting(
        "auto",
        "momentum of batch norm's moving statistics, 0 to below 1; auto: by the number of steps",
        BELOW_1,
    )
    sync_batch_norm: bool = _setting(
        True,
        "let batch norm see the batch of all devices; without, each of TensorFlow's devices by"
        " itself, as TF-Slim and the papers, with less to exchange",
    )

    # Where it starts from
    weights: str | None = _setting(
        None,
        "weights to start from: imagenet, imagenet:SOURCE/NAME, a file or a run; by default random",
    )
    skip: str | None = _setting(
        None,
        "names of weights, separated by commas, that are not loaded and need not fit; * stands for"
        " anything",
    )
    head_epochs: int = _setting(
        0,
        "number of epochs, the run's first, that train only the classifier, which is new",
        AT_LEAST_0,
    )
    head_learning_rate: float | None = _setting(
        None,
        "learning rate, constant, while only the classifier is trained; by default learning_rate",
        POSITIVE,
    )
    trainable_from: str | None = _setting(
        None, "end point, such as mixed_6a, before which all layers are frozen; by default none are"
    )
    layer_decay: float = _setting(
        1.0,
        "factor on the learning rate for every end point further from the classifier, which has"
        " learning_rate: 0.9 lets the first layers change little; 1: all alike",
        POSITIVE_UP_TO_1,
    )
    freeze_batch_norm: bool = _setting(
        False, "keep batch norm at the values of the weights, as fine-tuning on few images needs"
    )
    recalibrate: bool = _setting(
        False, "measure batch norm's statistics again over the training images, after training"
    )

    # The images
    crop: float | None = _setting(
        None,
        "share of an image's shorter side that is kept in evaluation, above 0 to 1; by default that"
        " of the run whose weights are given, or 0.875",
        POSITIVE_UP_TO_1,
    )
    alpha: Literal["drop", "white", "black"] | None = _setting(
        None,
        "ground beneath transparent PNG and WebP; drop: the colours that are kept beneath; by"
        " default that of the run whose weights are given, or drop",
    )
    exif_orientation: Literal["ignore", "apply"] | None = _setting(
        None,
        "EXIF orientation of JPEGs: ignore, or apply, which turns them upright; by default that of"
        " the run whose weights are given, or ignore",
    )
    validation_fraction: float = _setting(
        0.1,
        "share of each class set apart for validation where no validation data are given",
        BELOW_1,
    )
    folds: int | None = _setting(
        None,
        "number of equal parts of the images, of which one is validated on and the others are"
        " trained on, in place of validation_fraction; without fold each in turn"
        " (cross-validation)",
        AT_LEAST_2,
    )
    fold: int | None = _setting(
        None, "which of the folds to validate on, from 1; by default each in turn", AT_LEAST_1
    )
    augment_crop_area: float = _setting(
        1.0,
        "smallest share of an image's area in a random training crop; 1: no random crops",
        POSITIVE_UP_TO_1,
    )
    augment_crop_aspect: float | None = _setting(
        None,
        "widest ratio of a random crop's sides, the narrowest being its inverse; by default 4/3",
        AT_LEAST_1,
    )
    augment_crop_evenly: bool = _setting(
        False, "draw the areas of random crops evenly, as GoogLeNet's paper says, not their sides"
    )
    augment_any_resize: bool = _setting(
        False, "resize random crops by one of four methods at random, as in 2016"
    )
    augment_flip: bool = _setting(False, "mirror half of the training images left to right")
    augment_flip_vertical: bool = _setting(
        False, "mirror half of the training images top to bottom; where up is no direction"
    )
    augment_rotate_degrees: float = _setting(
        0.0,
        "degrees by which training images are turned at most, either way, 0 to 180",
        UP_TO_180,
    )
    augment_shift_pixels: int = _setting(
        0,
        "number of pixels of the input that training images are moved by at most; for small ones",
        AT_LEAST_0,
    )
    augment_brightness: float = _setting(
        0.0, "largest change of brightness, as a share of the range, 0 to 1; 0.125 in 2016", UP_TO_1
    )
    augment_brightness_factor: float = _setting(
        0.0,
        "largest change of brightness, by a factor of 1 - X to 1 + X, 0 to 1; 0.4 in GluonCV",
        UP_TO_1,
    )
    augment_saturation: float = _setting(
        0.0,
        "largest change of saturation, by a factor of 1 - X to 1 + X, 0 to 1; 0.5 in 2016",
        UP_TO_1,
    )
    augment_contrast: float = _setting(
        0.0,
        "largest change of contrast, by a factor of 1 - X to 1 + X, 0 to 1; 0.5 in 2016",
        UP_TO_1,
    )
    augment_hue: float = _setting(
        0.0,
        "largest turn of hue, as a share of the colour circle, 0 to 0.5; 0.2 in 2016",
        UP_TO_HALF,
    )
    augment_pca_noise: float = _setting(
        0.0,
        "deviation of AlexNet's noise along the colours' principal components; 0.1 in GluonCV",
        UP_TO_1,
    )
    augment_grey: float = _setting(
        0.0, "share of training images that lose their colour, 0 to 1", UP_TO_1
    )
    augment_blur: float = _setting(
        0.0, "share of training images that are blurred, by up to 2 pixels, 0 to 1", UP_TO_1
    )
    augment_rand_operations: int = _setting(
        0, "number of RandAugment's operations on each training image; 2 is usual", AT_LEAST_0
    )
    augment_rand_strength: float | None = _setting(
        None, "strength of RandAugment's operations, 0 to 1; by default 0.5", UP_TO_1
    )
    augment_erase: float = _setting(
        0.0,
        "share of training images that get a rectangle of noise (random erasing), 0 to 1",
        UP_TO_1,
    )
    augment_mixup_alpha: float = _setting(
        0.0,
        "alpha of mixup, which blends two images and their targets, 0 (off) to 1; 0.2 is usual",
        UP_TO_1,
    )
    augment_cutmix_alpha: float = _setting(
        0.0,
        "alpha of CutMix, which sets a part of one image into another, 0 (off) to 1",
        UP_TO_1,
    )

    # The optimization
    epochs: int = _setting(100, "number of passes over the training images", AT_LEAST_1)
    batch_size: int = _setting(32, "number of images a step", AT_LEAST_1)
    gradient_accumulation_steps: int = _setting(
        1,
        "number of batches whose gradients are averaged before the weights change: as a batch so"
        " many times as large, but for batch norm, in the memory of one",
        AT_LEAST_1,
    )
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw"] = _setting(
        "sgd", "optimizer; rmsprop is TensorFlow 1's, whose mean square starts at one"
    )
    momentum: float | None = _setting(
        None, "momentum of sgd and rmsprop, 0 to below 1; by default 0.9", BELOW_1
    )
    nesterov: bool | None = _setting(None, "Nesterov's momentum, for sgd; by default on")
    epsilon: float | None = _setting(
        None,
        "epsilon of rmsprop (inside the root; by default 1.0), adam and adamw (by default 1e-7)",
        POSITIVE,
    )
    learning_rate: float = _setting(0.1, "learning rate at its peak, after the warm-up", POSITIVE)
    warmup_epochs: float = _setting(
        1.0, "number of epochs in which the learning rate rises linearly from 0", AT_LEAST_0
    )
    schedule: Literal["cosine", "exponential", "polynomial", "constant"] = _setting(
        "cosine",
        "course of the learning rate after the warm-up: to 0 by a cosine, in steps by decay_rate,"
        " to 0 by a power of what is left, or level",
    )
    decay_rate: float | None = _setting(
        None, "factor at each step of the exponential schedule; by default 0.94", POSITIVE_UP_TO_1
    )
    decay_epochs: float | None = _setting(
        None,
        "number of epochs between two steps of the exponential schedule; by default 2",
        POSITIVE,
    )
    decay_power: float | None = _setting(
        None, "power of the polynomial schedule; by default 1, a straight line", POSITIVE
    )
    weight_decay: float = _setting(
        1e-4,
        "weight decay of the kernels: in the gradient, as of an L2 loss, except with adamw",
        AT_LEAST_0,
    )
    clip_norm: float | None = _setting(
        None,
        "largest norm of all gradients together, weight decay's included except with adamw;"
        " longer ones are shortened to it; by default none",
        POSITIVE,
    )
    loss: Literal["cross_entropy", "focal", "binary"] = _setting(
        "cross_entropy",
        "loss: cross_entropy, of a softmax or, where an image can be of several classes, of each"
        " class by itself; focal, the same with less for what is right already; binary, of each"
        " class by itself where an image is of one",
    )
    focal_gamma: float | None = _setting(
        None,
        "power by which the focal loss counts what is right already less; by default 2, as its"
        " paper",
        AT_LEAST_0,
    )
    positive_weight: float | Literal["balanced"] | None = _setting(
        None,
        "factor on a class's images in its part of a loss of each class by itself; balanced: as"
        " much as makes up for all other images; by default 1",
        POSITIVE,
    )
    teacher: str | None = _setting(
        None,
        "a finished run of the same classes, its folder, from whose answers the network learns too"
        " (distillation)",
    )
    distill_alpha: float | None = _setting(
        None,
        "the teacher's share of the loss, above 0 to 1, the rest being the images' own classes'; by"
        " default 0.9",
        POSITIVE_UP_TO_1,
    )
    distill_temperature: float | None = _setting(
        None,
        "temperature that divides the logits of teacher and network before the two are compared, so"
        " that unlikely classes count; by default 4",
        POSITIVE,
    )
    oversample: float = _setting(
        0.0,
        "how far images of rare classes are repeated in an epoch: 1, until every class comes as"
        " often as the most frequent; 0.5, by the square root of that; 0, not at all",
        UP_TO_1,
    )
    class_weights: bool = _setting(
        False,
        "weigh images in the loss so that every class counts alike, however many it has; where an"
        " image can be of several, also that those of a class count as much as all others",
    )
    label_smoothing: float = _setting(
        0.1, "share of the target that is spread over all classes, 0 to below 1", BELOW_1
    )
    ema: float | None = _setting(
        None,
        "decay of moving averages of the weights, 0 to below 1, which are then the result",
        BELOW_1,
    )
    best_epoch_metric: Literal[
        "loss", "cross_entropy", "accuracy", "macro_f1", "mean_average_precision"
    ] = _setting(
        "loss",
        "measure of the validation images that decides which epoch is the result, and when to stop"
        " early; cross_entropy is the loss without smoothing, weights and auxiliary heads",
    )
    calibrate: bool = _setting(
        False,
        "divide the logits by the temperature that fits the validation images best, so that the"
        " scores say how often the answers are right; no answer changes",
    )
    fit_thresholds: bool = _setting(
        False,
        "predict each class from the score at which its F1 is best on the validation images,"
        " where an image can be of several, in place of 0.5",
    )
    early_stopping_epochs: int | None = _setting(
        None,
        "number of epochs without a better best_epoch_metric after which to stop; by default never",
        AT_LEAST_1,
    )
    checkpoint_minutes: float | None = _setting(
        15.0,
        "minutes between two checkpoints within an epoch, besides the one at its end",
        POSITIVE,
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = _setting(
        "auto",
        "Keras's dtype policy: what the network computes in while it is trained; auto:"
        " mixed_bfloat16 where the processor or GPU computes bfloat16 itself, else float32",
    )
    deterministic: bool = _setting(
        False, "train to the same numbers every time, to the last bit, by slower operations"
    )
    seed: int = _setting(
        0, "seed of the initial weights, the split, the order and the augmentation", SEED
    )

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for setting in dataclasses.fields(self):
            value = coerce(setting.name, getattr(self, setting.name), hints[setting.name])
            check_within(setting.name, value, setting.metadata["within"])
            object.__setattr__(self, setting.name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Refuse what contradicts another setting, or would have no effect beside it."""
        for setting in dataclasses.fields(self):
            if setting.name in NEEDS and getattr(self, setting.name) != setting.default:
                holds, rule = NEEDS[setting.name]
                self._require(setting.name, holds(self), rule.format(recipe=self))
        self._require(
            "head_epochs",
            self.head_epochs <= self.epochs,
            f"at most epochs, which is {self.epochs}",
        )
        self._require(
            "augment_shift_pixels",
            self.image_size is None or self.augment_shift_pixels < self.image_size,
            f"below image_size, which is {self.image_size}",
        )

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            hint = "; what a recipe sets is left out by `none`" if "left out" in rule else ""
            received = f"Received: {name}={getattr(self, name)!r}"
            raise RecipeError(f"`{name}` must be {rule}. {received}{hint}")

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


def check_recipe(recipe: Any) -> None:
    """Refuse what is no recipe, such as the name of one, or none to begin a training by.

    Raises:
        RecipeError: it is neither a ``Recipe`` nor ``None``, or has ``layer_decay`` without
            weights.
    """
    if not (recipe is None or isinstance(recipe, Recipe)):
        raise RecipeError(
            "`recipe` must be a Recipe, such as RECIPES['quick'] or load_recipe('mine.yaml')."
            f" Received: recipe={recipe!r}"
        )
    # Not among NEEDS, since runs of version 0.2 may have it, and are still to be opened.
    if recipe is not None and recipe.layer_decay < 1 and recipe.weights is None:
        raise RecipeError(
            "`layer_decay` must be 1 without weights: it keeps the first layers near those, and"
            f" random ones have all to learn. Received: layer_decay={recipe.layer_decay}"
        )


# The settings' groups in ``--help``: each begins with the field of this name.
GROUPS = {
    "model": "the network",
    "weights": "where it starts from",
    "crop": "the images",
    "augment_crop_area": "how training images are varied",
    "epochs": "the optimization",
    "best_epoch_metric": "the result",
    "checkpoint_minutes": "the machine",
}
