"""The gRPC messages and stubs of TF Serving's API, without TensorFlow.

They are made from `messages.binpb`, descriptors that `serving/generate_messages.py` takes from
`tensorflow-serving-api` (Apache License 2.0, the TensorFlow Authors), in a descriptor pool of their
own: TensorFlow registers files of the same names, which may be another release's, and importing its
own takes seconds. So a message of `tensorflow-serving-api` is of another class than the one of the
same name here. The bytes are the same; `own` converts, and stubs and tensors take either.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any, ClassVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _read_files() -> Any:
    data = resources.files(__package__).joinpath("messages.binpb").read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data).file


_FILES = _read_files()
# Every file of the API, its services too.
POOL = descriptor_pool.DescriptorPool()
for _file in _FILES:
    POOL.AddSerializedFile(_file.SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def _classes(descriptors: Iterable[Any]) -> Iterator[Any]:
    for descriptor in descriptors:
        yield message_factory.GetMessageClass(descriptor)
        yield from _classes(descriptor.nested_types)


# All of them. A class that nobody holds, as of a message that is but a field of another, ends with
# a search for cycles and is made anew; the process with it, if a thread takes it just then.
_CLASSES = [
    each
    for file in _FILES
    for each in _classes(POOL.FindFileByName(file.name).message_types_by_name.values())
]


def _enum(name: str) -> Any:
    descriptor = POOL.FindEnumTypeByName(name)
    make: Any = enum.IntEnum
    return make(descriptor.name, {value.name: value.number for value in descriptor.values})


def own(message: Any) -> Any:
    """A message as one of the class that has its full name here, whatever class it is of."""
    kind = _message(message.DESCRIPTOR.full_name)
    return message if isinstance(message, kind) else kind.FromString(message.SerializeToString())


class _Stub:
    """The methods of a service, each a callable attribute, as gRPC's generated stubs have them."""

    service: ClassVar[str]

    def __init__(self, channel: Any) -> None:
        """Call over a `grpc.Channel`."""
        for method in POOL.FindServiceByName(self.service).methods:
            call = channel.unary_unary(
                f"/{self.service}/{method.name}",
                # Not the class's own method, so that a message of tensorflow-serving-api does too.
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=_message(method.output_type.full_name).FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.service} has no method {name!r}")


class PredictionServiceStub(_Stub):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    service = "tensorflow.serving.PredictionService"


class ModelServiceStub(_Stub):
    """GetModelStatus and HandleReloadConfigRequest."""

    service = "tensorflow.serving.ModelService"


DataType = _enum("tensorflow.DataType")
Example = _message("tensorflow.Example")
SequenceExample = _message("tensorflow.SequenceExample")
SignatureDef = _message("tensorflow.SignatureDef")
TensorProto = _message("tensorflow.TensorProto")

_SERVING = "tensorflow.serving"
ClassificationRequest = _message(f"{_SERVING}.ClassificationRequest")
ClassificationResponse = _message(f"{_SERVING}.ClassificationResponse")
ClassificationResult = _message(f"{_SERVING}.ClassificationResult")
GetModelMetadataRequest = _message(f"{_SERVING}.GetModelMetadataRequest")
GetModelMetadataResponse = _message(f"{_SERVING}.GetModelMetadataResponse")
GetModelStatusRequest = _message(f"{_SERVING}.GetModelStatusRequest")
GetModelStatusResponse = _message(f"{_SERVING}.GetModelStatusResponse")
Input = _message(f"{_SERVING}.Input")
ModelServerConfig = _message(f"{_SERVING}.ModelServerConfig")
ModelSpec = _message(f"{_SERVING}.ModelSpec")
ModelVersionStatus = _message(f"{_SERVING}.ModelVersionStatus")
MultiInferenceRequest = _message(f"{_SERVING}.MultiInferenceRequest")
MultiInferenceResponse = _message(f"{_SERVING}.MultiInferenceResponse")
PredictRequest = _message(f"{_SERVING}.PredictRequest")
PredictResponse = _message(f"{_SERVING}.PredictResponse")
PredictionLog = _message(f"{_SERVING}.PredictionLog")
RegressionRequest = _message(f"{_SERVING}.RegressionRequest")
RegressionResponse = _message(f"{_SERVING}.RegressionResponse")
RegressionResult = _message(f"{_SERVING}.RegressionResult")
ReloadConfigRequest = _message(f"{_SERVING}.ReloadConfigRequest")
ReloadConfigResponse = _message(f"{_SERVING}.ReloadConfigResponse")
SignatureDefMap = _message(f"{_SERVING}.SignatureDefMap")
