"""JSON as RapidJSON reads and writes it; no body, however odd, is an internal error."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inception_serving import errors, messages, tensors
from inception_serving.server.rest import (
    example_json,
    json_layout,
    json_parser,
    json_values,
    tensor_json,
)
from inception_serving.server.rest.json_layout import show
from inception_serving.server.rest.json_numbers import flush_denormals, show_double
from inception_serving.server.rest.sizes import text_size

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.builds(lambda text: {"b64": text}, st.text("ab=-_+/ ", max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["instances", "inputs"])
BODIES = st.dictionaries(KEYS, VALUES, min_size=1, max_size=1)
DATA_TYPES = sorted(map(int, messages.DataType))[1:23]

SHOWN = """{
    "a": [{
            "b": null
        }],
    "c": true
}"""


def signature(*dtypes: int) -> Any:
    result = messages.SignatureDef()
    for name, dtype in zip("ab", dtypes, strict=False):
        result.inputs[name].dtype = dtype
    return result


@given(BODIES, st.lists(st.sampled_from(DATA_TYPES), min_size=1, max_size=2))
@settings(max_examples=400, deadline=None)
def test_every_body_is_read_or_refused(body: Any, dtypes: list[int]) -> None:
    try:
        document = json_values.parse(json.dumps(body).encode())
        found = tensor_json.read_inputs(document, signature(*dtypes))
    except (errors.InvalidArgumentError, errors.UnimplementedError) as error:
        assert str(error)
        return
    assert found
    for name, tensor in found.items():
        assert tensor.dtype == tensors.numpy_dtype(dtypes["ab".index(name)])


@given(st.binary(max_size=30))
def test_every_byte_string_is_parsed_or_refused(body: bytes) -> None:
    try:
        assert isinstance(json_values.parse(body), dict)
    except errors.InvalidArgumentError as error:
        assert str(error)


@pytest.mark.parametrize("row_format", [True, False])
@given(
    array=st_numpy.arrays(
        st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
        st_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3),
    )
)
@settings(max_examples=60, deadline=None)
def test_outputs_round_trip(row_format: bool, array: np.ndarray) -> None:
    """A float32 is written in few digits and still read back as the same float32."""
    content = tensor_json.write_outputs({"y": array}, row_format=row_format)

    (values,) = json.loads(content).values()

    read = np.array(values, dtype=array.dtype).reshape(array.shape)
    if array.dtype.kind == "f":
        array = flush_denormals(array.ravel()).reshape(array.shape)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("row_format", [True, False])
@given(
    arrays=st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5).map(
        lambda shape: {
            "y": np.arange(np.prod([4, *shape])).reshape(4, *shape),
            "z_bytes": np.full([4, 2], b"z", object),
        }
    ),
    count=st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_outputs_are_written_in_parts(
    row_format: bool, arrays: dict[str, np.ndarray], count: int
) -> None:
    outputs = dict(list(arrays.items())[:count])
    whole = tensor_json.write_outputs(outputs, row_format=row_format)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_json, "_WRITTEN_AT_ONCE", 3)
        assert tensor_json.write_outputs(outputs, row_format=row_format) == whole


@pytest.mark.parametrize("row_format", [True, False])
@pytest.mark.parametrize("shape", [(1000,), (1000, 1), (10, 10, 10), (1, 1, 1, 1000, 1, 1)])
def test_no_text_is_longer_than_reckoned(shape: tuple[int, ...], row_format: bool) -> None:
    for dtype, value in (
        (np.float32, -1.23456789e-37),
        (np.float64, -1.2345678901234567e-300),
        (np.int8, -128),
        (np.uint8, 255),
        (np.int16, -32768),
        (np.int32, -(2**31)),
        (np.uint32, 2**32 - 1),
        (np.int64, -(2**63)),
        (np.uint64, 2**64 - 1),
        (np.bool_, False),
        (object, b"\x01\xff" * 100),
        (object, b""),
    ):
        tensor = np.full(shape, value, dtype)
        for outputs in ({"y": tensor}, {"x_bytes": tensor}, {"y": tensor, "z_bytes": tensor}):
            text = tensor_json.write_outputs(outputs, row_format=row_format)
            size = text_size(outputs, row_format=row_format)
            assert len(text) - 100 <= size <= 6 * len(text) + 100 * len(outputs) * tensor.size


def test_an_answer_takes_little_more_than_its_text() -> None:
    """A Python object for each number would be ten times as much."""
    array = np.full(1_000_000, 0.5, np.float32)
    tracemalloc.start()

    content = tensor_json.write_outputs({"y": array}, row_format=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5 * len(content) + 20_000_000


class TestReading:
    """rapidjson 1.1.0, reader.h."""

    @given(VALUES)
    @settings(deadline=None)
    def test_as_python_reads_it(self, value: Any) -> None:
        """Both readers agree wherever RapidJSON does not lose a digit."""
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        try:
            found = json_parser.parse(text)
        except errors.InvalidArgumentError as error:
            assert "too big" in str(error)
            return
        np.testing.assert_equal(as_doubles(found), as_doubles(json.loads(text)))

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            (b"", "The document is empty. at offset: 0"),
            (b" ]", "The document is empty. at offset: 1"),
            (b"[", "Invalid value. at offset: 1"),
            (b"[}", "Invalid value. at offset: 1"),
            (b"[1,,2]", "Invalid value. at offset: 3"),
            (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
            (b"[1,]", "Invalid value. at offset: 3"),
            (b"{1}", "Missing a name for object member. at offset: 1"),
            (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
            (b'{"a":}', "Invalid value. at offset: 5"),
            (b'{"a":1 "b"}', "Missing a comma or '}' after an object member. at offset: 7"),
            (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
            (b"[tru]", "Invalid value. at offset: 4"),
            (b"[Infinit]", "Invalid value. at offset: 8"),
            (b"[-]", "Invalid value. at offset: 2"),
            (b"[1.]", "Miss fraction part in number. at offset: 3"),
            (b"[1e+]", "Miss exponent in number. at offset: 4"),
            (b"[NaN.]", "Miss fraction part in number. at offset: 5"),
            (b"[NaNe]", "Miss exponent in number. at offset: 5"),
            (b"[Infe400]", "Number too big to be stored in double. at offset: 1"),
            (b"[1e309]", "Number too big to be stored in double. at offset: 1"),
            (b"[" + b"9" * 310 + b"]", "Number too big to be stored in double. at offset: 1"),
            (b'["\\x"]', "Invalid escape character in string. at offset: 2"),
            (b'["\n"]', "Invalid escape character in string. at offset: 2"),
            (b'["\\u12"]', "Incorrect hex digit after \\u escape in string. at offset: 2"),
            (b'["\\ud800"]', "The surrogate pair in string is invalid. at offset: 2"),
            (b'["abc', "Missing a closing quotation mark in string. at offset: 5"),
        ],
    )
    def test_errors(self, text: bytes, error: str) -> None:
        with pytest.raises(errors.InvalidArgumentError) as caught:
            json_parser.parse(text)

        assert str(caught.value) == f"JSON Parse error: {error}"

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            (b"[1]]]", [1]),
            (b"\xef\xbb\xbf[1]", [1]),
            (b"[-Inf, Inf, Infinity]", [-np.inf, np.inf, np.inf]),
            (b"[NaN.5, -Inf.5, -Infinitye1, NaN.25e1]", [0.5, -0.5, -0.0, 2.5]),
            (b"[9e308, 1e-310, -1e-310, -0]", [np.inf, 0.0, -0.0, 0]),
            (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
            (b"[18446744073709551616]", [float(2**64)]),
            (b"[0." + b"1" * 400 + b"e-5]", [1.1111111111111112e-06]),
            (b'["\\udc00"]', ["\udced\udcb0\udc80"]),
            (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
            (b"[" * 5000 + b"]" * 5000, None),
        ],
    )
    def test_what_is_taken(self, text: bytes, value: Any) -> None:
        found = json_parser.parse(text)

        if value is not None:
            np.testing.assert_equal(found, value)

    def test_the_first_of_a_key_counts(self) -> None:
        document = json_values.parse(b'{"a": 1, "a": 2}')

        assert document == {"a": 1}
        assert list(json_values.members(document)) == [("a", 1), ("a", 2)]

    def test_rows_whose_keys_are_given_twice(self) -> None:
        """The values of all fill the tensor, in order, and what is left falls away."""
        document = json_values.parse(b'{"instances": [{"a": 1, "a": 2}, {"a": 3, "a": 4}]}')

        found = tensor_json.read_inputs(document, signature(messages.DataType.DT_INT32))

        assert found["a"].tolist() == [1, 2]

    def test_the_digits_that_rapidjson_loses(self) -> None:
        """internal/strtod.h: of more than 17 digits or far from 1, the last may be another."""
        assert json_parser.parse(b"[1e-300]") == [1 / 1e300]
        assert json_parser.parse(b"[0.1, 1e22, 123456.789]") == [0.1, 1e22, 123456.789]


class TestBase64:
    """absl/strings/escaping.cc, Base64Unescape."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("QQ==", b"A"),
            ("QQ", b"A"),
            ("QQ..", b"A"),
            ("QR==", b"A"),
            (" Q Q\n= = ", b"A"),
            ("QUI=", b"AB"),
            ("", b""),
            ("  ", b""),
        ],
    )
    def test_taken(self, text: str, value: bytes) -> None:
        assert json_values.read_bytes({"b64": text}) == value

    @pytest.mark.parametrize(
        "text", ["Q", "QQ=", "QQ===", "QUI==", "QUJD=", "QUJD====", "=", "QQ==QQ==", "-_8=", "é"]
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(errors.InvalidArgumentError, match="Unable to base64 decode"):
            json_values.read_bytes({"b64": text})

    def test_blanks_take_no_time(self) -> None:
        started = time.process_time()

        self.test_refused(f"A{' ' * 50_000}!")

        assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"1e", "JSON Parse error: Miss exponent in number. at offset: 2"),
        (b"1e+", "JSON Parse error: Miss exponent in number. at offset: 3"),
        (b'2.5e"x"', "JSON Parse error: Miss exponent in number. at offset: 4"),
        (b"18446744073709551615e", "JSON Parse error: Miss exponent in number. at offset: 21"),
        (b"0.Infinity1", "JSON Parse error: Miss fraction part in number. at offset: 2"),
        (b"NaN.5", "JSON Value: 0.5 Is not object"),
        (b"1e-45", "JSON Value: 1.0000000000000002e-45 Is not object"),
        (b"123456789012345678901234567890", "JSON Value: 1.2345678901234566e29 Is not object"),
        (b"1e" + b" " * 70_000, "JSON Value: 1 Is not object"),
    ],
)
def test_what_is_no_object_is_read_to_its_end(body: bytes, error: str) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        json_values.parse(body)

    assert str(caught.value) == error


