"""Conformance over REST. Each test names what it rests on: a file below tensorflow_serving/."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from inception_serving import ModelServer
from tests.serving.caller import png

PREDICT = "/v1/models/arithmetic:predict"


@pytest.fixture(scope="module")
def http(server: ModelServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.rest_address or "", timeout=20) as client:
        yield client


def post(http: httpx.Client, path: str, body: Any) -> Any:
    """The answer to a body that is right."""
    response = http.post(path, content=body if isinstance(body, str) else json.dumps(body))
    assert response.headers["content-type"] == "application/json"
    assert response.status_code == 200, response.text
    return json.loads(response.content.decode(errors="surrogateescape"))  # text is any bytes


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


class TestPredict:
    """util/json_tensor.cc."""

    def test_rows_of_one_input(self, http: httpx.Client) -> None:
        """Row 31."""
        assert post(http, PREDICT, {"instances": [1.0, 2, 5]}) == {"predictions": [2.5, 3.0, 4.5]}

    def test_rows_that_name_their_one_input(self, http: httpx.Client) -> None:
        """Row 31."""
        body = {"instances": [{"x": 1.0}, {"x": 2.0}]}
        assert post(http, PREDICT, body) == {"predictions": [2.5, 3.0]}

    def test_a_column_of_one_input(self, http: httpx.Client) -> None:
        """Row 32."""
        assert post(http, PREDICT, {"inputs": [1.0, 2, 5]}) == {"outputs": [2.5, 3.0, 4.5]}

    def test_rows_of_objects(self, http: httpx.Client) -> None:
        """Rows 33 and 36."""
        body = {
            "signature_name": "two_in_two_out",
            "instances": [{"a": 1, "b": 2}, {"b": 4, "a": 3}],
        }
        assert post(http, PREDICT, body) == {
            "predictions": [{"product": 2.0, "sum": 3.0}, {"product": 12.0, "sum": 7.0}]
        }

    def test_columns_of_an_object(self, http: httpx.Client) -> None:
        """Rows 34 and 36; a key that is no input is ignored."""
        body = {
            "signature_name": "two_in_two_out",
            "inputs": {"a": [1, 3], "b": [2, 4], "unused": 1},
        }
        assert post(http, PREDICT, body) == {"outputs": {"product": [2.0, 12.0], "sum": [3.0, 7.0]}}

    @pytest.mark.parametrize(
        "body",
        [
            {"instances": [b64(b"\x00\xfa")]},
            {"instances": [{"text": b64(b"\x00\xfa")}]},
            {"inputs": [b64(b"\x00\xfa")]},
            {"inputs": {"text": [{"b64": "APo"}]}},
        ],
        ids=["row", "row of an object", "column", "column without padding"],
    )
    def test_base64_in_and_bytes_out(self, http: httpx.Client, body: dict) -> None:
        """Rows 35 and 37: an output named *_bytes is written as base64, any other as text."""
        answer = post(http, PREDICT, {"signature_name": "echo", **body})

        found = answer.get("predictions") or answer["outputs"]
        raw = found[0]["raw_bytes"] if isinstance(found, list) else found["raw_bytes"][0]
        assert raw == {"b64": "APo="}

    def test_text(self, http: httpx.Client) -> None:
        """Row 37."""
        body = {"signature_name": "echo", "instances": ["grüße", ""]}

        rows = post(http, PREDICT, body)["predictions"]

        assert rows == [
            {"plain": "grüße", "raw_bytes": b64("grüße".encode())},
            {"plain": "", "raw_bytes": {"b64": ""}},
        ]

    def test_an_image(self, http: httpx.Client) -> None:
        body = {"instances": [b64(png(200, 0, 0)), b64(png(0, 0, 200))]}

        rows = post(http, "/v1/models/colours:predict", body)["predictions"]

        assert [row["classes"] for row in rows] == [["red", "green"], ["blue", "red"]]
        assert all(0 <= score <= 1 for row in rows for score in row["scores"])

    def test_nested_lists(self, http: httpx.Client) -> None:
        pixels = np.full([2, 3, 4, 3], 9, np.uint8)
        body = {"signature_name": "predict_images", "inputs": pixels.tolist()}

        outputs = post(http, "/v1/models/colours:predict", body)["outputs"]

        np.testing.assert_allclose(outputs, np.full([2, 3], 1 / 3), rtol=1e-6)

    def test_a_version(self, http: httpx.Client) -> None:
        """Row 38."""
        path = "/v1/models/arithmetic/versions/1:predict"
        assert post(http, path, {"instances": [1.0]}) == {"predictions": [3.5]}

    def test_the_path_ignores_case(self, http: httpx.Client) -> None:
        """model_servers/http_rest_api_util.cc: (?i); but the method is compared as it is."""
        path = "/V1/Models/arithmetic/Versions/1"
        assert post(http, f"{path}:predict", {"instances": [1.0]}) == {"predictions": [3.5]}
        assert http.post(f"{path}:PREDICT", content="{}").json() == {
            "error": f"Malformed request: POST {path}:PREDICT"
        }

    def test_nan_and_infinity(self, http: httpx.Client) -> None:
        """Row 44."""
        body = '{"instances": [NaN, Infinity, -Infinity]}'

        response = http.post(PREDICT, content=body)

        assert response.text.split("[")[1].split("]")[0].strip() == "NaN, Infinity, -Infinity"

    @pytest.mark.parametrize(
        ("dtype", "sent", "written"),
        [
            ("float32", 0.1, "0.1"),
            ("float32", 3, "3.0"),
            ("float32", 16777215, "16777215.0"),
            ("float32", 2.0**24 + 2, "16777218.0"),
            ("float32", 1e-40, "0.0"),
            ("float64", 0.1, "0.1"),
            ("float64", 1 / 3, "0.33333333333333331"),
            ("int64", -(2**63), str(-(2**63))),
            ("uint64", 2**64 - 1, str(2**64 - 1)),
            ("uint8", 255, "255"),
            ("bool", True, "true"),
        ],
    )
    def test_numbers_are_written_as_their_type(
        self, http: httpx.Client, dtype: str, sent: Any, written: str
    ) -> None:
        """WriteDecimal: as few digits as say it, and a point in every float."""
        body = {"signature_name": f"identity_{dtype}", "instances": [sent]}

        response = http.post(PREDICT, content=json.dumps(body))

        assert response.text == f'{{\n    "predictions": [{written}\n    ]\n}}'

    def test_a_scalar_output_in_columns(self, http: httpx.Client) -> None:
        body = {"signature_name": "scalar_out", "inputs": [1, 2]}
        assert post(http, PREDICT, body) == {"outputs": 3}

    def test_many_at_a_time_on_kept_connections(self, http: httpx.Client) -> None:
        """Row 46."""

        def call(index: int) -> Any:
            return post(http, PREDICT, {"instances": [index]})["predictions"]

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(call, range(40)))

        assert found == [[index * 0.5 + 2] for index in range(40)]


BAD_BODIES = [
    ("", "JSON Parse error: The document is empty"),
    ("{", "JSON Parse error: Missing a name for object member. at offset: 1"),
    ("[" * 100_000, "JSON Parse error: Invalid value. at offset: 100000"),
    ("[1]", "JSON Value: [1] Is not object"),
    ("{}", "Missing 'inputs' or 'instances' key"),
    (
        '{"instances": [1], "inputs": [1]}',
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    ('{"instances": 1}', "Expecting 'instances' to be an list/array"),
    ('{"instances": []}', "No values in 'instances' array"),
    (
        '{"instances": [1], "signature_name": 5}',
        "not formatted correctly. 'signature_name' key must be a string value.",
    ),
    (
        '{"instances": [1], "signature_name": "nope"}',
        'Serving signature name: "nope" not found in signature def',
    ),
    (
        '{"instances": [1], "signature_name": "no_inputs"}',
        "Failed to get input map for signature: no_inputs",
    ),
    (
        '{"instances": ["a"]}',
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
        'JSON Value: "a" Type: String is not of expected type: float',
    ),
    (
        '{"inputs": [true]}',
        "JSON Value: true Type: True is not of expected type: float",
    ),
    ('{"inputs": [null]}', "JSON Value: null Type: Null is not of expected type: float"),
    (
        '{"inputs": [{"b64": "AA=="}]}',
        "Type: Object is not of expected type: float",
    ),
    (
        '{"inputs": [[1, 2], [3]]}',
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        '{"inputs": [[1], 2]}',
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
    (
        f'{{"instances": [1{"0" * 400}]}}',
        "JSON Parse error: Number too big to be stored in double. at offset: 15",
    ),
    (
        f'{{"instances": -1{"0" * 400}}}',
        "JSON Parse error: Number too big to be stored in double. at offset: 14",
    ),
    (
        f'{{"instances": {" " * 100_000}[1{"0" * 400}]}}',
        "JSON Parse error: Number too big to be stored in double. It is somewhere in 100418 bytes.",
    ),
    # Where nobody reads it, and before what else is wrong.
    ('{"instances": [1], "more": 1e400}', "Number too big to be stored in double. at offset: 27"),
    (
        f'{{"more": 1{"0" * 310}, "instances": [1]}}',
        "Number too big to be stored in double. at offset: 9",
    ),
    ('{"instances": [1], "instances": [1e999]}', "Number too big to be stored in double."),
    ('{"instances": ["a", 1e400]}', "Number too big to be stored in double. at offset: 20"),
    (
        '{"instances": [1], "signature_name": "nope", "more": 1e+0400}',
        "Number too big to be stored in double.",
    ),
    (
        '{"instances": [[1, 2], [3, 4], [5]]}',
        "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: "
        "Expecting tensor size: 2 but got: 1",
    ),
    (
        '{"instances": [[[1, 2]], [[3], [4]]]}',
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
        "Expecting shape [1,2] but got: [2,1]",
    ),
    ('{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at item 1 of input list"),
    ('{"instances": [{"x": 1}, 1]}', "Expecting object but got list at item 1 of input list"),
    (
        '{"instances": [{"z": 1}]}',
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: z",
    ),
    (
        '{"signature_name": "two_in_two_out", "instances": [{"a": 1}]}',
        "keys must be equal to: a,b",
    ),
    (
        '{"signature_name": "two_in_two_out", "instances": [1]}',
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    (
        '{"signature_name": "two_in_two_out", "inputs": [1]}',
        "inputs is a plain value/list, but expecting an object as multiple input tensors required "
        "as per tensorinfo_map",
    ),
    (
        '{"signature_name": "two_in_two_out", "inputs": {"a": [1]}}',
        "Missing named input: b in 'inputs' object.",
    ),
    ('{"signature_name": "echo", "inputs": [{"b64": "-_8="}]}', "Unable to base64 decode"),
    ('{"signature_name": "echo", "inputs": [{"b64": "A"}]}', "Unable to base64 decode"),
    (
        '{"signature_name": "echo", "inputs": [{"b64": 1}]}',
        "not formatted correctly for base64 data",
    ),
    ('{"signature_name": "echo", "inputs": [5]}', "Type: Number is not of expected type: string"),
    ('{"signature_name": "echo", "inputs": ["\\ud800"]}', "surrogate pair in string is invalid"),
    ('{"signature_name": "\\udc80", "inputs": [1]}', 'Serving signature name: "'),
    ('{"signature_name": "scalar_out", "inputs": [1.5]}', "is not of expected type: int32"),
    (
        '{"signature_name": "scalar_out", "inputs": [2147483648]}',
        "Type: Number is not of expected type: int32",
    ),
    ('{"signature_name": "identity_bool", "inputs": [1]}', "is not of expected type: bool"),
    ('{"signature_name": "identity_uint8", "inputs": [2147483648]}', "not of expected type: uint8"),
    (
        '{"signature_name": "scalar_out", "instances": [1]}',
        "Tensor name: total has no shape information ",
    ),
    (
        '{"signature_name": "reshape", "inputs": [1]}',
        "Input to reshape is a tensor with 1 values, but the requested shape has 4",
    ),
    # Numbers in RapidJSON's digits.
    (
        '{"signature_name": "identity_bool", "inputs": [3.402823e38]}',
        "JSON Value: 3.4028230000000005e38 Type: Number",
    ),
    (
        '{"signature_name": "identity_int32", "instances": [5e-324]}',
        "JSON Value: 0.0 Type: Number",
    ),
    ('{"signature_name": 1e-45}', '"signature_name": 1.0000000000000002e-45\n} not formatted'),
]


@pytest.mark.parametrize(
    ("body", "text"), BAD_BODIES, ids=[repr(body)[:40] for body, _ in BAD_BODIES]
)
def test_bad_bodies(http: httpx.Client, body: str, text: str) -> None:
    """Rows 13, 22, 43 and 45: util/json_tensor.cc; all are INVALID_ARGUMENT, so 400."""
    response = http.post(PREDICT, content=body)

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert text in response.json()["error"]


# To Python's doubles it is too large by its last digits, to RapidJSON's reader it is not.
LARGEST = "17976931348623158" + "2" * 292
CLASSIFY = "/v1/models/arithmetic:classify"
BLANKS = " " * 70_000


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (PREDICT, f'{{"instances": [{LARGEST}]}}', 200, "[Infinity"),
        (PREDICT, f'{{"inputs": [[-{LARGEST}], [1]]}}', 200, "[-Infinity"),
        (PREDICT, f'{{"signature_name": {LARGEST}}}', 400, ": 1.7976931348623145e308"),
        (
            PREDICT,
            f'{{"signature_name": "identity_bool", "inputs": [{LARGEST}]}}',
            400,
            "JSON Value: 1.7976931348623145e308 Type: Number",
        ),
        (PREDICT, f"[{LARGEST}]", 400, "JSON Value: [1.7976931348623145e308] Is not object"),
        (PREDICT, f"[{LARGEST}]{BLANKS}", 400, "Number too big to be stored in double. It is"),
        (PREDICT, f'{{"instances": [{LARGEST}]}}{BLANKS}', 400, "Number too big to be stored"),
        (PREDICT, f'{{"instances": [{"9" * 309}]}}', 400, "in double. at offset: 15"),
        (CLASSIFY, f'{{"examples": [{{"x": {LARGEST}}}]}}', 400, "No classification inputs"),
        (CLASSIFY, f'{{"examples": [{{"x": [0.5, {"9" * 309}]}}]}}', 400, "at offset: 26"),
    ],
)
def test_integers_at_the_end_of_doubles(
    http: httpx.Client, path: str, body: str, status: int, text: str
) -> None:
    response = http.post(path, content=body)

    assert response.status_code == status
    assert text in response.text.replace("\n", "").replace("    ", "")


@pytest.mark.parametrize(
    ("body", "begin", "letters"),
    [
        (
            {"signature_name": "\u00e9" * 3_000_000, "instances": [1]},
            'Serving signature name: "\u00e9\u00e9',
            65_537 + 53,
        ),
        (
            {"instances": ["\U0001f600" * 3_000_000]},
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value",
            65_536 + 133,
        ),
        ({"instances": [{"z" * 90_000: 1}]}, "Failed to process element: 0 key: zz", 180_121),
    ],
    ids=["signature", "value", "input"],
)
def test_a_long_error_is_cut(http: httpx.Client, body: Any, begin: str, letters: int) -> None:
    response = http.post(PREDICT, content=json.dumps(body, ensure_ascii=False))

    assert response.status_code == 400
    said = response.json()["error"]
    assert said.startswith(begin)
    assert len(said) < 66_000
    assert said.endswith(f"... ({letters} letters)")


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        (
            "POST",
            "/v1/models/nope:predict",
            404,
            "Servable not found for request: Latest(nope)",
        ),
        (
            "POST",
            "/v1/models/arithmetic/versions/3:predict",
            404,
            "Servable not found for request: Specific(arithmetic, 3)",
        ),
        (
            "POST",
            "/v1/models/arithmetic/labels/a%20b:predict",
            400,
            "Unrecognized servable version label: a b",
        ),
        (
            "POST",
            "/v1/models/arithmetic",
            400,
            "Malformed request: POST /v1/models/arithmetic",
        ),
        ("GET", PREDICT, 400, f"Malformed request: GET {PREDICT}"),
        ("PUT", PREDICT, 400, f"Malformed request: PUT {PREDICT}"),
        ("GET", "/v1/nope", 400, "Malformed request: GET /v1/nope"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        (
            "GET",
            "/v1/models/arithmetic/versions/3",
            404,
            "Could not find version 3 of model arithmetic",
        ),
        (
            "GET",
            "/v1/models/nope/metadata",
            404,
            "Servable not found for request: Latest(nope)",
        ),
    ],
)
def test_bad_paths(http: httpx.Client, method: str, path: str, status: int, text: str) -> None:
    """Rows 11, 12, 26, 42 and 45: model_servers/http_rest_api_handler.cc, http_server.cc."""
    content = '{"instances": [1]}' if method == "POST" else None
    response = http.request(method, path, content=content)

    assert response.status_code == status
    assert response.json() == {"error": text}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint16", "complex64"])
@pytest.mark.parametrize(
    ("number", "shown"),
    [("1", "1"), ("1e-45", "1.0000000000000002e-45"), ("1.7976931348623158e308", "")],
)
def test_types_that_json_does_not_carry(
    http: httpx.Client, dtype: str, number: str, shown: str
) -> None:
    """AddValueToTensor's last case; numbers are RapidJSON's, which writes none that is infinite."""
    body = f'{{"signature_name": "identity_{dtype}", "inputs": [{number}]}}'

    response = http.post(PREDICT, content=body)

    kind = {"float16": "half"}.get(dtype, dtype)
    assert response.status_code == 501
    assert response.json() == {"error": f"Conversion of JSON Value: {shown} to type: {kind}"}


def test_status(http: httpx.Client) -> None:
    """Row 40: model_servers/http_rest_api_util.cc, ToJsonString; the version is a string."""
    ok = {"error_code": "OK", "error_message": ""}

    assert http.get("/v1/models/arithmetic").json() == {
        "model_version_status": [
            {"version": "7", "state": "AVAILABLE", "status": ok},
            {"version": "1", "state": "AVAILABLE", "status": ok},
        ]
    }
    assert http.get("/v1/models/arithmetic/versions/1").json() == {
        "model_version_status": [{"version": "1", "state": "AVAILABLE", "status": ok}]
    }


def test_metadata(http: httpx.Client) -> None:
    """Row 41: servables/tensorflow/testdata/half_plus_two_model_metadata.json has this form."""
    document = http.get("/v1/models/keras/metadata").json()

    assert document["model_spec"] == {"name": "keras", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"] == {
        "inputs": {
            "features": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {
                    "dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}],
                    "unknown_rank": False,
                },
                "name": "serving_default_features:0",
            }
        },
        "outputs": {
            "output_0": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {
                    "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}],
                    "unknown_rank": False,
                },
                "name": signatures["serving_default"]["outputs"]["output_0"]["name"],
            }
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


def test_a_request_that_takes_too_long(base: Path) -> None:
    """--rest_api_timeout_in_ms."""
    with ModelServer(base / "arithmetic", rest_port=0, rest_timeout_s=0.2) as other:
        response = httpx.post(
            f"{other.rest_address}{PREDICT}",
            content='{"signature_name": "slow", "inputs": 0.6}',
            timeout=20,
        )

    assert response.status_code == 504
    assert response.json() == {"error": "Timed out waiting for notification"}


def test_a_request_under_way_when_the_server_stops(base: Path) -> None:
    """Row 54, over REST."""
    server = ModelServer(base / "arithmetic", rest_port=0)
    server.start()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(
            httpx.post,
            f"{server.rest_address}{PREDICT}",
            content='{"signature_name": "slow", "inputs": 1}',
            timeout=20,
        )
        time.sleep(0.4)
        server.stop()

    assert slow.result().status_code == 200


def test_bytes_that_are_no_http(server: ModelServer, http: httpx.Client) -> None:
    """The server survives them."""
    with socket.create_connection(("127.0.0.1", server.rest_port or 0), timeout=20) as raw:
        raw.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        raw.recv(1024)

    assert http.get("/v1/models/arithmetic").status_code == 200
