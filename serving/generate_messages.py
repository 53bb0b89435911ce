"""Generator of `inception_serving/messages.binpb`, the descriptors of TF Serving's messages.

    python serving/generate_messages.py

It writes a FileDescriptorSet of the files that `tensorflow-serving-api` and `tensorflow`, as they
are installed, hold of the API, and of those that they import; run it where a new release of them
changes the API. A test holds the file equal to what is installed.

Licence: the files below tensorflow/ and tensorflow_serving/ are the TensorFlow Authors' (Apache
License 2.0, as this project's), and those below google/protobuf/ are Google's (BSD 3-Clause).
Descriptors hold declarations only, no comments and no code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_log_pb2, prediction_service_pb2
from tensorflow_serving.config import model_server_config_pb2

PATH = Path(__file__).parent / "inception_serving" / "messages.binpb"

# What a client, a server and a warm-up file speak; the rest follows from these.
ROOTS = (
    example_pb2,
    model_server_config_pb2,
    model_service_pb2,
    prediction_log_pb2,
    prediction_service_pb2,
)


def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """The files, each behind those that it imports."""
    files: dict[str, bytes] = {}

    def add(file: Any) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file.serialized_pb

    for root in ROOTS:
        add(root.DESCRIPTOR)
    parse = descriptor_pb2.FileDescriptorProto.FromString
    return descriptor_pb2.FileDescriptorSet(file=[parse(data) for data in files.values()])


if __name__ == "__main__":
    PATH.write_bytes(descriptor_set().SerializeToString(deterministic=True))
    print(f"{PATH}: {len(descriptor_set().file)} files, {PATH.stat().st_size} bytes")
