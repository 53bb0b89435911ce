"""``keras-inception versions``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keras_inception.commands.arguments import add_command, positive
from keras_inception.commands.console import print_table


def add(commands: Any) -> None:
    """Declare it."""
    versions = add_command(
        commands,
        "versions",
        run,
        "list a model's versions, remove old ones, or fall back to the one before",
    )
    versions.add_argument("home", metavar="BASE/NAME", help="the model's folder")
    change = versions.add_mutually_exclusive_group()
    change.add_argument(
        "--keep", type=positive, metavar="N", help="remove all versions but the newest N"
    )
    change.add_argument(
        "--rollback",
        action="store_true",
        help="withdraw the newest version: a server loads the one before, then drops the newest",
    )
    versions.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="with --keep: versions that this server is serving stay, too",
    )


def run(options: argparse.Namespace) -> int:
    """Change what is asked for, then list."""
    from inception_export.versions import prune, withdraw

    if options.keep:
        for export in prune(options.home, options.keep, _in_use(options)):
            print(f"Removed version {export.version}")
    elif options.rollback:
        newest, before = withdraw(options.home)
        hidden = newest.path.with_name(f".withdrawn-{newest.version}")
        print(f"Withdrew version {newest.version}; the newest is now {before.version}.")
        print(f"To undo: mv {hidden} {newest.path}")
    _print_versions(options.home)
    return 0


def _in_use(options: argparse.Namespace) -> frozenset[int]:
    if not options.server:
        return frozenset()
    from inception_serving.server.startup import load_tensorflow_quietly

    load_tensorflow_quietly()
    from inception_serving import Client

    with Client(options.server, model=Path(options.home).resolve().name) as client:
        return frozenset(each.version for each in client.status() if each.state != "END")


def _print_versions(home: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from inception_export.versions import list_versions

    table = Table()
    for heading in ("version", "MB", "network", "classes", "precision", "metrics", "difference"):
        table.add_column(heading)
    exports = list_versions(home)
    if not exports:
        raise ValueError(f"{home} holds no version: no folder that is called by a number.")
    for export in exports:
        manifest = export.manifest
        metrics = manifest.get("metrics", {})
        parity = manifest.get("parity", {})
        table.add_row(
            str(export.version),
            f"{export.size / 1e6:.1f}",
            escape(manifest.get("model", "not ours")),
            str(manifest.get("classes", "")),
            manifest.get("precision", ""),
            "\n".join(f"{name} {value:.4f}" for name, value in metrics.items()),
            f"{parity['probabilities']:.1e}" if parity else "",
        )
    print_table(table)
