"""Conformance over gRPC. Each test names what it rests on: a file below tensorflow_serving/."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from inception_serving import ModelServer
from tests.serving.caller import Caller, png
from tests.serving.saved_models import DTYPES, save_float8

FLOATS = np.array([1, 2, 5], np.float32)


def float_val(values: list[float]) -> tf.compat.v1.TensorProto:
    """A tensor as most old clients send it."""
    proto = tf.make_tensor_proto(0.0)
    proto.ClearField("float_val")
    proto.float_val.extend(values)
    proto.tensor_shape.dim.add(size=len(values))
    return proto


class TestPredict:
    """Servables/tensorflow/predict_util.cc."""

    def test_tensor_content(self, caller: Caller) -> None:
        """Row 1."""
        proto = tf.make_tensor_proto(FLOATS)
        assert proto.tensor_content

        response = caller.predict({"x": proto})

        np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), [2.5, 3, 4.5])

    def test_float_val(self, caller: Caller) -> None:
        """Row 2."""
        response = caller.predict({"x": float_val([1, 2, 5])})

        np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), [2.5, 3, 4.5])

    def test_the_answer_is_in_typed_fields(self, caller: Caller) -> None:
        """Row 3: Tensor::AsProtoField; old clients read `float_val`."""
        output = caller.predict({"x": FLOATS}).outputs["y"]

        assert list(output.float_val) == [2.5, 3, 4.5]
        assert not output.tensor_content
        assert [dim.size for dim in output.tensor_shape.dim] == [3]
        assert output.dtype == tf.float32.as_datatype_enum

    @pytest.mark.parametrize("asked", ["", "serving_default"])
    def test_the_spec_comes_back_with_what_was_effective(self, caller: Caller, asked: str) -> None:
        """Rows 4 and 5: servables/tensorflow/util.cc, MakeModelSpec."""
        spec = caller.predict({"x": FLOATS}, signature=asked).model_spec

        assert spec.name == "arithmetic"
        assert spec.signature_name == "serving_default"
        assert spec.version.value == 7
        assert spec.WhichOneof("version_choice") == "version"

    def test_a_version_that_is_named(self, caller: Caller) -> None:
        """Rows 4 and 49: version 1 adds three, and `00000007` is version 7."""
        old = caller.predict({"x": FLOATS}, version=1)
        new = caller.predict({"x": FLOATS}, version=7)

        assert list(old.outputs["y"].float_val) == [3.5, 4, 5.5]
        assert old.model_spec.version.value == 1
        assert list(new.outputs["y"].float_val) == [2.5, 3, 4.5]

    def test_strings(self, caller: Caller) -> None:
        """Row 6."""
        response = caller.predict({"text": [b"\x00\xff", b""]}, signature="echo")

        assert list(response.outputs["plain"].string_val) == [b"\x00\xff", b""]

    def test_another_signature(self, caller: Caller) -> None:
        """Row 7."""
        response = caller.predict({"a": FLOATS, "b": FLOATS}, signature="two_in_two_out")

        assert list(response.outputs["sum"].float_val) == [2, 4, 10]
        assert list(response.outputs["product"].float_val) == [1, 4, 25]

    def test_output_filter(self, caller: Caller) -> None:
        """Row 8."""
        inputs = {"a": FLOATS, "b": FLOATS}

        one = caller.predict(inputs, signature="two_in_two_out", outputs=("product",))
        both = caller.predict(inputs, signature="two_in_two_out", outputs=("sum", "product"))

        assert set(one.outputs) == {"product"}
        assert set(both.outputs) == {"sum", "product"}

    def test_a_batch_gives_what_its_rows_give(self, caller: Caller) -> None:
        """Row 9."""
        images = [png(200, 0, 0), png(0, 200, 90), png(10, 90, 200)]

        batch = caller.predict({"image_bytes": images}, name="colours")
        alone = [caller.predict({"image_bytes": [image]}, name="colours") for image in images]

        scores = tf.make_ndarray(batch.outputs["scores"])
        np.testing.assert_array_equal(
            scores, np.concatenate([tf.make_ndarray(one.outputs["scores"]) for one in alone])
        )
        classes = tf.make_ndarray(batch.outputs["classes"])
        assert classes.tolist() == [[b"red", b"green"], [b"green", b"blue"], [b"blue", b"green"]]

    def test_more_than_four_mebibytes_each_way(self, caller: Caller) -> None:
        """Row 10: model_servers/server.cc, SetMaxMessageSize."""
        x = np.arange(2_000_000, dtype=np.float32)

        response = caller.predict({"x": x})

        assert response.ByteSize() > 4 << 20
        np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), x * 0.5 + 2)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_dtype(self, caller: Caller, dtype: str) -> None:
        """Row 65."""
        values = np.array([0, 1, 1, 0]).astype(tf.as_dtype(dtype).as_numpy_dtype)

        output = caller.predict({"x": values}, signature=f"identity_{dtype}").outputs["y"]

        assert not output.tensor_content
        read = tf.make_ndarray(output)
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(read, values)

    def test_numbers_of_eight_bits(self, tmp_path: Path) -> None:
        """tensorflow/core/framework/tensor.cc, Float8ProtoHelper; JSON has no values for them."""
        save_float8(tmp_path / "eight" / "1")
        with ModelServer(tmp_path / "eight", rest_port=0) as server:
            caller = Caller(server.address)
            with caller.channel:
                for dtype in map(tf.as_dtype, ("float8_e5m2", "float8_e4m3fn")):
                    values = np.array([1.5, -2, 0]).astype(dtype.as_numpy_dtype)
                    given = {"name": "eight", "signature": dtype.name}
                    output = caller.predict({"x": values}, **given).outputs["y"]
                    assert output.dtype == dtype.as_datatype_enum
                    assert output.float8_val == values.tobytes()
            url = f"{server.rest_address}/v1/models/eight:predict"
            for signature, text in (
                ("float8_e5m2", "Conversion of JSON Value: 1 to type: float8_e5m2"),
                ("serving_default", "Failed to write JSON value for tensor type: float8_e5m2"),
            ):
                body = {"signature_name": signature, "instances": [1]}
                response = httpx.post(url, json=body, timeout=20)
                assert response.status_code == 400
                assert text in response.json()["error"]

    def test_few_values_repeat(self, caller: Caller) -> None:
        """Row 66: tensorflow/core/framework/tensor.cc, FromProtoField."""
        proto = float_val([4])
        proto.tensor_shape.dim[0].size = 3

        assert list(caller.predict({"x": proto}).outputs["y"].float_val) == [4, 4, 4]

    def test_a_shape_that_the_graph_tolerates(self, caller: Caller) -> None:
        """predict_util.cc: the signature's shape, here [None], is not checked."""
        output = caller.predict({"x": np.ones([2, 2], np.float32)}).outputs["y"]

        np.testing.assert_array_equal(tf.make_ndarray(output), np.full([2, 2], 2.5))

    def test_an_empty_batch(self, caller: Caller) -> None:
        output = caller.predict({"x": np.zeros([0], np.float32)}).outputs["y"]

        assert tf.make_ndarray(output).shape == (0,)

    def test_a_signature_without_inputs(self, caller: Caller) -> None:
        assert list(caller.predict({}, signature="no_inputs").outputs["y"].float_val) == [2]

    def test_a_keras_export(self, caller: Caller) -> None:
        output = caller.predict({"features": np.ones([2, 4], np.float32)}, name="keras")

        np.testing.assert_array_equal(
            tf.make_ndarray(output.outputs["output_0"]), np.full([2, 3], 4.0)
        )

    def test_a_tensorflow_1_model_with_a_table(self, caller: Caller) -> None:
        """The lookup fails unless the model's init op has run."""
        output = caller.predict({"words": ["dog", "cow", "cat"]}, name="tf1")

        assert list(output.outputs["numbers"].int64_val) == [20, -1, 10]

    def test_a_function_compiled_with_xla(self, tmp_path: Path) -> None:
        """Whatever --xla_cpu_compilation_enabled says, of which main.cc makes a condition."""

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.float32, name="x")], jit_compile=True
        )
        def double(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": 2 * x}

        path = tmp_path / "xla" / "1"
        tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": double})
        with ModelServer(tmp_path) as server:
            other = Caller(server.address)
            with other.channel:
                answer = other.predict({"x": FLOATS}, name="xla")

        assert b"_XlaMustCompile" in (path / "saved_model.pb").read_bytes()
        assert list(answer.outputs["y"].float_val) == [2, 4, 10]

    def test_tensor_content_where_asked_for(self, base: Path) -> None:
        """--enable_serialization_as_tensor_content; strings stay in `string_val`."""
        with ModelServer(base / "arithmetic", tensor_content=True) as other:
            caller = Caller(other.address)
            numbers = caller.predict({"x": FLOATS}).outputs["y"]
            strings = caller.predict({"text": ["a"]}, signature="echo").outputs["plain"]
            caller.channel.close()

        assert numbers.tensor_content == np.array([2.5, 3, 4.5], "<f4").tobytes()
        assert not numbers.float_val
        assert list(strings.string_val) == [b"a"]


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        pytest.param(
            {"name": "nope"},
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
            id="row 11: unknown model (core/manager.h)",
        ),
        pytest.param(
            {"version": 3},
            "NOT_FOUND",
            "Servable not found for request: Specific(arithmetic, 3)",
            id="row 12: unknown version (core/basic_manager.cc)",
        ),
        pytest.param(
            {"version": 0},
            "NOT_FOUND",
            "Servable not found for request: Specific(arithmetic, 0)",
            id="row 12: version 0 is a version",
        ),
        pytest.param(
            {"label": "stable"},
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
            id="row 57: unknown label (model_servers/server_core.cc)",
        ),
        pytest.param(
            {"name": ""},
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
            id="row 21: blank name (model_servers/server_core.cc)",
        ),
        pytest.param(
            {"signature": "nope"},
            "FAILED_PRECONDITION",
            'Serving signature key "nope" not found.',
            id="row 13: unknown signature (predict_util.cc)",
        ),
        pytest.param(
            {"signature": "__saved_model_init_op", "inputs": {}},
            "OUT_OF_RANGE",
            "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0",
            id="row 13: the init op is a signature without outputs",
        ),
        pytest.param(
            {"inputs": {}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
            "Missing but required: {x}.",
            id="row 14: missing input (predict_util.cc)",
        ),
        pytest.param(
            {"inputs": {"x": FLOATS, "z": FLOATS}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
            id="row 15: extra input (predict_util.cc)",
        ),
        pytest.param(
            {"inputs": {"wrong": FLOATS}},
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no "
            "default value provided. Inputs expected to be in the request {wrong}, or default "
            "input alias set: ",
            id="row 16: wrong name (tensorflow/cc/saved_model/util.cc)",
        ),
        pytest.param(
            {"inputs": {"x": np.array([1], np.uint8)}},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but uint8 is provided",
            id="row 17: wrong dtype (predict_util_test.cc)",
        ),
        pytest.param(
            {"inputs": {"x": ["text"]}},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
            id="row 17: a string for a number",
        ),
        pytest.param(
            {"name": "colours", "inputs": {"image_bytes": [b"no image"]}},
            "INVALID_ARGUMENT",
            "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.\n"
            "\t [[{{node map/while/decode_image/DecodeImage}}]]",
            id="row 18: undecodable bytes (the op's own text)",
        ),
        pytest.param(
            {"outputs": ("nope",)},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: nope Outputs expected to be in the set "
            "{y}.",
            id="row 20: unknown output (predict_util.cc)",
        ),
        pytest.param(
            {"outputs": ("y", "y")},
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: y",
            id="row 20: output named twice (predict_util.cc)",
        ),
        pytest.param(
            {"signature": "reshape", "inputs": {"x": np.zeros([6], np.float32)}},
            "INVALID_ARGUMENT",
            "Input to reshape is a tensor with 6 values, but the requested shape has 4\n"
            "\t [[{{node Reshape}}]]",
            id="row 22: an op's complaint about its input",
        ),
    ],
)
def test_bad_requests(caller: Caller, request_: dict, code: str, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        caller.predict(**{"inputs": {"x": FLOATS}, **request_})

    assert caught.value.code().name == code
    # An op within a function names that too, with a number that saving counts up.
    assert re.sub(r"{{function_node \w+}}", "", caught.value.details()) == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda proto: setattr(proto, "tensor_content", proto.tensor_content[:-1]),
        lambda proto: setattr(proto.tensor_shape.dim[0], "size", -1),
        lambda proto: setattr(proto.tensor_shape.dim[0], "size", 10**12),
        lambda proto: setattr(proto, "dtype", 0),
        lambda proto: setattr(proto, "dtype", tf.resource.as_datatype_enum),
    ],
    ids=["length", "negative size", "huge size", "no dtype", "a dtype without values"],
)
def test_what_is_no_tensor(caller: Caller, damage) -> None:
    """Row 19: tensorflow/cc/saved_model/util.cc, GetInputValues."""
    proto = tf.make_tensor_proto(FLOATS)
    damage(proto)

    with pytest.raises(grpc.RpcError) as caught:
        caller.predict({"x": proto})

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "tensor parsing error: x"


