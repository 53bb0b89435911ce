"""No body, however odd, is an internal error."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inception_serving import errors, messages, tensors
from inception_serving.server.rest import json_values, tensor_json

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
    for name, dtype in zip("ab", dtypes, strict=False):
        assert found[name].dtype == tensors.numpy_dtype(dtype)


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
    np.testing.assert_array_equal(read, array)
