"""The client over REST: the same results and errors as over gRPC."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_serving import AnswerError, AsyncClient, Client, Limits, ModelServer, bench, errors
from tests.serving.caller import free_port, png
from tests.serving.saved_models import DTYPES

RED, GREEN, BLUE = png(200, 0, 0), png(0, 200, 90), png(10, 90, 200)
# What TF Serving's REST API does not read: the last two have no JSON at all.
NOT_IN_JSON = ("float16", "bfloat16", "uint16", "complex64", "complex128")
ROOT = Path(__file__).parents[2]

METADATA = {
    "model_spec": {"name": "m", "signature_name": "", "version": "3"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {"image_bytes": {"dtype": "DT_STRING", "tensor_shape": {
                        "dim": [{"size": "-1", "name": ""}], "unknown_rank": False}}},
                    "outputs": {
                        name: {"dtype": dtype, "tensor_shape": {
                            "dim": [{"size": "-1"}, {"size": "-1"}], "unknown_rank": False}}
                        for name, dtype in (("classes", "DT_STRING"), ("scores", "DT_FLOAT"))
                    },
                    "method_name": "tensorflow/serving/predict",
                }
            }
        }
    },
}  # fmt: skip
CAT = {"outputs": {"classes": [["cat"]], "scores": [[0.75]]}}


class Fake(BaseHTTPRequestHandler):
    """Answers with METADATA, and to a prediction with what `reply` writes or gives."""

    reply: Callable[[Any], Any]
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        self.answer(200, METADATA)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        answer = type(self).reply(self)
        if answer is not None:
            self.answer(*(answer if isinstance(answer, tuple) else (200, answer)))

    def answer(self, status: int, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def fake(reply: Callable[[Any], Any], context: ssl.SSLContext | None = None) -> Iterator[Any]:
    """A handler's class with its `address`."""
    handler = type("Handler", (Fake,), {"reply": reply, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        scheme = "http"
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        handler.address = f"{scheme}://localhost:{server.server_port}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield handler
        server.shutdown()
        thread.join()


def ask(kind: str, address: str, images: Any, model: str = "m", **options: Any) -> Any:
    if kind == "sync":
        with Client(address, model, **options) as client:
            return client.predict(images)

    async def work() -> Any:
        async with AsyncClient(address, model, **options) as client:
            return await client.predict(images)

    return asyncio.run(work())


both = pytest.mark.parametrize("kind", ["sync", "async"])


class TestSameAsGrpc:
    @both
    def test_images(self, server: ModelServer, kind: str) -> None:
        images = [RED, GREEN, BLUE] * 7
        expected = ask(kind, server.address, images, "colours", batch_size=4)
        assert ask(kind, server.rest_address, images, "colours", batch_size=4) == [
            type(each)(each.labels, each.scores) for each in expected
        ]
        assert ask(kind, server.rest_address, RED, "colours").label == "red"

    @pytest.mark.parametrize("dtype", [each for each in DTYPES if each not in NOT_IN_JSON])
    def test_tensors_to_the_last_bit(self, server: ModelServer, dtype: str) -> None:
        signature = f"identity_{dtype}"
        values = numbers(dtype)
        answers = []
        for address in (server.address, server.rest_address):
            with Client(address, "arithmetic") as client:
                answers.append(client.predict_tensors({"x": values}, signature=signature)["y"])
        assert answers[0].dtype == answers[1].dtype
        assert answers[0].tolist() == values.tolist()
        # RapidJSON, which TF Serving reads numbers by, may round a double's last bit otherwise.
        np.testing.assert_allclose(answers[1], values, rtol=2e-16 if dtype == "float64" else 0)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint16"])
    def test_types_that_the_server_reads_over_grpc_alone(
        self, server: ModelServer, dtype: str
    ) -> None:
        """With its own words."""
        with (
            Client(server.rest_address, "arithmetic") as client,
            pytest.raises(errors.UnimplementedError, match="Conversion of JSON Value"),
        ):
            x = np.array([1], dtype)
            client.predict_tensors({"x": x}, signature=f"identity_{dtype}")

    def test_complex_numbers_go_over_grpc(self, server: ModelServer) -> None:
        with (
            Client(server.rest_address, "arithmetic") as client,
            pytest.raises(errors.SignatureError, match="'x': complex numbers go over gRPC"),
        ):
            client.predict_tensors({"x": np.complex64([1])}, signature="identity_complex64")

    def test_strings(self, server: ModelServer) -> None:
        """Those that are bytes by their name, and text."""
        text = ["a", "\u00e9", ""]
        with Client(server.rest_address, "arithmetic") as client:
            answer = client.predict_tensors({"text": text}, signature="echo")
        assert answer["plain"].tolist() == [each.encode() for each in text]
        assert answer["raw_bytes"].tolist() == answer["plain"].tolist()

    def test_what_is_no_number(self, server: ModelServer) -> None:
        x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-37, 3.4e38, 1 / 3], np.float32)
        with Client(server.rest_address, "arithmetic") as client:
            y = client.predict_tensors({"x": x}, signature="identity_float32")["y"]
        np.testing.assert_array_equal(x, y)
        assert np.signbit(y[3])

    def test_metadata_and_status(self, server: ModelServer) -> None:
        for model in ("arithmetic", "colours", "tf1"):
            with Client(server.address, model) as one, Client(server.rest_address, model) as two:
                assert one.metadata() == two.metadata()
                assert one.status() == two.status()
                assert one.wait_until_ready() == two.wait_until_ready()

    def test_a_version_and_a_label(self, server: ModelServer) -> None:
        for version, expected in ((1, [4.0]), (7, [3.0])):
            with Client(server.rest_address, "arithmetic", version=version) as client:
                assert client.metadata().version == version
                (y,) = client.predict_tensors({"x": np.float32([2])}).values()
                assert y.tolist() == expected
        with fake(lambda request: CAT) as handler:
            result = ask("sync", handler.address, RED, model="a b/c", version_label="stable")
        assert result.label == "cat"
        assert [path for path, *_ in handler.seen] == ["/v1/models/a%20b%2Fc/labels/stable:predict"]

    @both
    @pytest.mark.parametrize(
        ("model", "images", "options"),
        [
            ("none", RED, {}),
            ("colours", b"\x89PNG\r\n\x1a\n is broken", {}),
            ("colours", RED, {"version": 9}),
            ("arithmetic", RED, {}),
        ],
    )
    def test_errors(
        self, server: ModelServer, kind: str, model: str, images: Any, options: Any
    ) -> None:
        raised = []
        for address in (server.address, server.rest_address):
            with pytest.raises(errors.ServingError) as caught:
                ask(kind, address, images, model, **options)
            raised.append(caught.value)
        assert type(raised[0]) is type(raised[1])
        assert str(raised[0])[:60] == str(raised[1])[:60]

    def test_a_load(self, server: ModelServer) -> None:
        found = bench(
            server.rest_address, "colours", [RED, BLUE], clients=2, seconds=0.3, warmup_s=0.0
        )
        assert found.errors == {}
        assert found.requests_per_s > 1


