"""The command ``keras-inception``: one parser for all subcommands, one place for their errors."""

from __future__ import annotations

import argparse
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence

from inception_serving.errors import ServingError
from keras_inception.commands import (
    augment_preview,
    bench,
    data,
    evaluate,
    export,
    networks,
    predict,
    report,
    serve,
    status,
    train,
    tune,
    verify_serving,
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
        print(f"keras-inception {options.subcommand}: {_words(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if options.traceback or not (isinstance(error, MemoryError) or _is_of_a_library(error)):
            raise
        message = textwrap.shorten(f"{type(error).__name__}: {error}", 500, placeholder=" ...")
        where = "(--traceback shows where it comes from)"
        print(f"keras-inception {options.subcommand}: {message} {where}", file=sys.stderr)
        return 1


def _words(error: Exception) -> str:
    """An error's message; of one of the system's without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _is_of_a_library(error: Exception) -> bool:
    """Whether Keras, TensorFlow or what reads their files refused something.

    It is of a kind of theirs, or raised in their code, whatever its kind.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    modules = (type(error).__module__, frame.f_globals.get("__name__", ""))
    return any(name.split(".")[0] in _LIBRARIES for name in modules)


_LIBRARIES = ("keras", "tensorflow", "google", "h5py", "jax", "jaxlib")


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
        tune,
        evaluate,
        report,
        export,
        versions,
        serve,
        status,
        verify_serving,
        bench,
        predict,
        weights,
    ):
        command.add(commands)
    return parser
