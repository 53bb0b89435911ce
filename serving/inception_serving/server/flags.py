"""tensorflow_model_server's command line: its names, its defaults (model_servers/main.cc).

A flag of TF Serving that is not supported is refused by name, as silence about it would be taken
for obedience.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from inception_serving import errors
from inception_serving.server.run import log_to_stderr, run
from inception_serving.startup import load_tensorflow_quietly

_RETRIED = "a version that failed is loaded again as soon as its files change"

# What tensorflow_model_server takes and this server does not, and what to do instead.
_UNSUPPORTED = {
    "allow_version_labels_for_unavailable_models": "",
    "batching_parameters_file": "",
    "enable_batching": "",
    "enable_per_model_batching_parameters": "",
    "enable_profiler": "",
    "enable_signature_method_name_check": "",
    "flush_filesystem_caches": "",
    "grpc_channel_arguments": "",
    "grpc_socket_path": "",
    "load_retry_interval_micros": _RETRIED,
    "max_num_load_retries": _RETRIED,
    "mixed_precision": "",
    "model_config_file": "name one model with --model_name and --model_base_path",
    "model_config_file_poll_wait_seconds": "",
    "monitoring_config_file": "",
    "num_load_threads": "",
    "num_request_iterations_for_warmup": "",
    "num_tflite_interpreters_per_pool": "",
    "num_tflite_pools": "",
    "num_unload_threads": "",
    "per_process_gpu_memory_fraction": "",
    "platform_config_file": "",
    "prefer_tflite_model": "",
    "remove_unused_fields_from_bundle_metagraph": "",
    "rest_api_enable_cors_support": "",
    "saved_model_tags": "the meta graph tagged serve is the one that is served",
    "ssl_config_file": "",
    "tensorflow_inter_op_parallelism": "",
    "tensorflow_intra_op_parallelism": "",
    "tensorflow_session_config_file": "",
    "tensorflow_session_parallelism": "",
    "thread_pool_factory_config_file": "",
    "use_alts_credentials": "",
    "version": "",
    "xla_cpu_compilation_enabled": "",
    "xla_gpu_compilation_enabled": "",
}


def main(arguments: Sequence[str]) -> int:
    """Run the server; 0 after a clean stop, 1 if it could not start, 2 for a wrong flag."""
    parser = _parser()
    options, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        parser.error(_refusal(unknown[0]))
    if not options.model_base_path:
        parser.error("--model_base_path is required: the folder that holds the versions.")
    if options.rest_api_port == options.port != 0:
        # TF Serving logs an error and serves no REST; then nobody reads the log.
        parser.error(f"--rest_api_port and --port are both {options.port}: they must differ.")
    log_to_stderr()
    load_tensorflow_quietly()
    from inception_serving.server.model_server import ModelServer

    server = ModelServer(
        options.model_base_path,
        model_name=options.model_name,
        host=options.host,
        port=options.port,
        rest_port=options.rest_api_port or None,
        poll_s=options.file_system_poll_wait_seconds,
        wait_for_versions=True,
        warmup=options.enable_model_warmup,
        health_service=options.enable_grpc_healthcheck_service,
        tensor_content=options.enable_serialization_as_tensor_content,
        grpc_threads=options.grpc_max_threads,
        rest_threads=options.rest_api_num_threads,
        rest_timeout_s=options.rest_api_timeout_in_ms / 1000,
    )
    try:
        run(server)
    except errors.ServerStartError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inception_serving.server",
        description="Serve a SavedModel as tensorflow_model_server does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every interface")
    add("--port", type=_port, default=8500, help="port of gRPC; 0 takes a free one")
    add("--rest_api_port", type=_port, default=0, help="port of REST; 0 serves no REST")
    add("--rest_api_timeout_in_ms", type=_positive, default=30_000, help="of one REST request")
    add("--rest_api_num_threads", type=_positive, help="REST requests at a time; 4 a processor")
    add("--grpc_max_threads", type=_positive, help="gRPC requests at a time; 4 a processor")
    add("--model_name", default="default", help="what requests call the model")
    add("--model_base_path", help="folder whose children are the model's versions")
    add(
        "--file_system_poll_wait_seconds",
        type=_seconds,
        default=1,
        help="between two looks for new versions; 0 looks once only",
    )
    for name, default, text in (
        ("enable_model_warmup", True, "run each version's warm-up requests first"),
        ("enable_grpc_healthcheck_service", False, "serve grpc.health.v1.Health"),
        ("enable_serialization_as_tensor_content", False, "answer gRPC with tensor_content"),
    ):
        add(f"--{name}", type=_switch, nargs="?", const=True, default=default, help=text)
    return parser


def _refusal(argument: str) -> str:
    name = argument.lstrip("-").partition("=")[0]
    if argument.startswith("--") and name in _UNSUPPORTED:
        instead = _UNSUPPORTED[name]
        return (
            f"--{name} is a flag of tensorflow_model_server that this server does not support"
            + (f": {instead}." if instead else " yet.")
        )
    return f"unknown argument: {argument}. --help lists the flags."


def _switch(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false: received {text!r}")
    return values[text.lower()]


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
_seconds = _whole_number("whole seconds, 0 or more", range(2**31))
