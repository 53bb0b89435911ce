"""The subcommand ``metadata``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inception_serving.commands.arguments import add_command, add_connection, connection
from inception_serving.commands.status import SERVED, print_signatures
from inception_serving.predictions.served import parse_served

if TYPE_CHECKING:
    from inception_serving.client.signatures import TensorSpec


def add(commands: Any) -> None:
    """Declare it."""
    metadata = add_command(
        commands,
        "metadata",
        run,
        "show the inputs and outputs of each signature of a model on a server",
    )
    metadata.add_argument("served", metavar="HOST:PORT/NAME", help=SERVED)
    metadata.add_argument(
        "--format",
        choices=["table", "json"],
        default="table",
        help="how they are printed (%(default)s)",
    )
    add_connection(metadata)


def run(options: argparse.Namespace) -> int:
    """Ask, and print the signatures."""
    from inception_serving import Client

    address, model, version = parse_served(options.served)
    with Client(address, model=model, version=version, **connection(options)) as client:
        known = client.metadata()
    if options.format == "table":
        print_signatures(known)
        return 0
    signatures = {
        name: {"inputs": _tensors(each.inputs), "outputs": _tensors(each.outputs)}
        for name, each in known.signatures.items()
    }
    about = {"model": known.name, "version": known.version, "signatures": signatures}
    print(json.dumps(about, indent=1, ensure_ascii=False))
    return 0


def _tensors(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    """The dtype and shape of each; a size that is left open is null, and so is any shape."""
    return {name: {"dtype": each.dtype, "shape": each.shape} for name, each in specs.items()}
