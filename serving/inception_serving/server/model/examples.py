"""Classify, Regress and MultiInference: lists of tf.Example in, classes and values out.

Sources, below tensorflow_serving/servables/tensorflow/: classifier.cc, regressor.cc,
multi_inference.cc, util.cc, for the checks, their order and their words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from inception_serving import errors, messages, tensors
from inception_serving.server.budget import claim_answer
from inception_serving.server.model.predict import DEFAULT_SIGNATURE, check_types, type_error
from inception_serving.server.model.saved_model import Model
from inception_serving.server.received.in_parts import parts
from inception_serving.server.received.pauses import let_others_run, work_on
from inception_serving.tensors import Tensor

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_INPUTS = "inputs"
_ENTRY_BYTES = 64  # of a class or a value in an answer, beside its label
_MADE_AT_ONCE = 1 << 8  # of these, in half a millisecond

Claim = Callable[[int], None]  # takes bytes from what the server may hold, or raises
_Write = Callable[[Any, Mapping[str, Tensor], int], None]  # a result, outputs, how many examples


def classify(
    model: Model,
    signature_name: str,
    examples: Any,
    result: Any,
    *,
    check_method: bool = False,
    claim: Claim | None = None,
) -> None:
    """Fill a ClassificationResult.

    Args:
        signature_name: "" for the default one.
        examples: the request's `Input`.
        result: an empty one, where it is wanted: to copy a large one takes long.
        check_method: refuse a signature that does not say it is one for classifying.
        claim: told of the bytes that the examples take beyond their message, before they do (each
            has the context before it), and of those of an answer before it is made.

    Raises:
        errors.StatusError: with TF Serving's code and text.
    """
    signature, name = _find(model, signature_name)
    outputs = _classify_outputs(signature, check_method)
    _write_classifications(result, *_run(model, name, signature, examples, outputs, claim))


def regress(
    model: Model,
    signature_name: str,
    examples: Any,
    result: Any,
    *,
    check_method: bool = False,
    claim: Claim | None = None,
) -> None:
    """Fill a RegressionResult; see `classify`."""
    signature, name = _find(model, signature_name)
    outputs = _regress_outputs(signature, check_method)
    _write_regressions(result, *_run(model, name, signature, examples, outputs, claim))


def infer_all(
    model: Model,
    version: int,
    request: Any,
    *,
    check_method: bool = False,
    claim: Claim | None = None,
) -> Any:
    """A MultiInferenceResponse: several signatures of one model on the same examples.

    They are run as one, each fed the examples; see `classify`.

    Raises:
        errors.StatusError: with TF Serving's code and text.
    """
    model_name = ""
    outputs: dict[str, list[str]] = {}
    for task in request.tasks:
        if not task.model_spec.name:
            raise errors.InvalidArgumentError("Found ModelSpec with an empty model name.")
        model_name = model_name or task.model_spec.name
        if task.model_spec.name != model_name:
            raise errors.InvalidArgumentError(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in outputs:
            raise errors.InvalidArgumentError(f"Duplicate evaluation of signature: {name}")
        if name not in model.signatures:
            raise errors.InvalidArgumentError(
                f"Requested signature not found in model graph: {name}"
            )
        if task.method_name not in _METHODS:
            raise errors.UnimplementedError(
                f"Unsupported signature method_name: {task.method_name}"
            )
        outputs[name] = _METHODS[task.method_name][0](model.signatures[name], check_method)
    serialized = _serialize(request.input, claim)
    _check_inputs([model.signatures[name].inputs[_INPUTS] for name in outputs])
    found = model.run_together(outputs, _INPUTS, serialized)
    claim_answer(claim, sum(map(_answer_size, found.values())))
    response = messages.MultiInferenceResponse()
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        result = response.results.add()
        result.model_spec.name = task.model_spec.name
        result.model_spec.signature_name = name
        result.model_spec.version.value = version
        is_classified = task.method_name == CLASSIFY
        filled = result.classification_result if is_classified else result.regression_result
        filled.SetInParent()
        _METHODS[task.method_name][1](filled, found[name], len(serialized))
    return response


def _check_inputs(infos: Sequence[Any]) -> None:
    """Refuse serialized examples for inputs that take something else, each of them named once."""
    types = {info.name: info.dtype for info in infos}
    for position, name in enumerate(sorted(types)):
        if types[name] != messages.DataType.DT_STRING:
            raise type_error(position, types[name], messages.DataType.DT_STRING)


def count_examples(examples: Any) -> int:
    """How many examples an `Input` holds."""
    kind = examples.WhichOneof("kind")
    return len(getattr(examples, kind).examples) if kind else 0


def _find(model: Model, signature_name: str) -> tuple[Any, str]:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise errors.InvalidArgumentError(f"No signature was found with the name: {name}")
    return model.signatures[name], name


def _classify_outputs(signature: Any, check_method: bool) -> list[str]:
    _check_method(signature, CLASSIFY, "classification", check_method)
    _check_one_input(signature)
    if len(signature.outputs) not in (1, 2):
        raise errors.InvalidArgumentError(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if _INPUTS not in signature.inputs:
        raise errors.InvalidArgumentError(
            f"No classification inputs found in SignatureDef: {signature}"
        )
    outputs = [name for name in ("classes", "scores") if name in signature.outputs]
    if not outputs:
        raise errors.InvalidArgumentError(
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {signature}'
        )
    return outputs


def _regress_outputs(signature: Any, check_method: bool) -> list[str]:
    _check_method(signature, REGRESS, "regression", check_method)
    _check_one_input(signature)
    if len(signature.outputs) != 1:
        raise errors.InvalidArgumentError("Expected one output Tensor.")
    for kind, tensor_infos in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if kind not in tensor_infos:
            raise errors.InvalidArgumentError(
                f"No regression {kind} found in SignatureDef: {signature}"
            )
    return ["outputs"]


def _check_method(signature: Any, expected: str, kind: str, check: bool) -> None:
    if check and signature.method_name != expected:
        raise errors.InvalidArgumentError(
            f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}"
        )


def _check_one_input(signature: Any) -> None:
    if len(signature.inputs) != 1:
        raise errors.InvalidArgumentError("Expected one input Tensor.")


def _run(
    model: Model,
    signature_name: str,
    signature: Any,
    examples: Any,
    outputs: Sequence[str],
    claim: Claim | None,
) -> tuple[Mapping[str, Tensor], int]:
    serialized = _serialize(examples, claim)
    feeds = {_INPUTS: serialized}
    check_types(signature, feeds)
    found = model.run(signature_name, feeds, outputs)
    claim_answer(claim, _answer_size(found))
    return found, len(serialized)


def _answer_size(outputs: Mapping[str, Tensor]) -> int:
    """The bytes of a message, or text, that has a class or a value for each of the outputs'."""
    strings = [each for each in outputs.values() if each.dtype == object]
    labels = sum(tensors.text_bytes(each, parts(0)) for each in strings)
    return _ENTRY_BYTES * max(each.size for each in outputs.values()) + 2 * labels


