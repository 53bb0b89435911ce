"""NumPy arrays to TensorProto and back, as bytes and not element by element.

TensorFlow's own conversion is not used: a client must do without TensorFlow, whose import takes
seconds and hundreds of megabytes.

A tensor is a `numpy.ndarray`; a string tensor is an array of dtype `object` that holds `bytes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inception_serving import messages

try:
    import ml_dtypes
except ImportError:  # a client does without, and without the types that NumPy does not have
    _BEYOND_NUMPY: list[tuple[str, type, str]] = []
else:
    _BEYOND_NUMPY = [
        ("bfloat16", ml_dtypes.bfloat16, "half_val"),
        ("float8_e5m2", ml_dtypes.float8_e5m2, "float8_val"),
        ("float8_e4m3fn", ml_dtypes.float8_e4m3fn, "float8_val"),
        ("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, "float8_val"),
        ("float8_e4m3b11fnuz", ml_dtypes.float8_e4m3b11fnuz, "float8_val"),
        ("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, "float8_val"),
    ]

Tensor = NDArray[Any]

# gRPC carries no message over 2 GiB, so no honest request means a larger tensor. The limit keeps
# a few bytes that say "a million times a million, all the same" from taking the memory.
MAX_TENSOR_BYTES = 2**31
_NUMPY_DIMENSIONS = 64
MAX_DIMENSIONS = 254  # TensorFlow's own (core/framework/tensor_shape.h, MaxDimensions)
# Each string is an object here and 24 bytes in TensorFlow, however short it is.
MAX_STRINGS = 2**20
STRING_BYTES = 24  # tsl/platform/ctstring.h

_CHUNK = 1 << 10  # numbers or strings that are Python objects at a time, for half a millisecond
_NUMBER_BYTES = 16  # of one, at most
_MAX_VARINT_BYTES = 10  # 64 bits


# Around each part of what may take long, told of its bytes, at most: a server lets others run
# between them.
Around = Callable[[int], AbstractContextManager[object]]


class HighRank:
    """An array of more dimensions than NumPy's have, as far as a server needs it.

    Attributes:
        shape, ndim, dtype, size, nbytes: as an array's.
    """

    def __init__(self, flat: Tensor, shape: Sequence[int]) -> None:
        """Make it of its values, in order."""
        self._flat = flat
        self.shape = tuple(shape)
        self.ndim, self.dtype, self.size = len(self.shape), flat.dtype, flat.size
        self.nbytes = flat.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def ravel(self) -> Tensor:
        """The values, in order."""
        return self._flat

    @property
    def flat(self) -> Tensor:
        """See `ravel`."""
        return self._flat


class _Type(NamedTuple):
    name: str  # TensorFlow's own, as its error texts write it
    numpy: np.dtype[Any]
    field: str  # the typed field of TensorProto that holds the values


_STRING = np.dtype(object)
_DT = messages.DataType

# tensorflow/core/framework/tensor.proto; int_val holds every integer of up to 32 bits but uint32.
_TYPES: dict[int, _Type] = {
    _DT.DT_FLOAT: _Type("float", np.dtype(np.float32), "float_val"),
    _DT.DT_DOUBLE: _Type("double", np.dtype(np.float64), "double_val"),
    _DT.DT_HALF: _Type("half", np.dtype(np.float16), "half_val"),
    _DT.DT_INT8: _Type("int8", np.dtype(np.int8), "int_val"),
    _DT.DT_INT16: _Type("int16", np.dtype(np.int16), "int_val"),
    _DT.DT_INT32: _Type("int32", np.dtype(np.int32), "int_val"),
    _DT.DT_INT64: _Type("int64", np.dtype(np.int64), "int64_val"),
    _DT.DT_UINT8: _Type("uint8", np.dtype(np.uint8), "int_val"),
    _DT.DT_UINT16: _Type("uint16", np.dtype(np.uint16), "int_val"),
    _DT.DT_UINT32: _Type("uint32", np.dtype(np.uint32), "uint32_val"),
    _DT.DT_UINT64: _Type("uint64", np.dtype(np.uint64), "uint64_val"),
    _DT.DT_BOOL: _Type("bool", np.dtype(np.bool_), "bool_val"),
    _DT.DT_COMPLEX64: _Type("complex64", np.dtype(np.complex64), "scomplex_val"),
    _DT.DT_COMPLEX128: _Type("complex128", np.dtype(np.complex128), "dcomplex_val"),
    _DT.DT_STRING: _Type("string", _STRING, "string_val"),
}
for _name, _type, _field in _BEYOND_NUMPY:
    _TYPES[_DT[f"DT_{_name.upper()}"]] = _Type(_name, np.dtype(_type), _field)
_DTYPES = {entry.numpy: number for number, entry in _TYPES.items()}
# Of a value in a typed field: its varint at most, or its place in a message in memory if that is
# more.
_TYPED_BYTES = {
    "bool_val": 1,
    "float8_val": 1,
    "float_val": 4,
    "half_val": 4,
    "uint32_val": 5,
    "double_val": 8,
    "scomplex_val": 8,
    "int_val": 10,  # a number below 0 goes out with 64 bits
    "int64_val": 10,
    "uint64_val": 10,
    "dcomplex_val": 16,
}
_UNSIGNED_BYTES = 4  # in int_val
# Of a string beside its text: an object here, and its place in a message.
_TEXT_BYTES = 64


def type_name(dtype: int) -> str:
    """TensorFlow's name of a DataType number, such as "float" for DT_FLOAT."""
    if dtype in _TYPES:
        return _TYPES[dtype].name
    try:
        return str(_DT(dtype).name).removeprefix("DT_").lower()
    except ValueError:
        return f"unknown dtype enum ({dtype})"


