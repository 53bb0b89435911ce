"""``keras-inception models`` and ``keras-inception describe``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, positive, shape


def add(commands: Any) -> None:
    """Declare both."""
    add_command(commands, "models", run_models, "list the family: sizes, costs, accuracies")
    describe = add_command(
        commands,
        "describe",
        run_describe,
        "print a network as its paper's table, or draw it",
        "Everything is computed from the built network.",
    )
    describe.add_argument("name", metavar="NAME", help="as `models` lists it")
    describe.add_argument(
        "--figure", metavar="SVG", help="draw it there, columns side by side as in the papers"
    )
    describe.add_argument("--variant", metavar="X", help="of the network, its default if not given")
    describe.add_argument("--stem", choices=["imagenet", "small"], default="imagenet")
    describe.add_argument(
        "--width", type=float, default=1.0, metavar="X", help="factor on every filter count"
    )
    describe.add_argument(
        "--input-shape", type=shape, metavar="HxWxC", help="such as 299x299x3; ? for an open side"
    )
    describe.add_argument("--classes", type=positive, default=1000, metavar="N")
    describe.add_argument("--aux", action="store_true", help="with auxiliary heads")


def run_models(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    from rich.console import Console
    from rich.table import Table

    from keras_inception.models.catalogue import CATALOGUE

    table = Table()
    table.add_column("network", no_wrap=True)
    for heading in ("size", "parameters", "GMACs", "top-1", "top-5"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("weights published by", overflow="fold")
    for entry in CATALOGUE.values():
        accuracies = ["" if top is None else f"{top:.1f}" for top in (entry.top1, entry.top5)]
        costs = (str(entry.size), f"{entry.parameters:,}", f"{entry.gmacs:.2f}")
        table.add_row(entry.title, *costs, *accuracies, ", ".join(entry.publishers) or "none")
    Console().print(table)
    sources = dict.fromkeys(entry.source for entry in CATALOGUE.values() if entry.source)
    print(f"ImageNet accuracies in percent, one crop: {'; '.join(sources)}.")
    return 0


def run_describe(options: argparse.Namespace) -> int:
    """Build a network and print its table."""
    from keras_inception.models.catalogue import find

    build = find(options.name).builder
    load_tensorflow_quietly()
    import keras

    from keras_inception.models.drawing.describe import describe
    from keras_inception.models.drawing.figure import draw

    with keras.StatelessScope(initialize_variables=False):  # shapes are enough here
        model = build()(
            input_shape=options.input_shape,
            classes=options.classes,
            aux=options.aux,
            width=options.width,
            stem=options.stem,
            variant=options.variant,
        )
    print(describe(model), end="")
    if options.figure:
        draw(model, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    return 0