def test_requests_without_a_model_spec(caller: Caller) -> None:
    """Row 21: model_servers/server_core.cc and the three *_impl.cc."""
    predictions, models = caller.predictions, caller.models
    for call, request in (
        (predictions.Predict, predict_pb2.PredictRequest()),
        (predictions.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest()),
        (models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=20)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "Missing ModelSpec"


def test_long_errors_are_cut(caller: Caller) -> None:
    """Row 23: model_servers/grpc_status_util.cc."""
    with pytest.raises(grpc.RpcError) as caught:
        caller.predict({"x": FLOATS}, name="n" * 5000)

    text = caught.value.details()
    assert len(text) == 1024 + len("...TRUNCATED")
    assert text.endswith("nnn...TRUNCATED")


def test_a_deadline(caller: Caller) -> None:
    """Row 64: model_servers/prediction_service_impl.cc.

    The run goes on unheard, as TF Serving's does (tensorflow's core/common_runtime/
    direct_session.cc, WaitForNotification), but for a loop, which that one would end.
    """
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        caller.predict({"seconds": np.float32(3)}, signature="slow", timeout_s=0.2)

    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 2.9  # on a busy machine too: before the run's end


def test_a_deadline_that_passes_before_the_work_begins(base: Path) -> None:
    """Row 64: then it never does."""
    x = {"x": np.array([1], np.float32)}
    with ModelServer(base / "arithmetic", grpc_threads=1) as server:
        caller = Caller(server.address)
        with caller.channel, ThreadPoolExecutor(1) as pool:
            slow = pool.submit(caller.predict, {"seconds": np.float32(1)}, signature="slow")
            time.sleep(0.3)
            with pytest.raises(grpc.RpcError) as caught:
                caller.predict(x, signature="count", timeout_s=0.2)
            slow.result(20)
            calls = caller.predict(x, signature="count").outputs["calls"].int_val[0]

    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert calls == 1


class TestWaitingForATurn:
    """More calls than a server with its default options works on at a time."""

    CALLS = 16 * (os.cpu_count() or 1)

    def test_calls_that_give_up_leave_their_turns_to_others(self, base: Path) -> None:
        with ModelServer(base / "arithmetic") as server:
            caller = Caller(server.address)
            with caller.channel:
                work = {"inputs": {"seconds": np.float32(0.5)}, "signature": "slow"}
                working = [caller.begin(**work) for _ in range(self.CALLS)]
                time.sleep(0.2)
                for call in working:  # those that still wait have their turn after nobody wants it
                    call.cancel()

                for _ in range(self.CALLS):
                    assert caller.predict({"x": FLOATS}).outputs["y"].float_val

    def test_a_call_without_a_deadline_waits(self, base: Path) -> None:
        with ModelServer(base / "arithmetic") as server:
            caller = Caller(server.address)

            def wait(number: int) -> Any:
                inputs = {"seconds": np.float32(0.05)}
                return caller.predict(inputs, signature="slow", timeout_s=None)

            with caller.channel, ThreadPoolExecutor(self.CALLS) as pool:
                assert len(list(pool.map(wait, range(2 * self.CALLS)))) == 2 * self.CALLS


class TestStatus:
    """model_servers/get_model_status_impl.cc."""

    def test_every_version_newest_first(self, caller: Caller) -> None:
        """Row 24."""
        response = caller.status(name="arithmetic")

        assert [entry.version for entry in response.model_version_status] == [7, 1]
        for entry in response.model_version_status:
            assert entry.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
            assert entry.HasField("status")
            assert entry.status.error_code == 0

    def test_one_version(self, caller: Caller) -> None:
        """Row 25."""
        response = caller.status(name="arithmetic", version=1)

        assert [entry.version for entry in response.model_version_status] == [1]

    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            ({"name": "nope"}, "Could not find any versions of model nope"),
            ({"name": ""}, "Could not find any versions of model "),
            (
                {"name": "arithmetic", "version": 0},
                "Could not find version 0 of model arithmetic",
            ),
        ],
    )
    def test_what_is_not_there(self, caller: Caller, request_: dict, text: str) -> None:
        """Row 26."""
        with pytest.raises(grpc.RpcError) as caught:
            caller.status(**request_)

        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == text