def numpy_dtype(dtype: int) -> np.dtype[Any]:
    """The NumPy dtype of a DataType number; `object` for strings.

    Raises:
        ValueError: no tensor of this type can be sent.
    """
    if dtype not in _TYPES:
        raise ValueError(f"Tensors of type {type_name(dtype)} are not supported.")
    return _TYPES[dtype].numpy


def data_type(tensor: Tensor) -> int:
    """The DataType number of an array.

    Raises:
        ValueError: TensorFlow has no such type, or no tensor of this type can be sent.
    """
    if tensor.dtype not in _DTYPES:
        supported = ", ".join(sorted(str(dtype) for dtype in _DTYPES if dtype != _STRING))
        raise ValueError(
            f"Arrays of dtype {tensor.dtype} cannot be sent: expected bytes or one of {supported}."
        )
    return _DTYPES[tensor.dtype]


def string_tensor(value: ArrayLike) -> Tensor:
    """Text and bytes, in lists or arrays, as an object array of `bytes`; text becomes UTF-8.

    Raises:
        TypeError: something in it is neither.
    """
    # Straight to `object`: a NumPy string would lose the zero bytes at its end.
    given = np.asarray(value, dtype=object)
    strings = np.empty(given.size, dtype=object)
    for place, item in enumerate(given.ravel()):
        if not isinstance(item, str | bytes):
            raise TypeError(f"expected bytes or str, received {type(item).__name__}")
        strings[place] = item.encode() if isinstance(item, str) else item
    return strings.reshape(given.shape)


