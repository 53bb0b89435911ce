"""tensorflow_model_server's command line: its names, its defaults (model_servers/main.cc)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from inception_serving import errors
from inception_serving.server.run import log_to_stderr, run
from inception_serving.server.unsupported_flags import refusal, without_idle_flags
from inception_serving.startup import load_tensorflow_quietly, set_parallelism

if TYPE_CHECKING:
    from inception_serving.server.model_server import ModelServer


def main(arguments: Sequence[str]) -> int:
    """Run the server; 0 after a clean stop, 1 if it could not start, 2 for a wrong flag."""
    parser = _parser()
    options, unknown = parser.parse_known_args(without_idle_flags(arguments))
    if unknown:
        parser.error(refusal(unknown[0]))
    if not options.model_base_path and not options.model_config_file:
        parser.error(
            "--model_base_path (the folder that holds the versions) or --model_config_file is "
            "required."
        )
    if options.rest_api_port == options.port != 0:
        # TF Serving logs an error and serves no REST; then nobody reads the log.
        parser.error(f"--rest_api_port and --port are both {options.port}: they must differ.")
    if options.batching_parameters_file and not options.enable_batching:
        parser.error("--batching_parameters_file is set without setting --enable_batching to true.")
    log_to_stderr()
    load_tensorflow_quietly()
    try:
        run(_server(options))
    except errors.ServingError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr)
        return 1
    return 0


def _server(options: argparse.Namespace) -> ModelServer:
    # Loaded here, so that --help need not wait for TensorFlow.
    from inception_serving.server.config import files
    from inception_serving.server.model_server import ModelServer

    set_parallelism(
        intra_op=options.tensorflow_intra_op_parallelism or options.tensorflow_session_parallelism,
        inter_op=options.tensorflow_inter_op_parallelism or options.tensorflow_session_parallelism,
    )
    tls, metrics_path, batching = None, None, options.enable_batching
    if options.ssl_config_file:
        tls = files.read_tls(options.ssl_config_file)
    if options.monitoring_config_file:
        metrics_path = files.metrics_path(options.monitoring_config_file)
    if options.batching_parameters_file:
        batching = files.read_batching(options.batching_parameters_file)
    return ModelServer(
        # TF Serving reads the file and ignores the other two where all are given.
        None if options.model_config_file else options.model_base_path,
        model_name=options.model_name,
        model_config_file=options.model_config_file or None,
        model_config_poll_s=options.model_config_file_poll_wait_seconds,
        host=options.host,
        port=options.port,
        rest_port=options.rest_api_port or None,
        poll_s=options.file_system_poll_wait_seconds,
        wait_for_versions=True,
        load_threads=options.num_load_threads,
        load_retries=options.max_num_load_retries,
        load_retry_interval_s=max(0, options.load_retry_interval_micros) / 1e6,
        labels_ahead=options.allow_version_labels_for_unavailable_models,
        tags=options.saved_model_tags.split(","),
        warmup_iterations=max(1, options.num_request_iterations_for_warmup),
        check_method=options.enable_signature_method_name_check,
        warmup=options.enable_model_warmup,
        batching=batching,
        per_model_batching=options.enable_per_model_batching_parameters,
        health_service=options.enable_grpc_healthcheck_service,
        reflection=options.enable_grpc_reflection,
        socket_path=options.grpc_socket_path or None,
        tls=tls,
        channel_arguments=options.grpc_channel_arguments,
        tensor_content=options.enable_serialization_as_tensor_content,
        grpc_threads=options.grpc_max_threads,
        rest_threads=options.rest_api_num_threads,
        rest_timeout_s=options.rest_api_timeout_in_ms / 1000,
        page=options.enable_page,
        cors=options.rest_api_enable_cors_support,
        metrics_path=metrics_path,
        max_bytes_in_flight=options.max_bytes_in_flight or None,
        max_image_pixels=options.max_image_pixels,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inception_serving.server",
        usage="%(prog)s --model_base_path=FOLDER [--FLAG=VALUE ...]",
        description="Serve a SavedModel as tensorflow_model_server does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every interface")
    add("--port", type=_port, default=8500, help="port of gRPC; 0 takes a free one")
    add("--grpc_socket_path", default="", help="Unix socket to serve gRPC on too")
    add("--ssl_config_file", help="text SSLConfig: encrypt gRPC; REST never is")
    add(
        "--grpc_channel_arguments",
        type=_channel_arguments,
        default=(),
        help="gRPC's own options, key=value with commas, such as grpc.max_connection_age_ms=2000",
    )
    add("--rest_api_port", type=_port, default=0, help="port of REST; 0 serves no REST")
    add("--rest_api_timeout_in_ms", type=_positive, default=30_000, help="of one REST request")
    add("--rest_api_num_threads", type=_positive, help="REST requests at a time; 4 a processor")
    add("--grpc_max_threads", type=_positive, help="gRPC requests at a time; 4 a processor")
    add("--model_name", default="default", help="what requests call the model")
    add("--model_base_path", help="folder whose children are the model's versions")
    add("--model_config_file", help="text ModelServerConfig: the models, policies and labels")
    add(
        "--model_config_file_poll_wait_seconds",
        type=_whole,
        default=0,
        help="between two looks at that file; 0 looks once only",
    )
    add(
        "--file_system_poll_wait_seconds",
        type=_whole,
        default=1,
        help="between two looks for new versions; 0 looks once only",
    )
    add("--batching_parameters_file", help="text BatchingParameters, for --enable_batching")
    add("--monitoring_config_file", help="text MonitoringConfig: metrics for Prometheus")
    add("--num_load_threads", type=_whole, default=0, help="models that load at a time; 0 is one")
    add(
        "--max_num_load_retries",
        type=_whole,
        default=0,
        help="tries again at once of a version that fails; it is tried when its files change too",
    )
    add(
        "--load_retry_interval_micros",
        type=_number,
        default=60_000_000,
        help="between two of these tries",
    )
    add("--saved_model_tags", default="serve", help="of the meta graph to serve, with commas")
    add(
        "--num_request_iterations_for_warmup",
        type=_number,
        default=1,
        help="how often each warm-up request is run",
    )
    for name, text in (
        ("tensorflow_session_parallelism", "TensorFlow's threads, for both of the next two"),
        ("tensorflow_intra_op_parallelism", "threads within an operation"),
        ("tensorflow_inter_op_parallelism", "operations at a time"),
    ):
        add(f"--{name}", type=_whole, default=0, help=f"{text}; 0 is TensorFlow's choice")
    add(
        "--max_bytes_in_flight",
        type=_whole,
        default=0,
        help="of all requests together; 0 is an eighth of the memory (not in TF Serving)",
    )
    add(
        "--max_image_pixels",
        type=_whole,
        default=1 << 26,
        help="larger images are refused before they are decoded; 0 for none (not in TF Serving)",
    )
    add("--version", action="version", version=_version(), help="show the version and exit")
    for name, default, text in (
        (
            "allow_version_labels_for_unavailable_models",
            False,
            "let a new label name a version that is not loaded yet",
        ),
        ("enable_model_warmup", True, "run each version's warm-up requests first"),
        (
            "enable_signature_method_name_check",
            False,
            "refuse a signature whose method_name is not that of the call",
        ),
        ("enable_batching", False, "run requests of many clients as one batch"),
        (
            "enable_per_model_batching_parameters",
            False,
            "read them from each version's batching_params.pbtxt",
        ),
        ("enable_page", True, "show people a page at / of the REST port (not in TF Serving)"),
        ("rest_api_enable_cors_support", False, "let pages of other origins call the REST API"),
        ("enable_grpc_reflection", False, "serve grpc.reflection (not in TF Serving)"),
        ("enable_grpc_healthcheck_service", False, "serve grpc.health.v1.Health"),
        ("enable_serialization_as_tensor_content", False, "answer gRPC with tensor_content"),
    ):
        add(f"--{name}", type=_switch, nargs="?", const=True, default=default, help=text)
    return parser


def _version() -> str:
    try:
        return f"inception_serving {metadata.version('keras-inception')}"
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "inception_serving"


def _switch(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false: received {text!r}")
    return values[text.lower()]


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    arguments: list[tuple[str, int | str]] = []
    for argument in text.split(",") if text else []:
        key, equals, value = argument.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"expected key=value: received {argument!r}")
        try:
            arguments.append((key, int(value)))
        except ValueError:
            arguments.append((key, value))
    return arguments


def _whole_number(what: str, allowed: range) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = allowed.start - 1
        if value not in allowed:
            raise argparse.ArgumentTypeError(f"expected {what}: received {text!r}")
        return value

    return convert


_port = _whole_number("a port, 0 to 65535", range(65536))
_positive = _whole_number("a whole number, 1 or more", range(1, 2**31))
_number = _whole_number("a whole number", range(-(2**63), 2**63))
_whole = _whole_number("a whole number, 0 or more", range(2**63))