def test_large_bodies_are_read_once() -> None:
    """RapidJSON's own numbers take microseconds a byte, in which nobody else is answered."""
    inputs = {"x": np.array([np.inf], np.float32)}

    assert tensor_json.is_delicate(inputs, b"[1e999]")
    assert not tensor_json.is_delicate(inputs, b"[1e999]" + b" " * (1 << 18))


def test_characters_in_two_escapes_are_read_in_bodies_of_any_size() -> None:
    text = json.dumps({"inputs": "\U0001f600" * 30_000}).encode()

    assert len(text) > 300_000
    assert json_values.parse(text) == {"inputs": "\U0001f600" * 30_000}


@pytest.mark.parametrize("before", range(4))
def test_bodies_are_looked_through_in_parts(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at the seam between two is seen whole."""
    monkeypatch.setattr(json_values, "_SCANNED_AT_ONCE", 1000)
    for text in ("\u20ac" * 2000, json.dumps("\U0001f600")[1:-1] * 500):
        body = b'{"instances": "' + b"a" * before + text.encode() + b'"}'
        assert json_values.parse(body) == json.loads(body)
    for place in range(960, 1010):
        alone = b'{"a": "' + b"a" * place + b'\\ud83d"}' + b" " * 2000
        with pytest.raises(errors.InvalidArgumentError, match="surrogate pair"):
            json_values.parse(alone)
    with pytest.raises(errors.InvalidArgumentError, match="Parse error"):
        json_values.parse(b'{"a": "\xff"' + b" " * 2000)


WRONG = [*[[1]] * 40_000, ["x"]]
PAUSES = {
    "wrong rows": ({"instances": WRONG}, 200),
    "a wrong column": ({"inputs": WRONG}, 200),
    "right rows": ({"instances": [[0.5]] * 40_000}, 5),
    "rows of objects": ({"instances": [{"a": 1}] * 40_000}, 5),
}


@pytest.mark.parametrize(("document", "least"), PAUSES.values(), ids=PAUSES)
def test_others_run_while_tensors_are_read(
    document: dict[str, Any], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(tensor_json, "let_others_run", lambda: pauses.append(None))
    with contextlib.suppress(errors.InvalidArgumentError):
        tensor_json.read_inputs(document, signature(messages.DataType.DT_FLOAT))

    assert least < len(pauses) < 1000


def test_others_run_while_escapes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(json_parser, "let_others_run", lambda: pauses.append(None))

    assert json_parser.parse(b'["' + b"\\n" * 32_700 + b'", 1]') == ["\n" * 32_700, 1]
    assert len(pauses) > 200


def test_others_run_while_examples_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(example_json, "let_others_run", lambda: pauses.append(None))
    example_json.read_examples({"examples": [{"a": ["a"] * 40_000}]})

    assert len(pauses) > 100


@pytest.mark.parametrize(
    ("outputs", "row_format"),
    [
        ({"a": np.zeros([1, 100_000], np.float32)}, True),
        ({"a": np.zeros([10_000, 10], np.float32)}, True),
        ({"a": np.zeros(50_000, np.float32), "b": np.zeros(50_000, np.float32)}, True),
        ({"a": np.zeros([10_000, 10], np.float32)}, False),
    ],
)
def test_others_run_while_outputs_are_written(
    outputs: dict[str, np.ndarray], row_format: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(tensor_json, "let_others_run", lambda: pauses.append(None))
    tensor_json.write_outputs(outputs, row_format=row_format)

    assert 150 < len(pauses) < 1000


@pytest.mark.parametrize("row_format", [False, True])
@pytest.mark.parametrize("names", ["a", "ab"])
def test_one_long_text_is_copied_at_a_time(
    names: str, row_format: bool, one_at_a_time_in: Callable[..., list[int]]
) -> None:
    sizes = one_at_a_time_in(tensor_json)
    outputs = {name: np.arange(10_000) for name in names}
    text = tensor_json.write_outputs(outputs, row_format=row_format)

    assert sum(size > len(text) // 2 for size in sizes) >= 2


@pytest.mark.parametrize(("rows", "width"), [(40_000, 1), (1, 40_000), (200, 200)])
def test_others_run_while_answers_of_examples_are_written(
    rows: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(example_json, "let_others_run", lambda: pauses.append(None))
    result = messages.ClassificationResult()
    for _ in range(rows):
        entry = result.classifications.add()
        for score in range(width):
            entry.classes.add(label="a", score=score)
    written = json.loads(example_json.write_classifications(result))
    assert written["results"][-1] == [["a", score] for score in range(width)]
    assert 150 < len(pauses) < 1000
    pauses.clear()
    values = messages.RegressionResult()
    for value in range(40_000):
        values.regressions.add(value=value)
    assert json.loads(example_json.write_regressions(values))["results"] == list(range(40_000))
    assert 150 < len(pauses) < 1000


def test_the_place_of_an_error_is_looked_for_in_one_body_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Microseconds a byte, in which hardly anybody else is answered."""
    large, little = b" " * 20_000 + b"x", b"x"
    texts = []

    def parse(body: bytes) -> Any:
        if not texts:
            texts.append("")
            for other in (large, little):
                with pytest.raises(errors.InvalidArgumentError) as caught:
                    json_values.parse(other)
                texts.append(str(caught.value))
        raise errors.InvalidArgumentError("Here.")

    monkeypatch.setattr(json_parser, "parse", parse)
    for _ in range(2):
        with pytest.raises(errors.InvalidArgumentError, match=r"Here\."):
            json_values.parse(large)

    assert texts[1].startswith("JSON Parse error: Invalid value. It is somewhere in 20001 bytes;")
    assert texts[2] == "Here."


class TestErrorTexts:
    """util/json_tensor.cc, JsonValueToDebugString."""

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ([1, [2.5, "a\n"], {}], '[1, [2.5, "a\\n"], {}]'),
            ({"a": [{"b": None}], "c": True}, SHOWN),
            ([1.5, float("nan"), 2], "[1.5, "),
            ("\udcff", '"\udcff"'),
        ],
    )
    def test_values(self, value: Any, text: str) -> None:
        assert show(value) == text

    def test_long_values_are_cut(self) -> None:
        assert show(list(range(10_000))) == show(list(range(200)))
        assert 256 <= len(show(list(range(10_000)))) < 262
        assert len(show([[]] * 1_000_000)) < 262
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        assert show(deep) == "[" * 256

    def test_no_more_of_a_string_is_written_than_is_told(self) -> None:
        text = "\U0001f600" * 1_000_000

        tracemalloc.start()
        shown = [show(text), show({text: 1}), show({f"{n}{text[:65_536]}": 1 for n in range(256)})]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert all(65_536 < len(each) < 65_600 for each in shown)
        assert most < 256 * 4 * 66_000 + 2_000_000

    @pytest.mark.parametrize(
        ("value", "end"),
        [({}, '"v": {'), ([], '"v": ['), ({"a": 1}, '"v": {'), ([1], '"v": [')],
    )
    def test_what_opens_at_the_end_is_left_open(self, value: Any, end: str) -> None:
        cut, whole = ({"k": "p" * length, "v": value, "s": 1} for length in (231, 225))

        assert show(cut).endswith(end)
        assert not show(whole).endswith(end)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (1.5e-7, "1.5e-7"),
            (1e21, "1e21"),
            (1e20, "100000000000000000000.0"),
            (5e-324, "5e-324"),
            (2.0**64, "18446744073709553000.0"),  # where Grisu2 is not the shortest
        ],
    )
    def test_doubles(self, value: float, text: str) -> None:
        """internal/dtoa.h."""
        assert show_double(value) == text

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_doubles_are_read_back(self, value: float) -> None:
        assert float(show_double(value)) == value


