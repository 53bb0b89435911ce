"""Subcommands as they are declared and run, and the kinds of their arguments."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from inception_serving.errors import ServingError, nearest
from inception_serving.text import one_line

ADDRESS = "the server's gRPC, or http://HOST:PORT for REST"


class Command(argparse.ArgumentParser):
    """A subcommand's parser, which refuses an unknown option itself, with the nearest it knows.

    argparse's own leaves that to the main parser, which knows no option. And it says what is wrong
    in a line, where argparse's own has the usage before it, pages where there are many options.
    """

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where to read what would be right; end with code 2."""
        self.exit(2, f"{self.prog}: {message}\nAll that it takes: {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = re.findall(r"--[\w-]+", self.format_usage())
            hint = nearest(unknown[0].split("=")[0], known)
            self.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")
        return parsed, unknown


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    more: str = "",
) -> argparse.ArgumentParser:
    """Declare a subcommand that ``run`` does; ``about`` is its line in the list of commands."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}. {more}".strip()
    )
    command.add_argument("--traceback", action="store_true", help="show where an error comes from")
    command.set_defaults(run=run)
    return command


def run_command(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    describe: Callable[[Exception], str] = lambda error: "",
) -> int:
    """Run the subcommand that the arguments name.

    Args:
        parser: its subcommands are those of :func:`add_command`, as ``subcommand``.
        arguments: of the command line, by default of this process.
        describe: the line for an error that is a library's, and ``""`` for any other.

    Returns:
        The exit code: 0, or 1 after an error, which is told in a line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name need not be text
            stream.reconfigure(errors="backslashreplace")
    options = parser.parse_args(arguments)
    options.prog = f"{parser.prog} {options.subcommand}"
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
    except Exception as error:
        # Wrong values, files, addresses and models; anything else is our mistake and shows in full.
        ours = isinstance(error, ValueError | OSError | ServingError)
        message = _words(error) if ours else describe(error)
        if options.traceback or not message:
            raise
        print(f"{options.prog}: {one_line(message)}", file=sys.stderr)
        return 1


def _words(error: Exception) -> str:
    """An error's message; of one of the system's without its number."""
    if isinstance(error, OSError) and error.strerror:
        file = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{file}{error.strerror}"
    # A server's own words may have lines.
    text = " ".join(str(error).split()) if isinstance(error, ServingError) else str(error)
    return text or type(error).__name__


def add_connection(command: argparse.ArgumentParser, note: str = "") -> None:
    """Let a subcommand that calls a server take the options of the connection.

    Args:
        note: when they count, where that is not always.
    """
    group = command.add_argument_group("connection", note or None)
    group.add_argument(
        "--timeout",
        dest="timeout_s",
        type=seconds,
        default=60.0,
        metavar="S",
        help="how long a request may take, in seconds (%(default)g)",
    )
    group.add_argument("--tls", action="store_true", help="encrypt, with the system's authorities")
    for name, about in (
        ("--root-certificates", "encrypt, with these authorities instead: a PEM file"),
        ("--client-key", "the client's own key, for a server that asks for one: a PEM file"),
        ("--client-certificate", "and its certificate"),
    ):
        group.add_argument(name, metavar="FILE", help=about)


def connection(options: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`add_connection`, as ``inception_serving.Client`` takes them."""
    names = ("timeout_s", "tls", "root_certificates", "client_key", "client_certificate")
    return {name: getattr(options, name) for name in names}


def add_version(command: argparse.ArgumentParser) -> None:
    """Let a subcommand ask one version of a model."""
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--version", type=positive, metavar="N", help="ask this version, not the latest"
    )
    which.add_argument("--label", metavar="NAME", help="ask the version of this label")


def seconds(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time above 0, in seconds")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def score(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no score, from 0 to 1")
    return value


def output_file(text: str) -> str:
    """A file that can be written, tried before the work whose result goes there."""
    path = Path(text)
    try:
        if not text or path.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is no file")
        if not path.exists():
            path.touch()
            path.unlink()
        elif not os.access(path, os.W_OK):
            raise PermissionError(0, "no right to write it")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(
            f"{text!r} can't be written: {why}; is its folder there, and may you write to it?"
        ) from error
    return text
