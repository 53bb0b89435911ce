"""The options of the server, and what is read from them: flags, `ModelServer`, docs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from inception_serving import ModelServer, OptionError, ServerOptions, ServerStartError, serve
from inception_serving.server import flags
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.tls import Tls
from inception_serving.server.options import SERVE_DEFAULTS, describe
from inception_serving.server.options_table import options_table
from tests.serving.test_command import DEFAULTS, REFUSED

README = Path(__file__).parents[2] / "serving" / "README.md"

# What each option of ModelServer was before it had a class of its own; they go on to work.
BEFORE: dict[str, Any] = {
    "model_name": None,
    "model_config_file": None,
    "model_config_poll_s": 0.0,
    "host": "127.0.0.1",
    "port": 0,
    "rest_port": None,
    "num_versions": 1,
    "poll_s": 1.0,
    "wait_for_versions": False,
    "load_threads": 0,
    "load_retries": 0,
    "load_retry_interval_s": 60.0,
    "labels_ahead": False,
    "tags": ("serve",),
    "warmup": True,
    "warmup_iterations": 1,
    "check_method": False,
    "batching": False,
    "per_model_batching": False,
    "health_service": False,
    "reflection": False,
    "socket_path": None,
    "tls": None,
    "channel_arguments": (),
    "tensor_content": False,
    "grpc_threads": None,
    "rest_threads": None,
    "rest_timeout_s": 30.0,
    "page": True,
    "cors": False,
    "metrics_path": None,
    "max_bytes_in_flight": None,
    "max_image_pixels": 1 << 26,
    "grace_s": 30.0,
    # And what has been added since.
    "mixed_precision": None,
    "reload_config": True,
    "refuse_when_busy": False,
    "rest_required": True,
    "allowed_hosts": (),
    "max_bytes_in_work": None,
}
# Each flag with a value of its own, and the option that it makes.
FLAGS: dict[str, tuple[str, str, Any]] = {
    "model_name": ("flowers", "model_name", "flowers"),
    "model_config_file": ("models.config", "model_config_file", "models.config"),
    "model_config_file_poll_wait_seconds": ("7", "model_config_poll_s", 7),
    "allow_version_labels_for_unavailable_models": ("true", "labels_ahead", True),
    "saved_model_tags": ("serve,gpu", "tags", ("serve", "gpu")),
    "file_system_poll_wait_seconds": ("0", "poll_s", 0),
    "num_load_threads": ("3", "load_threads", 3),
    "max_num_load_retries": ("5", "load_retries", 5),
    "load_retry_interval_micros": ("1500000", "load_retry_interval_s", 1.5),
    "enable_model_warmup": ("false", "warmup", False),
    "num_request_iterations_for_warmup": ("4", "warmup_iterations", 4),
    "enable_signature_method_name_check": ("1", "check_method", True),
    "enable_serialization_as_tensor_content": ("true", "tensor_content", True),
    "enable_batching": ("true", "batching", True),
    "batching_parameters_file": (
        "{folder}/batching",
        "batching",
        BatchingParameters(max_batch_size=8, thread_pool_name="batch_threads"),
    ),
    "enable_per_model_batching_parameters": ("True", "per_model_batching", True),
    "host": ("0.0.0.0", "host", "0.0.0.0"),
    "port": ("9000", "port", 9000),
    "grpc_socket_path": ("/tmp/socket", "socket_path", "/tmp/socket"),
    "ssl_config_file": ("{folder}/ssl", "tls", Tls(b"key", b"certificate")),
    "grpc_channel_arguments": (
        "grpc.max_connection_age_ms=2000,grpc.lb=first",
        "channel_arguments",
        (("grpc.max_connection_age_ms", 2000), ("grpc.lb", "first")),
    ),
    "grpc_max_threads": ("2", "grpc_threads", 2),
    "enable_grpc_healthcheck_service": ("true", "health_service", True),
    "enable_grpc_reflection": ("true", "reflection", True),
    "rest_api_port": ("9001", "rest_port", 9001),
    "rest_api_num_threads": ("5", "rest_threads", 5),
    "rest_api_timeout_in_ms": ("250", "rest_timeout_s", 0.25),
    "rest_api_enable_cors_support": ("true", "cors", True),
    "enable_page": ("false", "page", False),
    "monitoring_config_file": ("{folder}/monitoring", "metrics_path", "/metrics"),
    "max_bytes_in_flight": ("1000", "max_bytes_in_flight", 1000),
    "max_image_pixels": ("99", "max_image_pixels", 99),
    "mixed_precision": ("bfloat16", "mixed_precision", "bfloat16"),
    "enable_reload_config": ("false", "reload_config", False),
    "refuse_when_busy": ("true", "refuse_when_busy", True),
    "allowed_hosts": ("a,b", "allowed_hosts", ("a", "b")),
    "max_bytes_in_work": ("2000", "max_bytes_in_work", 2000),
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ModelServer]:
    """The servers that `flags.main` would run."""
    servers: list[ModelServer] = []
    monkeypatch.setattr(flags, "run", servers.append)
    return servers


def differences(options: ServerOptions, other: ServerOptions) -> dict[str, Any]:
    return {
        name: getattr(options, name)
        for name in describe()
        if getattr(options, name) != getattr(other, name)
    }


class TestOptions:
    def test_names_and_defaults_are_as_ever(self) -> None:
        defaults = ServerOptions()

        assert {name: getattr(defaults, name) for name in describe()} == BEFORE
        assert [field.name for field in dataclasses.fields(ServerOptions)] == list(describe())

    def test_serve_listens_where_people_look(self) -> None:
        assert differences(SERVE_DEFAULTS, ServerOptions()) == {
            "port": 8500,
            "rest_port": 8501,
            "reload_config": False,
        }

    @pytest.mark.parametrize("options", [{}, {"page": False, "rest_port": 0}])
    def test_changes(self, options: dict[str, Any]) -> None:
        changed = ServerOptions(cors=True).with_changes(options)

        assert changed == ServerOptions(cors=True, **options)

    def test_what_is_allowed_besides_the_types_own(self) -> None:
        ServerOptions(
            poll_s=1,
            num_versions=None,
            tags=["serve", "gpu"],
            channel_arguments=[["grpc.lb", "first"]],  # type: ignore[list-item]
            socket_path=Path("/tmp/socket"),
            batching=BatchingParameters(),
        )

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"port": 70_000}, "`port` must be a port, 0 to 65535. Received: port=70000"),
            ({"port": "8500"}, "`port` must be a port, 0 to 65535. Received: port='8500'"),
            ({"port": True}, "`port` must be a port, 0 to 65535. Received: port=True"),
            ({"port": None}, "`port` must be a port, 0 to 65535. Received: port=None"),
            (
                {"rest_port": -1},
                "`rest_port` must be a port, 0 to 65535, or None. Received: rest_port=-1",
            ),
            ({"poll_s": -1}, "`poll_s` must be a number, 0 or more, in s. Received: poll_s=-1"),
            (
                {"rest_timeout_s": 0.0},
                "`rest_timeout_s` must be a number above 0, in s. Received: rest_timeout_s=0.0",
            ),
            ({"grace_s": float("nan")}, "a number, 0 or more, in s. Received: grace_s=nan"),
            ({"page": "no"}, "`page` must be true or false. Received: page='no'"),
            ({"tags": "serve"}, "`tags` must be a list of names. Received: tags='serve'"),
            (
                {"num_versions": 0},
                "`num_versions` must be a whole number, 1 or more, or None. Received: "
                "num_versions=0",
            ),
            ({"batching": 8}, "`batching` must be true, false or BatchingParameters. Received: "),
            ({"channel_arguments": ["a=1"]}, "Received: channel_arguments=['a=1']"),
            ({"host": None}, "`host` must be text. Received: host=None"),
        ],
    )
    def test_a_value_that_breaks_the_rule(self, changes: dict[str, Any], text: str) -> None:
        with pytest.raises(OptionError) as caught:
            ModelServer("models", **changes)

        assert text in str(caught.value)
        assert isinstance(caught.value, ServerStartError)
        assert isinstance(caught.value, ValueError)

    def test_an_option_that_is_none(self) -> None:
        with pytest.raises(TypeError) as caught:
            ModelServer("models", rest_prot=0)
        with pytest.raises(TypeError, match="There is no option 'quite_another' of a server"):
            serve("models", quite_another=1)

        assert str(caught.value).startswith(
            "There is no option 'rest_prot' of a server. Did you mean 'rest_port'? The options "
            "are: model_name, "
        )
        assert all(name in str(caught.value) for name in BEFORE)

    def test_options_and_changes_of_a_server(self) -> None:
        server = ModelServer("models", options=ServerOptions(cors=True, port=1), port=0)

        assert server.options == ServerOptions(cors=True)
        server.stop()


class TestFlags:
    def test_every_flag_is_here(self) -> None:
        """And every option has one, but for four."""
        found = [flag.name for option in describe().values() for flag in option.flags]

        assert sorted(found) == sorted(FLAGS)
        without = {name for name, option in describe().items() if not option.flags}
        assert without == {"num_versions", "wait_for_versions", "rest_required", "grace_s"}

    def test_defaults(self, started: list[ModelServer]) -> None:
        assert flags.main(["--model_base_path=/m"]) == 0

        (server,) = started
        assert differences(server.options, ServerOptions()) == {
            "model_name": "default",
            "port": 8500,
            "wait_for_versions": True,
            "rest_required": False,
        }
        server.stop()

    @pytest.mark.parametrize("name", FLAGS)
    def test_a_flag_and_its_option(
        self, name: str, started: list[ModelServer], tmp_path: Path
    ) -> None:
        (tmp_path / "batching").write_text("max_batch_size { value: 8 }")
        (tmp_path / "ssl").write_text('server_key: "key" server_cert: "certificate"')
        (tmp_path / "monitoring").write_text('prometheus_config { enable: true path: "/metrics" }')
        text, option, value = FLAGS[name]
        given = [f"--{name}={text.format(folder=tmp_path)}"]
        if name == "batching_parameters_file":
            given.append("--enable_batching")

        made = self.options([*given, "--model_base_path=/m"])
        usual = self.options(["--model_base_path=/m"])

        assert differences(made, usual) == {option: value}

    def options(self, arguments: list[str]) -> ServerOptions:
        return flags.options_from_flags(vars(flags.build_parser().parse_args(arguments)))

    def test_defaults_of_tf_serving(self) -> None:
        """Where the default is another, the option says so, and only there."""
        every = [flag for option in describe().values() for flag in option.flags]
        for flag in every:
            here = "" if flag.default is None else str(flag.default).lower()
            there = DEFAULTS.get(flag.name, "no such flag")
            if here == there:
                assert not flag.tf_serving
            elif there == "8":  # of the machine whose --help it is
                assert flag.tf_serving == "4 a processor"
            else:
                assert flag.tf_serving.partition(",")[0] == there

    def test_refused_flags_stand_for_nothing(self) -> None:
        assert not set(REFUSED) & set(FLAGS)


def test_the_readme_has_the_table() -> None:
    """`python -m inception_serving.server.options_table` prints it."""
    assert options_table() in README.read_text("utf-8")
