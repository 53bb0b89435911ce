"""The command ``keras-inception``: one parser for all subcommands, one place for their errors."""

from __future__ import annotations

import argparse
import textwrap
import traceback
from collections.abc import Sequence

from inception_serving.commands import bench, metadata, status, verify
from inception_serving.commands.arguments import Command, run_command
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
    tune,
    versions,
    weights,
)
from keras_inception.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0, or 1 after an error, which is told in a line on standard error.
    """
    return run_command(_parser(), arguments, _describe)


def _describe(error: Exception) -> str:
    """The line for an error of a library; ``""`` for any other."""
    if not (isinstance(error, MemoryError) or _is_of_a_library(error)):
        return ""
    message = textwrap.shorten(f"{type(error).__name__}: {error}", 500, placeholder=" ...")
    return f"{message} (--traceback shows where it comes from)"


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
        predict,
        weights,
    ):
        command.add(commands)
    for command in (status, metadata, bench):  # of servers, as `inception-serving` has them
        command.add(commands)
    verify.add(commands, "verify-serving")
    return parser
