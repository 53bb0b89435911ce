"""What a client says of mistakes: which image, which versions there are, what was received."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inception_serving import AsyncClient, Client, ImageError, ModelServer, errors
from tests.serving.caller import png


@pytest.fixture(scope="module")
def colours(server: ModelServer) -> Iterator[Client]:
    with Client(server.address, model="colours") as client:
        yield client


def test_a_cut_image_is_named_in_a_line_without_nodes(colours: Client, tmp_path: Path) -> None:
    """TF Serving's texts have nodes behind a line break, and ours as well, on purpose."""
    cut, whole = tmp_path / "cut.jpg", tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(whole)
    cut.write_bytes(whole.read_bytes()[:900])
    for images in (cut, [png(1, 2, 3), cut]):
        with pytest.raises(errors.InvalidArgumentError) as refused:
            colours.predict(images)
        text = str(refused.value)
        assert text == f"{cut}: it is a damaged JPEG, or one that is cut off; copy it again"


def test_text_without_nodes_is_as_recorded_less_the_nodes() -> None:
    """Recorded of TF Serving 2.20.0."""
    text = (
        "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.\n\t "
        "[[{{function_node map_while_body_883}}{{node map/while/decode_image/DecodeImage}}]]"
    )
    assert errors.without_nodes(text) == text.partition("\n")[0]
    assert errors.without_nodes("`x[0]` [1] is\n no\timage") == "`x[0]` [1] is no image"


def test_a_version_that_is_not_there_is_answered_with_those_that_are(server: ModelServer) -> None:
    with (
        Client(server.address, model="colours", version=9) as client,
        pytest.raises(errors.NotFoundError) as missing,
    ):
        client.predict(png(1, 2, 3))
    text = str(missing.value)
    assert text.startswith("Servable not found for request: Specific(colours, 9). The versions")
    assert "1 (AVAILABLE)" in text and "--num-versions 2" in text


def test_a_model_that_is_not_there_is_named(server: ModelServer) -> None:
    with Client(server.address, model="colors") as client:
        for call in (client.metadata, client.status):
            with pytest.raises(errors.NotFoundError, match=r"There is no model 'colors' on 127\."):
                call()


@pytest.mark.parametrize("one", ["photo.jpg", b"\xff\xd8\xff", 3, None])
def test_a_stream_of_one_image_is_refused_at_once(colours: Client, one: Any) -> None:
    """A text would be taken letter by letter."""
    with pytest.raises(ImageError, match=r"predict_stream\(\) takes several images") as refused:
        colours.predict_stream(one)
    assert repr(one) in str(refused.value) or type(one).__name__ in str(refused.value)

    async def ask() -> None:
        async with AsyncClient(colours.address, model="colours") as client:
            client.predict_stream(one)

    with pytest.raises(ImageError, match="takes several images"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"version": "1"}, r"version is a whole number.*received '1'\. A label"),
        ({"version": True}, "version is a whole number"),
        ({"timeout_s": "x"}, "total_s is above 0 and at most 1e.09, in seconds: received 'x'"),
        ({"retries": 1.5}, "retries is a whole number, 0 or more: received 1.5"),
        ({"batch_size": "x"}, "whole numbers of at least 1: received 'x' and 4"),
        ({"address": 8500}, "address is text, HOST:PORT, such as localhost:8500: received 8500"),
        ({"address": "a:70000"}, "a port is 1 to 65535: received 'a:70000'"),
        ({"address": "[::1]"}, r"HOST:PORT, such as \[::1\]:8500.*received '\[::1\]'"),
        ({"address": "a:８５００"}, "a port is 1 to 65535: received 'a:８５００'"),  # noqa: RUF001
        ({"address": "unix:"}, "such as unix:/path/to/socket: received 'unix:'"),
        ({"model": ""}, "model is the model's name on the server: received ''"),
        ({"version": -1}, "whole number, 0 or more, or None for the latest: received -1"),
        ({"version": 2**63}, "whole number, 0 or more.*received 9223372036854775808"),
        ({"version_label": 3}, "version_label is a label's name, .* received 3"),
        ({"timeout_s": float("inf")}, "total_s is above 0 and at most 1e.09.*received inf"),
        ({"timeout_s": float("nan")}, "total_s is above 0 and at most 1e.09.*received nan"),
        ({"limits": {"in_flight": 2}}, "limits is a Limits, or None: received {'in_flight': 2}"),
        ({"headers": "x"}, "headers is a mapping of text to text: received 'x'"),
        ({"headers": {"a b": "c"}}, "a name of letters, digits.*received 'a b': 'c'"),
        ({"headers": {"a": 3}}, "A header is a line of ASCII.*received 'a': 3"),
        ({"headers": {"a": "b\rc"}}, "A header is a line of ASCII"),
        ({"headers": {"a-bin": "b"}}, "does not end in -bin: received 'a-bin'"),
        # Which must not turn encryption off.
        ({"root_certificates": ""}, "root_certificates is PEM as bytes.*'' cannot be read"),
        ({"root_certificates": b""}, "received 0 bytes, which is no PEM of a certificate"),
        ({"root_certificates": 3}, "the path of a file of it: received 3"),
        ({"client_key": b"CERTIFICATE-----", "client_certificate": b""}, "no PEM of a private key"),
    ],
)
def test_options_of_another_kind_are_refused_in_words(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Client(**{"address": "localhost:8500", "model": "m"} | options)


@pytest.mark.parametrize("timeout_s", ["x", float("nan"), float("inf"), 1e300])
def test_a_time_that_is_none_is_refused_in_words(colours: Client, timeout_s: Any) -> None:
    """Of NaN, gRPC says at once that the time was up, and waiting would never end."""
    rule = f"timeout_s is a number of seconds, 1e.09 at most: received {re.escape(repr(timeout_s))}"
    for call in (
        lambda: colours.predict(png(1, 2, 3), timeout_s=timeout_s),
        lambda: colours.predict_stream([png(1, 2, 3)], timeout_s=timeout_s),
        lambda: colours.predict_async(png(1, 2, 3), timeout_s=timeout_s),
        lambda: colours.status(timeout_s=timeout_s),
        lambda: colours.wait_until_ready(timeout_s),
    ):
        with pytest.raises(ValueError, match=rule):
            call()
    with pytest.raises(errors.DeadlineExceededError):
        colours.predict(png(1, 2, 3), timeout_s=-1)


@pytest.mark.parametrize(
    ("inputs", "received"), [([1], "list"), (None, "NoneType"), ({3: [b""]}, r"\[3\]")]
)
def test_inputs_without_names_are_refused_in_words(
    colours: Client, inputs: Any, received: str
) -> None:
    with pytest.raises(errors.SignatureError, match=f"names to arrays, .*: received {received}"):
        colours.predict_tensors(inputs)


def test_versions_are_compared_by_number_or_label_alone(colours: Client) -> None:
    with pytest.raises(ValueError, match=r"its number or its label: received None"):
        colours.compare([png(1, 2, 3)], None, 1)  # type: ignore[arg-type]
