"""ndarray <-> TensorProto, checked against TensorFlow's own converters."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inception_serving import tensors
from inception_serving.messages import TensorProto

ARRAYS = [
    np.array([[1.5, -2.25, np.inf]], np.float32),
    np.array([1e300, -0.0], np.float64),
    np.array([1.5, 65504, np.nan], np.float16),
    np.array([1.5, 3e38], ml_dtypes.bfloat16),
    np.array([-128, 127], np.int8),
    np.array([-32768, 32767], np.int16),
    np.array([-(2**31), 2**31 - 1], np.int32),
    np.array([-(2**63), 2**63 - 1], np.int64),
    np.array([0, 255], np.uint8),
    np.array([0, 65535], np.uint16),
    np.array([0, 2**32 - 1], np.uint32),
    np.array([0, 2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array([1 + 2j, -3.5j], np.complex64),
    np.array([1 + 2j, -3.5j], np.complex128),
    np.array([b"\x00\xff", b""], object),
    np.array(3.5, np.float32),
    np.zeros([0, 3], np.float32),
    np.array(b"scalar", object),
]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_tensorflow_reads_what_is_written(array: np.ndarray, typed: bool) -> None:
    proto = tensors.to_proto(array, typed=typed)

    assert proto.dtype == tf.constant(array).dtype.as_datatype_enum
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    assert bool(proto.tensor_content) == (not typed and array.dtype != object and array.size > 0)


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_no_message_is_larger_than_reckoned(array: np.ndarray, typed: bool) -> None:
    many = np.resize(array, [1000])
    held = sum(map(len, many)) if array.dtype == object else many.nbytes

    size = tensors.message_size(many, typed=typed)

    header = 32  # the dtype, the shape, and what is before the values
    message = tensors.to_proto(many, typed=typed).ByteSize()
    assert held + message - header <= size <= 12 * held + 128 * many.size


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_what_tensorflow_writes_is_read(array: np.ndarray) -> None:
    for proto in (tf.make_tensor_proto(array), _written_by_cpp(array)):
        read = tensors.from_proto(proto)

        assert read.dtype == array.dtype
        assert read.shape == array.shape
        np.testing.assert_array_equal(read, array)


def _written_by_cpp(array: np.ndarray) -> TensorProto:
    proto = TensorProto()
    proto.ParseFromString(tf.io.serialize_tensor(tf.constant(array)).numpy())
    return proto


FLOAT8 = ["e5m2", "e4m3fn", "e4m3fnuz", "e4m3b11fnuz", "e5m2fnuz"]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("name", FLOAT8)
def test_numbers_of_eight_bits_go_there_and_back(name: str, typed: bool) -> None:
    """No operation of TensorFlow writes them as a message; its Python reads two of them typed."""
    array = np.array([1.5, -2, 0, np.nan], getattr(ml_dtypes, f"float8_{name}"))
    proto = tensors.to_proto(array, typed=typed)
    assert proto.dtype == tf.constant(array).dtype.as_datatype_enum
    assert (proto.float8_val if typed else proto.tensor_content) == array.tobytes()
    readers = [tensors.from_proto, *([] if typed else [tf.make_ndarray])]
    for read in (reader(proto) for reader in readers):
        assert read.dtype == array.dtype
        assert read.tobytes() == array.tobytes()
    assert tensors.message_size(np.resize(array, 1000), typed=typed) == 2000


def test_the_last_number_of_eight_bits_repeats() -> None:
    proto = tensors.to_proto(np.array([1, 2, 2, 2], ml_dtypes.float8_e5m2), typed=True)
    proto.float8_val = proto.float8_val[:2]
    assert tensors.from_proto(proto).tolist() == [1, 2, 2, 2]
    proto.float8_val = b""
    assert tensors.from_proto(proto).tolist() == [0, 0, 0, 0]


@given(
    st_numpy.arrays(
        st.sampled_from(["float32", "int64", "uint8", "bool"]),
        st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_round_trip(array: np.ndarray, typed: bool) -> None:
    read = tensors.from_proto(tensors.to_proto(array, typed=typed))

    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dtype: DT_FLOAT float_val: 2.5", np.full([2, 2], 2.5, np.float32)),
        ("dtype: DT_FLOAT float_val: 1 float_val: 2", np.array([[1, 2], [2, 2]], np.float32)),
        ("dtype: DT_FLOAT", np.zeros([2, 2], np.float32)),
        ("dtype: DT_INT64 int64_val: -3", np.full([2, 2], -3, np.int64)),
        ("dtype: DT_HALF half_val: 15360", np.ones([2, 2], np.float16)),
        ("dtype: DT_BFLOAT16 half_val: 16256", np.ones([2, 2], ml_dtypes.bfloat16)),
        ("dtype: DT_BOOL bool_val: true", np.ones([2, 2], bool)),
        ('dtype: DT_STRING string_val: "a"', np.full([2, 2], b"a", object)),
        (r'dtype: DT_STRING string_val: "a\000"', np.array([[b"a\0"] * 2] * 2, object)),
        ("dtype: DT_STRING", np.full([2, 2], b"", object)),
        ("dtype: DT_COMPLEX64 scomplex_val: 1 scomplex_val: 2", np.full([2, 2], 1 + 2j, "c8")),
        (
            "dtype: DT_INT32 int_val: 1 int_val: 2 int_val: 3 int_val: 4 int_val: 5",
            np.array([[1, 2], [3, 4]], np.int32),
        ),
    ],
)
def test_values_that_are_too_few_repeat_the_last(text: str, expected: np.ndarray) -> None:
    """Row 66; tensorflow/core/framework/tensor.cc, FromProtoField."""
    proto = _proto(text + " tensor_shape { dim { size: 2 } dim { size: 2 } }")

    read = tensors.from_proto(proto)

    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


def test_a_value_that_repeats_is_written_once() -> None:
    """A few bytes may describe a large tensor, of which there is no second one meanwhile."""
    proto = _proto("dtype: DT_UINT8 int_val: 7 tensor_shape { dim { size: 10000000 } }")
    tracemalloc.start()
    try:
        read = tensors.from_proto(proto)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (read == 7).all()
    assert peak < 1.1 * read.nbytes


def test_strings_in_tensor_content() -> None:
    """TF Serving with --enable_serialization_as_tensor_content writes strings like this."""
    long = b"x" * 200
    proto = _proto("dtype: DT_STRING tensor_shape { dim { size: 3 } }")
    proto.tensor_content = bytes([1, 0, 200, 1]) + b"a" + long

    assert tensors.from_proto(proto).tolist() == [b"a", b"", long]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtype: DT_FLOAT tensor_shape { dim { size: -1 } }", "known shape: received [-1]"),
        ('dtype: DT_FLOAT tensor_shape { dim { size: 1 } } tensor_content: "abc"', "3 bytes"),
        ("tensor_shape { dim { size: 1 } }", "invalid are not supported"),
        ("dtype: DT_RESOURCE", "resource are not supported"),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 1000000000000 } }", "end at 2 GiB"),
        ("dtype: DT_STRING tensor_shape { dim { size: 1000000000000 } }", "1048576 strings"),
        (
            'dtype: DT_STRING tensor_shape { dim { size: 1048576 } } string_val: "%s"'
            % ("a" * 3000),
            "end at 2 GiB",
        ),
        ("dtype: DT_FLOAT tensor_shape {" + "dim { size: 1 }" * 300 + "}", "254 dimensions"),
        (f"dtype: DT_FLOAT tensor_shape {{ {f'dim {{ size: {2**40} }}' * 2} }}", "2**63"),
        (
            'dtype: DT_STRING tensor_shape { dim { size: 1 } } tensor_content: "%s\\001"'
            % ("\\377" * 20),
            "10 bytes",
        ),
        (
            'dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: "\\001"',
            "within the lengths",
        ),
        (
            'dtype: DT_STRING tensor_shape { dim { size: 1 } } tensor_content: "\\002a"',
            "not as long",
        ),
    ],
)
def test_what_is_no_tensor(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        tensors.from_proto(_proto(text))

    assert message in str(caught.value)


def test_an_array_of_a_dtype_that_tensorflow_lacks() -> None:
    with pytest.raises(ValueError, match="dtype datetime64"):
        tensors.to_proto(np.array(["2020-01-01"], "datetime64[D]"))


def test_big_endian_and_strided_arrays() -> None:
    strided = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    swapped = np.array([1.5, 2.5], ">f4")

    np.testing.assert_array_equal(tensors.from_proto(tensors.to_proto(strided)), strided)
    np.testing.assert_array_equal(tensors.from_proto(tensors.to_proto(swapped)), swapped)


def _proto(text: str) -> TensorProto:
    from google.protobuf import text_format

    return text_format.Parse(text, TensorProto())


def test_values_beyond_the_shape_take_no_memory() -> None:
    proto = TensorProto(dtype=tf.int64.as_datatype_enum)
    proto.tensor_shape.dim.add(size=2)
    proto.int64_val.extend(range(2_000_000))
    tracemalloc.start()

    tensor = tensors.from_proto(proto)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert tensor.tolist() == [0, 1]
    assert peak < 1_000_000


STRINGS = [b"a" * (place % 3) for place in range(10_000)]
PARTS = {
    "strings": np.array(STRINGS, object),
    "integers": np.arange(10_000),
    "floats": np.arange(10_000, dtype=np.float32),
}


class Parts:
    """What is told of the parts of some work, of which none is within another."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.is_within = False

    @contextlib.contextmanager
    def __call__(self, size: int) -> Iterator[None]:
        assert not self.is_within
        self.is_within = True
        self.sizes.append(size)
        yield
        self.is_within = False


