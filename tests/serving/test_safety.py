"""Callers who mean no good, or know no better: each is answered or cut off, and harms nobody."""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import itertools
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inception_serving import ModelServer, errors, messages
from inception_serving.server.budget import ByteBudget, Workspace
from inception_serving.server.grpc import service
from inception_serving.server.model.image_size import ImageSize, check_images, find_images
from inception_serving.server.model.predict import read_protos
from inception_serving.server.received import in_parts
from inception_serving.server.received.pauses import let_others_run, one_at_a_time, work_on
from inception_serving.server.received.turns import LONG_WORK, Turns
from inception_serving.server.received.wire import Steps
from inception_serving.server.rest import server as rest_server
from tests.serving.caller import Caller, png
from tests.serving.model.test_examples import classification
from tests.serving.versions.test_lifecycle import wait_until

PREDICT = "/v1/models/arithmetic:predict"
X = {"x": np.array([1], np.float32)}


def png_bomb(width: int, height: int) -> bytes:
    """A PNG that inflates to width times height zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    deflate = zlib.compressobj(9)
    row = bytes(1 + width // 8 + 1)
    data = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def encoded(kind: str, width: int, height: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, kind, **options)
    return file.getvalue()


def sizes(data: bytes) -> list[ImageSize]:
    """Of the images that are to be found in a string."""
    return list(find_images(data, Steps()))


def count_pixels(data: bytes) -> int:
    """Of the largest of them."""
    return max((size.pixels for size in sizes(data)), default=0)


class TestImageBombs:
    TEXT = (
        "Input image_bytes, element 1: an image of 400000000 pixels; this server decodes 67108864 "
        "at most."
    )

    def test_over_grpc_and_rest(self, server: ModelServer, caller: Caller) -> None:
        bomb = png_bomb(20_000, 20_000)
        assert len(bomb) < 200_000

        with pytest.raises(grpc.RpcError) as caught:
            caller.predict({"image_bytes": [png(200, 0, 0), bomb]}, name="colours")
        rows = [{"b64": base64.b64encode(data).decode()} for data in (png(200, 0, 0), bomb)]
        url = f"{server.rest_address}/v1/models/colours:predict"
        response = httpx.post(url, json={"instances": rows}, timeout=20)

        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == self.TEXT
        assert (response.status_code, response.json()) == (400, {"error": self.TEXT})

    def test_within_an_example(self, caller: Caller) -> None:
        request = classification("scores_only")
        feature = request.input.example_list.examples[0].features.feature
        feature["image/encoded"].bytes_list.value.append(encoded("JPEG", 10_000, 8_000))

        with pytest.raises(grpc.RpcError) as caught:
            caller.predictions.Classify(request, timeout=20)

        assert "an image of 80000000 pixels" in caught.value.details()

    @pytest.mark.parametrize(
        "text",
        [
            b"ha" * (1 << 20),
            b" " * (1 << 21),
            b"BMW makes motor cars, and more",
            b"RIFF" + b"ha" * 999_999,
        ],
        ids=["laughter", "blanks", "a BMP's first bytes", "a WebP's first bytes"],
    )
    def test_texts_are_no_images_to_a_model_that_decodes_none(
        self, server: ModelServer, caller: Caller, text: bytes
    ) -> None:
        """Each two letters of a laughter are a field of a message, to one that reads examples."""
        output = caller.predict({"text": [text]}, signature="echo").outputs["plain"]
        body = {"signature_name": "echo", "instances": [text.decode()]}
        url = f"{server.rest_address}/v1/models/arithmetic:predict"
        response = httpx.post(url, json=body, timeout=20)

        assert output.string_val == [text]
        assert response.json()["predictions"][0]["plain"] == text.decode()

    def test_fields_are_counted_where_examples_are_parsed(self, caller: Caller) -> None:
        laughter = {"inputs": [b"ha" * (1 << 20)]}
        with pytest.raises(grpc.RpcError) as caught:
            caller.predict(laughter, name="scorer", signature="scores_only")
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "more than 131072 fields" in caught.value.details()
        with pytest.raises(grpc.RpcError, match="StringToNumberOp could not"):
            caller.predict(laughter, name="scorer", signature="other_input")

    def test_the_limit_can_be_moved(self, base: Path) -> None:
        image = encoded("PNG", 20, 10)
        for limit, answered in ((199, False), (200, True), (0, True)):
            with ModelServer(base / "colours", max_image_pixels=limit) as server:
                caller = Caller(server.address)
                with caller.channel:
                    try:
                        caller.predict({"image_bytes": [image]}, name="colours")
                    except grpc.RpcError:
                        assert not answered
                    else:
                        assert answered

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("PNG", {}),
            ("BMP", {}),
            ("GIF", {}),
            ("JPEG", {}),
            ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + bytes(300)}),
            ("WEBP", {}),
            ("WEBP", {"lossless": True}),
            ("WEBP", {"exif": b"Exif\0\0" + bytes(30)}),
        ],
    )
    def test_sizes(self, kind: str, options: dict[str, Any]) -> None:
        image = encoded(kind, 123, 45, **options)
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(1, 2, 3), image]))
        features = tf.train.Features(feature={"image/encoded": feature})
        lists = tf.train.FeatureLists()
        lists.feature_list["frames"].feature.append(feature)
        examples = [
            tf.train.Example(features=features),
            tf.train.SequenceExample(context=features),
            tf.train.SequenceExample(feature_lists=lists),
        ]

        assert count_pixels(image) == 123 * 45
        for example in examples:
            assert count_pixels(example.SerializeToString()) == 123 * 45
            # Nor is it hidden by a field that nobody knows.
            assert count_pixels(b"\x7a\x00" + example.SerializeToString()) == 123 * 45

    def test_the_frames_of_a_gif(self) -> None:
        frames = [Image.new("RGB", (30, 20), (n, 0, 0)) for n in (0, 100, 200)]
        file = io.BytesIO()
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])

        assert count_pixels(file.getvalue()) == 3 * 30 * 20

    @given(st.sampled_from(["PNG", "BMP", "GIF", "JPEG", "WEBP"]), st.integers(0, 700), st.binary())
    def test_what_is_cut_short(self, kind: str, length: int, more: bytes) -> None:
        """Sized, not sized, or refused; never an error of Python's."""
        image = np.array([encoded(kind, 12, 34)[:length] + more], object)
        with contextlib.suppress(errors.InvalidArgumentError):
            assert check_images({"image_bytes": image}, 1 << 26) >= 0

    def test_plain_text_is_none(self) -> None:
        assert [count_pixels(text) for text in (b"", b"\n", b"BM", b"hello", b"\xff\xd8\xff")] == [
            0
        ] * 5


