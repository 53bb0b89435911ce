"""What is in a file: forms that need no network to be read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from keras_inception.weights.files import open_file


def write_safetensors(path: Path, arrays: dict[str, np.ndarray], kinds: dict[str, str]) -> Path:
    """As its definition says: the header's length, the header as JSON, the arrays."""
    header, end = {}, 0
    for name, array in arrays.items():
        offsets = [end, end := end + array.nbytes]
        header[name] = {"dtype": kinds[name], "shape": array.shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_safetensors_of_every_precision(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.25], [0.0, 1024.0]])
    arrays = {
        "F64": values.astype("<f8"),
        "F32": values.astype("<f4"),
        "F16": values.astype("<f2"),
        "BF16": values.astype(ml_dtypes.bfloat16),
        "I64": np.arange(4).reshape(2, 2),
        "empty": np.zeros((0, 3), "<f4"),
        "scalar": np.array(7, "<i8"),
    }
    kinds = {name: name for name in arrays} | {"empty": "F32", "scalar": "I64"}
    file = open_file(write_safetensors(tmp_path / "anything", arrays, kinds))
    assert file.format == "safetensors"
    assert dict(file.shapes) == {name: array.shape for name, array in arrays.items()}
    for name, array in arrays.items():
        read = file.read(name)
        assert read.dtype == (np.int64 if kinds[name] == "I64" else np.float32)
        np.testing.assert_array_equal(read, array.astype(read.dtype))


def test_a_safetensors_file_that_is_cut_short(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", {"a": np.zeros(100, "<f4")}, {"a": "F32"})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"is cut short: 399 of 400 bytes"):
        open_file(path)
