"""One SavedModel, loaded and run (tensorflow's cc/saved_model/loader.cc)."""

from __future__ import annotations

import gc
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from inception_serving import errors, tensors
from inception_serving.server.model.footprint import run_bytes
from inception_serving.server.model.saved_model import SavedModel, from_tensorflow


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


def test_few_choices_are_kept_ready(saved_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients choose the outputs, and there are many choices of many."""
    monkeypatch.setattr("inception_serving.server.model.saved_model._MOST_RUNNERS", 1)
    model = SavedModel(saved_models / "arithmetic")
    x = np.zeros(4, np.float32)

    answers = [model.run("count", {"x": x}, outputs) for outputs in (["x"], ["calls"], ["x"])]

    assert [list(answer) for answer in answers] == [["x"], ["calls"], ["x"]]
    assert len(model._runners) == 2  # the first one, and all outputs together


def test_several_signatures_beyond_what_is_kept(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run one after the other then."""
    model = SavedModel(saved_models / "scorer")
    texts = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=[x]))}
            )
        ).SerializeToString()
        for x in (0.25, 1)
    ]
    monkeypatch.setattr("inception_serving.server.model.saved_model._MOST_RUNNERS", 0)

    answer = model.run_together(
        {"scores_only": ["scores"], "regress_flat": ["outputs"]},
        "inputs",
        np.array(texts, dtype=object),
    )

    np.testing.assert_array_equal(answer["scores_only"]["scores"], [[0.25, 0.75], [1, 0]])
    np.testing.assert_array_equal(answer["regress_flat"]["outputs"], [0.5, 2])


class Long(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def halved(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        for _ in range(500):
            x = tf.sin(x) + tf.cos(x)
        return {"y": x}


def test_what_cannot_be_prepared_keeps_nothing_from_loading(tmp_path: Path) -> None:
    """A sparse output has no name; of a variant NumPy has no dtype (TF 1's SavedModels)."""
    tf1 = tf.compat.v1
    info = tf1.saved_model.build_tensor_info
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 2])
        variant = tf1.placeholder(tf.variant, [])
        plain, sparse = info(x * 2), info(tf.sparse.from_dense(x))
        sign = tf1.saved_model.build_signature_def
        signatures = {
            "plain": sign({"x": info(x)}, {"y": plain}, "p"),
            "sparse": sign({"x": info(x)}, {"y": plain, "sparse": sparse}, "p"),
            "variant": sign({"x": info(variant)}, {"y": info(tf.identity(variant))}, "p"),
        }
        builder = tf1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()

    model = SavedModel(tmp_path / "1")
    model.prepare()

    inputs = {"x": np.array([[1.0, 2.0]], np.float32)}
    assert model.run("plain", inputs, ["y"])["y"].tolist() == [[2.0, 4.0]]
    assert model.run("sparse", inputs, ["y"])["y"].tolist() == [[2.0, 4.0]]
    with pytest.raises(errors.NotFoundError, match=r"^FetchOutputs node : not found$"):
        model.run("sparse", inputs, ["sparse"])


def test_an_output_of_a_type_that_is_not_sent_is_told_so(tmp_path: Path) -> None:
    """Not our mistake, which INTERNAL and a traceback would say that it is."""
    module = tf.Module()
    y = tf.constant([1, -2], "int4")
    module.four_bits = tf.function(lambda: {"y": y}, input_signature=[])
    tf.saved_model.save(module, str(tmp_path), signatures={"int4": module.four_bits})
    with pytest.raises(errors.UnimplementedError, match="Arrays of dtype int4 cannot be sent"):
        SavedModel(tmp_path).run("int4", {}, ["y"])


def test_what_is_prepared_is_ready_for_its_first_run(tmp_path: Path) -> None:
    """Processor time, since it is as much on a machine that is busy."""
    module = Long()
    tf.saved_model.save(module, str(tmp_path), signatures={"long": module.halved})

    def first_run(model: SavedModel) -> tuple[float, float]:
        started = time.thread_time()
        y = model.run("long", {"x": np.zeros(1, np.float32)}, ["y"])["y"]
        return time.thread_time() - started, float(y[0])

    unprepared, expected = first_run(SavedModel(tmp_path))
    model = SavedModel(tmp_path)
    model.prepare()
    prepared, result = first_run(model)

    assert prepared < unprepared / 4
    assert result == expected


