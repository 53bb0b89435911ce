"""The subcommand ``status``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from inception_serving.commands.arguments import add_command, add_connection, connection
from inception_serving.commands.table import print_table
from inception_serving.predictions.served import parse_served

if TYPE_CHECKING:
    from inception_serving.client.signatures import ModelMetadata

SERVED = "a model on a server, over gRPC, or unix:PATH/NAME; with http:// before it, over REST"


def add(commands: Any) -> None:
    """Declare it."""
    status = add_command(
        commands,
        "status",
        run,
        "show the versions and signatures of a model on a server",
        "The exit code is 0 where a version is available, and 1 otherwise.",
    )
    status.add_argument("served", metavar="HOST:PORT/NAME", help=SERVED)
    add_connection(status)


def run(options: argparse.Namespace) -> int:
    """Ask, and print a line for each version and for each signature."""
    from inception_serving import Client

    address, model, version = parse_served(options.served)
    with Client(address, model=model, version=version, **connection(options)) as client:
        versions = client.status()
        available = any(each.state == "AVAILABLE" for each in versions)
        known = client.metadata() if available else None
    print_table(
        ("version", "state", "error"),
        [(str(each.version), each.state, each.error) for each in versions],
    )
    if known is not None:
        print_signatures(known)
    return 0 if available else 1


def print_signatures(known: ModelMetadata) -> None:
    """A line for each signature."""
    print(f"Signatures of version {known.version}:")
    for name, signature in known.signatures.items():
        print(f"  {name}{signature}")