class TestBudget:
    @pytest.fixture
    def small(self, base: Path) -> Iterator[ModelServer]:
        with ModelServer(base / "arithmetic", rest_port=0, max_bytes_in_flight=200_000) as server:
            yield server

    def test_a_request_that_never_fits(self, small: ModelServer) -> None:
        caller = Caller(small.address)
        with caller.channel:
            with pytest.raises(grpc.RpcError) as caught:
                caller.predict({"x": np.zeros(50_000, np.float32)})
            still = caller.predict(X).outputs["y"].float_val
        url = f"{small.rest_address}{PREDICT}"
        body = json.dumps({"instances": [0.0] * 50_000}).encode()
        announced = httpx.post(url, content=body, timeout=20)

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(body), 5_000):
                yield body[start : start + 5_000]

        try:
            streamed = httpx.post(url, content=pieces(), timeout=20).status_code
        except httpx.WriteError:  # cut off in the middle
            streamed = 413
        fits = httpx.post(url, json={"instances": [1]}, timeout=20)

        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert list(still) == [2.5]
        assert announced.status_code == streamed == 413
        assert announced.json() == {
            "error": "The request is larger than the 100000 bytes that this server takes."
        }
        assert fits.json() == {"predictions": [2.5]}

    def test_others_hold_it(self, small: ModelServer) -> None:
        """UNAVAILABLE, over both, until they have finished."""
        caller = Caller(small.address)
        large = {"x": np.zeros(20_000, np.float32)}
        body = {"signature_name": "slow", "inputs": 4.0, "ignored": "s" * 80_000}
        with caller.channel, ThreadPoolExecutor(1) as pool:
            held = pool.submit(httpx.post, f"{small.rest_address}{PREDICT}", json=body, timeout=20)
            wait_until(lambda: small.budget._held >= 80_000)
            with pytest.raises(grpc.RpcError) as caught:
                caller.predict(large)
            other = {"instances": [0.0] * 15_000}
            rest = httpx.post(f"{small.rest_address}{PREDICT}", json=other, timeout=20)
            small_one = caller.predict(X).outputs["y"].float_val
            assert held.result(20).status_code == 200
            caller.predict(large)

        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "try again later" in caught.value.details()
        assert rest.status_code == 503
        assert list(small_one) == [2.5]

    def test_a_few_bytes_that_mean_gigabytes(self, caller: Caller, small: ModelServer) -> None:
        """The last value repeats, so a message of 30 bytes may be a tensor of 2 GiB."""
        proto = tf.make_tensor_proto(np.float32(1))
        proto.tensor_shape.dim.add(size=50_000)
        other = Caller(small.address)
        with other.channel, pytest.raises(grpc.RpcError) as caught:
            other.predict({"x": proto})
        proto.tensor_shape.dim[0].size = 2**40
        with pytest.raises(grpc.RpcError):
            caller.predict({"x": proto})

        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    def test_answers_count_before_they_are_made(self, base: Path) -> None:
        """Of few bytes there may be many: -1 is one in an array and ten in a message."""
        proto = tf.make_tensor_proto(np.int8(-1))
        proto.tensor_shape.dim.add(size=300_000)
        column = {"inputs": [[0]] * 40_000}
        examples = {"examples": [{}] * 30_000}
        with ModelServer(base, rest_port=0, max_bytes_in_flight=4_000_000) as server:
            caller = Caller(server.address)
            with caller.channel, pytest.raises(grpc.RpcError) as caught:
                caller.predict({"x": proto}, signature="identity_int8")
            refused = [
                httpx.post(f"{server.rest_address}{PREDICT}", json=column, timeout=20),
                httpx.post(
                    f"{server.rest_address}/v1/models/scorer:classify", json=examples, timeout=20
                ),
            ]
            column["inputs"] = column["inputs"][:10_000]
            fits = httpx.post(f"{server.rest_address}{PREDICT}", json=column, timeout=20)

        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        told = "The answer takes about 3300000 bytes to write, more than a request may have"
        assert caught.value.details().startswith(told)
        for response in refused:
            assert response.status_code == 429
            assert "--max_bytes_in_flight" in response.json()["error"]
        assert len(fits.json()["outputs"]) == 10_000

    def test_much_is_told_once_on_the_way_up_and_down(self) -> None:
        told: list[bool] = []
        budget = ByteBudget(64 << 20)
        budget.on_much = told.append

        with budget.reserve(100), budget.reserve(1 << 20):
            assert told == [True]
            with budget.reserve(1 << 20):
                assert told == [True]
        assert told == [True, False]

    def test_it_adds_up(self) -> None:
        budget = ByteBudget(20)
        with budget.reserve(4) as first:
            first.grow(5)
            with pytest.raises(errors.UnavailableError):
                budget.reserve(6)
            with budget.reserve(5), pytest.raises(errors.UnavailableError):
                first.grow(1)
            with pytest.raises(errors.ResourceExhaustedError):
                budget.reserve(11)
        budget.reserve(10).release()
        budget.reserve(10).release()

    def test_large_requests_leave_room_for_small_ones(self) -> None:
        """A request has half of what is left, so something always is."""
        budget = ByteBudget(1 << 20)
        held = []
        with pytest.raises(errors.UnavailableError):
            while True:
                held.append(budget.reserve(100_000))

        budget.reserve(1000).release()
        for one in held:
            one.release()
        budget.reserve(1 << 19).release()

    def test_a_small_request_always_has_a_place(self) -> None:
        """However exactly others take half of what is left, again and again."""
        budget = ByteBudget(1 << 20)
        for _ in range(30):
            with contextlib.suppress(errors.UnavailableError):
                budget.reserve(budget.limit - budget._held >> 1)

        for _ in range(1000):
            budget.reserve(512)
        with pytest.raises(errors.UnavailableError):
            budget.reserve(513)

    def test_slow_bodies_make_way(self, base: Path) -> None:
        """Each has all but its last byte, of half of what the others left."""
        limit, sizes = 1 << 20, (500_000, 200_000, 100_000)
        with (
            ModelServer(base / "arithmetic", rest_port=0, max_bytes_in_flight=limit) as server,
            contextlib.ExitStack() as stack,
        ):
            caller = Caller(server.address)
            stack.enter_context(caller.channel)
            slow = []
            for size in sizes:
                client = socket.create_connection(("127.0.0.1", server.rest_port or 0), timeout=10)
                slow.append(stack.enter_context(client))
                head = f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n"
                client.sendall(head.encode() + b" " * (size - 1))
            time.sleep(0.5)

            caller.predict({"x": np.zeros(70_000, np.int32)}, signature="scalar_out")
            url = f"{server.rest_address}{PREDICT}"
            body = b'{"instances": [1]}' + b" " * 250_000
            answer = httpx.post(url, content=body, timeout=20)
            refused = slow[0].recv(65536)
            slow[1].sendall(b" ")
            not_refused = slow[1].recv(65536)

        assert answer.json() == {"predictions": [2.5]}
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert not_refused.startswith(b"HTTP/1.1 400 Bad Request\r\n")  # of blanks alone