class TestMetadata:
    """servables/tensorflow/get_model_metadata_impl.cc."""

    def test_the_signatures_are_those_of_the_file(self, caller: Caller, base: Path) -> None:
        """Row 28."""
        response = caller.metadata(name="arithmetic", fields=("signature_def",))

        packed = response.metadata["signature_def"]
        assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        found = get_model_metadata_pb2.SignatureDefMap()
        assert packed.Unpack(found)
        file = saved_model_pb2.SavedModel()
        path = base / "arithmetic" / "00000007" / "saved_model.pb"
        file.ParseFromString(path.read_bytes())
        assert dict(found.signature_def) == dict(file.meta_graphs[0].signature_def)
        assert "__saved_model_init_op" in found.signature_def
        assert response.model_spec.name == "arithmetic"
        assert response.model_spec.version.value == 7
        assert response.model_spec.signature_name == ""

    def test_of_a_version(self, caller: Caller) -> None:
        """Row 30."""
        response = caller.metadata(name="arithmetic", fields=("signature_def",), version=1)

        assert response.model_spec.version.value == 1

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ((), "GetModelMetadataRequest must specify at least one metadata_field"),
            (("nope",), "Metadata field nope is not supported"),
            (("signature_def", "nope"), "Metadata field nope is not supported"),
        ],
    )
    def test_bad_fields(self, caller: Caller, fields: tuple[str, ...], text: str) -> None:
        """Row 29."""
        with pytest.raises(grpc.RpcError) as caught:
            caller.metadata(name="arithmetic", fields=fields)

        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == text

    def test_of_an_unknown_model(self, caller: Caller) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            caller.metadata(name="nope", fields=("signature_def",))

        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "Servable not found for request: Latest(nope)"


@pytest.mark.parametrize("service", ["", "PredictionService", "ModelService"])
def test_health(caller: Caller, service: str) -> None:
    """Row 60: model_servers/server.cc."""
    stub = health_pb2_grpc.HealthStub(caller.channel)

    response = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)

    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_the_fully_qualified_name_is_unknown(caller: Caller) -> None:
    """Row 60: TF Serving sets the unqualified names only."""
    stub = health_pb2_grpc.HealthStub(caller.channel)
    request = health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService")

    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(request, timeout=20)

    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