@pytest.mark.parametrize("array", PARTS.values(), ids=PARTS)
def test_what_has_many_values_is_worked_on_in_parts(array: np.ndarray) -> None:
    parts = Parts()
    proto = TensorProto()
    tensors.fill_proto(proto, array, typed=True, around=parts)
    written = len(parts.sizes)
    read = tensors.from_proto(proto, around=parts)

    np.testing.assert_array_equal(read, array)
    assert written >= (2 if array.dtype == np.float32 else 10)  # those are copied twice
    assert len(parts.sizes) - written >= 10
    assert sum(parts.sizes[:written]) >= min(array.nbytes, sum(map(len, STRINGS)))


def test_strings_in_tensor_content_are_read_in_parts() -> None:
    parts = Parts()
    proto = _proto("dtype: DT_STRING tensor_shape { dim { size: 10000 } }")
    proto.tensor_content = bytes(map(len, STRINGS)) + b"".join(STRINGS)

    assert tensors.from_proto(proto, around=parts).tolist() == STRINGS
    assert len(parts.sizes) >= 20
    assert sum(size for size in parts.sizes if size < 2**31) == sum(map(len, STRINGS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dtype: DT_FLOAT float_val: 2.5", 999 * 4),
        ("dtype: DT_COMPLEX64 scomplex_val: 1 scomplex_val: 2", 999 * 8),
        ("dtype: DT_INT8", 1000),
        ('dtype: DT_STRING string_val: "abc"', 1000 * 24 + 999 * 3),
    ],
)
def test_what_a_tensor_takes_beyond_its_message_is_claimed(text: str, expected: int) -> None:
    claimed: list[int] = []
    proto = _proto(text + " tensor_shape { dim { size: 1000 } }")

    tensors.from_proto(proto, claimed.append)

    assert claimed == [expected]