class _Unmeasured:
    """A message whose size is not asked for: it takes as long as to write it."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        assert name != "ByteSize"
        return getattr(self._message, name)


class TestParts:
    def test_others_run_while_inputs_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[None] = []
        monkeypatch.setattr(in_parts, "let_others_run", lambda: pauses.append(None))
        text = messages.TensorProto(dtype=messages.DataType.DT_STRING)
        text.tensor_shape.dim.add(size=100_000)
        text.tensor_content = bytes(100_000)
        claimed: list[int] = []
        read = read_protos({"x": _Unmeasured(text)}, 100_000, claimed.append)

        assert read["x"].tolist() == [b""] * 100_000
        assert claimed == [100_000 * 24]
        assert len(pauses) > 20

    def test_one_large_answer_is_written_at_a_time(
        self, base: Path, one_at_a_time_in: Callable[..., list[int]]
    ) -> None:
        sizes = one_at_a_time_in(service, in_parts)
        with ModelServer(base / "arithmetic") as server:
            caller = Caller(server.address)
            with caller.channel:
                caller.predict({"x": np.zeros(1_000_000, np.float32)})
        assert sum(size >= 1_000_000 for size in sizes) >= 4  # it is made, and written


class TestTurns:
    def test_connections_have_them_one_after_the_other(self) -> None:
        turns = Turns(1)
        given: list[str] = []

        def work(name: str) -> None:
            with turns.take(None, connection=name[0]):
                given.append(name)

        names = ["a1", "a2", "a3", "b1", "a4", "c1", "b2"]
        with ThreadPoolExecutor(len(names)) as pool:
            with turns.take(None, connection="a"):
                waiting = []
                for count, name in enumerate(names, 1):
                    waiting.append(pool.submit(work, name))
                    while sum(map(len, turns._waiting.values())) < count:
                        time.sleep(1e-3)
            for each in waiting:
                each.result(timeout=20)
        assert given == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]

    def test_it_is_lent_in_pauses(self) -> None:
        turns = Turns(1)
        seen: list[int] = []
        with turns.take(None, connection="a"):
            with ThreadPoolExecutor(1) as pool:
                other = pool.submit(lambda: turns.acquire("b", 20))
                while not turns._waiting:
                    time.sleep(1e-3)
                back = threading.Timer(0.2, turns.release)
                back.start()
                let_others_run()  # until the other gives it back
                seen.append(turns._free)
                assert other.result(1)
            back.join()
        assert seen == [0] and turns._free == 1
        let_others_run()
        assert turns._free == 1

    def test_what_is_very_large_is_one_at_a_time_and_leaves_as_much_time(self) -> None:
        turns = Turns(1)
        times: list[tuple[float, float]] = []
        together = threading.Barrier(4)  # a thread for each

        def read(connection: str) -> None:
            together.wait(20)
            with turns.take(None, connection=connection), one_at_a_time(1 << 23):
                began, until = time.monotonic(), time.thread_time() + 0.03
                while time.thread_time() < until:
                    pass
                times.append((began, time.monotonic()))

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(read, name) for name in "abcd"]:
                done.result(20)
        times.sort()
        for (_, ended), (began, _) in itertools.pairwise(times):
            assert began - ended > 0.025
        assert turns._free == 1 and not turns._waiting

    def test_who_waits_for_what_is_large_lends_its_turn(self) -> None:
        turns = Turns(1)
        entered = threading.Event()

        def wait() -> None:
            with turns.take(None, connection="a"), one_at_a_time(1 << 20):
                entered.set()

        with ThreadPoolExecutor(1) as pool:
            with Turns(1).take(None), one_at_a_time(1 << 20):
                waiting = pool.submit(wait)
                assert not entered.wait(0.1)
                with turns.take(time.monotonic() + 10, connection="b"), one_at_a_time(1000):
                    assert not entered.is_set()
            waiting.result(20)
        assert entered.is_set() and turns._free == 1

    def test_one_at_a_time_works_for_long(self) -> None:
        turns = Turns(8)
        at_work: set[str] = set()
        most: list[int] = []

        def work(name: str) -> None:
            with turns.take(None, connection=name) as turn:
                work_on(10_000)
                for _ in range(20):
                    at_work.add(name)
                    most.append(len(at_work))
                    time.sleep(0.001)
                    at_work.discard(name)
                    let_others_run()
                turn.end_long()

        uses: list[bool] = []
        LONG_WORK.on_use = uses.append
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, name) for name in "abcd"]:
                done.result(20)
        LONG_WORK.on_use = lambda is_used: None
        assert max(most) == 1
        assert (uses[0], uses[-1]) == (True, False)
        assert turns._free == 8 and LONG_WORK._is_free

    def test_who_waits_to_work_for_long_lends_its_turn(self) -> None:
        turns = Turns(1)
        entered = threading.Event()

        def wait() -> None:
            with turns.take(None, connection="a"):
                work_on(10_000)
                entered.set()

        with ThreadPoolExecutor(1) as pool:
            other = Turns(1)
            with other.take(None, connection="b") as turn:
                turn.work_long()
                waiting = pool.submit(wait)
                assert not entered.wait(0.1)
                with turns.take(time.monotonic() + 10, connection="c"):
                    work_on(10)  # which is not long
                assert not entered.is_set()
                with turn.lend():
                    assert entered.wait(10)
            waiting.result(20)
        assert turns._free == other._free == 1 and LONG_WORK._is_free

    def test_who_has_worked_least_is_next(self) -> None:
        """A photo's few milliseconds do not wait for the seconds that others take."""
        turns = Turns(8)
        given: list[float] = []
        waiting = []

        def work(worked_s: float) -> None:
            with turns.take(None) as turn:
                turn.worked(worked_s)
                turn.work_long()
                given.append(worked_s)

        with ThreadPoolExecutor(4) as pool:
            with turns.take(None) as turn:
                turn.work_long()
                for count, worked_s in enumerate((3.0, 2.0, 0.001, 1.0), 1):
                    waiting.append(pool.submit(work, worked_s))
                    while len(LONG_WORK._waiting) < count:
                        time.sleep(1e-3)
            for each in waiting:
                each.result(timeout=20)
        assert given == [0.001, 1.0, 2.0, 3.0]

    def test_who_works_for_long_has_no_turn_of_the_others(self) -> None:
        """It would keep it from them while it waits, and they would keep it waiting."""
        turns = Turns(1)
        with turns.take(None) as turn:
            turn.work_long()
            with turns.take(None, refuse=True):
                pass
            turn.end_long()
            with pytest.raises(errors.ResourceExhaustedError), turns.take(None, refuse=True):
                pass
        assert turns._free == 1 and LONG_WORK._is_free and not LONG_WORK.is_used

    def test_of_too_many_who_wait_those_that_worked_most_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("inception_serving.server.received.turns._MOST_WAITING", 2)
        turns = Turns(8)

        def work(worked_s: float) -> float:
            with turns.take(None) as turn:
                turn.worked(worked_s)
                turn.work_long()
                return worked_s

        with ThreadPoolExecutor(4) as pool:
            with turns.take(None) as turn:
                turn.work_long()
                waiting = [pool.submit(work, worked_s) for worked_s in (0.0, 30.0, 20.0, 10.0)]
                for refused in (waiting[1], waiting[2]):
                    with pytest.raises(errors.UnavailableError, match="try again later"):
                        refused.result(timeout=20)
                waiting += [pool.submit(work, 0.001), pool.submit(work, 0.002)]
                with pytest.raises(errors.UnavailableError, match="try again later"):
                    waiting[3].result(timeout=20)
                while len(LONG_WORK._waiting) < 3:  # who is soon done is not refused
                    time.sleep(1e-3)
            assert [each.result(20) for each in (waiting[0], *waiting[4:])] == [0.0, 0.001, 0.002]
        assert turns._free == 8 and LONG_WORK._is_free and not LONG_WORK.is_used

    def test_who_has_worked_for_a_while_works_for_long(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = Turns(1)
        monkeypatch.setattr(time, "thread_time", itertools.count(1e3, 4e-4).__next__)
        with turns.take(None) as turn:
            long = []
            for _ in range(7):
                let_others_run()
                long.append(not LONG_WORK._is_free)
            turn.end_long()
            assert LONG_WORK._is_free
        assert long[0] is False and long[-1] is True

    def test_who_gives_up_leaves_its_place(self) -> None:
        turns = Turns(1)
        with turns.take(None) as turn:
            with pytest.raises(errors.DeadlineExceededError), turns.take(time.monotonic() + 0.05):
                pass
            with pytest.raises(errors.ResourceExhaustedError), turns.take(None, refuse=True):
                pass
            assert not turns._waiting
            with turn.lend(), turns.take(None, refuse=True):
                pass
        with turns.take(None, refuse=True):
            pass

    def test_no_turn_is_lost(self) -> None:
        """Whatever comes first of a deadline and a turn."""
        turns = Turns(3)
        at_work = itertools.count()
        most = 0
        inside: set[int] = set()

        def work(number: int) -> None:
            nonlocal most
            for _ in range(50):
                with contextlib.suppress(errors.DeadlineExceededError):
                    limit = time.monotonic() + 0.002 * (number % 3) if number % 4 else None
                    with turns.take(limit, connection=str(number % 5)) as turn:
                        key = next(at_work)
                        inside.add(key)
                        most = max(most, len(inside))
                        time.sleep(0.0005)
                        inside.discard(key)
                        with turn.lend():
                            pass

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))
        assert most <= 3
        assert turns._free == 3 and not turns._waiting


