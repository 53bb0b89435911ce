"""Flags of tensorflow_model_server that this server does not support.

They are refused by name, as silence about one would be taken for obedience.
"""

from __future__ import annotations

from collections.abc import Sequence

_NO_TFLITE = "no TFLite model is served"
# The values that ask for what is done anyway, and so are accepted, and what to do instead of the
# others.
_UNSUPPORTED: dict[str, tuple[tuple[str, ...], str]] = {
    "enable_profiler": (("false",), "there is no profiler service"),
    # Both keep memory or page caches small in the C++ server, and change no answer.
    "flush_filesystem_caches": (("true", "false"), ""),
    "remove_unused_fields_from_bundle_metagraph": (("true", "false"), ""),
    "num_tflite_interpreters_per_pool": ((), _NO_TFLITE),
    "num_tflite_pools": ((), _NO_TFLITE),
    "num_unload_threads": (("0",), "an old version unloads with its last request"),
    "per_process_gpu_memory_fraction": (
        ("0", "0.0"),
        "the environment variable TF_FORCE_GPU_ALLOW_GROWTH=true leaves memory to others",
    ),
    "platform_config_file": (
        ("",),
        "--enable_batching and --batching_parameters_file say how requests are batched",
    ),
    "prefer_tflite_model": (("false",), _NO_TFLITE),
    "skip_initialize_tpu": (("true", "false"), ""),
    "tensorflow_session_config_file": (
        ("",),
        "--tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism set the threads, "
        "and the environment variable TF_FORCE_GPU_ALLOW_GROWTH=true is allow_growth",
    ),
    "thread_pool_factory_config_file": (
        ("",),
        "--tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism set the threads",
    ),
    "use_alts_credentials": (("false",), "--ssl_config_file encrypts gRPC"),
    # A function that its model compiles with XLA is compiled, be it allowed or not.
    "xla_cpu_compilation_enabled": (("true", "false"), ""),
    "xla_gpu_compilation_enabled": (("true", "false"), ""),
}


def without_idle_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that ask for what is done here anyway."""

    def is_idle(argument: str) -> bool:
        name, equals, value = argument.removeprefix("--").partition("=")
        values, _ = _UNSUPPORTED.get(name, ((), ""))
        return argument.startswith("--") and (value.lower() if equals else "true") in values

    return [argument for argument in arguments if not is_idle(argument)]


def refusal(argument: str) -> str:
    """The text of the error for an argument that is none of the parser's."""
    name = argument.lstrip("-").partition("=")[0]
    if argument.startswith("--") and name in _UNSUPPORTED:
        _, instead = _UNSUPPORTED[name]
        return (
            f"--{name} is a flag of tensorflow_model_server that this server does not support"
            + (f": {instead}." if instead else ".")
        )
    return f"unknown argument: {argument}. --help lists the flags."
