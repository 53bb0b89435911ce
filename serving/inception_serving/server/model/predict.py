"""Predict: TF Serving's checks of a request, in its order and words, and the run.

Sources: tensorflow_serving/servables/tensorflow/predict_util.cc and tensorflow's
cc/saved_model/util.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from inception_serving import errors, messages, tensors
from inception_serving.server.model.saved_model import Model
from inception_serving.server.received.in_parts import parts
from inception_serving.server.received.pauses import work_on
from inception_serving.tensors import Tensor

DEFAULT_SIGNATURE = "serving_default"

# Predict reads signatures of all three kinds.
_METHODS = (
    "tensorflow/serving/predict",
    "tensorflow/serving/classify",
    "tensorflow/serving/regress",
)


def predict(
    model: Model,
    signature_name: str,
    inputs: Mapping[str, Tensor],
    output_filter: Sequence[str],
    *,
    check_method: bool = False,
) -> dict[str, Tensor]:
    """The outputs of a signature.

    Args:
        inputs: of any shape: TF Serving leaves the check of shapes to the ops.
        output_filter: the outputs wanted; none named means all.
        check_method: refuse a signature that says it is for something else.

    Raises:
        errors.StatusError: with TF Serving's code and text.
    """
    signature = model.signatures.get(signature_name)
    if signature is None:
        raise errors.FailedPreconditionError(f'Serving signature key "{signature_name}" not found.')
    if check_method and signature.method_name not in _METHODS:
        raise errors.InvalidArgumentError(
            "Expected prediction signature method_name to be one of {"
            f"{', '.join(_METHODS)}}}. Was: {signature.method_name}"
        )
    _check_count(signature, inputs)
    feeds = _feeds(signature, inputs)
    outputs = _outputs(signature, output_filter)
    check_types(signature, feeds)
    return model.run(signature_name, feeds, outputs)


def read_protos(
    inputs: Mapping[str, Any], size: int, claim: Callable[[int], None] | None = None
) -> dict[str, Tensor]:
    """The inputs of a PredictRequest as arrays.

    Args:
        size: the bytes of the message that they came in.
        claim: told of the bytes that an array takes beyond its message, before it is made: a few
            bytes can describe gigabytes of one value.

    Raises:
        errors.InvalidArgumentError: one of them is no tensor.
    """
    feeds = {}
    around = parts(size)
    for name, proto in inputs.items():
        if proto.dtype == messages.DataType.DT_STRING and not proto.string_val:
            work_on(size)  # its content has as many strings as that, at most
        try:
            feeds[name] = tensors.from_proto(proto, claim, around)
        except ValueError as error:
            raise errors.InvalidArgumentError(f"tensor parsing error: {name}") from error
    return feeds


def _check_count(signature: Any, inputs: Mapping[str, Any]) -> None:
    sent, expected = set(inputs), set(signature.inputs)
    if len(sent) > len(expected) or (len(sent) < len(expected) and not signature.defaults):
        raise errors.InvalidArgumentError(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_braces(sent)}) != len({_braces(expected)}). "
            f"Sent extra: {_braces(sent - expected)}. "
            f"Missing but required: {_braces(expected - sent)}."
        )


def _feeds(signature: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    defaults = {name: signature.defaults[name] for name in signature.defaults if name not in inputs}
    feeds = {**inputs, **read_protos(defaults, 0)}
    for name in signature.inputs:
        if name not in feeds:
            raise errors.InvalidArgumentError(
                f"Signature input alias: {name}(feed name: {signature.inputs[name].name}) not "
                "found in request and no default value provided. Inputs expected to be in the "
                f"request {_braces(inputs)}, or default input alias set: "
                + ",".join(sorted(signature.defaults))
            )
    if inputs.keys() - signature.inputs.keys():
        raise errors.InvalidArgumentError(
            "Inputs contains invalid name. Used request inputs: "
            f"{','.join(sorted(set(inputs) & set(signature.inputs)))}, "
            f"request input: {','.join(sorted(inputs))}"
        )
    return {name: feeds[name] for name in signature.inputs}


def _outputs(signature: Any, output_filter: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    for name in output_filter:
        if name not in signature.outputs:
            raise errors.InvalidArgumentError(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {_braces(signature.outputs)}."
            )
        if name in seen:
            raise errors.InvalidArgumentError(f"duplicate output tensor alias: {name}")
        seen.add(name)
    return list(output_filter) or list(signature.outputs)


def check_types(signature: Any, feeds: Mapping[str, Tensor]) -> None:
    """Raise InvalidArgumentError if an input's dtype is not the signature's."""
    for position, (name, tensor) in enumerate(feeds.items()):
        expected, received = signature.inputs[name].dtype, tensors.data_type(tensor)
        if expected != received:
            raise type_error(position, expected, received)


def type_error(position: int, expected: int, received: int) -> errors.InvalidArgumentError:
    """The error for an input that is not of the dtype wanted, as DataType numbers."""
    return errors.InvalidArgumentError(
        f"Expects arg[{position}] to be {tensors.type_name(expected)} but "
        f"{tensors.type_name(received)} is provided"
    )


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
