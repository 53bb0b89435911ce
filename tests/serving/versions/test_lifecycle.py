"""Versions that come and go on disk while the server runs.

Sources, below tensorflow_serving/: sources/storage_path/file_system_storage_path_source.cc,
core/availability_preserving_policy.cc, servables/tensorflow/saved_model_warmup_util.cc.
"""

from __future__ import annotations

import gc
import inspect
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, predict_pb2, prediction_log_pb2

from inception_serving import ModelServer, ServerStartError, errors
from inception_serving.server.config.model_config import ModelConfig
from inception_serving.server.model.saved_model import Model, SavedModel
from inception_serving.server.versions.folder import file_states, find_versions
from inception_serving.server.versions.loading import Loader
from inception_serving.server.versions.table import VersionState, VersionTable
from inception_serving.server.versions.threads import LoadThreads
from tests.serving.caller import Caller, free_port
from tests.serving.saved_models import publish

X = np.array([0], np.float32)


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def answer(caller: Caller, **request) -> tuple[float, int]:
    """What the latest version gives for 0, and which version that is."""
    response = caller.predict({"x": X}, **request)
    return response.outputs["y"].float_val[0], response.model_spec.version.value


@pytest.fixture
def model(saved_models: Path, tmp_path: Path) -> Path:
    """The folder of a model with version 1, which adds two."""
    publish(saved_models / "arithmetic", tmp_path / "arithmetic" / "1")
    return tmp_path / "arithmetic"