def reshape(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Values in a shape, which may have more dimensions than NumPy's arrays; see `HighRank`."""
    if len(shape) <= _NUMPY_DIMENSIONS:
        return flat.reshape(shape)
    high: Any = HighRank(flat, shape)
    return cast(Tensor, high)


def to_proto(tensor: Tensor, *, typed: bool = False) -> Any:
    """An array as a new TensorProto; see `fill_proto`."""
    proto = messages.TensorProto()
    fill_proto(proto, tensor, typed=typed)
    return proto


def fill_proto(
    proto: Any, tensor: Tensor, *, typed: bool = False, around: Around = nullcontext
) -> None:
    """Write an array into an empty TensorProto, such as a place in a request.

    The values go out as `tensor_content` in one copy; strings as `string_val`, since that is
    where every reader expects them.

    Args:
        proto: the message to fill.
        tensor: of any shape and one of TensorFlow's dtypes; `bytes` or `str` in a string tensor.
        typed: fill `float_val`, `int_val` and the like instead, as TF Serving answers.
        around: what each part of the work is done within.

    Raises:
        ValueError: the dtype is none of TensorFlow's.
        TypeError: an object array holds something other than `bytes` and `str`.
    """
    if isinstance(tensor, HighRank):
        fill_proto(proto, tensor.ravel(), typed=typed, around=around)
        del proto.tensor_shape.dim[:]
        for size in tensor.shape:
            proto.tensor_shape.dim.add(size=size)
        return
    if tensor.dtype.kind in "SU":
        tensor = tensor.astype(object)
    if not tensor.dtype.isnative:
        tensor = tensor.astype(tensor.dtype.newbyteorder("="))
    number = data_type(tensor)
    proto.dtype = number
    proto.tensor_shape.SetInParent()  # a scalar has a shape too, of no dimensions
    for size in tensor.shape:
        proto.tensor_shape.dim.add(size=size)
    if tensor.dtype == _STRING:
        _fill_strings(proto, tensor.ravel(), around)
    elif typed:
        _fill_typed(proto, np.ascontiguousarray(tensor).ravel(), _TYPES[number], around)
    else:
        with around(tensor.nbytes):
            content = _little_endian(tensor).tobytes()
        with around(tensor.nbytes):
            proto.tensor_content = content


def message_size(tensor: Tensor, *, typed: bool = False, around: Around = nullcontext) -> int:
    """The bytes of an array and of the message that `fill_proto` makes of it, at most.

    Args:
        typed, around: see `fill_proto`.

    Raises:
        ValueError: the dtype is none of TensorFlow's.
    """
    entry = _TYPES[data_type(tensor)]
    if entry.numpy == _STRING:
        return 2 * text_bytes(tensor, around) + _TEXT_BYTES * tensor.size
    if not typed:
        return 2 * tensor.nbytes
    is_unsigned = entry.field == "int_val" and entry.numpy.kind == "u"
    each = _UNSIGNED_BYTES if is_unsigned else _TYPED_BYTES[entry.field]
    return tensor.nbytes + each * tensor.size


def text_bytes(tensor: Tensor, around: Around = nullcontext) -> int:
    """The bytes of all strings of a string tensor; see `fill_proto`."""
    flat = tensor.ravel()
    total = 0
    for start in range(0, flat.size, _CHUNK):
        with around(0):
            total += sum(map(len, flat[start : start + _CHUNK]))
    return total


def from_proto(
    proto: Any, claim: Callable[[int], None] | None = None, around: Around = nullcontext
) -> Tensor:
    """The array that a TensorProto holds, in whichever of its fields.

    Fewer typed values than elements means that the last one repeats, none at all means zeros
    (tensorflow/core/framework/tensor.cc, FromProtoField).

    Args:
        claim: told of the bytes that the array takes, in TensorFlow's memory, beyond those in the
            message, before it is made.
        around: what each part of the work is done within.

    Raises:
        ValueError: the message does not make a tensor: an unknown dtype or shape, or a
            `tensor_content` of the wrong length.
    """
    size = _size_beside_text(proto)
    entry = _TYPES[proto.dtype]
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    with around(MAX_TENSOR_BYTES):
        content, values = proto.tensor_content, getattr(proto, entry.field)
    if content and entry.numpy != _STRING:  # which is as long as the array
        return reshape(_from_content(content, entry.numpy, count), shape)
    if claim is not None:
        given = len(values) // (2 if entry.numpy.kind == "c" else 1) * entry.numpy.itemsize
        claim(size if entry.numpy == _STRING else max(0, size - given))
    if content:
        flat = _strings_from_content(content, count, around)
    else:
        flat = _from_typed(values, entry, count, around)
    return reshape(flat, shape)


def unpacked_size(proto: Any) -> int:
    """The bytes of a TensorProto's values in TensorFlow's memory.

    Each element counts, those too that only repeat the last value of the message: TensorFlow has
    a copy of it for each of them, of a string as well.

    Raises:
        ValueError: the dtype or the shape is none that a tensor can have, or it is too large.
    """
    text = proto.ByteSize() if proto.dtype == _DT.DT_STRING else 0
    return _size_beside_text(proto) + text


def _size_beside_text(proto: Any) -> int:
    """See `unpacked_size`; without the text of strings that the message holds."""
    dtype = numpy_dtype(proto.dtype)
    count = _count(proto.tensor_shape)
    size = count * dtype.itemsize
    if dtype == _STRING:
        if count > MAX_STRINGS:
            raise ValueError(f"A tensor holds {MAX_STRINGS} strings at most: received {count}.")
        given = len(proto.string_val)
        last = len(proto.string_val[-1]) if 0 < given < count else 0
        size = count * STRING_BYTES + max(0, count - given) * last
    if size > MAX_TENSOR_BYTES:
        raise ValueError(f"Tensors end at 2 GiB: received one of {size} bytes.")
    return size


def _count(shape: Any) -> int:
    """The elements of a TensorShapeProto, whose numbers are whatever a client wrote.

    A rank that is said to be unknown is that of its sizes, as in TensorFlow.
    """
    if len(shape.dim) > MAX_DIMENSIONS:
        raise ValueError(
            f"A tensor has {MAX_DIMENSIONS} dimensions at most: received {len(shape.dim)}."
        )
    count = 1
    for dim in shape.dim:
        if dim.size < 0:
            raise ValueError(f"A tensor needs a known shape: received [{dim.size}].")
        count *= dim.size
        if count >= 2**63:  # as TensorFlow, for which a 0 further on does not help
            raise ValueError("A tensor has fewer than 2**63 elements.")
    return count


def _little_endian(tensor: Tensor) -> Tensor:
    return tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)