def numbers(dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        random = np.random.default_rng(0)
        return random.normal(size=100).astype(kind) * kind.type(1e-3)
    if kind.kind == "b":
        return np.array([True, False])
    limits = np.iinfo(kind)
    return np.array([limits.min, limits.max, 0, 1], kind)


@both
class TestWhatIsAnswered:
    @pytest.mark.parametrize(
        ("reply", "text"),
        [
            ({"predictions": []}, "missing outputs"),
            ({"outputs": {"classes": [["cat"]]}}, "missing scores"),
            ({"outputs": {"classes": [["cat"], ["dog"]], "scores": [[1], [1]]}}, "1 of each"),
            ({"outputs": {"classes": [["cat"]], "scores": [["x"]]}}, "not numbers"),
            ({"outputs": {"classes": [[1]], "scores": [[1.0]]}}, "not strings"),
            ({"outputs": {"classes": [["cat"]], "scores": [[1], [1, 2]]}}, "'scores' as no float"),
            ({"outputs": [["cat"]]}, "'scores' as no float"),
        ],
    )
    def test_what_fits_no_request(self, kind: str, reply: Any, text: str) -> None:
        with fake(lambda request: reply) as handler, pytest.raises(AnswerError, match=text):
            ask(kind, handler.address, RED)

    def test_more_than_may_be(self, kind: str) -> None:
        with fake(lambda request: b"[" * 100_000) as handler:
            with pytest.raises(errors.ResourceExhaustedError, match="larger than 10000 bytes"):
                ask(kind, handler.address, RED, limits=Limits(answer_bytes=80_000))
            assert len(handler.seen) == 1  # and not asked again

    @pytest.mark.parametrize(
        ("status", "kind_of"),
        [(400, "INVALID_ARGUMENT"), (404, "NOT_FOUND"), (500, "INTERNAL"), (418, "UNKNOWN")],
    )
    def test_a_status(self, kind: str, status: int, kind_of: str) -> None:
        with (
            fake(lambda request: (status, {"error": "because"})) as handler,
            pytest.raises(errors.StatusError, match="because") as caught,
        ):
            ask(kind, handler.address, RED)
        assert caught.value.code == kind_of

    def test_a_busy_server_is_asked_again(self, kind: str) -> None:
        def reply(request: Any) -> Any:
            return CAT if len(request.seen) > 2 else (503, {"error": "the queue is full"})

        with fake(reply) as handler:
            assert ask(kind, handler.address, RED).label == "cat"
        assert len(handler.seen) == 3

    def test_one_that_hangs_up_is_asked_again(self, kind: str) -> None:
        def reply(request: Any) -> Any:
            if len(request.seen) > 1:
                return CAT
            request.close_connection = True
            return None

        with fake(reply) as handler:
            assert ask(kind, handler.address, RED).label == "cat"

    def test_one_that_hangs_up_in_its_answer_is_asked_again(self, kind: str) -> None:
        def reply(request: Any) -> Any:
            if len(request.seen) > 1:
                return CAT
            request.send_response(200)
            request.send_header("content-length", "1000")
            request.end_headers()
            request.wfile.write(b"{")
            request.close_connection = True
            return None

        with fake(reply) as handler:
            assert ask(kind, handler.address, RED).label == "cat"

    def test_an_answer_that_is_no_gzip(self, kind: str) -> None:
        def reply(request: Any) -> None:
            request.send_response(200)
            request.send_header("content-length", "4")
            request.send_header("content-encoding", "gzip")
            request.end_headers()
            request.wfile.write(b"junk")

        with fake(reply) as handler, pytest.raises(AnswerError, match="cannot be decompressed"):
            ask(kind, handler.address, RED)

    def test_a_deadline_holds_however_slowly_it_is_answered(self, kind: str) -> None:
        def trickle(request: Any) -> None:
            request.send_response(200)
            request.send_header("content-length", "1000")
            request.end_headers()
            for _ in range(500):
                try:
                    request.wfile.write(b" ")
                except OSError:
                    return
                time.sleep(0.05)

        with fake(trickle) as handler:
            started = time.monotonic()
            with pytest.raises(errors.DeadlineExceededError):
                ask(kind, handler.address, RED, timeout_s=0.5)
            assert time.monotonic() - started < 20

    def test_another_server(self, kind: str) -> None:
        with (
            fake(lambda request: b"<html>Welcome</html>") as handler,
            pytest.raises(errors.NotRestError, match=r"is no TF Serving.*<html>Welcome"),
        ):
            ask(kind, handler.address, RED)

    def test_headers_and_compression(self, kind: str) -> None:
        import gzip

        with fake(lambda request: CAT) as handler:
            ask(kind, handler.address, RED, headers={"X-Key": "k"}, compression="gzip")
        _, headers, body = handler.seen[0]
        assert headers["x-key"] == "k" and headers["content-encoding"] == "gzip"
        assert set(json.loads(gzip.decompress(body))) == {"inputs", "signature_name"}


@both
class TestAddresses:
    def test_the_port_of_grpc(self, server: ModelServer, kind: str) -> None:
        with pytest.raises(errors.NotRestError, match="REST's port is 8501 as a rule"):
            ask(kind, f"http://127.0.0.1:{server.port}", RED)

    def test_nobody_there(self, kind: str) -> None:
        address = f"http://localhost:{free_port()}"
        with pytest.raises(errors.UnavailableError, match=f"No server answers on {address}"):
            ask(kind, address, RED, timeout_s=2)

    def test_this_machine_needs_no_proxy(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv("no_proxy", raising=False)
        with fake(lambda request: CAT) as handler:
            assert ask(kind, handler.address, RED).label == "cat"

    def test_a_proxy_that_fails_is_named(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(errors.UnavailableError, match="through the proxy of http_proxy="):
            ask(kind, "http://models.example:8501", RED, timeout_s=2)

    @pytest.mark.parametrize("proxy", ["ftp://x", "http://[::1"])
    def test_a_proxy_that_is_none_is_named(
        self, kind: str, monkeypatch: pytest.MonkeyPatch, proxy: str
    ) -> None:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(ValueError, match=f"through the proxy of http_proxy={re.escape(proxy)}"):
            ask(kind, "http://models.example:8501", RED)

    def test_an_authority_among_comments(self, kind: str, tmp_path: Path) -> None:
        """As bundles of a system have them, in letters that are no ASCII."""
        key, certificate = make_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        bundle = "# F\u0151tan\u00fas\u00edtv\u00e1ny\n".encode() + certificate.read_bytes()
        with fake(lambda request: CAT, context) as handler:
            assert ask(kind, handler.address, RED, root_certificates=bundle).label == "cat"

    def test_https_with_an_authority(self, kind: str, tmp_path: Path) -> None:
        key, certificate = make_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with fake(lambda request: CAT, context) as handler:
            result = ask(kind, handler.address, RED, root_certificates=certificate)
            with pytest.raises(errors.UnavailableError, match="could not be encrypted"):
                ask(kind, handler.address, RED, timeout_s=2)
        assert result.label == "cat"

    def test_a_client_shows_its_certificate(self, kind: str, tmp_path: Path) -> None:
        key, certificate = make_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        with fake(lambda request: CAT, context) as handler:
            result = ask(
                kind, handler.address, RED, root_certificates=certificate,
                client_key=key, client_certificate=certificate,
            )  # fmt: skip
        assert result.label == "cat"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


def test_an_interrupt_waits_for_no_server() -> None:
    wake = threading.Event()
    with fake(lambda request: wake.wait(60) and CAT) as handler:
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), Client(handler.address, "m") as client:
            client.metadata()
            future = client.predict_async(RED)
            while not handler.seen:
                time.sleep(0.01)
            raise KeyboardInterrupt
        took = time.monotonic() - started
        wake.set()
    assert took < 20
    assert isinstance(future.exception(0), errors.CancelledError)


def test_http_is_not_encrypted() -> None:
    with pytest.raises(ValueError, match="http:// is not encrypted"):
        Client("http://localhost:8501", "m", tls=True)


def test_certificates_that_are_none() -> None:
    with (
        pytest.raises(ValueError, match="no PEM"),
        Client("https://localhost:8501", "m", root_certificates=b"junk") as client,
    ):
        client.predict(RED)


def test_without_httpx_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ValueError, match="needs httpx, which is not installed: pip install httpx"):
        Client("http://localhost:8501", "m")


def test_in_threads(server: ModelServer) -> None:
    """One client for many threads, and futures."""
    with Client(server.rest_address, "colours") as client:
        futures = [client.predict_async(image) for image in [RED, GREEN, BLUE] * 5]
        assert [each.result(20).label for each in futures] == ["red", "green", "blue"] * 5


def test_a_client_of_grpc_does_without_httpx() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'serving')!r})\n"
        "from inception_serving import Client\n"
        "Client('localhost:8500', 'm').close()\n"
        "assert 'httpx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
