"""Clients against a server whose answers make no sense, or come late, or not at all."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from inception_serving import AnswerError, AsyncClient, Client, Limits, Timeout, errors, messages
from inception_serving.client.results import version_statuses
from inception_serving.client.signatures import from_response
from inception_serving.tensors import to_proto
from tests.serving.caller import free_port
from tests.serving.conftest import Clock

PNG = b"\x89PNG\r\n\x1a\n"  # which is enough of an image for who does not decode it
OUTPUTS = {"classes": (messages.DataType.DT_STRING, 2), "scores": (messages.DataType.DT_FLOAT, 2)}


class FakeServer:
    """Answers Predict as it is told to, and tells of one signature, of images."""

    def __init__(self, predict: Callable[[Any], Any], version: int = 1) -> None:
        self.calls: list[str] = []
        self.headers: dict[str, Any] = {}
        self.version = version
        self._predict = predict
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def service(self, details: Any) -> Any:
        method = details.method.rpartition("/")[2]
        self.headers = {name: value for name, value in details.invocation_metadata}
        return grpc.unary_unary_rpc_method_handler(
            lambda data, context: self.answer(method, data, context)
        )

    def answer(self, method: str, data: bytes, context: Any) -> bytes:
        self.calls.append(method)
        if method == "GetModelMetadata":
            answer = messages.GetModelMetadataResponse()
            answer.model_spec.version.value = self.version
            answer.metadata["signature_def"].Pack(self.signatures())
        else:
            try:
                answer = self._predict(messages.PredictRequest.FromString(data))
            except errors.StatusError as error:
                code = next(
                    c for c in grpc.StatusCode if c.value[0] == errors.GRPC_CODES[type(error)]
                )
                context.abort(code, str(error))
        return bytes(answer if isinstance(answer, bytes) else answer.SerializeToString())

    @staticmethod
    def signatures() -> Any:
        known = messages.SignatureDefMap()
        signature = known.signature_def["serving_default"]
        image = signature.inputs["image_bytes"]
        image.dtype = messages.DataType.DT_STRING
        image.tensor_shape.dim.add(size=-1)
        for name, (dtype, rank) in OUTPUTS.items():
            signature.outputs[name].dtype = dtype
            for _ in range(rank):
                signature.outputs[name].tensor_shape.dim.add(size=-1)
        return known

    def __enter__(self) -> FakeServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


def response(version: int = 1, **outputs: Any) -> Any:
    answer = messages.PredictResponse()
    answer.model_spec.version.value = version
    for name, value in outputs.items():
        if isinstance(value, np.ndarray | list):
            value = to_proto(np.asarray(value))
        answer.outputs[name].CopyFrom(value)
    return answer


def rows(count: int, labels: int = 2, version: int = 1) -> Any:
    names = np.full([count, labels], b"cat", object)
    return response(version, classes=names, scores=np.full([count, labels], 0.5, np.float32))


def batch_of(request: Any) -> int:
    return len(request.inputs["image_bytes"].string_val)


def scored(scores: Any) -> Any:
    """One label, and whatever for its score."""
    return response(classes=[[b"a"]], scores=scores)


def enormous(gigabytes: int) -> Any:
    """A few bytes that say "hundreds of millions of times the same"."""
    proto = messages.TensorProto(dtype=messages.DataType.DT_FLOAT, float_val=[0.5])
    for size in (gigabytes, 2**28):
        proto.tensor_shape.dim.add(size=size)
    assert proto.ByteSize() < 40
    return proto


def ask(kind: str, address: str, images: Any, **options: Any) -> Any:
    """`predict` of one of the two clients, with what it raises."""
    if kind == "sync":
        with Client(address, "m", **options) as client:
            return client.predict(images)

    async def work() -> Any:
        async with AsyncClient(address, "m", **options) as client:
            return await client.predict(images)

    return asyncio.run(work())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("answer", "images", "text"),
    [
        (rows(0), 1, r"1 of each: the server answered classes \[0, 2\] and scores \[0, 2\]"),
        (rows(1), 3, r"3 of each: the server answered classes \[1, 2\]"),
        (rows(4), 3, r"3 of each: the server answered classes \[4, 2\]"),
        (rows(1, labels=0), 1, "answered no label"),
        (scored(np.ones([1, 3], np.float32)), 1, r"scores \[1, 3\]"),
        (response(classes=[[b"a"]]), 1, r"answered \['classes'\]: missing scores"),
        (scored([[1]]), 1, r"'scores' is float \[\?, \?\].*int64 \[1, 1\]"),
        (scored(np.ones(1, np.float32)), 1, r"the server answered float \[1\]"),
        (scored(enormous(3)), 1, "answered 'scores' as no tensor: Tensors end at 2 GiB"),
        (scored(enormous(1)), 1, "more than 268435456 bytes .answer_bytes"),
        (scored(messages.TensorProto(dtype=1, tensor_content=b"12345")), 1, "holds 5 bytes"),
    ],
    ids=[
        *("no row", "too few rows", "too many rows", "no labels", "fewer labels than scores"),
        *("an output missing", "another dtype", "another rank"),
        *("3 GiB in 40 bytes", "1 GiB in 40 bytes", "no tensor"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none(kind: str, answer: Any, images: int, text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with FakeServer(lambda request: answer) as server, pytest.raises(AnswerError, match=text):
        ask(kind, server.address, PNG if images == 1 else [PNG] * images, timeout_s=10)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_an_answer_that_is_no_message(kind: str) -> None:
    with FakeServer(lambda request: b"\xff" * 9) as server, pytest.raises(errors.InternalError):
        ask(kind, server.address, PNG, timeout_s=10)


@pytest.mark.parametrize("value", [b"\xff\xff\xff\xff", None])
def test_signatures_that_are_none(kind: str, value: bytes | None) -> None:
    def answer(method: str, data: bytes, context: Any) -> bytes:
        told = messages.GetModelMetadataResponse()
        if value is not None:
            told.metadata["signature_def"].Pack(messages.SignatureDefMap())
            told.metadata["signature_def"].value = value
        return bytes(told.SerializeToString())

    with FakeServer(lambda request: rows(1)) as server, pytest.raises(AnswerError, match="no sig"):
        server.answer = answer  # type: ignore[method-assign]
        ask(kind, server.address, PNG)


def test_a_state_that_is_not_known_has_its_number() -> None:
    told = messages.GetModelStatusResponse()
    told.model_version_status.add(version=1, state=99)
    told.model_version_status.add(version=2, state=30)
    states = [each.state for each in version_statuses(told)]
    assert states == ["UNKNOWN (99)", "AVAILABLE"]


def test_futures_that_are_cancelled_send_no_more() -> None:
    wake = threading.Event()
    with FakeServer(lambda request: wake.wait(60) and rows(1)) as server:
        with Client(server.address, "m", in_flight=1, batch_size=1) as client:
            client.metadata()
            under_way = client.predict_async(PNG)
            several, one = client.predict_async([PNG] * 9), client.predict_async(PNG)
            assert several.cancel() and one.cancel()
            assert wait([several, one], timeout=20).done == {several, one}
            wake.set()
            assert under_way.result(20).label == "cat"
            assert not under_way.cancel()

        assert server.calls.count("Predict") == 1


def test_a_client_that_was_closed_connects_anew() -> None:
    """As the other one does."""
    with FakeServer(lambda request: rows(batch_of(request))) as server:
        client = Client(server.address, "m")
        for _ in range(2):
            assert client.predict(PNG).label == "cat"
            client.close()
            client.close()
        assert client.predict_async(PNG).result(20).label == "cat"
        client.close()


def test_a_client_is_closed_once_all_is_answered() -> None:
    """Over the one connection, of those too that had not begun."""
    peers = set()

    class Server(FakeServer):
        def answer(self, method: str, data: bytes, context: Any) -> bytes:
            peers.add(context.peer())
            return super().answer(method, data, context)

    with Server(lambda request: time.sleep(0.02) or rows(1)) as server:
        client = Client(server.address, "m", in_flight=1)
        futures = [client.predict_async(PNG) for _ in range(5)]
        client.close()
        assert [future.result(0).label for future in futures] == ["cat"] * 5
    assert len(peers) == 1


def test_an_interrupt_waits_for_no_server() -> None:
    wake = threading.Event()
    with FakeServer(lambda request: wake.wait(60) and rows(1)) as server:
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), Client(server.address, "m") as client:
            client.metadata()
            futures = [client.predict_async(PNG) for _ in range(9)]
            while "Predict" not in server.calls:
                time.sleep(0.01)
            raise KeyboardInterrupt
        took = time.monotonic() - started
        wake.set()
    assert took < 20
    assert all(future.cancelled() or future.exception(0) for future in futures)


def test_futures_hear_of_it() -> None:
    with FakeServer(lambda request: rows(0)) as server, Client(server.address, "m") as client:
        with pytest.raises(AnswerError):
            client.predict_async(PNG).result(10)
        with pytest.raises(AnswerError):
            client.predict_async([PNG] * 40).result(10)


def test_an_error_is_not_megabytes(kind: str) -> None:
    def fail(request: Any) -> Any:
        raise errors.FailedPreconditionError("no " * 2000)

    with FakeServer(fail) as server, pytest.raises(errors.FailedPreconditionError) as caught:
        ask(kind, server.address, PNG)

    assert len(str(caught.value)) < 2100
    assert str(caught.value).startswith("no no ")
    assert "[4000 characters left out]" in str(caught.value)
    assert caught.value.code == "FAILED_PRECONDITION"


class TestRetries:
    def test_a_busy_server_is_asked_again(self, kind: str, clock: Clock) -> None:
        """More often than `retries` says: it is there, and takes its time."""
        left = [errors.ResourceExhaustedError("Server Threadpool Exhausted")] * 4

        def busy(request: Any) -> Any:
            if left:
                raise left.pop()
            return rows(1)

        with FakeServer(busy) as server:
            assert ask(kind, server.address, PNG, retries=1, timeout_s=300).label == "cat"
        assert server.calls.count("Predict") == 5
        assert clock.now == 10 + 20 + 40 + 40

    @pytest.mark.parametrize(
        "text",
        [
            "Received message larger than max (9 vs. 4)",
            "The request is larger than the 9 bytes that this server takes.",
            "OOM when allocating tensor with shape[9]",
        ],
    )
    def test_what_is_too_large_is_not_sent_again(self, kind: str, text: str) -> None:
        def refuse(request: Any) -> Any:
            raise errors.ResourceExhaustedError(text)

        with FakeServer(refuse) as server, pytest.raises(errors.ResourceExhaustedError) as caught:
            ask(kind, server.address, PNG)

        assert str(caught.value) == text
        assert server.calls.count("Predict") == 1

    def test_never_past_the_deadline(self, kind: str, clock: Clock) -> None:
        """Nor given up before: at 0, 10, 30, 70, 110 ... 270 s, and not again at 310 s."""

        def refuse(request: Any) -> Any:
            raise errors.ResourceExhaustedError("Server Threadpool Exhausted")

        with FakeServer(refuse) as server, pytest.raises(errors.ResourceExhaustedError):
            ask(kind, server.address, PNG, timeout_s=300)

        assert clock.now == 270
        assert server.calls.count("Predict") == 9


class TestDeadline:
    def test_a_slow_server(self, kind: str) -> None:
        """The client has its error while the server still works."""
        wake = threading.Event()
        with FakeServer(lambda request: wake.wait(60) and rows(1)) as server:
            started = time.monotonic()
            with pytest.raises(errors.DeadlineExceededError):
                ask(kind, server.address, PNG, timeout_s=Timeout(0.4))
            took = time.monotonic() - started
            wake.set()

        assert took < 30

    def test_no_turn_free(self) -> None:
        wake = threading.Event()
        with (
            FakeServer(lambda request: wake.wait(60) and rows(1)) as server,
            Client(server.address, "m", in_flight=1) as client,
        ):
            first = client.predict_async(PNG)
            started = time.monotonic()
            with pytest.raises(errors.DeadlineExceededError):
                client.predict(PNG, timeout_s=0.3)
            took = time.monotonic() - started
            wake.set()
            assert first.result(20).label == "cat"

        assert took < 20


class TestStreams:
    def test_the_iterator_is_read_as_the_results_are_taken(self) -> None:
        read = []

        def images() -> Iterator[bytes]:
            for place in range(1000):
                read.append(place)
                yield PNG

        with (
            FakeServer(lambda request: rows(batch_of(request))) as server,
            Client(server.address, "m", limits=Limits(batch_size=5, in_flight=2)) as client,
        ):
            stream = client.predict_stream(images())
            assert not read
            taken = [next(stream) for _ in range(20)]
            stream.close()  # type: ignore[attr-defined]

        assert len(taken) == 20
        assert 20 <= len(read) <= 20 + 2 * 5 + 5

    def test_on_asyncio(self) -> None:
        """From an asynchronous iterator of any length, in order."""
        read = []

        async def images() -> Any:
            for place in range(400):
                read.append(place)
                yield PNG + bytes([place % 251])

        def echo(request: Any) -> Any:
            time.sleep(0.001 * (batch_of(request) % 3))
            names = [
                [data[-1:].hex().encode()] for data in request.inputs["image_bytes"].string_val
            ]
            return response(classes=names, scores=np.ones([len(names), 1], np.float32))

        async def work(address: str) -> list[str]:
            found = []
            async with AsyncClient(address, "m", batch_size=7, in_flight=3) as client:
                async for result in client.predict_stream(images()):
                    found.append(result.label)
                    assert len(read) <= len(found) + 7 * 5
            return found

        with FakeServer(echo) as server:
            found = asyncio.run(work(server.address))

        assert found == [f"{place % 251:02x}" for place in range(400)]

    def test_it_is_the_event_loop_that_sends(self) -> None:
        """Fifty requests are in flight at a time, which no pool of threads would carry."""
        together, most, lock = 0, 0, threading.Lock()

        async def work(address: str) -> Any:
            async with AsyncClient(address, "m", in_flight=8) as client:
                await client.metadata()
                before = threading.active_count()
                results = await asyncio.gather(*(client.predict(PNG) for _ in range(50)))
                return results, before

        def count(request: Any) -> Any:
            nonlocal together, most
            with lock:
                together += 1
                most = max(most, together)
            time.sleep(0.01)
            with lock:
                together -= 1
            return rows(1)

        with FakeServer(count) as server:
            results, _ = asyncio.run(work(server.address))
        assert len(results) == 50
        assert 2 <= most <= 8
        assert server.calls.count("GetModelMetadata") == 1

    def test_cancelling_a_call_cancels_its_request(self) -> None:
        begun, wake = threading.Event(), threading.Event()

        def slow(request: Any) -> Any:
            begun.set()
            wake.wait(60)
            return rows(1)

        async def work(address: str) -> float:
            async with AsyncClient(address, "m") as client:
                task = asyncio.create_task(client.predict(PNG))
                assert await asyncio.to_thread(begun.wait, 20)
                started = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return time.monotonic() - started

        with FakeServer(slow) as server:
            took = asyncio.run(work(server.address))
            wake.set()

        assert took < 30


def test_many_first_calls_ask_for_the_signatures_once(kind: str) -> None:
    def echo(request: Any) -> Any:
        return rows(batch_of(request))

    with FakeServer(echo) as server:
        results = ask(kind, server.address, [PNG] * 64, batch_size=2)

    assert len(results) == 64
    assert server.calls.count("GetModelMetadata") == 1


def test_signatures_are_kept_by_version() -> None:
    versions = [1, 2, 1, 2, 1]
    found = []
    with (
        FakeServer(lambda request: rows(1, version=server.version)) as server,
        Client(server.address, "m") as client,
    ):
        for version in versions:
            server.version = version
            found.append(client.predict(PNG).version)
            client.predict(PNG)

    assert found == versions
    assert server.calls.count("GetModelMetadata") == 2


class TestConnection:
    def test_headers_and_compression(self, kind: str) -> None:
        with FakeServer(lambda request: rows(1)) as server:
            ask(
                kind, server.address, PNG, headers={"Authorization": "Bearer x"}, compression="gzip"
            )

        assert server.headers["authorization"] == "Bearer x"

    def test_a_fork(self) -> None:
        """A client that has been used works on in both processes."""
        with FakeServer(lambda request: rows(1)) as server:
            script = (
                "import os, sys\n"
                "from inception_serving import Client\n"
                f"client = Client({server.address!r}, 'm')\n"
                f"print(client.predict({PNG!r}).label, flush=True)\n"
                "child = os.fork()\n"
                f"print(client.predict({PNG!r}).label, flush=True)\n"
                "client.close()\n"
                "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
            )
            done = run_python(script)
        assert done == ["cat"] * 3

    def test_a_proxy_is_named(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{free_port()}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(errors.UnavailableError) as caught:
            ask(kind, "models.example:8500", PNG, retries=0)

        text = str(caught.value)
        assert "through the proxy of http_proxy=http://127.0.0.1:" in text
        assert "no_proxy=models.example goes around it" in text
        assert "secret" not in text

    def test_this_machine_needs_no_proxy(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv("no_proxy", raising=False)
        with FakeServer(lambda request: rows(1)) as server:
            for host in ("localhost", "127.0.0.1"):
                address = server.address.replace("127.0.0.1", host)
                assert ask(kind, address, PNG).label == "cat"

    def test_the_port_of_rest(self, kind: str) -> None:
        with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as rest:
            thread = threading.Thread(target=rest.serve_forever)
            thread.start()
            started = time.monotonic()
            with pytest.raises(errors.NotGrpcError, match="speaks HTTP and not gRPC: gRPC's port"):
                ask(kind, f"127.0.0.1:{rest.server_port}", PNG)
            took = time.monotonic() - started
            rest.shutdown()
            thread.join()
        assert took < 30  # and not until the deadline, at 60

    def test_servers_of_one_name_take_turns(self, kind: str) -> None:
        with (
            FakeServer(lambda request: rows(1)) as one,
            FakeServer(lambda request: rows(1)) as two,
        ):
            address = f"ipv4:{one.address},{two.address}"
            ask(kind, address, [PNG] * 20, batch_size=1)
        assert one.calls and two.calls

    @pytest.mark.parametrize(
        ("address", "text"),
        [
            ("models", "address is HOST:PORT, such as models:8500"),
            ("models:", "such as models:8500"),
            ("dns:///models", "such as models:8500"),
            ("models:99999", "such as models:8500"),
            ("::1", r"stands in brackets, with a port behind them: \[::1\]:8500"),
            ("ftp://models:8501", "or of REST, such as http://localhost:8501, without ftp://"),
            ("http://models:8501/v1", "http://HOST:PORT or https://HOST:PORT alone"),
            ("http://me:secret@models:8501", "http://HOST:PORT or https://HOST:PORT alone"),
            ("http://models:99999", "http://HOST:PORT or https://HOST:PORT alone"),
            ("https://", "http://HOST:PORT or https://HOST:PORT alone"),
        ],
    )
    def test_an_address_that_is_none(self, address: str, text: str) -> None:
        for make in (Client, AsyncClient):
            with pytest.raises(ValueError, match=text):
                make(address, "m")

    def test_addresses(self) -> None:
        for address in ("models:8500", "[::1]:8500", "dns:///a.b:1", "unix:/tmp/x", "xds:///a"):
            assert Client(address, "m").address == address


def run_python(script: str) -> list[str]:
    path = Path(__file__).parents[2] / "serving"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_signature_that_gives_no_shape_takes_any() -> None:
    """A scalar's shape is there and empty; a server may leave a shape out."""
    response, signatures = messages.GetModelMetadataResponse(), messages.SignatureDefMap()
    outputs = signatures.signature_def["s"].outputs
    outputs["any"].dtype = outputs["scalar"].dtype = messages.DataType.DT_FLOAT
    outputs["scalar"].tensor_shape.SetInParent()
    response.metadata["signature_def"].Pack(signatures)

    found = from_response(response).signatures["s"].outputs

    assert (found["any"].shape, found["scalar"].shape) == (None, ())
