"""Bytes that mean more than they are: images, messages and bodies for `serving_attacks.py`."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


# ---- images ----


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, before: bytes = b"") -> bytes:
    """One bit a pixel, all zeros; `before` stands before the header's chunk."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return PNG_START + before + chunks


def encoded(kind: str, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def gif(width: int, height: int, *, frames: int = 1, block: int = 255) -> bytes:
    """Frames larger than the screen, which is one pixel."""
    data = _lzw(width * height)
    blocks = b"".join(
        bytes([len(data[at : at + block])]) + data[at : at + block]
        for at in range(0, len(data), block)
    )
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + blocks + b"\0"
    return screen + frame * frames + b";"


def _lzw(count: int) -> bytes:
    """As many zeros, each code a run one longer than the last; then the longest again."""
    out, held, bits = bytearray(), 0, 0

    def put(code: int, size: int) -> None:
        nonlocal held, bits
        held |= code << bits
        bits += size
        while bits >= 8:
            out.append(held & 255)
            held >>= 8
            bits -= 8

    size, following, run, left = 3, 6, 0, count
    put(4, 3)
    while left > 0:
        if run == 0:
            put(0, size)
            run, left = 1, left - 1
            continue
        grows = following < 4096 and left > run
        code, taken = (following, run + 1) if grows else (following - 1, run)
        if taken > left:
            code, taken = 0, 1
        put(code, size)
        left -= taken
        if following < 4096:
            following += 1
            run = taken
            if following == 1 << size and size < 12:
                size += 1
    put(5, size)
    return bytes(out) + bytes([held & 255])


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def progressive_jpeg(width: int, height: int, scans: int, *, before: bytes = b"") -> bytes:
    """Grey: a scan of the averages, then scans that say of every block that it has no more."""
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    out = b"\xff\xd8" + before + segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC2, frame)
    out += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    out += segment(0xDA, b"\1\1\0\0\0\0") + bytes((blocks + 7) // 8)
    out += segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\xe0\0")
    bits = ""
    left = blocks
    while left >= 16384:
        run = min(left, 32767)
        bits += "0" + f"{run - 16384:014b}"
        left -= run
    bits += "10" * left
    bits += "1" * (-len(bits) % 8)
    data = int(bits or "1" * 8, 2).to_bytes(max(1, len(bits) // 8), "big")
    scan = segment(0xDA, b"\1\1\0\1\x3f\0") + data.replace(b"\xff", b"\xff\0")
    return out + scan * scans + b"\xff\xd9"


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IHHI", 1 << 20, 0, 0, 54)
    return b"BM" + head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def webp(width: int, height: int, *, flags: int = 0, kind: bytes = b"VP8X") -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + kind + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ---- messages ----


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def part(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(name: bytes, value: bytes) -> bytes:
    """An entry of a tf.Example's features, which holds bytes."""
    return part(1, part(1, name) + part(2, part(1, part(1, value))))


def example(image: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A tf.Example, with entries before and after the image's."""
    return part(1, before + feature(b"image/encoded", image) + after)


def sequence_example(image: bytes) -> bytes:
    lists = part(1, part(1, b"image/encoded") + part(2, part(1, part(1, part(1, image)))))
    return part(2, lists)


def predict(name: bytes, signature: bytes, inputs: bytes) -> bytes:
    """A PredictRequest; `inputs` are entries, or whatever else is to stand there."""
    return part(1, part(1, name) + part(3, signature)) + inputs


def tensor_input(name: bytes, tensor: bytes) -> bytes:
    return part(2, part(1, name) + part(2, tensor))


def tensor(dtype: int, shape: Sequence[int], values: bytes = b"") -> bytes:
    dims = b"".join(part(2, b"\x08" + varint(size)) for size in shape)
    return b"\x08" + varint(dtype) + part(2, dims) + values