def _fill_strings(proto: Any, flat: Tensor, around: Around) -> None:
    for start in range(0, flat.size, _CHUNK):
        part = string_tensor(flat[start : start + _CHUNK])
        with around(text_bytes(part)):
            proto.string_val.extend(part.tolist())


def _fill_typed(proto: Any, flat: Tensor, entry: _Type, around: Around) -> None:
    if entry.field == "float8_val":  # of bytes, one a number
        with around(flat.nbytes):
            proto.float8_val = flat.tobytes()
        return
    if flat.dtype.kind in "fc" and entry.field != "half_val" and flat.size:
        # A packed field of floats is their bytes, so no number need become a Python object.
        number = messages.TensorProto.DESCRIPTOR.fields_by_name[entry.field].number
        with around(flat.nbytes):
            values = _little_endian(flat).data.cast("B")
            field = b"".join([_varint(number << 3 | 2), _varint(flat.nbytes), values])
        with around(flat.nbytes):
            proto.MergeFromString(field)
        return
    if entry.field == "half_val":  # the sixteen bits, as an integer
        flat = flat.view(np.uint16)
    field = getattr(proto, entry.field)
    for start in range(0, flat.size, _CHUNK):
        with around(_NUMBER_BYTES * _CHUNK):
            field.extend(flat[start : start + _CHUNK].tolist())


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _from_content(content: bytes, dtype: np.dtype[Any], count: int) -> Tensor:
    if len(content) != count * dtype.itemsize:
        raise ValueError(
            f"tensor_content holds {len(content)} bytes: expected {count} x {dtype.itemsize}."
        )
    flat = np.frombuffer(content, dtype.newbyteorder("<"))
    return flat.astype(dtype, copy=False)


def _strings_from_content(content: bytes, count: int, around: Around) -> Tensor:
    # All lengths as varints, then all bytes (tensorflow/core/platform/tensor_coding.cc).
    lengths: list[int] = []
    position = total = 0
    for start in range(0, count, _CHUNK):
        with around(0):
            for _ in range(start, min(start + _CHUNK, count)):
                length, position = _read_varint(content, position)
                lengths.append(length)
                total += length
    if position + total != len(content):
        raise ValueError("tensor_content is not as long as the strings it announces.")
    flat = np.empty(count, dtype=object)
    for start in range(0, count, _CHUNK):
        part = lengths[start : start + _CHUNK]
        with around(sum(part)):
            for index, length in enumerate(part, start):
                flat[index] = content[position : position + length]
                position += length
    return flat


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    """A length, and where the next one begins."""
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        if position == len(content):
            raise ValueError("tensor_content ends within the lengths of its strings.")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"A length has {_MAX_VARINT_BYTES} bytes at most.")


def _from_typed(values: Any, entry: _Type, count: int, around: Around) -> Tensor:
    if entry.numpy == _STRING:
        flat = np.empty(min(len(values), count), dtype=object)
        for start in range(0, len(flat), _CHUNK):
            with around(MAX_TENSOR_BYTES):
                end = min(start + _CHUNK, len(flat))
                flat[start:end] = values[start:end]
        fill: Any = b""
    elif entry.field == "float8_val":
        flat = np.frombuffer(values, entry.numpy)
        fill = 0
    elif entry.field == "half_val":
        flat = (
            _numbers(values, np.dtype(np.int32), count, around).astype(np.uint16).view(entry.numpy)
        )
        fill = 0
    elif entry.numpy.kind == "c":
        flat = _numbers(values, np.dtype(entry.numpy.type(0).real.dtype), 2 * count, around)
        flat = flat[: len(flat) // 2 * 2].view(entry.numpy)
        fill = 0
    else:
        # int_val is wider than int8 or uint8; TensorFlow casts, so this does.
        wide = np.dtype(np.int32) if entry.field == "int_val" else entry.numpy
        flat = _numbers(values, wide, count, around).astype(entry.numpy, copy=False)
        fill = 0
    flat = flat[:count]
    if len(flat) == count:
        return flat
    repeated = np.empty(count, entry.numpy)
    repeated[: len(flat)] = flat
    repeated[len(flat) :] = flat[-1] if len(flat) else fill
    return repeated


def _numbers(values: Any, dtype: np.dtype[Any], most: int, around: Around) -> Tensor:
    flat = np.empty(min(len(values), most), dtype)
    for start in range(0, len(flat), _CHUNK):
        end = min(start + _CHUNK, len(flat))
        with around(_NUMBER_BYTES * _CHUNK):
            flat[start:end] = values[start:end]
    return flat
