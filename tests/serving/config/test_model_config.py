"""models.config: several models, version policies, labels, and reloads.

Sources, below tensorflow_serving/: model_servers/server_core.cc, model_servers/server.cc,
model_servers/model_service_impl.cc, sources/storage_path/file_system_storage_path_source.cc.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from inception_serving import ModelServer, ServerStartError
from inception_serving.server.flags import main
from tests.serving.caller import Caller
from tests.serving.saved_models import publish
from tests.serving.versions.test_lifecycle import answer, wait_until


@pytest.fixture
def models(saved_models: Path, tmp_path: Path) -> Path:
    """Models `two` (versions 1, 2 and 5, which all add two) and `three` (version 1, adds three)."""
    base = tmp_path / "models"
    base.mkdir()
    for version in ("1", "2", "5"):
        publish(saved_models / "arithmetic", base / "two" / version)
    publish(saved_models / "arithmetic_plus_three", base / "three" / "1")
    return base


def entry(name: str, base_path: Path | str, more: str = "", platform: str = "tensorflow") -> str:
    return (
        f"config {{ name: '{name}' base_path: '{base_path}' model_platform: '{platform}' {more} }} "
    )


def config(*entries: str) -> str:
    return f"model_config_list {{ {' '.join(entries)} }}"


@contextmanager
def serving(text: str, folder: Path, **options: Any) -> Iterator[tuple[ModelServer, Caller]]:
    file = folder / "models.config"
    file.write_text(text)
    with ModelServer(model_config_file=file, poll_s=0.05, **options) as server:
        caller = Caller(server.address)
        with caller.channel:
            yield server, caller


def reload(caller: Caller, text: str, *, timeout_s: float = 20) -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    return caller.models.HandleReloadConfigRequest(request, timeout=timeout_s)


def refused(caller: Caller, text: str, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        reload(caller, text, **options)
    return caught.value.code(), caught.value.details()


class TestFile:
    def test_several_models_and_policies(self, models: Path, tmp_path: Path) -> None:
        """Rows 50 and 55."""
        two, three = models / "two", models / "three"
        text = config(
            entry("latest", two),
            entry("latest_two", two, "model_version_policy { latest { num_versions: 2 } }"),
            entry("all", two, "model_version_policy { all {} }"),
            entry("specific", two, "model_version_policy { specific { versions: 2 versions: 1 } }"),
            entry("three", three),
        )

        with serving(text, tmp_path, load_threads=3) as (server, caller):
            states = {name: caller.states(name) for name in server.models}
            answers = [answer(caller, name=name) for name in ("latest", "specific", "three")]

        assert states == {
            "latest": {5: "AVAILABLE"},
            "latest_two": {5: "AVAILABLE", 2: "AVAILABLE"},
            "all": {5: "AVAILABLE", 2: "AVAILABLE", 1: "AVAILABLE"},
            "specific": {2: "AVAILABLE", 1: "AVAILABLE"},
            "three": {1: "AVAILABLE"},
        }
        assert answers == [(2.0, 5), (2.0, 2), (3.0, 1)]

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("model_config_list { config { nmae: 'x' } }", "has no field named"),
            ("custom_model_config {}", "expected a model_config_list"),
            (
                config(entry("x", "/m"), entry("x", "/m")),
                "Illegal to list model x multiple times in config list",
            ),
            (
                config(entry("x", "models/x")),
                "Expected model x to have an absolute path or URI; got base_path()=models/x",
            ),
            (
                config(entry("x", "/m", platform="")),
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform, model name is x",
            ),
        ],
    )
    def test_a_file_that_will_not_do(self, tmp_path: Path, text: str, error: str) -> None:
        """Row 55: server.cc, ParseProtoTextFile; server_core.cc, ValidateModelConfigList."""
        file = tmp_path / "models.config"
        file.write_text(text)

        with pytest.raises(ServerStartError) as caught:
            ModelServer(model_config_file=file).start()

        assert error in str(caught.value)

    def test_a_bad_file_ends_the_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Row 55: not zero, with the parser's own words."""
        (tmp_path / "models.config").write_text("model_config_list {")

        code = main(["--port=0", f"--model_config_file={tmp_path / 'models.config'}"])

        assert code == 255
        text = capsys.readouterr().err
        assert "Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: " in text
        assert "Error parsing text-format tensorflow.serving.ModelServerConfig: " in text

    def test_an_unknown_platform(self, models: Path, tmp_path: Path) -> None:
        """server_core.cc, CreateStoragePathRoutes."""
        file = tmp_path / "models.config"
        file.write_text(config(entry("x", models / "two", platform="caffe")))

        with pytest.raises(ServerStartError, match="x requests unsupported platform caffe"):
            ModelServer(model_config_file=file).start()

    def test_it_is_looked_at_again(self, models: Path, tmp_path: Path) -> None:
        """Row 56: --model_config_file_poll_wait_seconds; a bad file changes nothing."""
        first = config(entry("two", models / "two"))
        with serving(first, tmp_path, model_config_poll_s=0.05) as (server, caller):
            file = tmp_path / "models.config"
            file.write_text("model_config_list {")
            time.sleep(0.3)
            while_bad = server.models
            file.write_text(config(entry("three", models / "three")))
            wait_until(lambda: server.models == {"two": None, "three": 1})
            states = caller.states("two")

        assert while_bad == {"two": 5}
        assert states == {5: "END"}

    def test_it_takes_the_place_of_a_base_path(self) -> None:
        with pytest.raises(ValueError, match="one of them, not both"):
            ModelServer()
        with pytest.raises(ValueError, match="one of them, not both"):
            ModelServer("models", model_config_file="models.config")