class TestWorkspace:
    def test_not_all_wait(self) -> None:
        """Each that does has a thread, and small runs would find none."""
        workspace = Workspace(8)
        release = threading.Event()
        entered = threading.Semaphore(0)

        def run() -> str:
            try:
                with workspace.take(4, deadline=None, turn=None):
                    entered.release()
                    release.wait(20)
            except errors.ResourceExhaustedError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(30) as pool:
            runs = [pool.submit(run) for _ in range(30)]
            assert entered.acquire(timeout=10)
            refused = [each.result() for each in itertools.islice(as_completed(runs, 10), 13)]
            with workspace.take(1, deadline=None, turn=None):
                pass
            release.set()
            answered = [each.result(10) for each in runs].count("")

        assert answered == 17
        assert set(refused) == {
            "Requests that take about 64 bytes of memory to run wait for their turn: try again "
            "later."
        }

    def test_what_takes_little_or_next_to_nothing_has_room_of_its_own(self) -> None:
        """Others may fill theirs to the byte, and again as soon as one has ended."""
        workspace = Workspace(1 << 20)
        with contextlib.ExitStack() as stack:
            for size in (6 << 14, 6 << 14, *[2 << 14] * 8, 0, 2048, 2048):
                stack.enter_context(workspace.take(size, deadline=0, turn=None))
            for size in ((2 << 14) + 1, 2049):
                with pytest.raises(errors.DeadlineExceededError):
                    stack.enter_context(workspace.take(size, deadline=0, turn=None))

    def test_the_first_that_came_begins_first(self) -> None:
        """Else one that takes more waits for as long as ones that take less are sent."""
        workspace = Workspace(1 << 20)
        begun: list[int] = []

        def run(size: int, timeout_s: float = 20) -> None:
            with (
                contextlib.suppress(errors.DeadlineExceededError),
                workspace.take(size, deadline=time.monotonic() + timeout_s, turn=None),
            ):
                begun.append(size)

        with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as last:
            last.enter_context(workspace.take(5 << 14, deadline=0, turn=None))
            with workspace.take(7 << 14, deadline=0, turn=None):
                runs = []
                for count, size in enumerate((8 << 14, 40_000, 41_000), 1):
                    runs.append(pool.submit(run, size))
                    while sum(len(room._waiting) for room in workspace._rooms.values()) < count:
                        time.sleep(1e-3)
            time.sleep(0.05)
            assert not begun  # though there is room for both of the others
            last.close()
            for each in runs:
                each.result(10)
            with workspace.take(7 << 14, deadline=0, turn=None):
                pass

        assert sorted(begun) == [40_000, 41_000, 8 << 14]

    def test_who_is_given_no_turn_again_leaves_the_room(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Too many may have come meanwhile that work for long."""
        monkeypatch.setattr("inception_serving.server.received.turns._MOST_WAITING", 0)
        workspace = Workspace(1 << 20)

        def run() -> None:
            with Turns(1).take(None) as turn:
                turn.worked(1.0)
                turn.work_long()
                with workspace.take(8 << 14, deadline=None, turn=turn):
                    pass

        with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as last:
            last.enter_context(workspace.take(8 << 14, deadline=0, turn=None))
            refused = pool.submit(run)
            while not any(room._waiting for room in workspace._rooms.values()):
                time.sleep(1e-3)
            with Turns(1).take(None) as turn:
                turn.work_long()
                last.close()
                with pytest.raises(errors.UnavailableError):
                    refused.result(10)
        with workspace.take(8 << 14, deadline=0, turn=None):
            pass

    def test_who_gives_up_lets_the_next_begin(self) -> None:
        workspace = Workspace(1 << 20)

        def give_up() -> None:
            with (
                pytest.raises(errors.DeadlineExceededError),
                workspace.take(8 << 14, deadline=time.monotonic() + 0.3, turn=None),
            ):
                pass

        with ThreadPoolExecutor(1) as pool, workspace.take(8 << 14, deadline=0, turn=None):
            first = pool.submit(give_up)
            time.sleep(0.1)
            with workspace.take(40_000, deadline=time.monotonic() + 20, turn=None):
                first.result(10)


class TestSlowAndSilent:
    def test_connections_that_send_nothing(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No header, half a header, half a body: each is closed, or answered and closed."""
        monkeypatch.setattr(rest_server, "_IDLE_S", 0.5)
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n".encode()
        with ModelServer(base / "arithmetic", rest_port=0) as server:
            answers = []
            for sent in (b"", head[:20], head, head + b'{"inst'):
                with socket.create_connection(("127.0.0.1", server.rest_port)) as client:
                    client.settimeout(10)
                    client.sendall(sent)
                    received = b""
                    while data := client.recv(65536):
                        received += data
                    answers.append(received.partition(b"\r\n")[0])

        assert answers == [b"", b"", *[b"HTTP/1.1 504 Gateway Time-out"] * 2]

    def test_calls_that_never_send_their_message(self, server: ModelServer, caller: Caller) -> None:
        """More of them than there are threads for work."""
        done = threading.Event()

        def nothing() -> Iterator[bytes]:
            done.wait(20)
            yield b""

        channels = [grpc.insecure_channel(server.address) for _ in range(40)]
        calls = [
            channel.stream_unary("/tensorflow.serving.PredictionService/Predict").future(nothing())
            for channel in channels
        ]
        try:
            time.sleep(0.3)
            started = time.monotonic()
            for _ in range(5):
                caller.predict(X)
            took = time.monotonic() - started
        finally:
            done.set()
            for call in calls:
                call.cancel()
            for channel in channels:
                channel.close()

        assert took < 5

    def test_connections_of_another_protocol(self, server: ModelServer, caller: Caller) -> None:
        clients = []
        for data in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0" * 99,
        ):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(data)
            clients.append(client)

        assert list(caller.predict(X).outputs["y"].float_val) == [2.5]
        for client in clients:
            client.close()