def as_doubles(value: Any) -> Any:
    """With what only RapidJSON does to numbers done: denormals and large integers."""
    if isinstance(value, list):
        return [as_doubles(item) for item in value]
    if isinstance(value, dict):
        return {key: as_doubles(item) for key, item in value.items()}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    # Its last digit may be another: compare as many as are the same.
    return float(f"{float(value):.13g}") if abs(value) >= 1e-300 else 0.0


@pytest.mark.parametrize("text", ['"', "\\n\x80", "a" * 65535 + '"', '"' * 70000, "é\t" * 70000])
def test_long_texts_are_escaped_in_parts(text: str) -> None:
    assert json.loads(json_layout.write_string(text)) == text


def test_examples_of_very_many_features_are_refused_before_they_are_made() -> None:
    few = {f"{number}": 1 for number in range(1000)}
    assert len(example_json.read_examples({"examples": [few] * 100}).example_list.examples) == 100
    for document in (
        {"examples": [few] * 140},
        {"examples": [{"a": ["x"] * 140_000}]},
        {"examples": [{}] * 140_000},
    ):
        with pytest.raises(errors.InvalidArgumentError, match="more than 131072 fields"):
            example_json.read_examples(document)
    example_json.read_examples({"examples": [{"a": [1.5] * 140_000}]})


