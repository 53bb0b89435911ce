"""A model's signatures, read from GetModelMetadata, and inputs checked against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inception_serving import messages, tensors
from inception_serving.errors import SignatureError
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
    """A GetModelMetadataResponse, read."""
    signatures = messages.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
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
    if spec.shape is not None:
        fits = len(spec.shape) == tensor.ndim and all(
            size in (None, given) for size, given in zip(spec.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise SignatureError(f"{where} takes {spec}: received the shape {list(tensor.shape)}.")
    return tensor


def _spec(info: Any) -> TensorSpec:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(int(info.dtype), shape)


def _show(specs: Mapping[str, TensorSpec]) -> str:
    return "(" + ", ".join(f"{name}: {spec}" for name, spec in specs.items()) + ")"
