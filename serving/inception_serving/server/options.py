"""The server's options as data: `ModelServer`, the command lines and the docs are read from them.

This module loads neither TensorFlow nor gRPC, so that `--help` answers at once.
"""

# ruff: noqa: RUF009 (`option` makes a field, of an immutable default)

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inception_serving import errors
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.tls import Tls
from inception_serving.server.fields import (
    ANY_WHOLE,
    BATCHING,
    CHANNEL_ARGUMENTS,
    CHANNEL_ARGUMENTS_TEXT,
    NAMES,
    NO_SUCH_FLAG,
    NOT_NEGATIVE,
    PATH,
    PORT,
    POSITIVE,
    POSITIVE_WHOLE,
    PRECISION,
    SWITCH,
    TEXT,
    TLS,
    WHOLE,
    Flag,
    Option,
    option,
)

_A_PROCESSOR = "4 a processor"
_OWN_CHOICE = "four for each processor, or with batching all, as most wait for their batch"


def _none_if_empty(value: Any) -> Any:
    """A flag's empty text, or its 0, as an option's None."""
    return value or None


# The readers of files are loaded where a file is named: their messages take longer than --help may.


def _read_batching(path: str) -> BatchingParameters:
    from inception_serving.server.config.files import read_batching

    return read_batching(path)


def _read_metrics_path(path: str | None) -> str | None:
    from inception_serving.server.config.files import metrics_path

    return metrics_path(path) if path else None


def _read_tls(path: str | None) -> Tls | None:
    from inception_serving.server.config.files import read_tls

    return read_tls(path) if path else None


