"""Batching of requests (row 58).

Sources: tensorflow_serving/batching/batching_session.cc, batching_util.h,
servables/tensorflow/bundle_factory_util.cc; and tensorflow's
core/kernels/batching_util/shared_batch_scheduler.h.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_serving import ModelServer, errors
from inception_serving.server.batching.scheduler import BatchedModel, BatchScheduler
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.files import read_batching
from inception_serving.server.metrics import Metrics
from inception_serving.tensors import Tensor
from tests.serving.caller import Caller, png
from tests.serving.saved_models import publish


class Recorder:
    """A model that halves, and remembers the batches it was given; it waits while it is held."""

    def __init__(self) -> None:
        signature = tf.compat.v1.saved_model.signature_def_utils.build_signature_def()
        signature.outputs["y"].name = "y"
        self.signatures = {"serving_default": signature}
        self.batches: list[Tensor] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Semaphore(0)

    def run(
        self, signature_name: str, inputs: Any, outputs: Any, *, deadline: float | None = None
    ) -> dict[str, Tensor]:
        self.entered.release()
        assert self.go.wait(20)
        self.batches.append(inputs["x"])
        if np.isnan(inputs["x"].astype(float)).any():
            raise errors.InvalidArgumentError("not a number")
        return {"y": inputs["x"] / 2}

    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


@contextmanager
def batched(**parameters: Any) -> Iterator[tuple[Recorder, Callable[..., Tensor]]]:
    """A recorder with one batch thread, and a function that calls it."""
    recorder = Recorder()
    options = BatchingParameters(**{"num_batch_threads": 1, **parameters})
    scheduler = BatchScheduler(options, Metrics())
    model = BatchedModel(recorder, scheduler, options)

    def call(*values: Any, deadline_s: float | None = None) -> Tensor:
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        feeds = {"x": np.array(values, np.float32)}
        return model.run("serving_default", feeds, ["y"], deadline=deadline)["y"]

    try:
        yield recorder, call
    finally:
        recorder.go.set()
        scheduler.stop(20)


@contextmanager
def busy(recorder: Recorder, call: Callable[..., Tensor]) -> Iterator[ThreadPoolExecutor]:
    """The batch thread is held until the block ends, so that what is called meanwhile queues."""
    with ThreadPoolExecutor(16) as pool:
        recorder.go.clear()
        first = pool.submit(call, 1000)
        assert recorder.entered.acquire(timeout=20)
        try:
            yield pool
            time.sleep(0.1)  # until the last call has queued
        finally:
            recorder.go.set()
        assert first.result(20) == [500]


class TestMerging:
    def test_requests_become_one_batch(self) -> None:
        with batched() as (recorder, call):
            with busy(recorder, call) as pool:
                calls = [pool.submit(call, n, n + 1) for n in range(5)]
            answers = [one.result(20).tolist() for one in calls]

        assert answers == [[n / 2, (n + 1) / 2] for n in range(5)]
        assert recorder.sizes() == [1, 10]

    def test_a_full_batch_leaves_the_rest_to_the_next(self) -> None:
        with batched(max_batch_size=4) as (recorder, call):
            with busy(recorder, call) as pool:
                calls = [pool.submit(call, n, n, n) for n in range(2)]
            for one in calls:
                one.result(20)

        assert recorder.sizes() == [1, 3, 3]

    def test_it_waits_for_more(self) -> None:
        """batch_timeout_micros: a batch that is full does not wait."""
        with (
            batched(max_batch_size=2, batch_timeout_micros=60_000_000) as (recorder, call),
            ThreadPoolExecutor(2) as pool,
        ):
            full = [pool.submit(call, n) for n in range(2)]
            for one in full:
                one.result(20)
        assert recorder.sizes() == [2]

        with batched(max_batch_size=2, batch_timeout_micros=300_000) as (recorder, call):
            started = time.monotonic()
            call(7)
            took = time.monotonic() - started
        assert took >= 0.3
        assert recorder.sizes() == [1]

    def test_different_shapes_are_kept_apart(self) -> None:
        """A deliberate difference: TF Serving fails them all."""
        with batched() as (recorder, call):
            with busy(recorder, call) as pool:
                flat = [pool.submit(call, n) for n in (1, 2)]
                wide = [pool.submit(call, [n, n]) for n in (3, 4)]
            assert [one.result(20).tolist() for one in flat] == [[0.5], [1.0]]
            assert [one.result(20).tolist() for one in wide] == [[[1.5, 1.5]], [[2.0, 2.0]]]

        assert sorted(recorder.sizes()) == [1, 2, 2]

    def test_or_padded(self) -> None:
        """pad_variable_length_inputs: with each tensor's first element."""
        with batched(pad_variable_length_inputs=True) as (recorder, call):
            with busy(recorder, call) as pool:
                short = pool.submit(call, [8])
                time.sleep(0.05)
                long = pool.submit(call, [1, 2, 3])
            assert short.result(20).tolist() == [[4, 4, 4]]
            assert long.result(20).tolist() == [[0.5, 1, 1.5]]

        assert recorder.batches[-1].tolist() == [[8, 8, 8], [1, 2, 3]]

    def test_one_bad_request_spoils_its_own_answer_only(self) -> None:
        """A deliberate difference: TF Serving fails the whole batch."""
        with batched() as (recorder, call):
            with busy(recorder, call) as pool:
                good, bad, other = (pool.submit(call, x) for x in (1, np.nan, 3))
            assert good.result(20) == [0.5]
            assert other.result(20) == [1.5]
            with pytest.raises(errors.InvalidArgumentError, match="not a number"):
                bad.result(20)

    def test_padding_to_allowed_sizes(self) -> None:
        """batching_session.cc, MergeInputTensors: with the last request's first row."""
        with batched(max_batch_size=8, allowed_batch_sizes=(2, 4, 8)) as (recorder, call):
            with busy(recorder, call) as pool:
                calls = [pool.submit(call, 1, 2), pool.submit(call, 1, 2, 3)]
            answers = sorted(one.result(20).tolist() for one in calls)

        assert answers == [[0.5, 1.0], [0.5, 1.0, 1.5]]
        assert recorder.sizes() == [2, 8]
        assert recorder.batches[-1][5:].tolist() == [1, 1, 1]


