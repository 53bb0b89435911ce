"""``keras-inception weights convert`` and ``verify``."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from keras_inception import verify_weights
from keras_inception.cli import main
from keras_inception.weights import slim
from keras_inception.weights.files import open_file
from tests.weights.checkpoints import random_values, released, write_v1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slim")
    values = random_values(released("inception_v1"))
    return write_v1(folder / "inception_v1.ckpt", values | {"global_step": np.int64(7)})


@pytest.fixture(scope="module")
def converted(checkpoint: Path) -> Path:
    path = checkpoint.with_name("converted.safetensors")
    assert main(["weights", "convert", str(checkpoint), str(path), "--model", "InceptionV1"]) == 0
    return path


def test_out_and_back_is_the_same(checkpoint: Path, converted: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    assert main(["weights", "convert", str(converted), str(back), "--model", "InceptionV1"]) == 0
    one, other = open_file(checkpoint), open_file(back)
    assert one.shapes.keys() - other.shapes.keys() == {"global_step"}
    for name in other.shapes:
        np.testing.assert_array_equal(one.read(name), other.read(name), err_msg=name)


def test_verify(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["weights", "verify", str(checkpoint), "--model", "inception_v1", "--names"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "stem_a_7x7/kernel  InceptionV1/Conv2d_1a_7x7/weights  7x7x3x64" in lines
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    for line in (
        "TensorFlow checkpoint V1, variant 'slim', 1001 classes, no auxiliary heads",
        f"sha256 {digest}  inception_v1.ckpt",
        "230 variables, all in place; 1 names that are none",
        "not written down before",
    ):
        assert line in lines
    assert any(line.startswith("names: as tf-slim 1.1.0 has them") for line in lines)


def test_two_weights_exchanged_in_a_converted_file_are_seen(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_weights(converted, "InceptionV1").recorded
    data = converted.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    one, other = "inception3b.branch1.conv.weight", "inception3b.branch2.0.conv.weight"
    assert header[one]["shape"] == header[other]["shape"]
    header[one], header[other] = header[other], header[one]
    text = json.dumps(header).encode()
    exchanged = tmp_path / "exchanged.safetensors"
    exchanged.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    arguments = ["weights", "verify", str(exchanged), "--model", "InceptionV1"]
    assert main(arguments) == 1
    assert "does not give the answer that was written down" in capsys.readouterr().err


def test_two_names_exchanged_in_a_table_are_seen(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_table = slim.parse_table

    def exchanged(text: str) -> dict[str, str]:
        rows = parse_table(text)
        one, other = "inception_3b_branch_0_a_1x1", "inception_3b_branch_1_a_1x1"
        rows[one], rows[other] = rows[other], rows[one]
        return rows

    monkeypatch.setattr(slim, "parse_table", exchanged)
    with pytest.raises(ValueError, match="The table of slim's names for inception_v1 is wrong"):
        verify_weights(checkpoint, "InceptionV1")


def test_mistakes(checkpoint: Path, converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([checkpoint, converted, "--model", "InceptionV1"], "exists; it is not overwritten"),
        ([checkpoint, "x", "--model", "InceptionV2"], "holds inception_v1. Needed: inception_v2"),
        ([checkpoint, "x", "--model", "InceptionV9"], "must be a network of the family"),
        (["nowhere", "x", "--model", "InceptionV1"], "a file that exists"),
        ([checkpoint, "x", "--model", "InceptionV1", "--ema"], "no moving averages"),
    ):
        assert main(["weights", "convert", *map(str, arguments)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
