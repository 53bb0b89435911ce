"""TF Serving's configuration files, text protos all, as this server's own types."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from inception_serving import errors, messages
from inception_serving.server.config import protos
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.model_config import (
    PLATFORM,
    ModelConfig,
    check_base_path,
)
from inception_serving.server.config.tls import Tls
from inception_serving.server.metrics import METRICS_PATH

_log = logging.getLogger(__name__)


def read_text_proto(path: str | os.PathLike[str], message: Any) -> Any:
    """Parse a file into a message, and return the message.

    Raises:
        errors.InvalidArgumentError: the file cannot be read, or is no such message; the text has
            the place.
    """
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except text_format.ParseError as error:
        raise errors.InvalidArgumentError(
            f"Invalid protobuf file: '{path}': Error parsing text-format "
            f"{message.DESCRIPTOR.full_name}: {error}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidArgumentError(f"{path} cannot be read: {error}") from error
    return message


def read_models(path: str | os.PathLike[str]) -> list[ModelConfig]:
    """The models of a `--model_config_file`.

    Raises:
        errors.InvalidArgumentError: the file cannot be read, or a model in it makes no sense.
    """
    config = read_text_proto(path, messages.ModelServerConfig())
    if config.WhichOneof("config") != "model_config_list":
        raise errors.InvalidArgumentError(
            f"{path}: expected a model_config_list, and custom_model_config is not supported."
        )
    return model_list(config.model_config_list)


class ConfigFile:
    """A `--model_config_file`: called, it reads the models; and it can be followed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._models: list[ModelConfig] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self) -> list[ModelConfig]:
        """The models, as the file was when it was first read.

        Raises:
            errors.InvalidArgumentError: the file cannot be read, or a model makes no sense.
        """
        if self._models is None:
            self._models = read_models(self._path)
        return self._models

    def follow(
        self, reload: Callable[[Sequence[ModelConfig], Callable[[], bool]], None], poll_s: float
    ) -> None:
        """Read the file every `poll_s` seconds, 0 for never, and hand its models to `reload`.

        A file that cannot be read, or is refused, is complained of, and changes nothing.
        """
        if poll_s > 0:
            self._thread = threading.Thread(
                target=self._follow, args=(reload, poll_s), name="config-poller", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(
        self, reload: Callable[[Sequence[ModelConfig], Callable[[], bool]], None], poll_s: float
    ) -> None:
        complaint = ""
        while not self._stopping.wait(poll_s):
            try:
                reload(read_models(self._path), lambda: False)
                complaint = ""
            except errors.StatusError as error:
                if str(error) != complaint:  # once, not at every poll
                    complaint = str(error)
                    _log.error("The model config file changes nothing: %s", error)


def model_list(configs: Any) -> list[ModelConfig]:
    """A ModelConfigList, checked (model_servers/server_core.cc, ValidateModelConfigList).

    Raises:
        errors.InvalidArgumentError: a model named twice, a path or a platform that will not do.
    """
    names: set[str] = set()
    for config in configs.config:
        if config.name in names:
            raise errors.InvalidArgumentError(
                f"Illegal to list model {config.name} multiple times in config list"
            )
        names.add(config.name)
    for config in configs.config:
        check_base_path(config.name, config.base_path)
    return [_model(config) for config in configs.config]


def _model(config: Any) -> ModelConfig:
    platform = config.model_platform
    if config.model_type:  # deprecated; 1 is ModelType.TENSORFLOW
        if platform:
            raise errors.InvalidArgumentError(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                f"ModelServerConfig::model_platform, model name is {config.name}"
            )
        if config.model_type != 1:
            raise errors.InvalidArgumentError(
                f"ModelServerConfig::model_type choice {config.model_type} not supported."
            )
        platform = PLATFORM
    if not platform:
        raise errors.InvalidArgumentError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {config.name}"
        )
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    return ModelConfig(
        config.name,
        Path(config.base_path),
        # sources/storage_path/file_system_storage_path_source.cc: the latest one by default
        num_versions=None if choice == "all" else max(1, policy.latest.num_versions),
        versions=tuple(policy.specific.versions) if choice == "specific" else None,
        labels=dict(config.version_labels),
        platform=platform,
        logs_requests=config.HasField("logging_config"),
    )


def metrics_path(path: str | os.PathLike[str]) -> str | None:
    """Where a `--monitoring_config_file` wants Prometheus's metrics; None for nowhere.

    Raises:
        errors.InvalidArgumentError: the file cannot be read.
    """
    config = read_text_proto(path, protos.MonitoringConfig()).prometheus_config
    return (config.path or METRICS_PATH) if config.enable else None


def read_batching(path: str | os.PathLike[str]) -> BatchingParameters:
    """The parameters in a `--batching_parameters_file`, or a version's batching_params.pbtxt.

    Raises:
        errors.InvalidArgumentError: the file cannot be read, or the parameters make no sense.
    """
    message = read_text_proto(path, protos.BatchingParameters())
    given = {
        field.name: value.value if hasattr(value, "value") else value
        for field, value in message.ListFields()
    }
    given["allowed_batch_sizes"] = tuple(given.get("allowed_batch_sizes", ()))
    # tensorflow's shared_batch_scheduler.h has another default than a server without a file.
    return BatchingParameters(**{"thread_pool_name": "batch_threads", **given})


def read_tls(path: str | os.PathLike[str]) -> Tls:
    """The keys and certificates in an `--ssl_config_file`.

    Raises:
        errors.InvalidArgumentError: the file cannot be read.
    """
    message = read_text_proto(path, protos.SSLConfig())
    return Tls(
        message.server_key.encode(),
        message.server_cert.encode(),
        message.custom_ca.encode() or None,
        message.client_verify,
    )
