"""The named recipes, each a lab note: what it is for, its source, its hardware, its result.

Where a result is said to be published it has not been repeated here; one that has been says where.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import yaml

from keras_inception.runs.fields import RecipeError, nearest
from keras_inception.runs.recipe import Recipe

RECIPES: dict[str, Recipe] = {}
NOTES: dict[str, str] = {}


def _recipe(name: str, note: str, **settings: Any) -> None:
    RECIPES[name] = Recipe(**settings)
    NOTES[name] = inspect.cleandoc(note)


_recipe(
    "default",
    """
    Inception v3 from scratch: SGD, a cosine, label smoothing, crops and mirroring.

    For a GPU and many images, a thousand of each class or more. Not measured on ImageNet.
    """,
    augment_crop_area=0.08,
    augment_flip=True,
)

_recipe(
    "finetune",
    """
    Published ImageNet weights, downloaded once, to one's own classes: tens of images of each.

    The new classifier first, then all layers gently, batch norm as the weights have it. Minutes on
    a GPU; on 2 cores about 4 images a second, so a trainable_from near the end is worth its while.
    """,
    weights="imagenet",
    freeze_batch_norm=True,
    head_epochs=3,
    head_learning_rate=0.05,
    augment_crop_area=0.35,
    augment_flip=True,
    epochs=15,
    learning_rate=0.005,
)

_recipe(
    "quick",
    """
    A first look at one's own photos on a laptop: Inception v1 at half its width, 96 pixels.

    About 2 minutes for 500 photos on 2 cores.
    """,
    model="InceptionV1",
    image_size=96,
    stem="small",
    width=0.5,
    dropout=0.2,
    augment_crop_area=0.35,
    augment_flip=True,
    epochs=30,
    learning_rate=0.05,
    weight_decay=5e-4,
)

_recipe(
    "small",
    """
    Small images such as scanned digits: nearly all of the image, not mirrored.

    `make demo` trains 1,437 digits by it in about a minute on 2 cores; 98 to 99 % of 360 others.
    """,
    model="InceptionV1",
    image_size=32,
    stem="small",
    width=0.25,
    dropout=0.2,
    crop=1.0,
    augment_crop_area=0.8,
    epochs=20,
    batch_size=64,
    learning_rate=0.05,
    weight_decay=5e-4,
)

_recipe(
    "cifar",
    """
    CIFAR-10 and CIFAR-100: Inception v1 at its full width behind a small stem, 70 epochs.

    Not measured. The best published for a GoogLeNet with a small stem and 70 epochs: 95.35 % and
    79.24 % (README of WeihaoZhuang/cifar10-100-fast-training, whose settings are others).
    """,
    model="InceptionV1",
    image_size=32,
    stem="small",
    dropout=0.2,
    crop=1.0,
    augment_shift_pixels=4,
    augment_flip=True,
    epochs=70,
    batch_size=128,
    learning_rate=0.1,
    weight_decay=5e-4,
    label_smoothing=0.0,
)

_recipe(
    "fashion-mnist",
    """
    Fashion-MNIST on 2 cores within an hour: Inception v1 at half its width, 28 pixels.

    In bfloat16 94.80 and 94.76 % of the test images, 95.03 and 94.95 % averaged with their mirror
    images, of two seeds. With a little random erasing (arXiv:1708.04896).
    benchmarks/fashion_mnist.py trains by it.
    """,
    model="InceptionV1",
    image_size=28,
    stem="small",
    width=0.5,
    dropout=0.2,
    crop=1.0,
    augment_flip=True,
    augment_shift_pixels=2,
    augment_erase=0.25,
    batch_norm_momentum=0.9,
    epochs=26,
    batch_size=256,
    learning_rate=0.3,
    weight_decay=5e-4,
)

_recipe(
    "fashion-mnist-gpu",
    """
    Fashion-MNIST on a GPU, aiming at 96 %: Inception v1 at its full width, 200 epochs.

    Long, with random erasing (arXiv:1708.04896). Its 200 epochs have not been measured; with 60, a
    width of 1.5, batches of 512 and a learning rate of 0.4, an NVIDIA H100 took 10 minutes to
    95.19 % of the test images, 95.38 % averaged with their mirror images, of one seed
    (benchmarks/fashion_mnist_gpu.json).
    """,
    model="InceptionV1",
    image_size=28,
    stem="small",
    dropout=0.2,
    crop=1.0,
    augment_flip=True,
    augment_shift_pixels=3,
    augment_erase=0.5,
    batch_norm_momentum=0.9,
    epochs=200,
    batch_size=256,
    learning_rate=0.2,
    weight_decay=5e-4,
    ema=0.999,
)

_recipe(
    "paper-v1",
    """
    GoogLeNet, arXiv:1409.4842, section 6: momentum 0.9, 4 % less every 8 epochs, two heads.

    From the paper: these, dropout, crops of 8 to 100 % of the area drawn evenly, Polyak averaging,
    and CPUs, with some model and data parallelism. From BVLC's Caffe, solver.prototxt: 250 epochs,
    learning rate 0.01, weight decay 2e-4, batches of 32. From neither: the mirroring, the averages'
    decay, batch norm. The paper's photometric distortions, of which it gives no numbers, are left
    out. BVLC's 68.7 % on ImageNet, one crop, is another solver's, quick_solver.prototxt, without
    these crops: --decay-rate none --decay-epochs none --schedule polynomial --decay-power 0.5
    --epochs 60.
    """,
    model="InceptionV1",
    aux=True,
    augment_crop_area=0.08,
    augment_crop_evenly=True,
    augment_flip=True,
    epochs=250,
    nesterov=False,
    learning_rate=0.01,
    warmup_epochs=0,
    schedule="exponential",
    decay_rate=0.96,
    decay_epochs=8,
    weight_decay=2e-4,
    label_smoothing=0.0,
    ema=0.9999,
    precision="float32",
)

# TF-Slim's augmentation in fast mode, which its trainer uses. It asks for 5 % of the area, but also
# that a tenth of the labelled object, which is all of the image where none is labelled, be seen.
_FAST_MODE: dict[str, Any] = {
    "augment_crop_area": 0.1,
    "augment_flip": True,
    "augment_brightness": 32 / 255,
    "augment_saturation": 0.5,
}
_FULL_MODE: dict[str, Any] = _FAST_MODE | {
    "augment_any_resize": True,
    "augment_contrast": 0.5,
    "augment_hue": 0.2,
}

# What arXiv:1512.00567, section 8, arXiv:1602.07261, section 4, and TF-Slim's trainer share.
_RMSPROP: dict[str, Any] = {
    "aux": True,
    "batch_norm_momentum": 0.9997,
    "epochs": 100,
    "batch_size": 32,
    "optimizer": "rmsprop",
    "momentum": 0.9,
    "epsilon": 1.0,
    "learning_rate": 0.045,
    "warmup_epochs": 0,
    "schedule": "exponential",
    "decay_rate": 0.94,
    "decay_epochs": 2,
    "weight_decay": 4e-5,
    "label_smoothing": 0.1,
    "precision": "float32",
}

_recipe(
    "paper-v3",
    """
    Inception v3, arXiv:1512.00567, section 8: RMSProp, 0.94 every two epochs, clipped at 2.

    50 replicas, each stepping by its own batches of 32 on a Kepler GPU, 100 epochs; here all step
    together. Published: 78.8 %, one crop. From TF-Slim, since the paper says nothing of them:
    weight decay, RMSProp's momentum beside its decay, the averages of batch norm and weights,
    dropout, the auxiliary loss's weight, and the augmentation (its full mode).
    """,
    model="InceptionV3",
    clip_norm=2.0,
    ema=0.9999,
    **_RMSPROP,
    **_FULL_MODE,
)

_recipe(
    "paper-v4",
    """
    Inception v4, arXiv:1602.07261, section 4: RMSProp with decay 0.9, 0.94 every two epochs.

    20 replicas, each on a Kepler GPU. Published: 80.0 %, one crop, on all but 1,700 of the images,
    which is worth about 0.3 %. The paper gives neither batch size nor epochs, 32 and 160 here, nor
    clipping. From TF-Slim: weight decay, averages, the auxiliary loss's weight and the augmentation
    (its full mode); label smoothing is v3's.
    """,
    model="InceptionV4",
    ema=0.9999,
    **_RMSPROP | {"epochs": 160},
    **_FULL_MODE,
)

_recipe(
    "slim",
    """
    TF-Slim's train_image_classifier.py with its defaults, augmentation in fast mode.

    RMSProp from 0.01, 0.94 every two epochs, weight decay 4e-5, batches of 32, one GPU; averages
    of the weights and label smoothing are off. It trains without end: 100 epochs are v3's paper's,
    and the auxiliary loss is the network's. No result is published for it: the weights released
    beside it (v3: 78.0 %) were trained at a larger scale.
    """,
    model="InceptionV3",
    **_RMSPROP | {"learning_rate": 0.01, "label_smoothing": 0.0},
    **_FAST_MODE,
)

_recipe(
    "tpu-v3",
    """
    Inception v3 on a Cloud TPU, by Google's example: batches of 1024, RMSProp from 0.66.

    tensorflow/tpu, models/experimental/inception: 0.165 for each 256 images of a batch, 0.94 every
    three epochs, averages 0.995, batch norm 0.996 (of each core by itself; here of the whole
    batch), fast mode, float32. Published: over 78.1 % after about 170 epochs, 213,000 steps. Its
    floor of the learning rate, 0.0001 of the peak, is below what 170 epochs come to.
    """,
    model="InceptionV3",
    **_RMSPROP
    | {
        "batch_norm_momentum": 0.996,
        "epochs": 170,
        "batch_size": 1024,
        "learning_rate": 0.165 * 1024 / 256,
        "decay_epochs": 3,
        "ema": 0.995,
    },
    **_FAST_MODE,
)

_recipe(
    "best-v3",
    """
    The best published Inception v3, GluonCV's: SGD, cosine from 0.4, 200 epochs, mixup.

    Published: 78.8 %, one crop, 8 GPUs with 128 images each, half precision. From GluonCV's
    train_imagenet.py and inception.py: crops of 8 to 100 % of the area drawn evenly, brightness,
    contrast and saturation by a factor of 0.6 to 1.4, PCA noise 0.1, weight decay 1e-4 on kernels,
    dropout 0.5. Rate, epochs, warm-up and batch are its script's, which has not been seen here.
    Otherwise here: contrast and saturation are TensorFlow's, batch norm has no gamma, the averages
    of batch norm follow the number of steps.
    """,
    model="InceptionV3",
    dropout=0.5,
    augment_crop_area=0.08,
    augment_crop_evenly=True,
    augment_flip=True,
    augment_brightness_factor=0.4,
    augment_saturation=0.4,
    augment_contrast=0.4,
    augment_pca_noise=0.1,
    augment_mixup_alpha=0.2,
    epochs=200,
    batch_size=1024,
    learning_rate=0.4,
    warmup_epochs=5,
    precision="mixed_float16",
)


def load_recipe(name_or_path: str) -> Recipe:
    """A named recipe, or a YAML file of differences from the default one.

    The file may start from another recipe: ``recipe: small``.

    Raises:
        RecipeError: there is neither such a recipe nor such a file, or the file's settings break
            their rules.
    """
    return _load(name_or_path, ())


def _load(name_or_path: str, above: tuple[Path, ...]) -> Recipe:
    """See :func:`load_recipe`; ``above`` are the files that start from this one."""
    if name_or_path in RECIPES:
        return RECIPES[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(
            f"There is no recipe or YAML file {name_or_path!r}.{nearest(name_or_path, RECIPES)}"
            f" The recipes are: {', '.join(RECIPES)}."
        )
    if path.resolve() in above:
        raise RecipeError(f"{path} starts from itself by its `recipe`, and so from none.")
    try:
        changes = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(changes, dict):
        raise RecipeError(f"{path} must hold settings, one `name: value` a line.")
    start = changes.pop("recipe", "default")
    if not isinstance(start, str):
        raise RecipeError(
            f"`recipe` in {path} must be the name of a recipe or a YAML file. Received:"
            f" recipe={start!r}"
        )
    return _load(start, (*above, path.resolve())).with_changes(changes)