class TestNewVersions:
    def test_a_new_version_while_requests_flow(self, model: Path, saved_models: Path) -> None:
        """Rows 47 and 51: no request fails, and the old version goes once the new one is ready."""
        with ModelServer(model, poll_s=0.05) as server:
            caller = Caller(server.address)
            done = threading.Event()

            def call() -> set[tuple[float, int]]:
                seen = set()
                while not done.is_set():
                    seen.add(answer(caller))
                return seen

            with ThreadPoolExecutor(2) as pool:
                calls = [pool.submit(call) for _ in range(2)]
                publish(saved_models / "arithmetic_plus_three", model / "2")
                wait_until(lambda: caller.states("arithmetic") == {2: "AVAILABLE", 1: "END"})
                done.set()
            seen = set().union(*(call.result() for call in calls))
            caller.channel.close()

        assert seen == {(2.0, 1), (3.0, 2)}

    def test_requests_finish_on_the_version_they_began_on(
        self, model: Path, saved_models: Path
    ) -> None:
        """core/servable_handle.h: a handle keeps its version."""
        start = time.monotonic()
        with ModelServer(model, poll_s=0.05) as server:
            longer_than_loading = np.float32(0.5 + 4 * (time.monotonic() - start))
            caller = Caller(server.address)
            with ThreadPoolExecutor(1) as pool:
                work = {"seconds": longer_than_loading}
                slow = pool.submit(caller.predict, work, signature="slow")
                publish(saved_models / "arithmetic_plus_three", model / "2")
                wait_until(lambda: caller.states("arithmetic")[1] == "UNLOADING")
                assert answer(caller) == (3.0, 2)
                with pytest.raises(grpc.RpcError) as caught:
                    answer(caller, version=1)
                assert not slow.done()
                assert slow.result().model_spec.version.value == 1
            wait_until(lambda: caller.states("arithmetic") == {2: "AVAILABLE", 1: "END"})
            caller.channel.close()

        text = "Servable not found for request: Specific(arithmetic, 1)"
        assert caught.value.details() == text

    @pytest.mark.parametrize("kind", ["an empty folder", "a file", "damaged", "no variables"])
    def test_a_bad_new_version_leaves_the_old_one(
        self, model: Path, saved_models: Path, kind: str
    ) -> None:
        """Rows 27 and 48; and the version is loaded once its files are right."""
        with ModelServer(model, poll_s=0.05) as server:
            caller = Caller(server.address)
            bad = model / "2"
            if kind == "an empty folder":
                bad.mkdir()
            elif kind == "a file":
                bad.write_bytes(b"")
            else:
                staging = model / ".tmp"
                shutil.copytree(saved_models / "arithmetic_plus_three", staging)
                if kind == "damaged":
                    (staging / "saved_model.pb").write_bytes(b"\xff nonsense")
                else:
                    shutil.rmtree(staging / "variables")
                staging.rename(bad)
            wait_until(lambda: caller.states("arithmetic").get(2) == "END")
            failed = caller.status(name="arithmetic", version=2).model_version_status[0].status
            after_failure = answer(caller), caller.states("arithmetic")

            bad.unlink() if bad.is_file() else shutil.rmtree(bad)
            publish(saved_models / "arithmetic_plus_three", bad)
            wait_until(lambda: caller.states("arithmetic") == {2: "AVAILABLE", 1: "END"})
            healed = caller.status(name="arithmetic", version=2).model_version_status[0].status
            caller.channel.close()

        assert after_failure == ((2.0, 1), {2: "END", 1: "AVAILABLE"})
        assert failed.error_code != 0
        assert str(bad) in failed.error_message
        assert (healed.error_code, healed.error_message) == (0, "")

    def test_back_to_an_older_version(self, model: Path, saved_models: Path) -> None:
        publish(saved_models / "arithmetic_plus_three", model / "2")
        with ModelServer(model, poll_s=0.05) as server:
            caller = Caller(server.address)
            before = answer(caller)
            shutil.rmtree(model / "2")
            wait_until(lambda: caller.states("arithmetic") == {2: "END", 1: "AVAILABLE"})
            after = answer(caller)
            caller.channel.close()

        assert (before, after) == ((3.0, 2), (2.0, 1))

    def test_a_base_path_that_is_away_and_one_that_is_empty(
        self, model: Path, saved_models: Path
    ) -> None:
        """Away: nothing is unloaded. Empty: everything is."""
        with ModelServer(model, poll_s=0.05) as server:
            caller = Caller(server.address)
            away = model.rename(model.with_name("away"))
            time.sleep(0.3)
            while_away = answer(caller)
            shutil.rmtree(away / "1")
            away.rename(model)
            wait_until(lambda: caller.states("arithmetic") == {1: "END"})
            with pytest.raises(grpc.RpcError) as caught:
                answer(caller)
            publish(saved_models / "arithmetic", model / "1")
            wait_until(lambda: caller.states("arithmetic") == {1: "AVAILABLE"})
            back = answer(caller)
            caller.channel.close()

        assert while_away == back == (2.0, 1)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    def test_the_latest_two(self, model: Path, saved_models: Path) -> None:
        """Row 50."""
        for version in ("2", "3"):
            publish(saved_models / "arithmetic_plus_three", model / version)

        with ModelServer(model, num_versions=2) as server:
            caller = Caller(server.address)
            states = caller.states("arithmetic")
            caller.channel.close()

        assert states == {3: "AVAILABLE", 2: "AVAILABLE"}

    def test_a_model_that_appears_later(self, model: Path, saved_models: Path) -> None:
        with ModelServer(model.parent, poll_s=0.05) as server:
            caller = Caller(server.address)
            publish(saved_models / "arithmetic_plus_three", model.parent / "other" / "5")
            wait_until(lambda: server.models == {"arithmetic": 1, "other": 5})
            found = answer(caller, name="other")
            caller.channel.close()

        assert found == (3.0, 5)

    def test_polling_once(self, model: Path, saved_models: Path) -> None:
        """--file_system_poll_wait_seconds=0."""
        with ModelServer(model, poll_s=0) as server:
            caller = Caller(server.address)
            publish(saved_models / "arithmetic_plus_three", model / "2")
            time.sleep(0.3)
            found = answer(caller)
            caller.channel.close()

        assert found == (2.0, 1)


