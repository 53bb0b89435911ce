"""The client, against a real server."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

from inception_serving import (
    AsyncClient,
    Classification,
    Client,
    ImageError,
    ModelServer,
    SignatureError,
    errors,
)
from tests.serving.caller import free_port, png
from tests.serving.conftest import Clock
from tests.serving.saved_models import publish

JUNK_PEM = b"-----BEGIN CERTIFICATE-----\nxxxx\n-----END CERTIFICATE-----\n"
RED, GREEN, BLUE = png(200, 0, 0), png(0, 200, 0), png(0, 0, 200)


@pytest.fixture(scope="module")
def colours(server: ModelServer) -> Iterator[Client]:
    with Client(server.address, model="colours", batch_size=4) as client:
        yield client


@pytest.fixture(scope="module")
def arithmetic(server: ModelServer) -> Iterator[Client]:
    with Client(server.address, model="arithmetic") as client:
        yield client


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


class TestPredict:
    @pytest.mark.parametrize("kind", ["bytes", "path", "str", "file", "array", "floats", "pil"])
    def test_one_image_of_any_kind(self, colours: Client, tmp_path: Path, kind: str) -> None:
        file = tmp_path / "photo.png"
        file.write_bytes(RED)
        image: Any = {
            "bytes": RED,
            "path": file,
            "str": str(file),
            "file": io.BytesIO(RED),
            "array": pixels(RED),
            "floats": pixels(RED) / np.float32(255),
            "pil": Image.fromarray(pixels(RED)),
        }[kind]

        result = colours.predict(image)

        assert isinstance(result, Classification)
        assert result.labels == ("red", "green")
        assert result.label == "red"
        assert result.score == result.scores[0] > 0.99
        if kind == "file":
            image.seek(0)
        assert colours.predict([image]) == [result]
        assert result.version == 1
        assert 0 < result.seconds < 60

    @pytest.mark.parametrize("shape", [[8, 8], [8, 8, 1], [8, 8, 3], [8, 8, 4]])
    def test_pixels_of_every_shape(self, colours: Client, shape: list[int]) -> None:
        result = colours.predict(np.full(shape, 100, np.uint8))

        assert result.scores == pytest.approx((1 / 3, 1 / 3))

    def test_pixels_arrive_as_they_are(self, server: ModelServer, colours: Client) -> None:
        """PNG loses nothing: both signatures see the same pixels."""
        image = np.random.default_rng(0).integers(0, 256, [8, 8, 3], np.uint8)

        sent = colours.predict(image)
        direct = colours.predict_tensors({"images": image[None]}, signature="predict_images")

        expected = np.sort(direct["probabilities"][0])[::-1][:2]
        np.testing.assert_allclose(sent.scores, expected, atol=1e-6)

    def test_many_images_come_back_in_order(self, colours: Client) -> None:
        images = [RED, GREEN, BLUE, GREEN] * 10  # ten requests of four

        labels = [result.label for result in colours.predict(images)]

        assert labels == ["red", "green", "blue", "green"] * 10

    def test_a_batch_of_pixels(self, colours: Client) -> None:
        batch = np.stack([pixels(RED), pixels(BLUE)])

        assert [result.label for result in colours.predict(batch)] == ["red", "blue"]

    def test_images_from_a_generator(self, colours: Client) -> None:
        assert [result.label for result in colours.predict(x for x in (RED, BLUE))] == [
            "red",
            "blue",
        ]

    def test_no_images(self, colours: Client) -> None:
        assert colours.predict([]) == []

    def test_futures(self, colours: Client) -> None:
        futures = [colours.predict_async(image) for image in (RED, GREEN)]
        many = colours.predict_async([BLUE] * 9)

        assert [future.result(20).label for future in futures] == ["red", "green"]
        assert [result.label for result in many.result(20)] == ["blue"] * 9

    def test_two_versions(self, saved_models: Path, tmp_path: Path) -> None:
        """By number or label, on the same images."""
        for version in ("1", "2"):
            publish(saved_models / "colours", tmp_path / "model" / version)
        with (
            ModelServer(tmp_path, num_versions=2) as server,
            Client(server.address, "model", batch_size=2) as client,
        ):
            pairs = client.compare(iter([RED, GREEN, BLUE]), 1, 2)
            with pytest.raises(errors.ServingError, match="stable"):
                client.compare([RED], 1, "stable")

        assert [pair.one.label for pair in pairs] == ["red", "green", "blue"]
        assert [(pair.one.version, pair.other.version) for pair in pairs] == [(1, 2)] * 3
        assert all(pair.agree and pair.difference == 0 for pair in pairs)

    def test_a_server_that_refuses_when_busy(self, base: Path) -> None:
        """As TF Serving does at four calls a processor; both clients wait their turn."""

        async def gathered(address: str) -> list[Any]:
            async with AsyncClient(address, "colours", in_flight=20) as client:
                return await asyncio.gather(*(client.predict(RED) for _ in range(20)))

        with ModelServer(base, grpc_threads=4, refuse_when_busy=True) as server:
            results = asyncio.run(gathered(server.address))
            with Client(server.address, "colours", in_flight=20) as client:
                futures = [client.predict_async(RED) for _ in range(20)]
                results += [future.result(60) for future in futures]

        assert [result.label for result in results] == ["red"] * 40

    def test_a_client_is_shared_between_threads(self, server: ModelServer) -> None:
        with Client(server.address, "colours") as client, ThreadPoolExecutor(8) as pool:
            results = list(pool.map(client.predict, [RED, GREEN] * 8))

        assert [result.label for result in results] == ["red", "green"] * 8


class TestBadImages:
    def test_a_file_that_is_not_there(self, colours: Client) -> None:
        with pytest.raises(ImageError) as caught:
            colours.predict([RED, "nope/photo.jpg"])

        assert str(caught.value) == "nope/photo.jpg cannot be read: No such file or directory."

    @pytest.mark.parametrize(
        ("content", "what"),
        [(b"# notes", "it is text, not an image: '# notes'"), (b"", "it is empty")],
    )
    def test_a_file_that_is_no_image(
        self, colours: Client, tmp_path: Path, content: bytes, what: str
    ) -> None:
        file = tmp_path / "notes.jpg"
        file.write_bytes(content)

        with pytest.raises(ImageError) as caught:
            colours.predict(file)

        assert str(caught.value) == f"{file} is not a JPEG, PNG, GIF, BMP or WebP image: {what}."

    @pytest.mark.parametrize(
        ("image", "text"),
        [
            (
                b"<html>",
                "Expected the bytes of a JPEG, PNG, GIF, BMP or WebP file: it is an HTML page, as "
                "a server answers where there is no image; download it again.",
            ),
            (
                np.full([8, 8, 3], 255, np.float32),
                "Expected pixels of floats from 0 to 1: received 255 to 255. Make those from 0 to "
                "255 uint8.",
            ),
            (np.full([8, 8, 3], np.nan), "floats from 0 to 1: received nan to nan."),
            (
                np.zeros([8, 8, 3], np.int64),
                "Expected pixels as a uint8 array [height, width, 3], [height, width, 1] or "
                "[height, width], 0 to 255: received int64 [8, 8, 3].",
            ),
            (io.StringIO("text"), 'opened to read bytes, as by open(path, "rb").'),
            (np.zeros([8, 8, 2], np.uint8), "received uint8 [8, 8, 2]."),
            (np.zeros([0, 8, 3], np.uint8), "at least one pixel: received [0, 8, 3]."),
            (7, "a path, bytes, an open file, a PIL image or an array: received builtins.int."),
            ("zero\0byte", "is not a file's name"),
        ],
        ids=[
            "bytes",
            "floats",
            "NaN",
            "integers",
            "text",
            "two channels",
            "no pixels",
            "a number",
            "a name",
        ],
    )
    def test_what_is_no_image(self, colours: Client, image: Any, text: str) -> None:
        with pytest.raises(ImageError) as alone:
            colours.predict(image)
        with pytest.raises(ImageError) as second:
            colours.predict([RED, image])

        assert text in str(alone.value)
        assert text in str(second.value)
        if not isinstance(image, str):
            assert str(second.value).startswith("images[1]: ")

    def test_the_server_cannot_decode_one_of_many(self, colours: Client, tmp_path: Path) -> None:
        """The server says what is wrong, and the client with which image."""
        file = tmp_path / "cut.png"
        file.write_bytes(RED[:40])

        with pytest.raises(errors.InvalidArgumentError) as caught:
            colours.predict([RED, GREEN, file, BLUE])
        with pytest.raises(errors.InvalidArgumentError) as alone:
            colours.predict(file)

        assert str(caught.value).startswith(f"{file}: ")
        assert "PNG" in str(caught.value)
        assert "PNG" in str(alone.value)

    def test_a_model_that_takes_no_images(self, arithmetic: Client, colours: Client) -> None:
        with pytest.raises(SignatureError) as caught:
            arithmetic.predict(RED)
        with pytest.raises(SignatureError) as pixels_only:
            colours.predict(RED, signature="predict_images")

        assert str(caught.value) == (
            "predict() needs a signature that takes encoded images, string [?], and gives classes "
            "and scores: 'serving_default' of model 'arithmetic' is (x: float [?]) -> "
            "(y: float [?]). Use predict_tensors()."
        )
        assert "(images: uint8 [?, ?, ?, 3])" in str(pixels_only.value)


class TestPredictTensors:
    def test_arrays(self, arithmetic: Client) -> None:
        outputs = arithmetic.predict_tensors({"x": np.array([1, 2], np.float32)})

        assert set(outputs) == {"y"}
        assert outputs["y"].dtype == np.float32
        np.testing.assert_array_equal(outputs["y"], [2.5, 3])

    def test_lists_take_the_dtype_of_the_signature(self, arithmetic: Client) -> None:
        np.testing.assert_array_equal(arithmetic.predict_tensors({"x": [1, 2]})["y"], [2.5, 3])

    def test_strings(self, arithmetic: Client) -> None:
        text = ["grüße", b"\xff", b"zeros\0\0"]

        outputs = arithmetic.predict_tensors({"text": text}, signature="echo")

        assert outputs["plain"].tolist() == ["grüße".encode(), b"\xff", b"zeros\0\0"]

    def test_chosen_outputs(self, arithmetic: Client) -> None:
        outputs = arithmetic.predict_tensors(
            {"a": [3.0], "b": [4.0]}, signature="two_in_two_out", outputs=["product"]
        )

        assert {name: value.tolist() for name, value in outputs.items()} == {"product": [12]}

    def test_more_than_four_mebibytes_each_way(self, arithmetic: Client) -> None:
        x = np.arange(2_000_000, dtype=np.float32)

        np.testing.assert_array_equal(arithmetic.predict_tensors({"x": x})["y"], x * 0.5 + 2)

    def test_a_pinned_version(self, server: ModelServer) -> None:
        with Client(server.address, "arithmetic", version=1) as client:
            assert client.predict_tensors({"x": [0.0]})["y"].tolist() == [3]
            assert client.metadata().version == 1
            assert [entry.version for entry in client.status()] == [1]

    @pytest.mark.parametrize(
        ("call", "text"),
        [
            (
                {"inputs": {"z": [1]}},
                "Signature 'serving_default' of model 'arithmetic' takes (x: float [?]): received "
                "['z']; not an input: z; missing: x.",
            ),
            (
                {"inputs": {"x": np.array([1.0])}},
                "Signature 'serving_default' of model 'arithmetic', input 'x' takes float [?]: "
                "received float64 [1] (convert it with .astype('float32')).",
            ),
            ({"inputs": {"x": ["a"]}}, "input 'x' takes float [?]: could not convert string"),
            ({"inputs": {"x": [[1.0]]}}, "takes float [?]: received the shape [1, 1]."),
            (
                {"inputs": {"text": [1]}, "signature": "echo"},
                "input 'text' takes string [?]: expected bytes or str, received int.",
            ),
            (
                {"inputs": {"text": ["a", None]}, "signature": "echo"},
                "takes string [?]: expected bytes or str, received NoneType.",
            ),
            (
                {"inputs": {"x": [1]}, "outputs": ["q"]},
                "gives (y: float [?]): asked for 'q'.",
            ),
            ({"inputs": {"x": [1]}, "outputs": ["y", "y"]}, "can be asked for once"),
            (
                {"inputs": {"x": [1]}, "signature": "nope"},
                "Model 'arithmetic' (version 7) has no signature 'nope': expected one of count, ",
            ),
            (
                {"inputs": {"x": [300]}, "signature": "identity_uint8"},
                "input 'x' takes uint8 [?]: ",
            ),
        ],
    )
    def test_what_does_not_fit_is_not_sent(self, arithmetic: Client, call: dict, text: str) -> None:
        with pytest.raises(SignatureError) as caught:
            arithmetic.predict_tensors(**call)

        assert text in str(caught.value)
        assert "__saved_model_init_op" not in str(caught.value)

    def test_a_new_version_with_another_signature(self, saved_models: Path, tmp_path: Path) -> None:
        """The client asks anew once another version answers."""
        publish(saved_models / "keras", tmp_path / "model" / "1")
        with (
            ModelServer(tmp_path, poll_s=0.05) as server,
            Client(server.address, "model") as client,
        ):
            client.predict_tensors({"features": np.ones([1, 4], np.float32)})
            publish(saved_models / "arithmetic", tmp_path / "model" / "2")
            while server.models["model"] != 2:
                time.sleep(0.01)

            outputs = client.predict_tensors({"x": [0.0]})

        assert outputs["y"].tolist() == [2]


class TestServerErrors:
    def test_the_class_and_text_are_the_servers(self, server: ModelServer) -> None:
        with (
            Client(server.address, "nope") as client,
            pytest.raises(errors.NotFoundError) as caught,
        ):
            client.predict(RED)

        assert str(caught.value).startswith("Servable not found for request: Latest(nope). ")

    def test_an_op_that_fails(self, arithmetic: Client) -> None:
        with pytest.raises(errors.InvalidArgumentError, match="Input to reshape is a tensor"):
            arithmetic.predict_tensors({"x": [1.0]}, signature="reshape")

    @pytest.mark.parametrize("address", ["localhost:1", "no.such.host.invalid:8500"])
    def test_no_server(self, address: str) -> None:
        with (
            Client(address, "flowers") as client,
            pytest.raises(errors.UnavailableError) as c,
        ):
            client.predict(RED)

        assert str(c.value).startswith(f"No server answers on {address}: is it running? (")
        assert "\n" not in str(c.value)

    def test_a_deadline(self, server: ModelServer) -> None:
        with (
            Client(server.address, "arithmetic", timeout_s=0.3) as client,
            pytest.raises(errors.DeadlineExceededError),
        ):
            client.predict_tensors({"seconds": np.float32(1)}, signature="slow")

    def test_unavailable_is_tried_again_and_an_error_is_not(self) -> None:
        flaky = FlakyServer([grpc.StatusCode.UNAVAILABLE] * 2)
        with flaky, Client(flaky.address, "m") as client:
            client.metadata()
        assert flaky.calls == 3

        failing = FlakyServer([grpc.StatusCode.INTERNAL])
        with (
            failing,
            Client(failing.address, "m") as client,
            pytest.raises(errors.InternalError, match="no luck"),
        ):
            client.metadata()
        assert failing.calls == 1

    def test_retries_end(self) -> None:
        flaky = FlakyServer([grpc.StatusCode.UNAVAILABLE] * 100)
        with (
            flaky,
            Client(flaky.address, "m", retries=2) as client,
            pytest.raises(errors.UnavailableError, match="no luck"),
        ):
            client.metadata()
        assert flaky.calls == 3

    def test_retries_never_pass_the_deadline(self, clock: Clock) -> None:
        flaky = FlakyServer([grpc.StatusCode.UNAVAILABLE] * 100)
        with (
            flaky,
            Client(flaky.address, "m", retries=100, timeout_s=300) as client,
            pytest.raises(errors.UnavailableError),
        ):
            client.metadata()

        assert (flaky.calls, clock.now) == (9, 270)

    def test_tls(self, tmp_path: Path) -> None:
        """A server with a certificate, and one that asks for the client's as well."""
        key, certificate = make_certificate(tmp_path)
        for mutual in (False, True):
            credentials = grpc.ssl_server_credentials(
                [(key.read_bytes(), certificate.read_bytes())],
                root_certificates=certificate.read_bytes() if mutual else None,
                require_client_auth=mutual,
            )
            server = FlakyServer([], credentials)
            address = server.address.replace("127.0.0.1", "localhost")
            own = {"client_key": key, "client_certificate": certificate} if mutual else {}
            with server:
                with Client(address, "m", root_certificates=certificate, **own) as client:
                    client.metadata()
                with (
                    Client(address, "m", tls=True, retries=0, timeout_s=5) as client,
                    pytest.raises(errors.UnavailableError),
                ):
                    client.metadata()  # the system's authorities do not know the certificate
                numbered = server.address  # of one address, whose error gRPC tells
                for wrong, words in (
                    ({"tls": True}, "could not be encrypted: the server has to use TLS, and have"),
                    ({}, "closes the connection, as a server does that encrypts"),
                ):
                    with (
                        Client(numbered, "m", retries=0, timeout_s=5, **wrong) as client,
                        pytest.raises(errors.UnavailableError, match=words),
                    ):
                        client.metadata()
            assert server.calls == 1

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"address": "localhost"}, "address is HOST:PORT, such as localhost:8500"),
            ({"version": 1, "version_label": "stable"}, "not both"),
            ({"retries": -1}, "retries is a whole number, 0 or more: received -1."),
            ({"batch_size": 0}, "whole numbers of at least 1: received 0 and 4."),
            ({"timeout_s": 0}, "total_s is above 0 and at most 1e.09, in seconds: received 0."),
            ({"compression": "zip"}, "compression is 'gzip' or None: received 'zip'."),
            ({"client_key": b"k"}, "client_key and client_certificate go together"),
            ({"root_certificates": JUNK_PEM}, "certificates or the key are damaged"),
            ({"root_certificates": "/nowhere.pem"}, "'/nowhere.pem' cannot be read: No such"),
        ],
    )
    def test_settings_that_make_no_sense(self, options: dict, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            Client(**{"address": "localhost:8500", "model": "flowers", **options})

    def test_an_option_that_is_none(self) -> None:
        with pytest.raises(TypeError) as caught:
            Client("localhost:8500", "flowers", timeout=5)
        with pytest.raises(TypeError, match="Did you mean 'root_certificates'"):
            Client("localhost:8500", "flowers", root_certificate=b"")

        assert str(caught.value) == (
            "There is no option 'timeout' of a client. Did you mean 'timeout_s'? The options are: "
            "address, model, version, version_label, timeout_s, retries, batch_size, in_flight, "
            "limits, tls, root_certificates, client_key, client_certificate, headers, compression."
        )


class FlakyServer:
    """Answers GetModelMetadata with each of some statuses, and then with an empty response."""

    def __init__(self, statuses: list[grpc.StatusCode], credentials: Any = None) -> None:
        self.calls = 0
        self._statuses = list(statuses)
        self._server = grpc.server(ThreadPoolExecutor(2))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        self.calls += 1
        if self._statuses:
            context.abort(self._statuses.pop(0), "no luck")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
        return response

    Predict = Classify = Regress = MultiInference = GetModelMetadata

    def __enter__(self) -> FlakyServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate of localhost signed with it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return key, certificate


class TestModel:
    def test_metadata(self, arithmetic: Client) -> None:
        metadata = arithmetic.metadata()

        assert (metadata.name, metadata.version) == ("arithmetic", 7)
        assert "__saved_model_init_op" not in metadata.signatures
        signature = metadata.signatures["two_in_two_out"]
        assert (
            str(signature) == "(a: float [?], b: float [?]) -> (product: float [?], sum: float [?])"
        )
        assert signature.inputs["a"].dtype == "float"
        assert signature.inputs["a"].shape == (None,)

    def test_status(self, arithmetic: Client) -> None:
        found = [(entry.version, entry.state, entry.error) for entry in arithmetic.status()]

        assert found == [(7, "AVAILABLE", ""), (1, "AVAILABLE", "")]

    def test_wait_until_ready(self, saved_models: Path, tmp_path: Path) -> None:
        """It waits through "no server" and through "no version" alike."""
        port = free_port()
        server = ModelServer(
            tmp_path, model_name="flowers", port=port, poll_s=0.05, wait_for_versions=True
        )
        with Client(f"localhost:{port}", "flowers") as client, ThreadPoolExecutor(2) as pool:
            ready = pool.submit(client.wait_until_ready, timeout_s=20)
            started = pool.submit(server.start)
            time.sleep(0.3)
            waiting = not ready.done()
            publish(saved_models / "colours", tmp_path / "4")
            version = ready.result()
            started.result()
            server.stop()

        assert waiting
        assert version == 4

    def test_wait_until_ready_in_vain(self, server: ModelServer) -> None:
        with (
            Client(server.address, "nope") as client,
            pytest.raises(errors.DeadlineExceededError) as caught,
        ):
            client.wait_until_ready(timeout_s=1)

        assert str(caught.value) == (
            f"Model 'nope' on {server.address} was not ready within 1 s: Could not find any "
            "versions of model nope"
        )
