"""``keras-inception augment-preview``."""

from __future__ import annotations

import argparse
from typing import Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import (
    add_command,
    add_recipe_options,
    given_recipe,
    output_file,
    positive,
)
from keras_inception.commands.data import SOURCE, add_encoding, given_source
from keras_inception.models.catalogue import find
from keras_inception.runs.named_recipes import RECIPES


def add(commands: Any) -> None:
    """Declare it: its own arguments, and every setting of the recipe."""
    preview = add_command(
        commands,
        "augment-preview",
        run,
        "draw what the network will see in training",
        "A row for each image, the image itself at the left, its variants at the right; below"
        " mixed ones stand the shares of the classes. The settings are those of `train`.",
    )
    preview.add_argument("source", metavar="DATA", help=SOURCE)
    preview.add_argument(
        "--output",
        type=output_file,
        metavar="FILE",
        default="preview.png",
        help="the picture to write (%(default)s)",
    )
    preview.add_argument(
        "--images", type=positive, default=8, help="how many images, a row each (%(default)s)"
    )
    preview.add_argument(
        "--variants", type=positive, default=6, help="variants of each image (%(default)s)"
    )
    add_encoding(preview)
    add_recipe_options(preview)


def run(options: argparse.Namespace) -> int:
    """Draw it, and say where it is."""
    recipe = given_recipe(options) or RECIPES["default"]
    size = recipe.image_size or find(recipe.model).size
    load_tensorflow_quietly()
    from keras_inception.data.augmentation.settings import Augmentation
    from keras_inception.data.sources.source import open_source
    from keras_inception.report.preview import draw_variants
    from keras_inception.training.network import preprocessing_for

    examples = open_source(given_source(options.source, options))
    for note in examples.notes:
        print(note)
    draw_variants(
        examples,
        preprocessing_for(recipe, size),
        Augmentation(**recipe.augmentation()),
        options.output,
        images=options.images,
        variants=options.variants,
        seed=recipe.seed,
    )
    print(f"Written: {options.output}")
    return 0
