"""The load generator, against servers whose times and errors are known."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_serving import BenchResult, ImageError, bench, errors
from inception_serving.client import benchmark
from inception_serving.client.benchmark import NOT_SENT, Sample
from keras_inception.cli import main
from tests.serving.test_answers import PNG, FakeServer, batch_of, rows


def result(samples: list[Sample], **changes: Any) -> BenchResult:
    settings = {"clients": 1, "rate": None, "batch_size": 1, "seconds": 2.0}
    shares = {"loop_share": 0.1, "process_share": 0.2}
    return BenchResult(samples=samples, **{**settings, **shares, **changes})


def slowly(seconds: float) -> Any:
    def predict(request: Any) -> Any:
        time.sleep(seconds)
        return rows(batch_of(request))

    return predict


def test_figures_are_those_of_the_requests() -> None:
    milliseconds = np.random.default_rng(0).permutation(np.arange(1, 201))
    samples = [Sample(0.0, each / 1000, "OK") for each in milliseconds.tolist()]
    samples += [Sample(0.0, 9.0, "UNAVAILABLE"), Sample(0.0, 9.0, "UNAVAILABLE")]
    samples += [Sample(0.0, 0.0, NOT_SENT)]
    found = result(samples, batch_size=4)
    for percent in (50, 90, 99, 100):
        expected = np.percentile(milliseconds, percent, method="inverted_cdf")
        assert found.percentile_ms(percent) == pytest.approx(expected)
    assert found.errors == {"UNAVAILABLE": 2, NOT_SENT: 1}
    assert (found.requests_per_s, found.images_per_s) == (100, 400)
    assert not found.client_is_the_limit
    assert result([], loop_share=0.9).client_is_the_limit
    assert result([]).percentile_ms(99) is None


def test_clients_ask_again_once_they_are_answered() -> None:
    with FakeServer(slowly(0.05)) as server:
        found = bench(
            server.address, "any", [PNG], clients=4, seconds=1.0, warmup_s=0.2, batch_size=3
        )
        asked = server.calls.count("Predict")
    assert found.errors == {}
    assert len(found.samples) <= 4 * 1.0 / 0.05 + 4
    assert found.percentile_ms(50) >= 50
    assert 1.0 <= found.seconds < 10
    # Little's law: as many under way as there are clients.
    mean = np.mean([each.seconds for each in found.samples])
    assert found.requests_per_s * mean == pytest.approx(4, rel=0.25)
    assert found.images_per_s == 3 * found.requests_per_s
    assert asked > len(found.samples)  # the warm-up's, and the first of all


def test_a_server_that_stalls_is_seen_by_all_that_were_due() -> None:
    """A client that waits for its answer would have one slow request and send none meanwhile."""
    lock, calls = threading.Lock(), []

    def predict(request: Any) -> Any:
        with lock:
            calls.append(request)
            if len(calls) == 40:
                time.sleep(1.0)
        return rows(batch_of(request))

    with FakeServer(predict) as server:
        found = bench(server.address, "any", [PNG], rate=60, seconds=2.0, warmup_s=0.01)
    assert 80 <= len(found.samples) <= 160
    assert sum(each.seconds > 0.1 for each in found.samples) > 30
    assert found.errors == {}
    starts = sorted(each.start_s for each in found.samples)
    assert starts[0] >= 0 and starts[-1] < 2.0
    gaps = np.diff(starts)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.5)  # as of a Poisson process


def test_errors_are_counted_and_nothing_is_sent_again() -> None:
    calls = []

    def predict(request: Any) -> Any:
        calls.append(request)
        if len(calls) > 1 and len(calls) % 2:
            raise errors.ResourceExhaustedError("Server Threadpool Exhausted")
        return rows(batch_of(request))

    with FakeServer(predict) as server:
        found = bench(server.address, "any", [PNG], clients=1, seconds=0.5, warmup_s=0.0)
    failed = found.errors["RESOURCE_EXHAUSTED"]
    assert set(found.errors) == {"RESOURCE_EXHAUSTED"}
    assert abs(2 * failed - len(found.samples)) <= 1
    assert len(calls) - len(found.samples) <= 2


def test_images_are_sent_in_turn_in_batches() -> None:
    seen = []

    def predict(request: Any) -> Any:
        seen.append(tuple(request.inputs["image_bytes"].string_val))
        return rows(batch_of(request))

    one, two, three, four = (PNG + bytes([each]) for each in range(4))
    images = [one, two, three, four]
    with FakeServer(predict) as server:
        bench(server.address, "any", images, clients=1, seconds=0.2, warmup_s=0.0, batch_size=2)
    assert seen[0] == (one, two)  # which is checked
    assert seen[1:5] == [(one, two), (three, four)] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clients": 1, "rate": 1.0}, "not both"),
        ({"clients": 0}, "clients is at least 1: received 0"),
        ({"rate": 0.0}, r"rate is above 0, .*: received 0\.0"),
        ({"seconds": 0.0}, r"received seconds=0\.0"),
        ({"warmup_s": -1.0}, r"warmup_s=-1\.0"),
        ({"batch_size": 0}, "batch_size is at least 1: received 0"),
    ],
)
def test_what_makes_no_sense_is_refused_first(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench("localhost:1", "any", [PNG], **options)


def test_what_is_wrong_is_told_before_any_load() -> None:
    def refuse(request: Any) -> Any:
        raise errors.InvalidArgumentError("no image")

    with FakeServer(refuse) as server:
        with pytest.raises(errors.InvalidArgumentError, match="no image"):
            bench(server.address, "any", [PNG])
        with pytest.raises(ImageError):
            bench(server.address, "any", [b"text"])
        with pytest.raises(ValueError, match="There is no image"):
            bench(server.address, "any", [])
        assert 1 <= len(server.calls) <= 4


class TestCommand:
    def test_a_row_each_json_and_figures(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        written = tmp_path / "bench.json"
        with FakeServer(slowly(0.01)) as server:
            common = ["bench", server.address, "--model", "any", str(tmp_path / "a.png"),
                      "--seconds", "0.3", "--warmup", "0.05", "--json", str(written)]  # fmt: skip
            svg, png = tmp_path / "bench.svg", tmp_path / "bench.png"
            assert main([*common, "--clients", "1,2", "--figure", str(svg)]) == 0
            shown = capsys.readouterr().out
            found = json.loads(written.read_text())
            assert main([*common, "--rate", "20", "--figure", str(png)]) == 0
        assert "p99 ms" in shown
        assert "Server and client shared the" in shown
        assert found["model"] == "any"
        assert [each["clients"] for each in found["loads"]] == [1, 2]
        for load in found["loads"]:
            times = [seconds for _, seconds, code in load["samples"] if code == "OK"]
            assert load["requests"] == len(load["samples"]) >= 1
            assert load["p50_ms"] == pytest.approx(
                1000 * np.percentile(times, 50, method="inverted_cdf"), abs=0.01
            )
        assert svg.read_text().startswith("<?xml") and "2 clients" in svg.read_text()
        assert png.read_bytes().startswith(b"\x89PNG")
        assert json.loads(written.read_text())["loads"][0]["rate"] == 20

    def test_a_client_that_is_the_limit_says_so(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Busy:
            """A channel that only computes."""

            def __init__(self, *_: object) -> None: ...

            async def send_and_wait(self, step: object) -> None:
                busy = time.thread_time() + 0.002
                while time.thread_time() < busy:
                    pass

            async def close(self) -> None: ...

        (tmp_path / "a.png").write_bytes(PNG)
        monkeypatch.setattr(benchmark, "open_async_channel", Busy)
        monkeypatch.setattr(benchmark, "BUSY", 0.3)  # on a machine that others use as well
        with FakeServer(lambda request: rows(batch_of(request))) as server:
            command = ["bench", server.address, "--model", "any", str(tmp_path / "a.png"),
                       "--rate", "1000", "--seconds", "0.3", "--warmup", "0.05"]  # fmt: skip
            assert main(command) == 0
        assert "1000 requests/s: the client is the limit" in capsys.readouterr().out

    def test_where_every_request_fails_so_does_the_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        calls = []

        def predict(request: Any) -> Any:
            calls.append(request)
            if len(calls) > 1:
                raise errors.UnavailableError("the queue is full")
            return rows(batch_of(request))

        with FakeServer(predict) as server:
            command = ["bench", server.address, "--model", "any", str(tmp_path / "a.png"),
                       "--clients", "2", "--seconds", "0.2", "--warmup", "0.05"]  # fmt: skip
            assert main(command) == 1
        shown = capsys.readouterr().out
        assert "UNAVAILABLE of" in shown and "requests failed" in shown

    def test_a_file_that_is_no_image_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        (tmp_path / "b.png").write_text("notes")
        assert main(["bench", "localhost:1", "--model", "any", str(tmp_path)]) == 1
        assert f"{tmp_path}/b.png is not a JPEG, PNG" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--clients", "0"], "'0' is no whole number of at least 1"),
            (["--rate", "5,x"], "'x' is no number above 0, a second"),
            (["--figure", "x.gif"], "is no name of a PNG or SVG"),
            (["--clients", "1", "--rate", "1"], "not allowed with"),
        ],
    )
    def test_a_mistyped_option_is_told(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["bench", "localhost:1", "--model", "any", "x.png", *arguments])
        assert message in capsys.readouterr().err


def test_a_rate_that_no_client_can_keep_ends_all_the_same() -> None:
    with FakeServer(lambda request: rows(batch_of(request))) as server:
        started = time.monotonic()
        found = bench(server.address, "m", [PNG], rate=1e7, seconds=0.2, warmup_s=0.0)
        took = time.monotonic() - started
    assert found.requests_per_s < 1e6
    assert took < 60


def test_a_servers_words_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(PNG)

    def predict(request: Any) -> Any:
        raise errors.InternalError("first\n\t second \x1b[31m red")

    with FakeServer(predict) as server:
        command = ["bench", server.address, "--model", "any", str(tmp_path / "a.png")]
        assert main(command) == 1
    assert capsys.readouterr().err.endswith(" bench: first second \\x1b[31m red\n")
