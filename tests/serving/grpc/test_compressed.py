"""Messages that clients compress, of gRPC's own clients and by hand."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks.attack_http2 import Connection
from inception_serving import ModelServer

_PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[ModelServer]:
    with ModelServer(
        base / "arithmetic",
        rest_port=None,
        health_service=True,
        reflection=True,
        max_bytes_in_flight=16 << 20,
    ) as server:
        yield server


def request(values: int = 3) -> predict_pb2.PredictRequest:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "arithmetic"
    asked.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0] * values))
    return asked


@pytest.mark.parametrize(
    "compression", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression]
)
class TestOfGrpcsOwnClient:
    @pytest.mark.parametrize("values", [3, 500_000])
    def test_predict(self, server: ModelServer, compression: Any, values: int) -> None:
        with grpc.insecure_channel(server.address, compression=compression) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = stub.Predict(request(values), timeout=20)
        found = tf.make_ndarray(answer.outputs["y"])
        assert found.shape == (values,) and set(found.tolist()) == {3.0}

    def test_health(self, server: ModelServer, compression: Any) -> None:
        name = "PredictionService"
        with grpc.insecure_channel(server.address, compression=compression) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            asked = health_pb2.HealthCheckRequest(service=name)
            assert stub.Check(asked, timeout=20).status == 1
            watch = stub.Watch(asked, timeout=20)
            assert next(watch).status == 1
            watch.cancel()

    def test_reflection(self, server: ModelServer, compression: Any) -> None:
        asked = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="tensorflow.serving.PredictionService"
        )
        with grpc.insecure_channel(server.address, compression=compression) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            (answer,) = stub.ServerReflectionInfo(iter([asked]), timeout=20)
        assert b"PredictionService" in answer.file_descriptor_response.file_descriptor_proto[0]

    def test_more_than_may_be_held(self, server: ModelServer, compression: Any) -> None:
        with grpc.insecure_channel(server.address, compression=compression) as channel:
            call = channel.unary_unary(_PREDICT)
            with pytest.raises(grpc.RpcError) as error:
                call(request(5_000_000).SerializeToString(), timeout=20)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("window", range(9, 16))
def test_zlib_of_every_window(server: ModelServer, window: int) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, window)
    message = deflater.compress(request(1000).SerializeToString()) + deflater.flush()
    assert ask(server.address, "deflate", message)[0] == b"0"


def test_health_takes_no_large_message(server: ModelServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.Check(health_pb2.HealthCheckRequest(service="x" * 20_000), timeout=20)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than the 16384 bytes" in error.value.details()


class Client(Connection):
    """Reads the status of its only call."""

    def _take(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        if kind == 1 and flags & 1:
            code = re.search(rb"grpc-status.(\d+)", data, re.DOTALL)
            text = re.search(rb"grpc-message.([ -~]*)", data, re.DOTALL)
            self.status = code and code[1], text and text[1]
        super()._take(kind, flags, stream, data)


def ask(address: str, encoding: str, message: bytes) -> Any:
    client = Client(address)
    try:
        stream = client.begin(_PREDICT, grpc_encoding=encoding)
        client.send(stream, b"\1" + struct.pack(">I", len(message)) + message)
        assert client.finish(stream, wait_s=20)
        return client.status
    finally:
        client.close()


class _Anything(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("gzip", gzip.compress(b"x" * 1000)[:-3]),
        ("gzip", gzip.compress(b"x" * 1000)[:-8] + bytes(8)),
        ("gzip", gzip.compress(b"x" * 1000) + b"more"),
        ("gzip", gzip.compress(b"x") * 2),
        ("deflate", zlib.compress(b"x" * 1000)[:-1]),
        ("deflate", zlib.compress(b"x" * 1000)[:-4] + bytes(4)),
        ("deflate", zlib.compress(b"x" * 1000) + b"more"),
        ("deflate", b"\x78\x9cjunk"),
    ],
    ids=["short", "checksum", "more", "two", "short", "checksum", "more", "junk"],
)
def test_what_cannot_be_inflated_is_told_as_by_grpcs_own_server(
    server: ModelServer, encoding: str, message: bytes
) -> None:
    theirs = grpc.server(futures.ThreadPoolExecutor(1), handlers=[_Anything()])
    port = theirs.add_insecure_port("127.0.0.1:0")
    theirs.start()
    try:
        expected = ask(f"127.0.0.1:{port}", encoding, message)
    finally:
        theirs.stop(None)
    assert ask(server.address, encoding, message) == expected
    assert expected[0] == b"13"
