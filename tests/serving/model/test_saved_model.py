"""One SavedModel, loaded and run (tensorflow's cc/saved_model/loader.cc)."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from inception_serving import errors
from inception_serving.server.model.saved_model import SavedModel


def test_a_run_that_fails_leaves_nothing_behind(saved_models: Path) -> None:
    """TensorFlow keeps a list, and a kilobyte beside it, of each that fails eagerly."""
    model = SavedModel(saved_models / "arithmetic")
    counts = []
    for _ in range(3):
        for _ in range(100):
            with pytest.raises(errors.InvalidArgumentError):
                model.run("reshape", {"x": np.zeros(3, np.float32)}, ["y"])
        gc.collect()
        counts.append(len(gc.get_objects()))

    assert counts[-1] - counts[-2] < 50


class Odd(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def first(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.device("/GPU:0"):
            count = tf.size(text)
        return {"text": text[0], "count": count}


def test_scalars_and_another_device(tmp_path: Path) -> None:
    """A string keeps the zeros at its end; what asks for a GPU runs without one."""
    module = Odd()
    tf.saved_model.save(module, str(tmp_path), signatures={"first": module.first})
    texts = np.array([b"a\0", b"b"], dtype=object)

    outputs = SavedModel(tmp_path).run("first", {"text": texts}, ["text", "count"])

    assert outputs["text"].shape == outputs["count"].shape == ()
    assert outputs["text"].item() == b"a\0"
    assert outputs["count"] == 2


def test_outputs_of_one_tensor_and_of_none(saved_models: Path, tmp_path: Path) -> None:
    """Signatures that were written by hand."""
    file = saved_model_pb2.SavedModel()
    source = saved_models / "scorer"
    file.ParseFromString((source / "saved_model.pb").read_bytes())
    signatures = file.meta_graphs[0].signature_def
    signatures["twice"].CopyFrom(signatures["regress_flat"])
    signatures["twice"].outputs["again"].CopyFrom(signatures["twice"].outputs["outputs"])
    signatures["gone"].CopyFrom(signatures["regress_flat"])
    signatures["gone"].outputs["outputs"].name = "nowhere:0"
    (tmp_path / "saved_model.pb").write_bytes(file.SerializeToString())
    model = SavedModel(tmp_path)
    examples = {"inputs": np.array([tf.train.Example().SerializeToString()], dtype=object)}

    twice = model.run("twice", examples, ["outputs", "again"])
    with pytest.raises(errors.StatusError, match="nowhere"):
        model.run("gone", examples, ["outputs"])

    assert twice["outputs"].tolist() == twice["again"].tolist() == [0]


def test_few_calls_are_kept_ready(saved_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients choose the outputs, and there are many choices of many."""
    monkeypatch.setattr("inception_serving.server.model.saved_model._MOST_RUNNERS", 1)
    model = SavedModel(saved_models / "arithmetic")
    x = np.zeros(4, np.float32)

    answers = [model.run("count", {"x": x}, outputs) for outputs in (["x"], ["calls"], ["x"])]

    assert [list(answer) for answer in answers] == [["x"], ["calls"], ["x"]]
    assert model._runner.cache_info().currsize == 1