class TestSplitting:
    def test_too_large_a_request(self) -> None:
        """shared_batch_scheduler.h, ValidateBatchTaskQueueCapacity."""
        with (
            batched(max_batch_size=4) as (_, call),
            pytest.raises(errors.InvalidArgumentError) as caught,
        ):
            call(*range(5))

        assert str(caught.value) == "Task size 5 is larger than maximum input batch size 4"

    def test_a_large_request_in_parts(self) -> None:
        parameters = {
            "max_batch_size": 20,
            "enable_large_batch_splitting": True,
            "max_execution_batch_size": 4,
        }
        with batched(**parameters) as (recorder, call):
            with busy(recorder, call) as pool:
                small = pool.submit(call, 0)
                time.sleep(0.05)
                large = pool.submit(call, *range(10))
            assert small.result(20) == [0]
            assert large.result(20).tolist() == [n / 2 for n in range(10)]
            with pytest.raises(errors.InvalidArgumentError, match="Task size 21 is larger"):
                call(*range(21))

        assert recorder.sizes() == [1, 4, 4, 3]

    def test_no_room_for_all_parts(self) -> None:
        parameters = {
            "max_batch_size": 20,
            "max_enqueued_batches": 2,
            "enable_large_batch_splitting": True,
            "max_execution_batch_size": 4,
        }
        with batched(**parameters) as (recorder, call), busy(recorder, call) as pool:
            queued = pool.submit(call, 0)
            time.sleep(0.05)
            with pytest.raises(errors.UnavailableError) as caught:
                call(*range(8))
            assert not queued.done()

        assert str(caught.value) == (
            "The batch scheduling queue to which this task was submitted is full; task size is 8 "
            "but scheduling capacity is only 7 (num_enqueued_batches=1, max_enqueued_batches=2, "
            "open_batch_size=1, max_execution_batch_size=4)"
        )