def _serialize(examples: Any, claim: Claim | None) -> Tensor:
    """Each example as bytes, after those of the context where there is one."""
    if count_examples(examples) == 0:
        raise errors.InvalidArgumentError("Input is empty.")
    chosen = getattr(examples, examples.WhichOneof("kind"))
    context = b""
    if examples.WhichOneof("kind") == "example_list_with_context":
        context = chosen.context.SerializeToString()
        if claim is not None:
            claim(len(context) * len(chosen.examples))
    serialized = np.empty(len(chosen.examples), dtype=object)
    for start in range(0, len(serialized), _MADE_AT_ONCE):
        if start:
            let_others_run()
        part = chosen.examples[start : start + _MADE_AT_ONCE]
        serialized[start : start + len(part)] = [
            context + example.SerializeToString() for example in part
        ]
    return serialized


def _write_classifications(result: Any, outputs: Mapping[str, Tensor], count: int) -> None:
    for name, dtype in (("classes", "DT_STRING"), ("scores", "DT_FLOAT")):
        if name not in outputs:
            continue
        tensor = outputs[name]
        if tensor.ndim != 2:
            raise errors.InvalidArgumentError(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(tensor)}"
            )
        if _dtype(tensor) != dtype:
            raise errors.InvalidArgumentError(
                f"Expected {name} Tensor of {dtype}. Got: {_dtype(tensor)}"
            )
        if len(tensor) != count:
            raise errors.InvalidArgumentError(
                f"Expected {name} output batch size of {count}. Got: {len(tensor)}"
            )
    classes, scores = outputs.get("classes"), outputs.get("scores")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise errors.InvalidArgumentError(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    width = next(iter(outputs.values())).shape[1]
    work_on(count * (1 + width))
    made = 0
    for row in range(count):
        entry = result.classifications.add()
        made = _pause_after(made + 1)
        for column in range(width):
            one = entry.classes.add()
            if classes is not None:
                one.label = _text(classes[row, column])
            if scores is not None:
                one.score = scores[row, column]
            made = _pause_after(made + 1)


def _write_regressions(result: Any, outputs: Mapping[str, Tensor], count: int) -> None:
    tensor = outputs["outputs"]
    if not (tensor.ndim == 1 or (tensor.ndim == 2 and tensor.shape[1] == 1)):
        raise errors.InvalidArgumentError(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            + _shape(tensor)
        )
    if len(tensor) != count:
        raise errors.InvalidArgumentError(
            f"Input batch size did not match output batch size: {count} vs. {len(tensor)}"
        )
    if _dtype(tensor) != "DT_FLOAT":
        raise errors.InvalidArgumentError(
            f"Expected output Tensor of DT_FLOAT.  Got: {_dtype(tensor)}"
        )
    work_on(count)
    for place, value in enumerate(tensor.ravel().tolist(), 1):
        result.regressions.add(value=value)
        _pause_after(place)


def _pause_after(made: int) -> int:
    """Let others run where so many classes or values are the end of a part; how many they are."""
    if made % _MADE_AT_ONCE == 0:
        let_others_run()
    return made


_METHODS: dict[str, tuple[Callable[[Any, bool], list[str]], _Write]] = {
    CLASSIFY: (_classify_outputs, _write_classifications),
    REGRESS: (_regress_outputs, _write_regressions),
}


def _dtype(tensor: Tensor) -> str:
    return f"DT_{tensors.type_name(tensors.data_type(tensor)).upper()}"


def _shape(tensor: Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


def _text(label: bytes) -> str:
    return label.decode(errors="replace")  # protobuf's strings are UTF-8
