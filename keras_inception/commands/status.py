"""``keras-inception status``."""

from __future__ import annotations

import argparse
from typing import Any

from keras_inception.commands.arguments import add_command, add_connection, connection
from keras_inception.commands.console import print_table


def add(commands: Any) -> None:
    """Declare it."""
    status = add_command(
        commands,
        "status",
        run,
        "show the versions and signatures of a model on a server",
        "The exit code is 0 where a version is available, and 1 otherwise.",
    )
    status.add_argument("served", metavar="HOST:PORT/NAME", help="a model on a server, over gRPC")
    add_connection(status)


def run(options: argparse.Namespace) -> int:
    """Ask, and print a line for each version and for each signature."""
    from rich.markup import escape
    from rich.table import Table

    from inception_serving import Client
    from keras_inception.inference.served import almost_served, read_served

    served = read_served(options.served)
    if served is None:
        raise ValueError(
            almost_served(options.served)
            or f"A server's model is named as HOST:PORT/NAME. Received: {options.served!r}"
        )
    with Client(
        served.address, model=served.model, version=served.version, **connection(options)
    ) as client:
        versions = client.status()
        available = any(each.state == "AVAILABLE" for each in versions)
        known = client.metadata() if available else None
    table = Table()
    for heading in ("version", "state", "error"):
        table.add_column(heading)
    for each in versions:
        table.add_row(str(each.version), each.state, escape(each.error))
    print_table(table)
    if known is not None:
        print(f"Signatures of version {known.version}:")
        for name, signature in known.signatures.items():
            print(f"  {name}{signature}")
    return 0 if available else 1