class TestDamage:
    """tensorflow's cc/saved_model/reader.cc and platform/env.cc, as TF Serving shows them."""

    @pytest.mark.parametrize(
        ("content", "error", "text"),
        [
            (
                None,
                errors.NotFoundError,
                "Specified file path does not appear to contain a SavedModel bundle (should have "
                "a file called `saved_model.pb`)\nSpecified file path: {path}",
            ),
            (
                b"\x07junk",
                errors.DataLossError,
                "Can't parse {path}/saved_model.pb as binary proto",
            ),
            ("half", errors.OutOfRangeError, "Read less bytes than requested"),
        ],
        ids=["none", "junk", "cut short"],
    )
    def test_of_the_file(
        self,
        saved_models: Path,
        tmp_path: Path,
        content: bytes | str | None,
        error: type,
        text: str,
    ) -> None:
        if content == "half":
            content = (saved_models / "keras" / "saved_model.pb").read_bytes()[:-1000]
        if content is not None:
            (tmp_path / "saved_model.pb").write_bytes(content)

        with pytest.raises(error) as caught:
            SavedModel(tmp_path)

        assert str(caught.value) == text.replace("{path}", str(tmp_path))

    def test_a_file_in_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "29").write_text("")

        with pytest.raises(errors.FailedPreconditionError, match="Not a directory"):
            SavedModel(tmp_path / "29")


class TestManyDimensions:
    @pytest.mark.parametrize("rank", [64, 65, 253, 254])
    def test_in_and_out(self, saved_models: Path, rank: int) -> None:
        model = SavedModel(saved_models / "arithmetic")
        x = tensors.reshape(np.array([1, 2], np.float32), (2, *[1] * (rank - 1)))

        output = model.run("serving_default", {"x": x}, ["y"])["y"]

        assert output.ravel().tolist() == [2.5, 3.0]
        assert output.shape == (2, *[1] * (rank - 1))
        assert tensors.from_proto(tensors.to_proto(output)).shape == output.shape

    def test_the_graph_does_not_grow_with_requests(self, saved_models: Path) -> None:
        model = SavedModel(saved_models / "arithmetic")
        x = tensors.reshape(np.zeros(1, np.float32), (1,) * 70)
        sizes = []
        for outputs in (["x", "calls"], ["calls"], ["x"]):
            model.run("count", {"x": x}, outputs)
            sizes.append(len(model._high_rank._session.graph.get_operations()))

        assert len(set(sizes)) == 1

    def test_names_that_are_no_tensors(self, saved_models: Path, tmp_path: Path) -> None:
        """One without a number is its operation's first; "" is that of an output that is sparse."""
        file = saved_model_pb2.SavedModel()
        file.ParseFromString((saved_models / "tf1" / "saved_model.pb").read_bytes())
        shutil.copytree(saved_models / "tf1", tmp_path, dirs_exist_ok=True)
        outputs = file.meta_graphs[0].signature_def["serving_default"].outputs
        outputs["numbers"].name = outputs["numbers"].name.removesuffix(":0")
        outputs["sparse"].name = ""
        (tmp_path / "saved_model.pb").write_bytes(file.SerializeToString())
        model = SavedModel(tmp_path)
        for rank in (1, 70):
            words = tensors.reshape(np.array([b"dog"], dtype=object), (1,) * rank)
            found = model.run("serving_default", {"words": words}, ["numbers"])["numbers"]
            assert found.ravel().tolist() == [20]
            with pytest.raises(errors.NotFoundError, match="FetchOutputs node : not found"):
                model.run("serving_default", {"words": words}, ["sparse"])

    def test_what_an_operation_refuses(self, saved_models: Path) -> None:
        model = SavedModel(saved_models / "arithmetic")
        x = tensors.reshape(np.zeros(1, np.float32), (1,) * 70)

        with pytest.raises(errors.InvalidArgumentError, match="the requested shape has 4"):
            model.run("reshape", {"x": x}, ["y"])


