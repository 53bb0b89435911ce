"""What `serving_endurance.py fuzz` sends, and the model it sends it to.

Of six requests, five are messages or JSON that are mostly right, so that they reach the model, and
one is bytes: damaged messages, or none at all. Everything but HandleReloadConfigRequest is called,
which would do as it is told and unload the model.
"""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from hypothesis import strategies as st

from inception_serving.messages import (
    ClassificationRequest,
    GetModelMetadataRequest,
    GetModelStatusRequest,
    MultiInferenceRequest,
    PredictRequest,
    RegressionRequest,
)
from tests.serving.caller import png
from tests.serving.saved_models import Arithmetic, Colours

MODEL = "fuzzed"


class Fuzzed(tf.Module):
    """Signatures of every kind, whose graphs count their runs.

    The count comes before any op that could refuse its input: what reaches the model is counted,
    be it answered or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arithmetic, self.colours = Arithmetic(), Colours()
        self.runs = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: Any) -> dict[str, Any]:
        x = self._parse(inputs)
        classes = tf.tile([["yes", "no"]], [tf.shape(x)[0], 1])
        return {"classes": classes, "scores": tf.stack([x, 1 - x], axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs: Any) -> dict[str, Any]:
        return {"outputs": self._parse(inputs)}

    @tf.function(input_signature=[])
    def count(self) -> dict[str, Any]:
        return {"runs": self.runs.read_value()}

    def signatures(self) -> dict[str, Any]:
        """Those by which the model is called; `count`, which is not counted, says how often."""
        functions = {
            "serving_default": self.arithmetic.half_plus,
            "echo": self.arithmetic.echo,
            "two_in_two_out": self.arithmetic.two_in_two_out,
            "reshape": self.arithmetic.reshape,
            "colours": self.colours.classify,
            "classify": self.classify,
            "regress": self.regress,
        }
        counted = {name: self._counted(function) for name, function in functions.items()}
        return {**counted, "count": self.count}

    def _parse(self, inputs: Any) -> Any:
        features = {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)}
        return tf.io.parse_example(inputs, features)["x"]

    def _counted(self, function: Any) -> Any:
        @tf.function(input_signature=function.input_signature)
        def run(*inputs: Any) -> Any:
            with tf.control_dependencies([self.runs.assign_add(1)]):
                inputs = tuple(tf.identity(tensor) for tensor in inputs)
            return function(*inputs)

        return run


def save_fuzzed(path: Path) -> None:
    model = Fuzzed()
    tf.saved_model.save(model, str(path), signatures=model.signatures())


class Sent(NamedTuple):
    """A request: a gRPC method and a message's bytes, or an HTTP method, a path and a body."""

    method: str
    path: str
    content: bytes


# ---- gRPC ----

_PREDICTIONS, _MODELS = (f"/tensorflow.serving.{name}Service/" for name in ("Prediction", "Model"))
_METHODS = {
    "Predict": _PREDICTIONS,
    "Classify": _PREDICTIONS,
    "Regress": _PREDICTIONS,
    "MultiInference": _PREDICTIONS,
    "GetModelMetadata": _PREDICTIONS,
    "GetModelStatus": _MODELS,
}
PREDICT = f"{_PREDICTIONS}Predict"

_IMAGE = png(200, 0, 0)
_FLOATS = st.floats(width=32)
# Each signature, and an input that it takes, or nearly.
_INPUTS = {
    "": {"x": st.lists(_FLOATS, max_size=5)},
    "echo": {"text": st.lists(st.binary(max_size=20), max_size=4)},
    "two_in_two_out": {
        name: st.lists(_FLOATS, min_size=2, max_size=2) for name in ("a", "b")
    },
    "reshape": {
        "x": st.integers(3, 6).flatmap(
            lambda n: st.lists(_FLOATS, min_size=min(n, 4), max_size=4)
        )
    },
    "colours": {
        "image_bytes": st.lists(st.sampled_from([_IMAGE] * 9 + [b"no image"]), max_size=3)
    },
}  # fmt: skip


def _sent(method: str, request: Any) -> Sent:
    return Sent("gRPC", _METHODS[method] + method, request.SerializeToString())


@st.composite
def _predict(draw: Any) -> Sent:
    """A PredictRequest, mostly one that the model can run."""
    signature = draw(st.sampled_from(sorted(_INPUTS)))
    inputs = _INPUTS[signature]
    request = PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = signature
    for key, values in inputs.items():
        drawn = draw(values)
        proto = request.inputs[key]
        is_text = key in ("text", "image_bytes")
        proto.dtype = 7 if is_text else 1
        proto.tensor_shape.dim.add(size=len(drawn))
        (proto.string_val if is_text else proto.float_val).extend(drawn)
    wrong = draw(st.sampled_from([*range(6), *[6] * 18]))
    some = request.inputs[next(iter(inputs))]
    if wrong == 0:
        some.dtype = draw(st.integers(0, 30))
    elif wrong == 1:
        del some.tensor_shape.dim[:]
        for size in draw(st.lists(st.integers(-2, 2**40), max_size=4)):
            some.tensor_shape.dim.add(size=size)
    elif wrong == 2:
        some.tensor_content = draw(st.binary(max_size=30))
    elif wrong == 3:
        request.output_filter.extend(draw(st.lists(st.sampled_from(["y", "sum", "z"]))))
    elif wrong == 4:
        request.model_spec.version.value = draw(st.integers(-3, 3))
    elif wrong == 5:
        request.inputs[draw(st.text(max_size=5))].CopyFrom(some)
    return _sent("Predict", request)


