"""The size of a WebP, and what a lossless one takes to decode beside its pixels.

A lossless WebP is cut into blocks, and says for each which of up to 65,536 groups of codes it is
written in. The decoder makes tables of them all, whether or not a pixel is written in them: some
hundred megabytes of a file of 300 KB. How many blocks there are is said behind the first images
within the image (a predictor for each block, and the like), so these are read here, without their
pixels being made.

Sources: libwebp's doc/webp-container-spec.txt, doc/webp-lossless-bitstream-spec.txt,
src/dec/vp8l_dec.c and src/utils/huffman_utils.c.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inception_serving.server.received.pauses import let_others_run

_MOST_GROUPS = 1 << 16
_BITS_OF_A_GROUP = 20  # at least: five codes of one symbol each
# Of a group: its five tables where each is of one symbol, and what they may have more. That takes
# lengths of codes, which are bits of the file.
_GROUP_BYTES, _MORE_GROUP_BYTES, _MORE_BYTES_A_BYTE = 6 << 10, 14 << 10, 64
# Nothing is read where all the groups that there could be take no more.
_LITTLE = 16 << 20
# libwebp writes 2,600 blocks at most.
_MOST_BLOCKS = 1 << 14
_PIXELS_AT_ONCE = 128
_MOST_CHUNKS = 64

# The orders and alphabets of the specification, 5.2 and 6.2.
_LENGTH_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_REPEATS = {16: (2, 3), 17: (3, 3), 18: (7, 11)}  # a symbol's further bits, and the least count
_LITERALS, _LENGTHS, _DISTANCES = 256, 24, 40
_PREDICTOR, _COLOUR, _GREEN, _INDEXED = range(4)


class TooManyBlocks(ValueError):
    """More than anybody needs."""


@dataclass
class WebpSize:
    """What a WebP becomes.

    Attributes:
        width, height: in pixels.
        is_animated: whether it has several frames, or says so.
        is_lossless: whether its pixels are decoded all at once.
        codes: bytes of memory that the codes take.
    """

    width: int
    height: int
    is_animated: bool = False
    is_lossless: bool = False
    codes: int = 0


def webp_size(data: bytes) -> WebpSize | None:
    """The size of a file that begins as a WebP; None where it is of an unknown kind.

    Raises:
        TooManyBlocks: a part of it has more than anybody needs.
        struct.error, IndexError: it is cut short.
    """
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        size = WebpSize(width, height, is_animated=bool(data[20] & 2))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        size = WebpSize((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    elif kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        size = WebpSize(width & 0x3FFF, height & 0x3FFF)
    elif len(data) < 16:
        raise IndexError
    else:
        return None
    for kind, begin, end in _chunks(data):
        # Alpha is the header of its own, then as a lossless image without one.
        if kind == b"VP8L":
            size.is_lossless = True
            size.codes += _codes_bytes(data[begin + 5 : end], size.width, size.height)
        elif kind == b"ALPH" and data[begin] & 3 == 1:
            size.codes += _codes_bytes(data[begin + 1 : end], size.width, size.height)
    return size


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind and the place of each chunk, to the image's own, which is the last that is read."""
    place = 12
    for _ in range(_MOST_CHUNKS):
        if place + 8 > len(data):
            return
        kind, length = (
            data[place : place + 4],
            int.from_bytes(data[place + 4 : place + 8], "little"),
        )
        yield kind, place + 8, place + 8 + length
        if kind in (b"VP8 ", b"VP8L"):
            return
        place += 8 + length + (length & 1)
    raise TooManyBlocks


