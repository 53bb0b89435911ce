"""The command ``inception-serving``: a server's models asked from a shell."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from inception_serving.commands import bench, metadata, predict, status, verify
from inception_serving.commands.arguments import Command, run_command
from inception_serving.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0, or 1 after an error, which is told in a line on standard error.
    """
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inception-serving",
        description="Ask TF Serving, or another server of its API: its models, their answers and"
        " how fast they come.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        title="commands", dest="subcommand", required=True, parser_class=Command
    )
    for command in (predict, status, metadata, bench, verify):
        command.add(commands)
    return parser
