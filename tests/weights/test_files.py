"""What is in a file: forms that need no network to be read."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
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


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _with_offsets(content: bytes, offsets: bytes) -> bytes:
    return content.replace(b"[0, 400]", offsets)


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        lambda content: content + b"more",
        lambda content: _with_offsets(content, b"[0, 404]"),
        lambda content: _with_offsets(content, b"[4, 400]"),
        lambda content: _with_offsets(content, b"[400, 0]"),
        lambda content: content.replace(b'"shape": [100]', b'"shape": [999]'),
        lambda content: content.replace(b'"F32"', b'"F31"'),
        lambda content: content.replace(b'{"a": {', b'{"a": ['),
    ],
)
def test_a_damaged_safetensors_file(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", {"a": np.zeros(100, "<f4")}, {"a": "F32"})
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match=r"/x \(\d+ bytes\) is damaged, or cut short: [a-z]"):
        open_file(path)


def test_a_header_longer_than_the_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b'{"a": {}}')
    with pytest.raises(ValueError, match="holds no weights that can be read"):
        open_file(path)


def test_what_we_write_another_reader_reads(tmp_path: Path) -> None:
    """The library's own reader, whatever the arrays' order in memory."""
    from safetensors import safe_open

    import keras_inception

    model = keras_inception.InceptionV1(width=0.125, variant="torchvision", classes=3)
    keras_inception.save_weights(model, tmp_path / "x.safetensors", notes={"note": [1.5]})
    with safe_open(tmp_path / "x.safetensors", framework="np") as tensors:
        kernel = tensors.get_tensor("conv1.conv.weight")
        counter = tensors.get_tensor("conv1.bn.num_batches_tracked")
        assert tensors.metadata()["format"] == "pt"
    ours = np.asarray(model.get_layer("stem_a_7x7").kernel)
    np.testing.assert_array_equal(kernel, ours.transpose(3, 2, 0, 1))
    assert counter.dtype == np.int64 and counter.shape == ()
    notes = open_file(tmp_path / "x.safetensors").notes
    assert notes == {"variant": "torchvision", "note": [1.5]}
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]