class TestLabels:
    def test_they_name_versions(self, models: Path, tmp_path: Path) -> None:
        """Rows 39 and 57: gRPC and REST, and a new label for a version that is loaded."""
        all_versions = "model_version_policy { all {} }"
        label = "version_labels { key: 'stable' value: 1 }"
        with serving(config(entry("two", models / "two", all_versions)), tmp_path, rest_port=0) as (
            server,
            caller,
        ):
            reload(caller, config(entry("two", models / "two", all_versions + label)))
            by_grpc = answer(caller, name="two", label="stable")
            url = f"{server.rest_address}/v1/models/two/labels/stable"
            by_rest = httpx.post(f"{url}:predict", json={"instances": [0]}, timeout=20).json()
            with pytest.raises(grpc.RpcError) as unknown:
                answer(caller, name="two", label="canary")

        assert by_grpc == (2.0, 1)
        assert by_rest == {"predictions": [2.0]}
        assert unknown.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert unknown.value.details() == "Unrecognized servable version label: canary"

    def test_a_version_that_is_not_available(self, models: Path, tmp_path: Path) -> None:
        """Row 57: server_core.cc, UpdateModelVersionLabelMap; at the start, none is."""
        labelled = config(entry("two", models / "two", "version_labels { key: 'stable' value: 5 }"))
        text = (
            "Request to assign label to version 5 of model two, which is not currently available "
            "for inference"
        )

        with (
            pytest.raises(ServerStartError) as at_the_start,
            serving(labelled, tmp_path),
        ):
            pass
        with serving(config(entry("three", models / "three")), tmp_path) as (server, caller):
            later = refused(caller, labelled)
            still = server.models

        assert str(at_the_start.value) == text
        assert later == (grpc.StatusCode.FAILED_PRECONDITION, text)
        assert still == {"three": 1}

    def test_labels_ahead(self, models: Path, tmp_path: Path) -> None:
        """Row 57: the flag lets a new label wait for its version, but not an old one move."""

        def labelled(version: int) -> str:
            label = f"version_labels {{ key: 'stable' value: {version} }}"
            return config(entry("two", models / "two", label))

        with serving(labelled(5), tmp_path, labels_ahead=True) as (_, caller):
            found = answer(caller, name="two", label="stable")
            moved = refused(caller, labelled(9))
            still = answer(caller, name="two", label="stable")

        assert found == still == (2.0, 5)
        assert moved[0] == grpc.StatusCode.FAILED_PRECONDITION


