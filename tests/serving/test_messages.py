"""The messages: those of the installed tensorflow-serving-api, without loading it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

import generate_messages
from inception_serving import Client, ModelServer, messages, tensors

SOURCES = Path(__file__).parents[2] / "serving"
THEIRS: tuple[ModuleType, ...] = (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
    model_server_config_pb2,
)


def predict_request(module: Any) -> Any:
    request = module.PredictRequest(output_filter=["y"])
    request.model_spec.name = "arithmetic"
    request.model_spec.version.value = 7
    tensors.fill_proto(request.inputs["x"], np.array([1, 2], np.float32))
    return request


def test_the_descriptors_are_those_installed() -> None:
    """If not: python serving/generate_messages.py."""
    expected = generate_messages.descriptor_set().SerializeToString(deterministic=True)

    assert generate_messages.PATH.read_bytes() == expected


def test_every_message_is_one_of_theirs() -> None:
    ours = {
        name: kind
        for name, kind in vars(messages).items()
        if isinstance(kind, type)
        and issubclass(kind, Message)
        and kind.DESCRIPTOR.file.package == "tensorflow.serving"
    }
    assert len(ours) > 15
    for name, kind in ours.items():
        (theirs,) = (vars(module)[name] for module in THEIRS if name in vars(module))
        assert kind is not theirs
        assert kind.DESCRIPTOR.full_name == theirs.DESCRIPTOR.full_name
        fields = {field.name: field.number for field in theirs.DESCRIPTOR.fields}
        assert {field.name: field.number for field in kind.DESCRIPTOR.fields} == fields


def test_the_fast_implementation_of_protobuf() -> None:
    """A pool of one's own does not change it."""
    assert api_implementation.Type() == "upb"


def test_classes_outlive_a_search_for_cycles() -> None:
    """One that another thread takes as it ends would end the process."""
    request = messages.PredictRequest()
    request.model_spec.version.value = 1
    request.inputs["x"].tensor_shape.dim.add()
    request.inputs["x"].float_val.append(1)
    tensor = request.inputs["x"]
    kinds = [
        weakref.ref(type(each))
        for each in (
            request.model_spec.version,
            request.inputs,
            tensor,
            tensor.tensor_shape,
            tensor.tensor_shape.dim[0],
            messages.Example().features.feature["x"].float_list,
        )
    ]
    del request, tensor
    gc.collect()
    assert all(kind() is not None for kind in kinds)


def test_bytes_are_alike() -> None:
    ours, theirs = predict_request(messages), predict_request(predict_pb2)

    data = ours.SerializeToString(deterministic=True)
    assert data == theirs.SerializeToString(deterministic=True)
    assert messages.own(theirs) == ours
    assert messages.own(ours) is ours
    assert predict_pb2.PredictRequest.FromString(data) == theirs


def test_a_tensor_of_either() -> None:
    tensor = np.array([[1.5, -2]], np.float32)
    theirs = tf.make_tensor_proto(tensor)

    assert tensors.from_proto(theirs).tolist() == tensor.tolist()
    assert tensors.from_proto(messages.own(theirs)).tolist() == tensor.tolist()
    assert tf.make_ndarray(tensors.to_proto(tensor)).tolist() == tensor.tolist()


def test_a_stub_takes_either(server: ModelServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = messages.PredictionServiceStub(channel)
        ours = stub.Predict(predict_request(messages), timeout=20)
        theirs = stub.Predict(predict_request(predict_pb2), timeout=20)
        with pytest.raises(AttributeError, match="PredictionService has no method 'Predikt'"):
            stub.Predikt(None)

    assert ours == theirs
    assert isinstance(ours, messages.PredictResponse)


def test_a_client_loads_neither_tensorflow_nor_its_api(server: ModelServer) -> None:
    code = (
        "import sys; from inception_serving import Client\n"
        f"with Client({server.address!r}, 'arithmetic') as client:\n"
        "    print(client.predict_tensors({'x': [1.0]})['y'].tolist())\n"
        "print({'tensorflow', 'tensorflow_serving', 'keras'} & set(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCES)},
        timeout=60,
    )

    with Client(server.address, "arithmetic") as client:
        expected = client.predict_tensors({"x": [1.0]})["y"].tolist()
    assert done.stdout.splitlines() == [str(expected), "set()"], done.stderr
