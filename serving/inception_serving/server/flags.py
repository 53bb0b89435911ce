"""tensorflow_model_server's command line: its names, its defaults (model_servers/main.cc)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inception_serving import errors
from inception_serving.server.config.model_config import check_base_path
from inception_serving.server.fields import NO_SUCH_FLAG, SWITCH, TEXT, WHOLE, Flag
from inception_serving.server.options import ServerOptions, describe
from inception_serving.server.run import log_to_stderr, run
from inception_serving.server.startup import load_tensorflow_quietly, set_parallelism
from inception_serving.server.unsupported_flags import refusal, without_idle_flags
from inception_serving.version import __version__

if TYPE_CHECKING:
    from inception_serving.server.model_server import ModelServer

FAILED = 255  # the exit code of a start that failed

# What stands for no option of a server: which folder, and TensorFlow's threads, which all servers
# of a process share.
_PARALLELISM = (
    Flag(
        "tensorflow_session_parallelism",
        WHOLE,
        0,
        doc="threads within an operation, and operations at a time; 0 is TensorFlow's choice",
    ),
    Flag(
        "tensorflow_intra_op_parallelism",
        WHOLE,
        0,
        doc="threads within an operation; 0 is TensorFlow's choice",
    ),
    Flag(
        "tensorflow_inter_op_parallelism",
        WHOLE,
        0,
        doc="operations at a time; 0 is TensorFlow's choice",
    ),
)
_OTHER_FLAGS = (
    Flag("model_base_path", TEXT, None, doc="folder whose children are the model's versions"),
    *_PARALLELISM,
)


def main(arguments: Sequence[str]) -> int:
    """Run the server; 0 after a clean stop, 255 if it could not start, 2 for a wrong flag."""
    parser = build_parser()
    known, unknown = parser.parse_known_args(without_idle_flags(arguments))
    if unknown:
        parser.error(refusal(unknown[0]))
    given = vars(known)
    if given["rest_api_port"] == given["port"] != 0:
        # TF Serving logs an error and serves no REST; then nobody reads the log.
        parser.error(f"--rest_api_port and --port are both {given['port']}: they must differ.")
    log_to_stderr()
    try:
        check_flags(given)
        load_tensorflow_quietly()
        run(_server(given))
    except errors.ServingError as error:
        print(f"Failed to start server. Error: {_with_code(error)}", file=sys.stderr)
        return FAILED
    except ModuleNotFoundError as error:  # where there is nothing but the client
        print(
            f"Failed to start server. Error: {error.name} is not installed: pip install"
            " 'inception-serving[server]'",
            file=sys.stderr,
        )
        return FAILED
    return 0


def check_flags(given: Mapping[str, Any]) -> None:
    """Refuse flags that contradict each other (model_servers/server.cc, BuildAndStart).

    Raises:
        errors.InvalidArgumentError: they do, in TF Serving's words.
    """
    if not given["model_base_path"] and not given["model_config_file"]:
        raise errors.InvalidArgumentError(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if given["batching_parameters_file"] and not given["enable_batching"]:
        raise errors.InvalidArgumentError(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    if all(given[flag.name] for flag in _PARALLELISM):
        raise errors.InvalidArgumentError(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
        )
    if not given["model_config_file"]:
        check_base_path(given["model_name"], given["model_base_path"])


def _with_code(error: errors.ServingError) -> str:
    """An error's text behind the name of its status code, where it has one."""
    status = error if isinstance(error, errors.StatusError) else error.__cause__
    if isinstance(status, errors.StatusError):
        return f"{errors.code_name(status)}: {error}"
    return str(error)


def options_from_flags(given: Mapping[str, Any]) -> ServerOptions:
    """The options that flags stand for.

    Args:
        given: every flag's value by its name.

    Raises:
        errors.InvalidArgumentError: a file that a flag names cannot be read, or makes no sense.
    """
    changes = {}
    for name, option in describe().items():
        for flag in option.flags:
            value = given[flag.name]
            if value or flag is option.flags[0]:  # a file that is given counts, and not the switch
                changes[name] = flag.convert(value)
    # As TF Serving: it can be started before its models are there, and does without REST.
    return ServerOptions(wait_for_versions=True, rest_required=False).with_changes(changes)


def _server(given: Mapping[str, Any]) -> ModelServer:
    # Loaded here, so that --help need not wait for TensorFlow.
    from inception_serving.server.model_server import ModelServer

    intra_op, inter_op = (given[flag.name] for flag in _PARALLELISM[1:])
    if not intra_op and not inter_op:
        intra_op = inter_op = given["tensorflow_session_parallelism"]
    set_parallelism(intra_op=intra_op, inter_op=inter_op)
    # TF Serving reads the config file and ignores the folder and the name where all are given.
    base_path = None if given["model_config_file"] else given["model_base_path"]
    return ModelServer(base_path, options=options_from_flags(given))


def build_parser() -> argparse.ArgumentParser:
    """The parser of every flag: those of the options, and those beside them."""
    parser = argparse.ArgumentParser(
        prog="python -m inception_serving.server",
        usage="%(prog)s --model_base_path=FOLDER [--FLAG=VALUE ...]",
        description="Serve a SavedModel as tensorflow_model_server does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"inception_serving {__version__}",
        help="show the version and exit",
    )
    for flag in _OTHER_FLAGS:
        _add(parser, flag, flag.doc)
    for option in describe().values():
        for flag in option.flags:
            _add(parser, flag, flag.doc or option.doc)
    return parser


def _add(parser: argparse.ArgumentParser, flag: Flag, doc: str) -> None:
    note = " (not in TF Serving)" if flag.tf_serving == NO_SUCH_FLAG else ""
    alone: dict[str, Any] = {"nargs": "?", "const": True} if flag.kind is SWITCH else {}
    parser.add_argument(
        f"--{flag.name}", type=flag.kind.argument, default=flag.default, help=doc + note, **alone
    )