class TestReload:
    def test_it_replaces_the_list(self, models: Path, tmp_path: Path) -> None:
        """Row 56: what is new answers when the call returns; what is left out is unloaded."""
        with serving(config(entry("two", models / "two")), tmp_path) as (server, caller):
            response = reload(caller, config(entry("three", models / "three")))
            new = answer(caller, name="three")
            wait_until(lambda: server.models == {"two": None, "three": 1})
            with pytest.raises(grpc.RpcError) as gone:
                answer(caller, name="two")
            reload(caller, config(entry("two", models / "two"), entry("three", models / "three")))
            back = answer(caller, name="two")

        assert response.status.error_code == 0
        assert (new, back) == ((3.0, 1), (2.0, 5))
        assert gone.value.details() == "Servable not found for request: Latest(two)"

    def test_it_replaces_a_base_path_too(self, models: Path) -> None:
        with ModelServer(models, poll_s=0.05) as server:
            caller = Caller(server.address)
            with caller.channel:
                reload(caller, config(entry("other", models / "three")))
                wait_until(lambda: server.models == {"two": None, "three": None, "other": 1})

    def test_errors(self, models: Path, tmp_path: Path) -> None:
        """Row 56: each refusal leaves everything as it was."""
        two = entry("two", models / "two")
        with serving(config(two), tmp_path) as (server, caller):
            empty = refused(caller, "")
            twice = refused(caller, config(two, two))
            relative = refused(caller, config(entry("two", "two")))
            platform = refused(caller, config(entry("two", models / "two", platform="caffe")))
            still = server.models

        code = grpc.StatusCode.INVALID_ARGUMENT
        assert empty == (
            code,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported",
        )
        assert twice == (code, "Illegal to list model two multiple times in config list")
        assert relative == (
            code,
            "Expected model two to have an absolute path or URI; got base_path()=two",
        )
        assert platform == (
            code,
            "Illegal to change a model's platform. For model two platform was tensorflow and new "
            "platform requested is caffe",
        )
        assert still == {"two": 5}

    @pytest.mark.parametrize(
        ("more", "platform", "text"),
        [
            ("", "foo", "Model q requests unsupported platform foo"),
            ("model_type: TENSORFLOW", "tensorflow", "model_platform, model name is q"),
            ("", "", "nor ModelServerConfig::model_platform, model name is q"),
            (
                "logging_config { log_collector_config { type: 'nobody' } }",
                "tensorflow",
                "No request-logger-creator provided.",
            ),
        ],
        ids=["platform", "both", "neither", "logging"],
    )
    def test_what_no_server_does(
        self, models: Path, tmp_path: Path, more: str, platform: str, text: str
    ) -> None:
        two = entry("two", models / "two")
        asked = config(two, entry("q", models / "three", more, platform))
        with serving(config(two), tmp_path) as (_, caller):
            code, found = refused(caller, asked)

        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert found.endswith(text)

    def test_a_new_model_that_does_not_load(self, models: Path, tmp_path: Path) -> None:
        (models / "bad" / "4").mkdir(parents=True)
        two = entry("two", models / "two")
        with serving(config(two), tmp_path) as (_, caller):
            code, text = refused(caller, config(two, entry("bad", models / "bad")))
            still = answer(caller, name="two")

        assert code == grpc.StatusCode.UNKNOWN
        assert text.startswith(
            "1 model(s) did not become available: {{{name: bad version: 4} due to error: "
            "NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle"
        )
        assert still == (2.0, 5)

    def test_a_new_model_without_versions_is_waited_for(
        self, models: Path, saved_models: Path, tmp_path: Path
    ) -> None:
        """server_core.cc, WaitUntilModelsAvailable."""
        two = entry("two", models / "two")
        (models / "later").mkdir()
        text = config(two, entry("later", models / "later"))
        with (
            serving(config(two), tmp_path) as (server, caller),
            ThreadPoolExecutor(1) as pool,
        ):
            call = pool.submit(reload, caller, text)
            wait_until(lambda: "later" in server.models)
            waiting = not call.done()
            publish(saved_models / "arithmetic", models / "later" / "1")
            call.result(20)
            found = answer(caller, name="later")
            code, _ = refused(caller, config(two, entry("never", models / "never")), timeout_s=0.5)

        assert waiting
        assert found == (2.0, 1)
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED

    def test_those_that_wait_have_no_turns(self, models: Path, tmp_path: Path) -> None:
        """Requests are answered beside them, with one thread; and not any number waits."""
        two = entry("two", models / "two")
        text = config(two, entry("never", models / "never"))
        with (
            serving(config(two), tmp_path, grpc_threads=1) as (_, caller),
            ThreadPoolExecutor(10) as pool,
        ):
            calls = [pool.submit(refused, caller, text, timeout_s=3) for _ in range(10)]
            found = answer(caller, name="two")
            still = not all(call.done() for call in calls)
            codes = [call.result(20)[0] for call in calls]

        assert found == (2.0, 5)
        assert still
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 2
        assert codes.count(grpc.StatusCode.DEADLINE_EXCEEDED) == 8

    def test_while_requests_flow(self, models: Path, tmp_path: Path) -> None:
        two = entry("two", models / "two")
        both = config(two, entry("three", models / "three"))
        with serving(config(two), tmp_path) as (_, caller), ThreadPoolExecutor(1) as pool:
            done = threading.Event()

            def call() -> int:
                count = 0
                while not done.is_set():
                    assert answer(caller, name="two") == (2.0, 5)
                    count += 1
                return count

            calls = pool.submit(call)
            for _ in range(3):
                reload(caller, both)
                reload(caller, config(two))
            done.set()
            count = calls.result(20)

        assert count > 0


class TestRetries:
    def test_a_load_is_tried_again(self, models: Path, saved_models: Path, tmp_path: Path) -> None:
        """--max_num_load_retries and --load_retry_interval_micros: core/loader_harness.cc."""
        broken = models / "late" / "1"
        broken.mkdir(parents=True)
        text = config(entry("late", models / "late"))
        retries = {"load_retries": 1, "load_retry_interval_s": 0.5}

        with (
            pytest.raises(ServerStartError, match="name: late version: 1"),
            serving(text, tmp_path, **retries),
        ):
            pass
        mender = threading.Timer(0.2, publish_over, [saved_models / "arithmetic", broken])
        mender.start()
        with serving(text, tmp_path, **(retries | {"load_retries": 20})) as (server, _):
            assert server.models == {"late": 1}
        mender.join()

    def test_another_meta_graph(self, models: Path, tmp_path: Path) -> None:
        """--saved_model_tags."""
        with (
            pytest.raises(ServerStartError, match=r"matching supplied tags: \{ gpu serve \}"),
            serving(config(entry("two", models / "two")), tmp_path, tags=["serve", "gpu"]),
        ):
            pass


def publish_over(saved_model: Path, version: Path) -> None:
    version.rmdir()
    publish(saved_model, version)
