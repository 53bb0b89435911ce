"""The server's callers: `tensorflow-serving-api`'s own stubs, and images to send."""

from __future__ import annotations

import socket
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Caller:
    """A client made of `tensorflow-serving-api`'s own stubs."""

    def __init__(self, address: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, inputs: dict[str, Any], *, timeout_s: float | None = 20.0, **of: Any) -> Any:
        """See `request`."""
        return self.predictions.Predict(self.request(inputs, **of), timeout=timeout_s)

    def begin(self, inputs: dict[str, Any], **of: Any) -> Any:
        """A future; see `request`."""
        return self.predictions.Predict.future(self.request(inputs, **of), timeout=20)

    def request(
        self,
        inputs: dict[str, Any],
        *,
        name: str = "arithmetic",
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        outputs: tuple[str, ...] = (),
    ) -> Any:
        """Inputs are TensorProtos, or anything that `tf.make_tensor_proto` takes."""
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return request

    def metadata(self, *, name: str, fields: tuple[str, ...], version: int | None = None) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        return self.predictions.GetModelMetadata(request, timeout=20)

    def status(self, *, name: str, version: int | None = None) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        return self.models.GetModelStatus(request, timeout=20)

    def states(self, name: str) -> dict[int, str]:
        """The state of each version, in the order of the answer."""
        enum = get_model_status_pb2.ModelVersionStatus.State
        entries = self.status(name=name).model_version_status
        return {entry.version: enum.Name(entry.state) for entry in entries}


def png(red: int, green: int, blue: int, size: int = 8) -> bytes:
    """An image of one colour."""
    pixels = np.full([size, size, 3], [red, green, blue], np.uint8)
    return bytes(tf.io.encode_png(pixels).numpy())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