class TestQueue:
    @pytest.mark.parametrize("wide", [False, True], ids=["one shape", "many shapes"])
    def test_it_is_full(self, wide: bool) -> None:
        """Unavailable at once; a new shape needs a batch of its own."""
        with batched(max_batch_size=2, max_enqueued_batches=2) as (recorder, call):
            with busy(recorder, call) as pool:
                queued = [pool.submit(call, *[[n] * (n + 1 if wide else 1)] * 2) for n in range(2)]
                time.sleep(0.1)
                with pytest.raises(errors.UnavailableError) as caught:
                    call([0, 0, 0], [0, 0, 0])
                    call([0], [0])
            for one in queued:
                one.result(20)

        assert str(caught.value) == (
            "The batch scheduling queue to which this task was submitted is full; currently 2 "
            "batches enqueued and max_enqueued_batches is 2"
        )

    def test_a_deadline_in_the_queue(self) -> None:
        """batching_session.cc, ProcessBatch; what nobody waits for is not run."""
        with batched() as (recorder, call):
            with busy(recorder, call) as pool:
                with pytest.raises(errors.DeadlineExceededError) as caught:
                    call(5, deadline_s=0.05)
                other = pool.submit(call, 6)
            other.result(20)

        assert str(caught.value) == "Timed out waiting for notification"
        assert [batch.tolist() for batch in recorder.batches] == [[1000], [6]]

    def test_stopping_runs_what_is_queued(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            with batched(batch_timeout_micros=10_000_000) as (_, call):
                waiting = pool.submit(call, 3)
                time.sleep(0.1)
            assert waiting.result(5) == [1.5]

    @given(
        st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=12),
        st.sampled_from([(), (1, 3, 6), (6,)]),
        st.booleans(),
    )
    @settings(max_examples=25, deadline=None)
    def test_everybody_gets_their_own_rows(
        self, requests: list[list[int]], allowed: tuple[int, ...], split: bool
    ) -> None:
        parameters = {
            "max_batch_size": 6,
            "allowed_batch_sizes": allowed,
            "enable_large_batch_splitting": split,
            "max_enqueued_batches": 100,
            "num_batch_threads": 2,
        }
        with batched(**parameters) as (recorder, call), ThreadPoolExecutor(12) as pool:
            answers = [one.tolist() for one in pool.map(lambda row: call(*row), requests)]

        assert answers == [[n / 2 for n in row] for row in requests]
        assert max(recorder.sizes()) <= 6


class TestParameters:
    def test_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "batching.txt"
        file.write_text(
            "max_batch_size { value: 32 } batch_timeout_micros { value: 0 } "
            "max_enqueued_batches { value: 7 } num_batch_threads { value: 3 } "
            "allowed_batch_sizes: 8 allowed_batch_sizes: 32 pad_variable_length_inputs: true "
            "enable_large_batch_splitting { value: false } thread_pool_name { value: 'p' }"
        )

        assert read_batching(file) == BatchingParameters(
            max_batch_size=32,
            max_enqueued_batches=7,
            num_batch_threads=3,
            allowed_batch_sizes=(8, 32),
            pad_variable_length_inputs=True,
            thread_pool_name="p",
        )

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("max_batch_size: 3", "Invalid protobuf file"),
            (
                "max_batch_size { value: 4 } allowed_batch_sizes: 3",
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; "
                "expected 4",
            ),
            ("allowed_batch_sizes: [3, 2, 1000]", "must be monotonically increasing"),
            ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
            ("batch_timeout_micros { value: -1 }", "must be non-negative; was -1"),
        ],
    )
    def test_a_file_that_will_not_do(self, tmp_path: Path, text: str, error: str) -> None:
        file = tmp_path / "batching.txt"
        file.write_text(text)

        with pytest.raises(errors.InvalidArgumentError, match=error):
            read_batching(file)


@pytest.fixture(scope="module")
def batching_server(base: Path) -> Iterator[ModelServer]:
    parameters = BatchingParameters(
        max_batch_size=16, batch_timeout_micros=20_000, num_batch_threads=2
    )
    with ModelServer(base, rest_port=0, batching=parameters) as server:
        yield server


@pytest.fixture
def batching_caller(batching_server: ModelServer) -> Iterator[Caller]:
    caller = Caller(batching_server.address)
    with caller.channel:
        yield caller