class TestBadRequests:
    def test_bytes_that_are_no_message(self, caller: Caller) -> None:
        call = caller.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", timeout=20)

        assert caught.value.code() == grpc.StatusCode.INTERNAL  # as every gRPC server in C++
        assert caught.value.details() == ""

    @pytest.mark.parametrize(
        "body",
        [
            "[" * 1_000_000,
            '{"instances": ' + "[" * 200_000 + "]" * 200_000 + "}",
            '{"a":' * 200_000,
            '{"instances": [' + "9" * 100_000 + "]}",
        ],
        ids=["open", "deep", "objects", "long integer"],
    )
    def test_json_that_is_hard_to_read(self, server: ModelServer, body: str) -> None:
        started = time.process_time()
        response = httpx.post(f"{server.rest_address}{PREDICT}", content=body, timeout=60)

        assert response.status_code == 400
        assert set(response.json()) == {"error"}
        assert time.process_time() - started < 5

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/models/..%2F..%2Fetc%2Fpasswd",
            "/v1/models/%2e%2e/versions/1",
            "/v1/models/a%00b",
            "/v1/models/%ff%fe",
            "/v1/models/" + "a" * 20_000,
            "/v1/models/a/versions/" + "9" * 20_000,
            "/v1/../v1/models/arithmetic/../../etc",
            "/v1/models/arithmetic;x=1",
            "//v1/models/arithmetic",
        ],
    )
    def test_path_tricks(self, server: ModelServer, path: str) -> None:
        """A name is looked up among the models, and is never a path."""
        request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.rest_port)) as client:
            client.sendall(request)
            client.settimeout(10)
            received = b""
            while data := client.recv(65536):
                received += data

        assert received.split(b" ")[1] in (b"400", b"404")
        assert b"root:" not in received

    def test_a_flood_leaves_good_clients_their_time(
        self, server: ModelServer, caller: Caller
    ) -> None:
        done = threading.Event()
        url = f"{server.rest_address}{PREDICT}"

        def flood() -> int:
            count = 0
            with httpx.Client(timeout=20) as http:
                while not (count and done.is_set()):
                    assert http.post(url, content=b'{"instances": [[1], 2]}').status_code == 400
                    count += 1
            return count

        with ThreadPoolExecutor(4) as pool:
            floods = [pool.submit(flood) for _ in range(4)]
            times = []
            for _ in range(50):
                started = time.monotonic()
                caller.predict(X)
                times.append(time.monotonic() - started)
            done.set()
            assert sum(one.result(20) for one in floods) > 0

        assert sorted(times)[25] < 1

    @pytest.mark.parametrize("batching", [False, True])
    def test_a_refused_request_is_forgotten_at_once(self, base: Path, batching: bool) -> None:
        """An error that keeps itself keeps the request, which may be large, until Python looks."""
        bad = {"reshape": {"x": np.zeros(3, np.float32)}, "": {"y": np.zeros(3, np.float32)}}
        with ModelServer(base, rest_port=0, batching=batching) as server:
            caller = Caller(server.address)
            gc.collect()
            gc.disable()
            before = {id(each) for each in gc.get_objects()}  # other tests' servers may have some
            try:
                for signature, inputs in bad.items():
                    with pytest.raises(grpc.RpcError):
                        caller.predict(inputs, signature=signature)
                    body = {"signature_name": signature, "inputs": {k: [0] for k in inputs}}
                    url = f"{server.rest_address}{PREDICT}"
                    assert httpx.post(url, json=body, timeout=20).status_code == 400
                caller.channel.close()
                kept = [
                    each
                    for each in gc.get_objects()
                    if isinstance(each, errors.StatusError) and id(each) not in before
                ]
            finally:
                gc.enable()
        assert kept == []