def _codes_bytes(data: bytes, width: int, height: int) -> int:
    """The memory of all groups' tables, at most.

    Args:
        data: of a lossless image, behind its header.
    """
    most = min(_MOST_GROUPS, 8 * len(data) // _BITS_OF_A_GROUP, _blocks(width, height, 2))
    if most * _GROUP_BYTES > _LITTLE:
        try:
            most = min(most, _count_blocks(_Bits(data), width, height))
        except _End:  # the decoder comes no further either
            return 0
        if most > _MOST_BLOCKS:
            raise TooManyBlocks
    return most * _GROUP_BYTES + min(most * _MORE_GROUP_BYTES, len(data) * _MORE_BYTES_A_BYTE)


def _count_blocks(bits: _Bits, width: int, height: int) -> int:
    """The blocks that may each have a group of codes; 1 where the image has one for all."""
    done: set[int] = set()
    while bits.read(1):
        kind = bits.read(2)
        if kind in done:
            raise _End
        done.add(kind)
        if kind in (_PREDICTOR, _COLOUR):
            side = bits.read(3) + 2
            _skip_image(bits, _blocks(width, height, side))
        elif kind == _INDEXED:
            colours = bits.read(8) + 1
            _skip_image(bits, colours)
            # Pixels of few colours are packed, so many to one.
            width = _across(width, next(n for n, most in _PACKED if colours <= most))
    if bits.read(1):
        bits.read(4)  # of the cache of colours
    return _blocks(width, height, bits.read(3) + 2) if bits.read(1) else 1


_PACKED = ((3, 2), (2, 4), (1, 16), (0, 256))


def _across(size: int, side: int) -> int:
    return (size + (1 << side) - 1) >> side


def _blocks(width: int, height: int, side: int) -> int:
    return _across(width, side) * _across(height, side)


class _End(Exception):
    """The bits are at their end, or are no image."""


class _Bits:
    """Bits, the lowest of a byte first; zeros behind the end, but not for long."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read(self, count: int) -> int:
        """A number of so many bits, 24 at most.

        Raises:
            _End: there are no more.
        """
        first = self._place >> 3
        if first >= len(self._data):
            raise _End
        value = int.from_bytes(self._data[first : first + 4], "little") >> (self._place & 7)
        self._place += count
        return value & ((1 << count) - 1)


def _skip_image(bits: _Bits, pixels: int) -> None:
    """Read an image within the image (the specification's `entropy-coded-image`)."""
    if pixels > _MOST_BLOCKS:
        raise TooManyBlocks
    cached = 1 << bits.read(4) if bits.read(1) else 0
    sizes = (_LITERALS + _LENGTHS + cached, _LITERALS, _LITERALS, _LITERALS, _DISTANCES)
    green, *others, distance = [_read_code(bits, size) for size in sizes]
    for number in itertools.count():
        if pixels <= 0:
            break
        if number % _PIXELS_AT_ONCE == _PIXELS_AT_ONCE - 1:
            let_others_run()
        symbol = green()
        pixels -= 1
        if symbol < _LITERALS:
            for read in others:
                read()
        elif symbol < _LITERALS + _LENGTHS:
            pixels -= _read_length(bits, symbol - _LITERALS) - 1
            _read_length(bits, distance())


def _read_length(bits: _Bits, symbol: int) -> int:
    """A length, or a distance, of which the symbol is the beginning (section 5.2.2)."""
    if symbol < 4:
        return symbol + 1
    more = (symbol - 2) >> 1
    return ((2 + (symbol & 1)) << more) + bits.read(more) + 1


def _read_code(bits: _Bits, size: int) -> Callable[[], int]:
    """A code; what reads a symbol of it.

    Args:
        size: of its alphabet.
    """
    if bits.read(1):
        has_two = bits.read(1)
        symbols = [bits.read(8 if bits.read(1) else 1)]
        if has_two:
            symbols.append(bits.read(8))
        lengths = [0] * max(size, *[symbol + 1 for symbol in symbols])
        for symbol in symbols:
            lengths[symbol] = 1
    else:
        lengths = _read_lengths(bits, size)
    return _decoder(bits, lengths)


def _read_lengths(bits: _Bits, size: int) -> list[int]:
    count = bits.read(4) + 4
    of_lengths = [0] * len(_LENGTH_ORDER)
    for symbol in _LENGTH_ORDER[:count]:
        of_lengths[symbol] = bits.read(3)
    read = _decoder(bits, of_lengths)
    left = 2 + bits.read(2 + 2 * bits.read(3)) if bits.read(1) else size
    lengths: list[int] = []
    last = 8
    while len(lengths) < size and left > 0:
        left -= 1
        symbol = read()
        if symbol not in _REPEATS:
            lengths.append(symbol)
            last = symbol or last
            continue
        more, least = _REPEATS[symbol]
        lengths += [last if symbol == 16 else 0] * (bits.read(more) + least)
    if len(lengths) > size:
        raise _End
    return lengths


def _decoder(bits: _Bits, lengths: list[int]) -> Callable[[], int]:
    """What reads a symbol of a canonical code, given the length of each symbol's."""
    used = [symbol for symbol, length in enumerate(lengths) if length]
    if not used:
        raise _End
    if len(used) == 1:
        return lambda: used[0]
    symbols = {}
    code = 0
    for length in range(1, 16):
        code <<= 1
        for symbol in used:
            if lengths[symbol] == length:
                symbols[length, code] = symbol
                code += 1

    def read() -> int:
        code = 0
        for length in range(1, 16):
            code = code << 1 | bits.read(1)
            if (length, code) in symbols:
                return symbols[length, code]
        raise _End

    return read