def test_version_names(tmp_path: Path) -> None:
    """Row 49: any child whose name is an int64, and nothing else."""
    for name in ("7", "00000123", "-4", "0", ".tmp-8", "8.tmp", "v9", "1_0", "٣", "1" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_bytes(b"")

    found = {number: path.name for number, path in find_versions(tmp_path).items()}

    assert found == {-4: "-4", 0: "0", 7: "7", 12: "12", 123: "00000123"}
    assert list(found) == sorted(found)


class TestWarmUp:
    def test_it_runs_before_the_version_is_available(self, model: Path) -> None:
        """Row 53: the model counts its calls, so the first request is the third."""
        write_warm_up(model / "1", [record("count", X)] * 2)

        with ModelServer(model) as server:
            caller = Caller(server.address)
            calls = caller.predict({"x": X}, signature="count").outputs["calls"].int_val[0]
            caller.channel.close()

        assert calls == 3

    def test_it_can_be_left_out(self, model: Path) -> None:
        """--enable_model_warmup=false."""
        write_warm_up(model / "1", [record("count", X)] * 2)

        with ModelServer(model, warmup=False) as server:
            caller = Caller(server.address)
            calls = caller.predict({"x": X}, signature="count").outputs["calls"].int_val[0]
            caller.channel.close()

        assert calls == 1

    @pytest.mark.parametrize(
        ("records", "text"),
        [
            (
                lambda: [record("count", np.array([1], np.uint8))],
                "Expects arg[0] to be float but uint8 is provided",
            ),
            (
                lambda: [record("count", X), b"junk"],
                "INVALID_ARGUMENT: Failed to parse warmup record: junk from {file}}, ",
            ),
            (lambda: [record("nope", X)], 'Serving signature key "nope" not found.'),
            (lambda: [session_run()], "UNIMPLEMENTED: Unsupported log_type for warmup: 5}, "),
            (
                lambda: [record("count", X)] * 1001,
                "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at {file}}",
            ),
        ],
        ids=["wrong dtype", "no record", "unknown signature", "unsupported kind", "too many"],
    )
    def test_a_record_that_fails_fails_the_load(
        self, model: Path, records: Callable[[], list[bytes]], text: str
    ) -> None:
        """Row 53."""
        write_warm_up(model / "1", records())

        with pytest.raises(ServerStartError) as caught:
            ModelServer(model).start()

        assert str(caught.value).startswith(
            "1 servable(s) did not become available: {{{name: arithmetic version: 1} due to error: "
        )
        file = model / "1" / "assets.extra" / "tf_serving_warmup_requests"
        assert text.replace("{file}", str(file)) in str(caught.value)

    def test_a_log_without_a_type_is_passed_over(self, model: Path) -> None:
        write_warm_up(model / "1", [b"", record("count", X)])

        with ModelServer(model) as server:
            assert server.models == {"arithmetic": 1}

    def test_what_is_no_file_of_records(self, model: Path) -> None:
        write_warm_up(model / "1", [])
        (model / "1" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"x" * 40)

        with pytest.raises(ServerStartError) as caught:
            ModelServer(model).start()

        assert (
            "DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?). Please verify your "
            "warmup data is in TFRecord format.}, "
        ) in str(caught.value)

    def test_a_version_that_fails_is_not_kept_in_memory(
        self, model: Path, saved_models: Path
    ) -> None:
        def in_memory() -> int:
            return sum(isinstance(each, SavedModel) for each in gc.get_objects())

        with ModelServer(model, poll_s=0.05) as server:
            caller = Caller(server.address)
            before = in_memory()
            staging = model / ".tmp"
            shutil.copytree(saved_models / "arithmetic", staging)
            write_warm_up(staging, [record("nope", X)])
            staging.rename(model / "2")
            wait_until(lambda: caller.states("arithmetic").get(2) == "END")
            after = in_memory()
            caller.channel.close()

        assert after == before

    def test_a_damaged_file_fails_the_load(self, model: Path) -> None:
        write_warm_up(model / "1", [record("count", X)])
        file = model / "1" / "assets.extra" / "tf_serving_warmup_requests"
        file.write_bytes(file.read_bytes()[:-3])

        with pytest.raises(ServerStartError, match="did not become available"):
            ModelServer(model).start()


def record(signature: str, x: np.ndarray) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()


def session_run() -> bytes:
    log = prediction_log_pb2.SessionRunLog()
    return prediction_log_pb2.PredictionLog(session_run_log=log).SerializeToString()


def write_warm_up(version: Path, records: list[bytes]) -> None:
    (version / "assets.extra").mkdir()
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for data in records:
            writer.write(data)


class TestStart:
    def test_ports_are_closed_until_the_first_load(
        self, saved_models: Path, tmp_path: Path
    ) -> None:
        """Row 52: core/load_servables_fast.cc."""
        port, rest_port = free_port(), free_port()
        server = ModelServer(
            tmp_path / "later",
            model_name="arithmetic",
            port=port,
            rest_port=rest_port,
            poll_s=0.05,
            wait_for_versions=True,
        )
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(server.start)
            time.sleep(0.3)
            closed = not started.done() and not is_open(port) and not is_open(rest_port)
            publish(saved_models / "arithmetic", tmp_path / "later" / "1")
            started.result()
        opened = is_open(port) and is_open(rest_port)
        server.stop()

        assert closed
        assert opened
        assert not is_open(port)
        assert not is_open(rest_port)

    def test_blanks_around_a_version(self, saved_models: Path, tmp_path: Path) -> None:
        """absl::SimpleAtoi, by which the storage path source reads names."""
        publish(saved_models / "keras", tmp_path / "keras" / " 25")

        with ModelServer(tmp_path) as server:
            assert server.models == {"keras": 25}

    def test_a_first_version_that_does_not_load(self, tmp_path: Path) -> None:
        """core/load_servables_fast.cc."""
        (tmp_path / "flowers" / "3").mkdir(parents=True)

        with pytest.raises(ServerStartError) as caught:
            ModelServer(tmp_path).start()

        assert str(caught.value) == (
            "1 servable(s) did not become available: {{{name: flowers version: 3} due to error: "
            "NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle (should "
            f"have a file called `saved_model.pb`)\nSpecified file path: {tmp_path}/flowers/3}}, }}"
        )

    def test_nothing_to_serve(self, tmp_path: Path) -> None:
        (tmp_path / "notes").mkdir()
        (tmp_path / "labels.txt").write_text("daisy")

        with pytest.raises(ServerStartError) as caught:
            ModelServer(tmp_path).start()
        with pytest.raises(ServerStartError) as away:
            ModelServer(tmp_path / "nope").start()
        with pytest.raises(ServerStartError) as empty:
            ModelServer(tmp_path / "notes", model_name="notes").start()

        assert str(caught.value) == (
            f"No model to serve in {tmp_path}: expected folders NAME/VERSION, where VERSION is a "
            "number, such as flowers/1/saved_model.pb."
        )
        assert str(away.value) == f"{tmp_path}/nope cannot be read: No such file or directory."
        assert str(empty.value) == (
            f"No versions of servable notes found under base path {tmp_path}/notes. Did you forget "
            "to name your leaf directory as a number (eg. '/1/')?"
        )

    @pytest.mark.parametrize("which", ["port", "rest_port"])
    def test_a_port_in_use(self, server: ModelServer, model: Path, which: str) -> None:
        taken = getattr(server, which)

        with pytest.raises(ServerStartError) as caught:
            ModelServer(model, **{which: taken}).start()

        assert str(caught.value) == (
            f"Cannot listen on 127.0.0.1:{taken}: the port is in use. Port 0 takes a free one."
        )

    def test_an_address_that_is_none(self, model: Path) -> None:
        with pytest.raises(ServerStartError, match=r"Cannot listen on no\.such\.host\.invalid:0: "):
            ModelServer(model, host="no.such.host.invalid").start()
        with pytest.raises(ServerStartError, match=r"a port, 0 to 65535. Received: port=70000"):
            ModelServer(model, port=70_000).start()

    def test_one_model_by_its_folder(self, model: Path) -> None:
        with ModelServer(model) as named_by_folder:
            folder = named_by_folder.models
        with ModelServer(model, model_name="flowers") as named:
            given = named.models

        assert folder == {"arithmetic": 1}
        assert given == {"flowers": 1}

    def test_it_listens_on_this_machine_only(self, server: ModelServer) -> None:
        """A deliberate difference: TF Serving listens on 0.0.0.0."""
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.rest_address == f"http://127.0.0.1:{server.rest_port}"
        assert not is_open(server.port, "127.0.0.2")
        assert not is_open(server.rest_port or 0, "127.0.0.2")


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


class TestAHangingDisk:
    """A read that never returns, such as of a network's disk that has gone."""

    @pytest.fixture
    def hanging(
        self, saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Path]:
        """BASE of `a`, whose version 2 hangs, and of `b`."""
        monkeypatch.setattr("inception_serving.server.versions.threads.STALLED_S", 0.5)
        release = threading.Event()
        load = Loader.__call__

        def load_or_hang(loader: Loader, config: ModelConfig, path: Path) -> Model:
            if config.name == "a" and path.name == "2":
                release.wait(60)
            return load(loader, config, path)

        monkeypatch.setattr(Loader, "__call__", load_or_hang)
        for name in "ab":
            publish(saved_models / "arithmetic", tmp_path / name / "1")
        yield tmp_path
        release.set()

    def test_other_models_are_kept_up(self, hanging: Path, saved_models: Path) -> None:
        with ModelServer(hanging, poll_s=0.05, grace_s=0.2) as server:
            caller = Caller(server.address)
            publish(saved_models / "arithmetic_plus_three", hanging / "a" / "2")
            wait_until(lambda: caller.states("a").get(2) == "LOADING")
            publish(saved_models / "arithmetic_plus_three", hanging / "b" / "2")
            wait_until(lambda: caller.states("b") == {2: "AVAILABLE", 1: "END"})
            publish(saved_models / "arithmetic", hanging / "b" / "3")
            wait_until(lambda: caller.states("b")[2] == "END")
            still = answer(caller, name="a"), caller.states("a")
            caller.channel.close()

        assert still == ((2.0, 1), {2: "LOADING", 1: "AVAILABLE"})

    def test_other_models_can_be_asked_for(self, hanging: Path, saved_models: Path) -> None:
        def text(*names: str) -> str:
            return "".join(
                f"config {{ name: '{name}' base_path: '{hanging / name}' "
                "model_platform: 'tensorflow' }"
                for name in names
            )

        file = hanging / "models.config"
        file.write_text(f"model_config_list {{ {text('a')} }}")
        with ModelServer(model_config_file=file, poll_s=0.05, grace_s=0.2) as server:
            caller = Caller(server.address)
            publish(saved_models / "arithmetic_plus_three", hanging / "a" / "2")
            wait_until(lambda: caller.states("a").get(2) == "LOADING")
            request = model_management_pb2.ReloadConfigRequest()
            text_format.Parse(f"model_config_list {{ {text('a', 'b')} }}", request.config)
            caller.models.HandleReloadConfigRequest(request, timeout=20)
            found = answer(caller, name="b")
            caller.channel.close()

        assert found == (2.0, 1)

    def test_what_comes_back_is_loaded(self) -> None:
        begun, release, done = threading.Event(), threading.Event(), []

        def hang() -> None:
            begun.set()
            done.append(release.wait(20))

        threads = LoadThreads(1)
        first = threads.submit(hang)
        second = threads.submit(lambda: done.append("second"))
        begun.wait(20)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("inception_serving.server.versions.threads.STALLED_S", 0.0)
            waited = not second.done()
            threads.replace_stalled()
            second.result(10)
        was_stalled = threads.is_stalled(first)
        release.set()
        first.result(10)

        assert waited and was_stalled
        assert done == ["second", True]
        assert not threads.is_stalled(first)


def test_versions_that_have_gone_take_no_time() -> None:
    table = VersionTable()
    table.add_model("m")
    for number in range(4_000):
        version = table.add("m", number, Path(str(number)))
        table.move(version, VersionState.AVAILABLE, model=cast(Model, object()))
        if number:
            table.unload(version)
    started = time.process_time()

    for _ in range(1000):
        table.release(table.acquire("m", None)[0])

    assert time.process_time() - started < 0.1
    assert table.latest("m") == 0
    with pytest.raises(errors.NotFoundError):
        table.acquire("m", 1)


def test_a_version_of_any_number_of_files(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a link to a whole disk, which takes long to look through."""
    monkeypatch.setattr("inception_serving.server.versions.folder._MOST_FILES", 20)
    disk = model.parent / "disk"
    disk.mkdir()
    for number in range(30):
        (disk / str(number)).touch()
    with ModelServer(model, poll_s=0.05) as server:
        caller = Caller(server.address)
        (model / "2").symlink_to(disk)
        wait_until(lambda: caller.states("arithmetic").get(2) == "END")
        status = caller.status(name="arithmetic", version=2).model_version_status[0].status
        still = answer(caller)
        caller.channel.close()

    assert status.error_message == (
        f"{model / '2'} holds 20 files or more, and so is no SavedModel's folder."
    )
    assert still == (2.0, 1)


def test_folders_within_folders(tmp_path: Path) -> None:
    """Python's own search calls itself for each, as often as it lets itself."""
    tmp_path.joinpath(*["d"] * 150).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = file_states(tmp_path)
    finally:
        sys.setrecursionlimit(limit)

    assert len(found) == 151
