"""A model's signatures, read from GetModelMetadata, and inputs checked against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from inception_serving import messages, tensors
from inception_serving.errors import AnswerError, SignatureError
from inception_serving.tensors import Tensor

# Listed among a TensorFlow 2 model's signatures, and not one that answers.
_INIT_OP = "__saved_model_init_op"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output.

    Attributes:
        data_type: TensorFlow's DataType number.
        shape: one size a dimension, None where any will do; None if not even the rank is known.
    """

    data_type: int
    shape: tuple[int | None, ...] | None

    @property
    def dtype(self) -> str:
        """TensorFlow's name of the type, such as "float" or "string"."""
        return tensors.type_name(self.data_type)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} [{sizes}]"


@dataclass(frozen=True)
class Signature:
    """One function of a model: its inputs and outputs by name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    optional: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{_show(self.inputs)} -> {_show(self.outputs)}"


@dataclass(frozen=True)
class ModelMetadata:
    """What a model version offers."""

    name: str
    version: int
    signatures: Mapping[str, Signature]

    def signature(self, name: str) -> Signature:
        """One of the signatures.

        Raises:
            SignatureError: there is none of this name.
        """
        if name not in self.signatures:
            raise SignatureError(
                f"Model {self.name!r} (version {self.version}) has no signature {name!r}: "
                f"expected one of {', '.join(sorted(self.signatures)) or 'none at all'}."
            )
        return self.signatures[name]


def from_response(response: Any) -> ModelMetadata:
    """A GetModelMetadataResponse, read.

    Raises:
        AnswerError: it holds no signatures.
    """
    signatures = messages.SignatureDefMap()
    field = "signature_def"
    try:
        found = field in response.metadata and response.metadata[field].Unpack(signatures)
    except DecodeError:
        found = False
    if not found:
        raise AnswerError("The server answered no signatures when asked for the model's metadata.")
    return ModelMetadata(
        response.model_spec.name,
        response.model_spec.version.value,
        {
            name: Signature(
                {key: _spec(info) for key, info in sorted(signature.inputs.items())},
                {key: _spec(info) for key, info in sorted(signature.outputs.items())},
                frozenset(signature.defaults),
            )
            for name, signature in sorted(signatures.signature_def.items())
            if name != _INIT_OP
        },
    )


def check_inputs(where: str, signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The inputs as arrays of the signature's dtypes and shapes.

    Lists and numbers take the dtype that the signature wants; an array must have it already.

    Args:
        where: how to call the signature in a message.

    Raises:
        SignatureError: a name, dtype or shape does not fit.
    """
    if not isinstance(inputs, Mapping) or not all(isinstance(name, str) for name in inputs):
        received = list(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise SignatureError(
            f"{where} takes a mapping of names to arrays, {_show(signature.inputs)}: received"
            f" {received}."
        )
    extra = sorted(set(inputs) - set(signature.inputs))
    missing = sorted(set(signature.inputs) - signature.optional - set(inputs))
    if extra or missing:
        raise SignatureError(
            f"{where} takes {_show(signature.inputs)}: received {sorted(inputs)}"
            + (f"; not an input: {', '.join(extra)}" if extra else "")
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + "."
        )
    return {
        name: _check_input(f"{where}, input {name!r}", signature.inputs[name], value)
        for name, value in inputs.items()
    }


def check_outputs(where: str, signature: Signature, outputs: list[str]) -> None:
    """Raise SignatureError if one of the outputs asked for is not there, or is there twice."""
    for name in outputs:
        if name not in signature.outputs:
            raise SignatureError(f"{where} gives {_show(signature.outputs)}: asked for {name!r}.")
    if len(set(outputs)) != len(outputs):
        raise SignatureError(f"Each output can be asked for once: received {outputs}.")


def read_outputs(
    response: Any, wanted: Mapping[str, TensorSpec], limit: int, *, typed: bool
) -> dict[str, Tensor]:
    """The tensors of a PredictResponse.

    Args:
        wanted: what the signature says of each output that was asked for.
        limit: bytes of memory that all of them may take; a few bytes can describe gigabytes.
        typed: check dtypes and shapes; not where another version than the known one answered.

    Raises:
        AnswerError: an output is missing, is no tensor, is too large, or is not what the
            signature says.
    """
    missing = sorted(set(wanted) - set(response.outputs))
    if missing:
        raise AnswerError(
            f"The server answered {sorted(response.outputs)}: missing {', '.join(missing)}."
        )
    found: dict[str, Tensor] = {}
    left = limit
    for name, spec in wanted.items():
        proto = response.outputs[name]
        try:
            left -= tensors.unpacked_size(proto)
            if left < 0:
                raise AnswerError(
                    f"The server answered tensors of more than {limit} bytes "
                    "(answer_bytes of the client's limits)."
                )
            tensor = tensors.from_proto(proto)
        except ValueError as error:
            raise AnswerError(f"The server answered {name!r} as no tensor: {error}") from error
        if typed and not (proto.dtype == spec.data_type and _fits(spec, tensor)):
            answered = TensorSpec(int(proto.dtype), tensor.shape)
            raise AnswerError(f"Output {name!r} is {spec}: the server answered {answered}.")
        found[name] = tensor
    return found


def _fits(spec: TensorSpec, tensor: Tensor) -> bool:
    """Whether a tensor has a shape that the specification allows."""
    return spec.shape is None or (
        len(spec.shape) == tensor.ndim
        and all(size in (None, given) for size, given in zip(spec.shape, tensor.shape, strict=True))
    )


def _check_input(where: str, spec: TensorSpec, value: Any) -> Tensor:
    try:
        expected = tensors.numpy_dtype(spec.data_type)
    except ValueError as error:
        raise SignatureError(f"{where}: {error}") from error
    is_string = expected == np.dtype(object)
    try:
        if is_string:
            tensor = tensors.string_tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            tensor = np.asarray(value)
        else:
            tensor = np.asarray(value, dtype=expected)
    except (ValueError, TypeError, OverflowError) as error:
        raise SignatureError(f"{where} takes {spec}: {error}.") from error
    if tensor.dtype != expected:
        raise SignatureError(
            f"{where} takes {spec}: received {tensor.dtype} {list(tensor.shape)} (convert it with "
            f".astype({str(expected)!r}))."
        )
    if not _fits(spec, tensor):
        raise SignatureError(f"{where} takes {spec}: received the shape {list(tensor.shape)}.")
    return tensor


def _spec(info: Any) -> TensorSpec:
    shape = None
    # A scalar's shape is there and empty; one that is not there says nothing.
    if info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(int(info.dtype), shape)


def _show(specs: Mapping[str, TensorSpec]) -> str:
    return "(" + ", ".join(f"{name}: {spec}" for name, spec in specs.items()) + ")"