def test_mixed_precision(tmp_path: Path) -> None:
    """TensorFlow's rewriter, in the session's configuration: weights as they were, sums coarser."""
    weights = tf.Variable(tf.random.stateless_normal([256, 256], seed=[1, 2]))

    class Product(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 256], tf.float32, name="x")])
        def product(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.nn.relu(x @ self.weights)}

    module = Product()
    module.weights = weights
    tf.saved_model.save(module, str(tmp_path), signatures={"product": module.product})
    x = {"x": np.random.default_rng(3).normal(size=[8, 256]).astype(np.float32)}

    exact = SavedModel(tmp_path).run("product", x, ["y"])["y"]
    mixed_model = SavedModel(tmp_path, mixed_precision="bfloat16")
    mixed = mixed_model.run("product", x, ["y"])["y"]

    rewriting = mixed_model._high_rank._session._config.graph_options.rewrite_options
    assert rewriting.auto_mixed_precision_onednn_bfloat16 == rewriting.ON
    np.testing.assert_allclose(mixed, exact, atol=0.5)


class Sizes(tf.Module):
    @tf.function
    def widen(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.tile(x, [1, 1000]), axis=1)

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32, name="x")])
    def small(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + 1}

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32, name="x")])
    def large(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.cond(tf.size(x) > 0, lambda: self.widen(x), lambda: x[:, 0])}


def test_what_a_row_takes_is_of_its_signature(tmp_path: Path) -> None:
    module = Sizes()
    signatures = {"small": module.small, "large": module.large}
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)

    loaded = SavedModel(tmp_path).signatures
    found = {name: entry.row_bytes for name, entry in loaded.items()}

    assert found == {"__saved_model_init_op": 0, "small": 4 * 5, "large": 4 * 5000}
    assert {entry.most_row_bytes for entry in loaded.values()} == {4 * 5000}
    inputs = {"x": np.zeros([7, 5], np.float32)}
    taken = [run_bytes(inputs, [loaded[name]], max_image_pixels=1) for name in ("small", "large")]
    assert taken == [7 * (20 + 2 * 20), 7 * (20 + 2 * 20_000)]


def test_what_strings_are_read_as_is_of_their_signature(saved_models: Path) -> None:
    def read_as(model: str, signature: str) -> set[str]:
        return set(SavedModel(saved_models / model).signatures[signature].reads)

    assert read_as("colours", "serving_default") == {"images"}, "in a function of a function"
    assert read_as("colours", "predict_images") == set()
    assert read_as("scorer", "scores_only") == {"examples"}
    assert read_as("scorer", "other_input") == set()
    assert read_as("arithmetic", "echo") == set()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No. [Op:Cast]", "No."),
        ("No. [Op:Cast] name: y", "No."),
        ("a [Op:b] c", "a [Op:b] c"),
        (" [Op:" * 3 + "]", " [Op: [Op:"),
    ],
)
def test_what_python_adds_to_an_error_is_left_out(text: str, told: str) -> None:
    assert str(from_tensorflow(tf.errors.InvalidArgumentError(None, None, text))) == told


def test_an_error_that_quotes_bytes(saved_models: Path) -> None:
    """TensorFlow's own text, which Python does not take for one, and no more than its beginning."""
    model = SavedModel(saved_models / "scorer")
    for junk in (b"\xff\xfe\x80j", b"\xff\xd8" * 100_000):
        examples = np.array([junk], dtype=object)
        with pytest.raises(errors.InvalidArgumentError) as refused:
            model.run("serving_default", {"inputs": examples}, ["scores"])
        told = f"Could not parse example input, value: '\\xff\\x{junk[1]:x}"
        assert str(refused.value).startswith(told)
        assert len(str(refused.value)) <= 4 << 16


def test_an_error_that_quotes_a_client_takes_no_time() -> None:
    error = tf.errors.InvalidArgumentError(None, None, " [Op:" * 40_000)
    started = time.process_time()

    from_tensorflow(error)

    assert time.process_time() - started < 0.5