class TestExamples:
    """util/json_tensor.cc, AddValueToFeature."""

    @pytest.mark.parametrize(
        ("values", "kind", "held"),
        [
            ([0.5, 1e300, -1e-310], "float_list", [0.5, np.inf, -0.0]),
            ([2**64, 0.5, -(2**70)], "float_list", [2.0**64, 0.5, -(2.0**70)]),
            ([True, -(2**63), 2**63 - 1], "int64_list", [1, -(2**63), 2**63 - 1]),
            (["a", {"b64": "QQ=="}], "bytes_list", [b"a", b"A"]),
        ],
    )
    @pytest.mark.parametrize("times", [1, 5000])
    def test_values(self, values: list[Any], kind: str, held: list[Any], times: int) -> None:
        """Many are converted in parts."""
        found = example_json.read_examples({"examples": [{"a": values * times}]})

        feature = found.example_list.examples[0].features.feature["a"]
        assert feature.WhichOneof("kind") == kind
        np.testing.assert_array_equal(getattr(feature, kind).value, held * times)

    @pytest.mark.parametrize(
        ("values", "error"),
        [
            ([0.5, 1, None], "Unexpected element type in feature: a expecting type: float"),
            ([0.5, 2**63], "Unexpected element type in feature: a expecting type: float"),
            ([1, 2**64], "Unexpected element type in feature: a expecting type: int64"),
            ([True, "b"], "Unexpected element type in feature: a expecting type: int64"),
            (["b", True], "Unexpected element type in feature: a expecting type: bytes"),
            ([1, 2**63, "b"], "Feature: a has uint64_t element. Only int64_t is supported."),
            ([0.5, None, 1], "Feature: a has element with unexpected JSON type: Null"),
            ([0.5, {"b64": 1}], "Feature: a has element with unexpected JSON type: Object"),
        ],
    )
    @pytest.mark.parametrize("before", [0, 4095, 4096, 20_000])
    def test_the_first_that_is_wrong_is_told(
        self, values: list[Any], error: str, before: int
    ) -> None:
        with pytest.raises(errors.InvalidArgumentError) as caught:
            example_json.read_examples({"examples": [{"a": values[:1] * before + values}]})

        assert str(caught.value) == error

    @pytest.mark.parametrize(("last", "is_right"), [(0.5, True), (2**70, True), (1, False)])
    def test_a_million_numbers_take_little_time(self, last: Any, is_right: bool) -> None:
        claimed: list[int] = []
        started = time.process_time()
        with contextlib.nullcontext() if is_right else pytest.raises(errors.InvalidArgumentError):
            example_json.read_examples(
                {"examples": [{"a": [0.1] * 999_999 + [last]}]}, claimed.append
            )

        assert time.process_time() - started < 2
        assert sum(claimed) >= 4 * 999_999 - 4096 * 4

    def test_the_server_may_not_hold_so_many_numbers(self) -> None:
        def refuse(size: int) -> None:
            raise errors.ResourceExhaustedError(f"{size} bytes are too many.")

        for values, size in (([0.1] * 10, 40), ([1] * 10, 80)):
            with pytest.raises(errors.ResourceExhaustedError, match=f"^{size} bytes"):
                example_json.read_examples({"examples": [{"a": values}]}, refuse)

    def test_a_name_ends_at_its_first_nul(self) -> None:
        document = {"context": {"c\0d": 1}, "examples": [{"x\0y": 1, "x": 2, "\0": 3}]}
        found = example_json.read_examples(document).example_list_with_context

        assert dict(found.context.features.feature).keys() == {"c"}
        features = found.examples[0].features.feature
        assert {name: list(features[name].int64_list.value) for name in features} == {
            "x": [2],
            "": [3],
        }
        with pytest.raises(errors.InvalidArgumentError, match=r"^Feature: x has element"):
            example_json.read_examples({"examples": [{"x\0y": None}]})


def test_a_name_of_a_row_ends_at_its_first_nul() -> None:
    only = signature(messages.DataType.DT_INT32)
    rows = {"instances": [{"a\0b": 1}, {"a": 2}]}
    assert tensor_json.read_inputs(rows, only)["a"].tolist() == [1, 2]
    with pytest.raises(errors.InvalidArgumentError, match=r"element: 0 key: z of .* input: z$"):
        tensor_json.read_inputs({"instances": [{"z\0a": 1}]}, only)
    with pytest.raises(errors.InvalidArgumentError, match="Missing named input: a"):
        tensor_json.read_inputs({"inputs": {"a\0b": 1}}, only)
