"""``keras-inception models`` and ``keras-inception describe``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, output_file, positive, shape
from keras_inception.commands.console import print_table

if TYPE_CHECKING:
    from keras_inception.data.preprocessing import Preprocessing
    from keras_inception.models.catalogue import Entry


def add(commands: Any) -> None:
    """Declare both."""
    models = add_command(
        commands,
        "models",
        run_models,
        "list the family: sizes, costs, accuracies, published weights",
        "With a network's name, say of each of its published weights how the images were made that"
        " it was measured on.",
    )
    models.add_argument("name", metavar="NETWORK", nargs="?", help="show this one's weights")
    describe = add_command(
        commands,
        "describe",
        run_describe,
        "print a network as its paper's table, or draw it",
        "Everything is computed from the built network.",
    )
    describe.add_argument("name", metavar="NAME", help="as `models` lists it")
    describe.add_argument(
        "--figure",
        type=output_file,
        metavar="SVG",
        help="draw it there, columns side by side as in the papers",
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
    """Print the catalogue, or the published weights of a network."""
    from keras_inception.models.catalogue import find

    if options.name is not None:
        load_tensorflow_quietly()
        _print_weights(find(options.name))
        return 0
    _print_family()
    return 0


def _print_family() -> None:
    """A line for each network, and for each of its published weights."""
    from rich.table import Table

    from keras_inception.models.catalogue import CATALOGUE

    table = Table()
    table.add_column("network", no_wrap=True)
    for heading in ("size", "parameters", "GMACs", "top-1", "top-5"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in CATALOGUE.values():
        accuracies = ["" if top is None else f"{top:.1f}" for top in (entry.top1, entry.top5)]
        costs = (str(entry.size), f"{entry.parameters:,}", f"{entry.gmacs:.2f}")
        table.add_row(entry.title, *costs, *accuracies)
    print_table(table)
    sources = dict.fromkeys(entry.source for entry in CATALOGUE.values() if entry.source)
    print(f"ImageNet accuracies in percent, one crop: {'; '.join(sources)}.")
    for entry in CATALOGUE.values():
        print(f"\nImageNet weights of {entry.title}:" + ("" if entry.with_top else " none"))
        for name in entry.with_top:
            row = entry.weights[name]
            changes = "".join(f", {field} {value}" for field, value in row.protocol.items())
            print(f"  {_full_name(entry, name)}: preprocessing {row.preprocessing}{changes}")
    print("\nHow each wants its images, and how to use it: keras-inception models NETWORK")


def _full_name(entry: Entry, name: str) -> str:
    usual = f" (imagenet:{entry.title})" if name == entry.imagenet else ""
    return f"imagenet:{name}{usual}"


def _print_weights(entry: Entry) -> None:
    """How the images of each of a network's published weights were made."""
    from keras_inception.published.imagenet import preprocessing_of

    if not entry.with_top:
        print(f"No ImageNet weights of {entry.title} were ever published.")
        return
    for name in entry.with_top:
        print(_full_name(entry, name))
        print(f"    {_words(preprocessing_of(f'imagenet:{name}', entry.size))}")
    print(
        f"\nExport: keras-inception export imagenet:{entry.title} MODELS --name NAME\n"
        f"Ask:    keras-inception predict IMAGE --with imagenet:{entry.title}\n"
        f"Train:  keras-inception train DATA --recipe finetune --model {entry.title} --output RUN"
    )


def _words(protocol: Preprocessing) -> str:
    """How images are resized and cropped, and to which range they are scaled."""
    resize = "shorter side" if protocol.resize == "shorter_side" else "stretched"
    antialias = ", antialiased" if protocol.antialias else ""
    how = f"{resize}, centre {protocol.crop:.4g} to {protocol.size} pixels"
    low, high = ((pixel - protocol.mean[0]) / protocol.std[0] for pixel in (0, 255))
    values = f"[{low:.4g}, {high:.4g}]"
    if len({*protocol.mean}) > 1:
        mean, std = (
            ", ".join(f"{value / 255:.3f}" for value in values)
            for values in (protocol.mean, protocol.std)
        )
        values = f"of [0, 1], less {mean}, by {std}"
    return f"{how}, {protocol.interpolation}{antialias}; {values}"


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