@st.composite
def _of_examples(draw: Any) -> Sent:
    """A request with tf.Examples, mostly one that the model can run."""
    wrong = draw(st.sampled_from([*range(4), *[4] * 12]))
    method = draw(st.sampled_from(["Classify", "Regress", "MultiInference"]))
    request: Any
    if method == "MultiInference":
        request = MultiInferenceRequest()
        for kind in draw(st.sampled_from([["classify"], ["regress"], ["classify", "regress"]])):
            task = request.tasks.add(method_name=f"tensorflow/serving/{kind}")
            task.model_spec.name = MODEL
            task.model_spec.signature_name = kind
        spec = request.tasks[0].model_spec
    else:
        request = ClassificationRequest() if method == "Classify" else RegressionRequest()
        spec = request.model_spec
        spec.name, spec.signature_name = MODEL, method.lower()
    examples = request.input.example_list
    if draw(st.booleans()):
        examples = request.input.example_list_with_context
        _fill(examples.context.features.feature["y"], [draw(_FLOATS)])
    for value in draw(st.lists(_FLOATS, min_size=1, max_size=4)):
        _fill(examples.examples.add().features.feature["x"], [value])
    some = examples.examples[0].features.feature
    if wrong == 0:
        _fill(some["x"], draw(st.lists(_FLOATS, max_size=3) | st.lists(st.binary(max_size=3))))
    elif wrong == 1:
        _fill(some[draw(st.text(max_size=5))], draw(st.lists(st.integers(-(2**63), 2**63 - 1))))
    elif wrong == 2:
        spec.signature_name = draw(st.sampled_from(["", "echo", "regress", "nothing"]))
    elif wrong == 3:
        del examples.examples[:]
    return _sent(method, request)


def _fill(feature: Any, values: list[Any]) -> None:
    feature.Clear()
    kinds = {float: feature.float_list, int: feature.int64_list, bytes: feature.bytes_list}
    for value in values:
        kinds[type(value)].value.append(value)


@st.composite
def _about_the_model(draw: Any) -> Sent:
    method = draw(st.sampled_from(["GetModelMetadata", "GetModelStatus"]))
    request: Any = GetModelStatusRequest()
    if method == "GetModelMetadata":
        request = GetModelMetadataRequest()
        request.metadata_field.extend(draw(st.lists(st.sampled_from(["signature_def", "x"]))))
    request.model_spec.name = draw(st.sampled_from([MODEL, MODEL, ""]) | st.text(max_size=5))
    if draw(st.booleans()):
        request.model_spec.version.value = draw(st.integers(-3, 3))
    return _sent(method, request)


_MESSAGES = st.sampled_from([_predict] * 6 + [_of_examples] * 3 + [_about_the_model]).flatmap(
    lambda kind: kind()
)


@st.composite
def _bytes(draw: Any) -> Sent:
    """A damaged message, or bytes that never were one."""
    if draw(st.booleans()):
        sent = draw(_MESSAGES)
        data = bytearray(sent.content or b"\0")
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return sent._replace(content=bytes(data))
    method = draw(st.sampled_from(sorted(_METHODS)))
    return Sent("gRPC", _METHODS[method] + method, draw(st.binary(max_size=60)))


# ---- REST ----

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
_ROWS = st.lists(_FLOATS, min_size=1, max_size=5)
_TEXTS = st.lists(st.binary(max_size=20).map(lambda data: {"b64": b64encode(data).decode()}))


def _examples(kind: str) -> st.SearchStrategy[tuple[str, Any]]:
    bodies = _ROWS.map(
        lambda row: {"signature_name": kind, "examples": [{"x": float(x)} for x in row]}
    )
    return bodies.map(lambda body: (kind, body))


# The verb, and the document.
_DOCUMENTS = st.one_of(
    _ROWS.map(lambda row: ("predict", {"instances": row})),
    st.lists(_FLOATS, max_size=5).map(lambda row: ("predict", {"inputs": {"x": row}})),
    _ROWS.map(lambda row: ("predict", {"instances": [{"x": x} for x in row]})),
    _TEXTS.map(lambda texts: ("predict", {"signature_name": "echo", "inputs": texts})),
    _examples("classify"),
    _examples("regress"),
    _JSON.map(lambda value: ("predict", {"instances": [value]})),
)
_VERBS = ["predict", "classify", "regress"]
_BASE = f"/v1/models/{MODEL}"


@st.composite
def _json(draw: Any) -> Sent:
    verb, document = draw(_DOCUMENTS)
    return Sent("POST", f"{_BASE}:{verb}", json.dumps(document).encode())


@st.composite
def _raw(draw: Any) -> Sent:
    """A body, or a path, that nobody expects."""
    data = draw(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()))
    if draw(st.booleans()):
        return Sent("POST", f"{_BASE}:{draw(st.sampled_from(_VERBS))}", data)
    tail = draw(st.sampled_from(["", "/metadata", "/versions/1", "/labels/x", ":predict"]))
    path = "".join(f"%{byte:02x}" for byte in draw(st.binary(max_size=12)))
    return Sent(draw(st.sampled_from(["GET", "POST", "DELETE"])), f"/v1/models/{path}{tail}", data)


# ---- both ----

REQUESTS = st.sampled_from([_MESSAGES] * 3 + [_json()] * 2 + [_bytes() | _raw()]).flatmap(
    lambda kind: kind
)