@dataclass(frozen=True)
class ServerOptions:
    """How models are served, wherever they come from.

    Flat, units in the names. Every option's meaning stands beside it, with what it may be and the
    flag of `python -m inception_serving.server` that stands for it.

    Raises:
        errors.OptionError: an option breaks its rule.
    """

    # The models
    model_name: str | None = option(
        None,
        "serve the one folder as a model of this name",
        TEXT,
        none="every model below the folder; or, where it holds versions itself, one by its name",
        flag=Flag("model_name", TEXT, "default", doc="what requests call the model"),
    )
    model_config_file: str | os.PathLike[str] | None = option(
        None,
        "text ModelServerConfig: the models, with version policies and labels",
        PATH,
        none="the models come from a folder",
        flag=Flag("model_config_file", TEXT, None, _none_if_empty),
    )
    model_config_poll_s: float = option(
        0.0,
        "time between two readings of the model config file; 0 reads it once only",
        NOT_NEGATIVE,
        unit="s",
        flag=Flag("model_config_file_poll_wait_seconds", WHOLE, 0),
    )
    num_versions: int | None = option(
        1,
        "how many of each model's latest versions are served at a time, unless the config file"
        " says otherwise",
        POSITIVE_WHOLE,
        none="all of them",
    )
    labels_ahead: bool = option(
        False,
        "let a new label name a version that is not loaded yet",
        SWITCH,
        flag=Flag("allow_version_labels_for_unavailable_models", SWITCH, False),
    )
    tags: Sequence[str] = option(
        ("serve",),
        "tags of the meta graph to serve",
        NAMES,
        flag=Flag(
            "saved_model_tags", NAMES, "serve", doc="tags of the meta graph to serve, with commas"
        ),
    )

    # Loading
    poll_s: float = option(
        1.0,
        "time between two searches for new versions; 0 searches once only",
        NOT_NEGATIVE,
        unit="s",
        flag=Flag("file_system_poll_wait_seconds", WHOLE, 1),
    )
    wait_for_versions: bool = option(
        False,
        "where there is no version yet, wait for one rather than fail; with flags it always waits",
        SWITCH,
    )
    load_threads: int = option(
        0,
        "how many models load at a time; 0 is one",
        WHOLE,
        flag=Flag("num_load_threads", WHOLE, 0),
    )
    load_retries: int = option(
        0,
        "how often a version that does not load is tried again at once; it is in any case tried"
        " again when its files change",
        WHOLE,
        flag=Flag("max_num_load_retries", WHOLE, 0, tf_serving="5"),
    )
    load_retry_interval_s: float = option(
        60.0,
        "time between two tries to load a version",
        NOT_NEGATIVE,
        unit="s",
        flag=Flag(
            "load_retry_interval_micros",
            ANY_WHOLE,
            60_000_000,
            lambda micros: max(0, micros) / 1e6,
            doc="microseconds between two tries to load a version",
        ),
    )
    warmup: bool = option(
        True,
        "make the graphs of each version's signatures, and run the requests in its warm-up file, "
        "before it answers",
        SWITCH,
        flag=Flag("enable_model_warmup", SWITCH, True),
    )
    warmup_iterations: int = option(
        1,
        "how often each warm-up request is run",
        WHOLE,
        flag=Flag(
            "num_request_iterations_for_warmup",
            ANY_WHOLE,
            1,
            lambda iterations: max(1, iterations),
            tf_serving="0, which is once too",
        ),
    )

    reload_config: bool = option(
        True,
        "let callers have other models served, with HandleReloadConfigRequest",
        SWITCH,
        flag=Flag("enable_reload_config", SWITCH, True, tf_serving=NO_SUCH_FLAG),
    )

    mixed_precision: str | None = option(
        None,
        "compute in bfloat16 what gains by it on this processor, whatever the models' own dtypes",
        PRECISION,
        none="as the models were exported",
        flag=Flag("mixed_precision", TEXT, "", _none_if_empty),
    )

    # Answers
    check_method: bool = option(
        False,
        "refuse a signature whose method_name is not that of the call",
        SWITCH,
        flag=Flag("enable_signature_method_name_check", SWITCH, False),
    )
    tensor_content: bool = option(
        False,
        "answer gRPC with `tensor_content`, which is faster to write and to read, where TF Serving"
        " answers with `float_val` and the like",
        SWITCH,
        flag=Flag("enable_serialization_as_tensor_content", SWITCH, False),
    )
    batching: bool | BatchingParameters = option(
        False,
        "run requests of many clients as one batch, with these parameters or the default ones",
        BATCHING,
        flag=Flag(
            "enable_batching", SWITCH, False, doc="run requests of many clients as one batch"
        ),
        file_flag=Flag(
            "batching_parameters_file",
            TEXT,
            None,
            _read_batching,
            doc="text BatchingParameters, for --enable_batching",
        ),
    )
    per_model_batching: bool = option(
        False,
        "read the parameters of batching from each version's batching_params.pbtxt; a version"
        " without one is not batched",
        SWITCH,
        flag=Flag("enable_per_model_batching_parameters", SWITCH, False),
    )

    # gRPC
    host: str = option(
        "127.0.0.1",
        "address to listen on; 0.0.0.0 for every interface",
        TEXT,
        flag=Flag("host", TEXT, "127.0.0.1", tf_serving=NO_SUCH_FLAG),
    )
    port: int = option(0, "port of gRPC; 0 takes a free one", PORT, flag=Flag("port", PORT, 8500))
    socket_path: str | os.PathLike[str] | None = option(
        None,
        "Unix socket to serve gRPC on too, never encrypted",
        PATH,
        none="no socket",
        flag=Flag("grpc_socket_path", TEXT, "", _none_if_empty),
    )
    tls: Tls | None = option(
        None,
        "keys and certificates that encrypt gRPC; REST is never encrypted",
        TLS,
        none="no encryption",
        file_flag=Flag(
            "ssl_config_file",
            TEXT,
            None,
            _read_tls,
            doc="text SSLConfig: encrypt gRPC; REST is never encrypted",
        ),
    )
    channel_arguments: Sequence[tuple[str, int | str]] = option(
        (),
        "gRPC's own options, such as ('grpc.max_connection_age_ms', 2000)",
        CHANNEL_ARGUMENTS,
        flag=Flag(
            "grpc_channel_arguments",
            CHANNEL_ARGUMENTS_TEXT,
            "",
            doc="gRPC's own options, key=value with commas, such as"
            " grpc.max_connection_age_ms=2000",
        ),
    )
    grpc_threads: int | None = option(
        None,
        "how many gRPC requests are worked on at a time",
        POSITIVE_WHOLE,
        none=_OWN_CHOICE,
        flag=Flag("grpc_max_threads", POSITIVE_WHOLE, None, tf_serving=_A_PROCESSOR),
    )
    refuse_when_busy: bool = option(
        False,
        "refuse a gRPC request that finds none of `grpc_threads` free, as TF Serving does, rather"
        " than let it wait",
        SWITCH,
        flag=Flag("refuse_when_busy", SWITCH, False, tf_serving=NO_SUCH_FLAG),
    )
    health_service: bool = option(
        False,
        "also serve grpc.health.v1.Health",
        SWITCH,
        flag=Flag("enable_grpc_healthcheck_service", SWITCH, False),
    )
    reflection: bool = option(
        False,
        "also serve grpc.reflection, for grpcurl and its like",
        SWITCH,
        flag=Flag("enable_grpc_reflection", SWITCH, False, tf_serving=NO_SUCH_FLAG),
    )

    # REST
    rest_port: int | None = option(
        None,
        "port of REST; 0 takes a free one",
        PORT,
        none="no REST",
        flag=Flag("rest_api_port", PORT, 0, _none_if_empty, doc="port of REST; 0 serves no REST"),
    )
    rest_required: bool = option(
        True,
        "fail where the port of REST is taken, rather than serve without REST; with flags it never"
        " fails for that",
        SWITCH,
    )
    rest_threads: int | None = option(
        None,
        "how many REST requests are worked on at a time",
        POSITIVE_WHOLE,
        none=_OWN_CHOICE,
        flag=Flag("rest_api_num_threads", POSITIVE_WHOLE, None, tf_serving=_A_PROCESSOR),
    )
    rest_timeout_s: float = option(
        30.0,
        "how long a REST request may take",
        POSITIVE,
        unit="s",
        flag=Flag(
            "rest_api_timeout_in_ms",
            POSITIVE_WHOLE,
            30_000,
            lambda milliseconds: milliseconds / 1000,
            doc="how many milliseconds a REST request may take",
        ),
    )
    cors: bool = option(
        False,
        "let web pages of other origins call the REST API",
        SWITCH,
        flag=Flag("rest_api_enable_cors_support", SWITCH, False),
    )
    allowed_hosts: Sequence[str] = option(
        (),
        "names, beside localhost, that REST answers to where it listens on this machine only, such"
        " as a tunnel's",
        NAMES,
        flag=Flag(
            "allowed_hosts",
            NAMES,
            "",
            lambda names: tuple(name for name in names if name),
            doc="names, with commas, beside localhost, that REST answers to where it listens on"
            " this machine only",
            tf_serving=NO_SUCH_FLAG,
        ),
    )
    page: bool = option(
        True,
        "show people a page at / of the REST port",
        SWITCH,
        flag=Flag("enable_page", SWITCH, True, tf_serving=NO_SUCH_FLAG),
    )
    metrics_path: str | None = option(
        None,
        "path where REST shows Prometheus's metrics",
        TEXT,
        none="nowhere",
        file_flag=Flag(
            "monitoring_config_file",
            TEXT,
            None,
            _read_metrics_path,
            doc="text MonitoringConfig: show Prometheus's metrics",
        ),
    )

    # Limits
    max_bytes_in_flight: int | None = option(
        None,
        "what all requests in flight may hold; a request may have half of what the others leave",
        WHOLE,
        none="a sixteenth of the memory, at most 128 MiB",
        unit="bytes",
        flag=Flag(
            "max_bytes_in_flight",
            WHOLE,
            0,
            _none_if_empty,
            doc="bytes that all requests in flight may hold, of which one may have half; 0 is a"
            " sixteenth of the memory, at most 128 MiB",
            tf_serving=NO_SUCH_FLAG,
        ),
    )
    max_bytes_in_work: int | None = option(
        None,
        "memory that all runs of models may take at a time, as their inputs let it be known; one"
        " may have half",
        WHOLE,
        none="a quarter of the memory, at most 768 MiB",
        unit="bytes",
        flag=Flag(
            "max_bytes_in_work",
            WHOLE,
            0,
            _none_if_empty,
            doc="bytes of memory that all runs of models may take, of which one may have half; 0 is"
            " a quarter of the memory, at most 768 MiB",
            tf_serving=NO_SUCH_FLAG,
        ),
    )
    max_image_pixels: int = option(
        1 << 26,
        "an encoded image with more pixels is refused before it is decoded; 0 for no limit",
        WHOLE,
        unit="pixels",
        flag=Flag("max_image_pixels", WHOLE, 1 << 26, tf_serving=NO_SUCH_FLAG),
    )
    grace_s: float = option(
        30.0,
        "how long requests in flight may take to finish when the server stops",
        NOT_NEGATIVE,
        unit="s",
    )

    def __post_init__(self) -> None:
        for name, described in describe().items():
            described.check(name, getattr(self, name))
        if self.rest_port and self.rest_port == self.port:
            raise errors.OptionError(
                f"`rest_port` and `port` must differ. Received: {self.port} for both"
            )

    def with_changes(self, changes: Mapping[str, Any]) -> ServerOptions:
        """These options with other values for some, by name.

        Raises:
            TypeError: there is no such option; the text has the nearest.
            errors.OptionError: a value breaks its rule.
        """
        known = list(describe())
        for name in changes:
            if name not in known:
                raise TypeError(
                    f"There is no option {name!r} of a server.{errors.nearest(name, known)} "
                    f"The options are: {', '.join(known)}."
                )
        return dataclasses.replace(self, **changes)


def describe() -> dict[str, Option]:
    """Each option's meaning, rule and flags, by its name, in the order above."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(ServerOptions)}


# What `serve` and `keras-inception serve` begin with: a server for people, where they look for it.
SERVE_DEFAULTS = ServerOptions(port=8500, rest_port=8501, reload_config=False)
