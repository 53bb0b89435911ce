"""The command ``keras-inception``: one parser for all subcommands, one place for their errors."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from inception_serving.errors import ServingError
from keras_inception.commands import (
    augment_preview,
    data,
    evaluate,
    export,
    networks,
    predict,
    report,
    serve,
    train,
    versions,
    weights,
)
from keras_inception.commands.arguments import Command
from keras_inception.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0, or 1 after an error, which is told in a line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name need not be text
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    # Wrong values, files, addresses and models; anything else is our mistake and shows in full.
    except (ValueError, OSError, ServingError) as error:
        if options.traceback:
            raise
        print(f"keras-inception {options.subcommand}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-inception",
        description="Build, train, export and serve Inception networks.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        title="commands", dest="subcommand", required=True, parser_class=Command
    )
    for command in (
        networks,
        data,
        augment_preview,
        train,
        evaluate,
        report,
        export,
        versions,
        serve,
        predict,
        weights,
    ):
        command.add(commands)
    return parser