class TestServer:
    def test_many_clients_share_batches(
        self, batching_server: ModelServer, batching_caller: Caller
    ) -> None:
        """No request is lost, over gRPC and REST; images and floats; and each gets its own."""
        colours = [png(200, 0, 0), png(0, 200, 90), png(10, 90, 200)]
        names = [b"red", b"green", b"blue"]
        url = f"{batching_server.rest_address}/v1/models/arithmetic:predict"
        runs = batching_server.metrics.counts

        def floats(n: int) -> bool:
            outputs = batching_caller.predict({"x": np.array([n], np.float32)}).outputs
            return list(outputs["y"].float_val) == [n / 2 + 2]

        def images(n: int) -> bool:
            request = {"image_bytes": [colours[n % 3]]}
            outputs = batching_caller.predict(request, name="colours").outputs
            return outputs["classes"].string_val[0] == names[n % 3]

        def rest(n: int) -> bool:
            answer = httpx.post(url, json={"instances": [n]}, timeout=20)
            return answer.json() == {"predictions": [n / 2 + 2]}

        before = runs()["/tensorflow/serving/batching_session/wrapped_run_count"]
        with ThreadPoolExecutor(32) as pool:
            answers = [pool.submit(call, n) for n in range(40) for call in (floats, images, rest)]
            good = [answer.result(60) for answer in answers]
        after = runs()["/tensorflow/serving/batching_session/wrapped_run_count"]

        assert all(good)
        assert after - before < 120

    @pytest.mark.parametrize(
        ("inputs", "signature", "code", "text"),
        [
            (
                {"x": np.zeros(17, np.float32)},
                "",
                "INVALID_ARGUMENT",
                "Task size 17 is larger than maximum input batch size 16",
            ),
            (
                {"seconds": np.float32(0)},
                "slow",
                "INVALID_ARGUMENT",
                "Batching Run() input tensors must have at least one dimension",
            ),
            (
                {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)},
                "two_in_two_out",
                "INVALID_ARGUMENT",
                "Batching Run() input tensors must have equal 0th-dimension size",
            ),
            (
                {},
                "no_inputs",
                "INVALID_ARGUMENT",
                "Batching Run() must have at least one input tensor",
            ),
            (
                {"x": np.zeros(2, np.int32)},
                "scalar_out",
                "FAILED_PRECONDITION",
                "Batched output tensor has 0 dimensions",
            ),
            (
                {"x": np.zeros(4, np.float32)},
                "reshape",
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors",
            ),
        ],
    )
    def test_what_cannot_be_batched(
        self, batching_caller: Caller, inputs: Any, signature: str, code: str, text: str
    ) -> None:
        """batching_util.h, ComputeTensorBatchSize; batching_session.cc, SplitOutputTensors."""
        with pytest.raises(grpc.RpcError) as caught:
            batching_caller.predict(inputs, signature=signature)

        assert (caught.value.code().name, caught.value.details()) == (code, text)

    def test_some_of_the_outputs_bypass_it(self, batching_caller: Caller) -> None:
        """batching_session.cc, InternalRun: only a signature's own set of outputs is batched."""
        rows = np.zeros(17, np.float32)
        response = batching_caller.predict(
            {"a": rows, "b": rows}, signature="two_in_two_out", outputs=("sum",)
        )

        assert len(response.outputs["sum"].float_val) == 17

    def test_an_empty_batch(self, batching_caller: Caller) -> None:
        response = batching_caller.predict({"x": np.zeros(0, np.float32)})

        assert list(response.outputs["y"].float_val) == []

    def test_per_model(self, saved_models: Path, tmp_path: Path) -> None:
        """--enable_per_model_batching_parameters: from the version's own file, or not at all."""
        for name in ("small", "none"):
            publish(saved_models / "arithmetic", tmp_path / name / "1")
        (tmp_path / "small" / "1" / "batching_params.pbtxt").write_text(
            "max_batch_size { value: 2 }"
        )
        rows = np.zeros(3, np.float32)

        with ModelServer(tmp_path, batching=True, per_model_batching=True) as server:
            caller = Caller(server.address)
            with caller.channel:
                caller.predict({"x": rows}, name="none")
                with pytest.raises(grpc.RpcError) as caught:
                    caller.predict({"x": rows}, name="small")

        text = "Task size 3 is larger than maximum input batch size 2"
        assert caught.value.details() == text
