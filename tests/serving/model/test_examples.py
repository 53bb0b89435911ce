"""Classify, Regress and MultiInference, over gRPC and REST (row 61).

Sources, below tensorflow_serving/: servables/tensorflow/classifier.cc, regressor.cc,
multi_inference.cc, util.cc; util/json_tensor.cc.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from inception_serving import ModelServer, ServerStartError, messages
from inception_serving.server.model import examples as server_examples
from tests.serving.caller import Caller
from tests.serving.saved_models import publish


def example(x: float | None = None) -> tf.train.Example:
    result = tf.train.Example()
    if x is not None:
        result.features.feature["x"].float_list.value.append(x)
    return result


def examples(*xs: float) -> input_pb2.Input:
    items = [example(x) for x in xs]
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=items))


def classification(signature: str = "", *xs: float) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest(input=examples(*(xs or (0.25,))))
    request.model_spec.name = "scorer"
    request.model_spec.signature_name = signature
    return request


def regression(signature: str, *xs: float) -> regression_pb2.RegressionRequest:
    request = regression_pb2.RegressionRequest(input=examples(*(xs or (0.25,))))
    request.model_spec.name = "scorer"
    request.model_spec.signature_name = signature
    return request


def multi(*tasks: tuple[str, str], name: str = "scorer") -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest(input=examples(0.25, 0.5))
    for signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = name
        task.model_spec.signature_name = signature
    return request


def pairs(result: Any) -> list[list[tuple[str, float]]]:
    return [[(one.label, one.score) for one in entry.classes] for entry in result.classifications]


class TestClassify:
    def test_classes_and_scores(self, caller: Caller) -> None:
        response = caller.predictions.Classify(classification("", 0.25, 1), timeout=20)

        assert pairs(response.result) == [
            [("yes", 0.25), ("no", 0.75)],
            [("yes", 1.0), ("no", 0.0)],
        ]
        assert response.model_spec.name == "scorer"
        assert response.model_spec.signature_name == "serving_default"
        assert response.model_spec.version.value == 3

    def test_either_alone(self, caller: Caller) -> None:
        classes = caller.predictions.Classify(classification("classes_only"), timeout=20)
        scores = caller.predictions.Classify(classification("scores_only"), timeout=20)

        assert pairs(classes.result) == [[("yes", 0.0), ("no", 0.0)]]
        assert pairs(scores.result) == [[("", 0.25), ("", 0.75)]]

    def test_a_context_is_part_of_every_example(self, caller: Caller) -> None:
        """util.cc: its bytes come before each example's."""
        request = classification("scores_only")
        request.input.example_list_with_context.context.CopyFrom(example(0.25))
        request.input.example_list_with_context.examples.extend([example(), example(1)])

        response = caller.predictions.Classify(request, timeout=20)

        assert [entry[0][1] for entry in pairs(response.result)] == [0.25, 1.0]

    def test_a_context_counts_as_often_as_it_is_there(self, caller: Caller) -> None:
        request = classification("scores_only")
        context = request.input.example_list_with_context.context
        context.features.feature["text"].bytes_list.value.append(bytes(1 << 20))
        request.input.example_list_with_context.examples.extend([example(1)] * 100)
        tasks = multi(("scores_only", "classify"))
        tasks.input.CopyFrom(request.input)

        for call in (
            lambda: caller.predictions.Classify(request, timeout=20),
            lambda: caller.predictions.MultiInference(tasks, timeout=20),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    @pytest.mark.parametrize(
        ("signature", "code", "text"),
        [
            ("nope", "INVALID_ARGUMENT", "No signature was found with the name: nope"),
            ("two_inputs", "INVALID_ARGUMENT", "Expected one input Tensor."),
            ("three_outputs", "INVALID_ARGUMENT", "Expected one or two output Tensors, found 3"),
            (
                "wrong_input",
                "INVALID_ARGUMENT",
                "No classification inputs found in SignatureDef: inputs {",
            ),
            (
                "no_scores",
                "INVALID_ARGUMENT",
                "Expected classification signature outputs to contain at least one of "
                '"classes" or "scores". Signature was: inputs {',
            ),
            (
                "flat_scores",
                "INVALID_ARGUMENT",
                "Expected Tensor shape: [batch_size num_classes] but got [1]",
            ),
        ],
    )
    def test_signatures_that_do_not_classify(
        self, caller: Caller, signature: str, code: str, text: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            caller.predictions.Classify(classification(signature), timeout=20)

        assert caught.value.code().name == code
        assert caught.value.details().startswith(text)

    def test_requests_that_say_too_little(self, caller: Caller) -> None:
        empty = classification()
        empty.input.Clear()
        without_spec = classification()
        without_spec.ClearField("model_spec")
        found = []
        for request in (empty, without_spec):
            with pytest.raises(grpc.RpcError) as caught:
                caller.predictions.Classify(request, timeout=20)
            found.append((caught.value.code().name, caught.value.details()))

        assert found == [
            ("INVALID_ARGUMENT", "Input is empty."),
            ("INVALID_ARGUMENT", "Missing ModelSpec"),
        ]

    def test_a_signature_for_tensors(self, caller: Caller) -> None:
        """Only what `inputs` is decides: `arithmetic` calls its input `x`."""
        request = classification()
        request.model_spec.name = "arithmetic"

        with pytest.raises(grpc.RpcError) as caught:
            caller.predictions.Classify(request, timeout=20)

        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    def test_the_method_name_is_checked_on_demand(self, base: Path) -> None:
        """--enable_signature_method_name_check."""
        with ModelServer(base / "scorer", check_method=True) as server:
            caller = Caller(server.address)
            with caller.channel:
                caller.predictions.Classify(classification(), timeout=20)
                with pytest.raises(grpc.RpcError) as caught:
                    caller.predictions.Classify(classification("regress"), timeout=20)

        assert caught.value.details() == (
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/regress"
        )


class TestRegress:
    @pytest.mark.parametrize(
        ("signature", "values"), [("regress", [1, 2]), ("regress_flat", [2, 4])]
    )
    def test_values(self, caller: Caller, signature: str, values: list[float]) -> None:
        """Of the shape [batch] or [batch, 1]."""
        response = caller.predictions.Regress(regression(signature, 1, 2), timeout=20)

        assert [entry.value for entry in response.result.regressions] == values
        assert response.model_spec.signature_name == signature
        assert response.model_spec.version.value == 3

    @pytest.mark.parametrize(
        ("signature", "code", "text"),
        [
            ("nope", "INVALID_ARGUMENT", "No signature was found with the name: nope"),
            ("", "INVALID_ARGUMENT", "Expected one output Tensor."),
            (
                "regress_wide",
                "INVALID_ARGUMENT",
                "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but "
                "got [1,2]",
            ),
            (
                "regress_wrong_output",
                "INVALID_ARGUMENT",
                "No regression outputs found in SignatureDef: inputs {",
            ),
        ],
    )
    def test_signatures_that_do_not_regress(
        self, caller: Caller, signature: str, code: str, text: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            caller.predictions.Regress(regression(signature), timeout=20)

        assert caught.value.code().name == code
        assert caught.value.details().startswith(text)


class TestMultiInference:
    def test_several_signatures(self, caller: Caller) -> None:
        request = multi(("", "classify"), ("regress", "regress"))

        response = caller.predictions.MultiInference(request, timeout=20)

        first, second = response.results
        assert pairs(first.classification_result)[0] == [("yes", 0.25), ("no", 0.75)]
        assert [entry.value for entry in second.regression_result.regressions] == [0.25, 0.5]
        assert first.model_spec.signature_name == "serving_default"
        assert second.model_spec.version.value == 3

    @pytest.mark.parametrize(
        ("request_", "code", "text"),
        [
            (
                multi(("", "classify"), ("serving_default", "classify")),
                "INVALID_ARGUMENT",
                "Duplicate evaluation of signature: serving_default",
            ),
            (
                multi(("regress", "predict")),
                "UNIMPLEMENTED",
                "Unsupported signature method_name: tensorflow/serving/predict",
            ),
            (
                multi(("nope", "classify")),
                "INVALID_ARGUMENT",
                "Requested signature not found in model graph: nope",
            ),
            (
                multi(("regress", "regress"), ("other_input", "regress")),  # both are fed
                "INVALID_ARGUMENT",
                "StringToNumberOp could not correctly convert string: "
                "\n\x0f\n\r\n\x01x\x12\x08\x12\x06\n\x04\n\t [[{{node StringToNumber}}]]",
            ),
            (multi(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
            (
                multi(("", "classify"), name="nope"),
                "NOT_FOUND",
                "Servable not found for request: Latest(nope)",
            ),
        ],
    )
    def test_errors(self, caller: Caller, request_: Any, code: str, text: str) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            caller.predictions.MultiInference(request_, timeout=20)

        assert (caught.value.code().name, caught.value.details()) == (code, text)

    def test_one_model_only(self, caller: Caller) -> None:
        request = multi(("", "classify"), ("regress", "regress"))
        request.tasks[1].model_spec.name = "arithmetic"

        with pytest.raises(grpc.RpcError) as caught:
            caller.predictions.MultiInference(request, timeout=20)

        assert caught.value.details() == (
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        )


@pytest.mark.parametrize(("rows", "width"), [(40_000, 1), (1, 40_000), (40_000, 0)])
def test_others_run_while_an_answer_is_made(
    rows: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(server_examples, "let_others_run", lambda: pauses.append(None))
    scores = np.zeros([rows, width], np.float32)
    result = messages.ClassificationResult()
    server_examples._write_classifications(result, {"scores": scores}, rows)
    assert [len(row.classes) for row in result.classifications] == [width] * rows
    assert 150 < len(pauses) < 1000
    pauses.clear()
    values = np.zeros(40_000, np.float32)
    server_examples._write_regressions(messages.RegressionResult(), {"outputs": values}, 40_000)
    assert 150 < len(pauses) < 1000


def test_others_run_while_examples_are_serialized(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[None] = []
    monkeypatch.setattr(server_examples, "let_others_run", lambda: pauses.append(None))
    given = examples(*map(float, range(10_000)))
    serialized = server_examples._serialize(given, None)

    assert serialized.tolist() == [each.SerializeToString() for each in given.example_list.examples]
    assert len(pauses) > 30


class TestRest:
    def post(self, server: ModelServer, method: str, body: Any) -> tuple[int, Any]:
        url = f"{server.rest_address}/v1/models/scorer:{method}"
        response = httpx.post(url, json=body, timeout=20)
        return response.status_code, response.json()

    def test_classify(self, server: ModelServer) -> None:
        """http_rest_api_handler.cc, ProcessClassifyRequest: the key is `results`."""
        body = {"examples": [{"x": 0.1}, {"x": [1.0]}]}

        assert self.post(server, "classify", body) == (
            200,
            {"results": [[["yes", 0.1], ["no", 0.9]], [["yes", 1.0], ["no", 0.0]]]},
        )

    def test_bytes_that_are_no_example(self, server: ModelServer) -> None:
        """TensorFlow's error quotes them, and they are no UTF-8."""
        body = {"instances": [{"b64": base64.b64encode(b"\xff\xfe\x80j").decode()}]}

        status, answer = self.post(server, "predict", body)

        told = "Could not parse example input, value: '\\xff\\xfe\\x80j'\n"
        assert (status, answer["error"][: len(told)]) == (400, told)

    def test_regress(self, server: ModelServer) -> None:
        body = {
            "signature_name": "regress",
            "context": {"x": 0.5},
            "examples": [{}, {"x": 0.25, "note": ["a", {"b64": base64.b64encode(b"b").decode()}]}],
        }

        assert self.post(server, "regress", body) == (200, {"results": [0.5, 0.25]})

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (
                {"instances": [1]},
                "When method is classify, key 'examples' is expected and was not found",
            ),
            ({"examples": 1}, "Expecting 'examples' value to be an list/array"),
            ({"examples": []}, "'examples' value is an empty array"),
            ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
            (
                {"examples": [{"x": None}]},
                "Feature: x has element with unexpected JSON type: Null",
            ),
            (
                {"examples": [{"x": [[1]]}]},
                "Feature: x has element with unexpected JSON type: Array",
            ),
            (
                {"examples": [{"x": [1, 2.5]}]},
                "Unexpected element type in feature: x expecting type: int64",
            ),
            (
                {"examples": [{"x": ["a", True]}]},
                "Unexpected element type in feature: x expecting type: bytes",
            ),
            (
                {"examples": [{"x": 2**63}]},
                "Feature: x has uint64_t element. Only int64_t is supported.",
            ),
            ({"examples": [{"x": {"b64": "?"}}]}, "Unable to base64 decode"),
            ({"examples": [{"x": 1}], "signature_name": "nope"}, "No signature was found with"),
            (
                {"examples": [{"x": 1}]},  # an int64_list, where the model reads floats
                "Key: x, Index: 0.  Data types don't match.",
            ),
        ],
    )
    def test_errors(self, server: ModelServer, body: Any, text: str) -> None:
        """json_tensor.cc, FillClassifyRegressRequestFromJson."""
        status, answer = self.post(server, "classify", body)

        assert status == 400
        assert text in answer["error"]
        assert "Detected at node" not in answer["error"]

    @pytest.mark.parametrize("method", ["classify", "regress"])
    @pytest.mark.parametrize(
        ("sent", "name"),
        [(b"\xff", b"\xff"), (b"\\udc00", b"\xed\xb0\x80"), (b"n" * 70_000, b"nnn")],
    )
    def test_a_signature_whose_name_no_message_holds(
        self, server: ModelServer, method: str, sent: bytes, name: bytes
    ) -> None:
        """The model and the examples are looked at first."""
        for model, examples, text in (
            ("scorer", b'[{"x":1}]', b"No signature was found with the name: " + name),
            ("scorer", b"[1]", b"Example must be JSON object"),
            ("nope", b'[{"x":1}]', b"Servable not found for request: Latest(nope)"),
        ):
            url = f"{server.rest_address}/v1/models/{model}:{method}"
            body = b'{"signature_name":"' + sent + b'","examples":' + examples + b"}"
            response = httpx.post(url, content=body, timeout=20)
            assert response.status_code == (400 if model == "scorer" else 404)
            assert text in response.content

    def test_numbers_are_quoted_with_rapidjsons_digits(self, server: ModelServer) -> None:
        status, answer = self.post(server, "classify", {"examples": 1e-45})

        assert status == 400
        assert '"examples": 1.0000000000000002e-45' in answer["error"]


class TestWarmUp:
    def write(self, version: Path, *logs: prediction_log_pb2.PredictionLog) -> None:
        file = version / "assets.extra" / "tf_serving_warmup_requests"
        file.parent.mkdir()
        with tf.io.TFRecordWriter(str(file)) as writer:
            for log in logs:
                writer.write(log.SerializeToString())

    def logs(self, signature: str) -> list[prediction_log_pb2.PredictionLog]:
        log = prediction_log_pb2
        return [
            log.PredictionLog(classify_log=log.ClassifyLog(request=classification(signature))),
            log.PredictionLog(regress_log=log.RegressLog(request=regression("regress"))),
            log.PredictionLog(
                multi_inference_log=log.MultiInferenceLog(request=multi((signature, "classify")))
            ),
        ]

    def test_every_kind_runs(self, saved_models: Path, tmp_path: Path) -> None:
        """Row 53: servables/tensorflow/saved_model_warmup.cc."""
        publish(saved_models / "scorer", tmp_path / "scorer" / "1")
        self.write(tmp_path / "scorer" / "1", *self.logs(""))

        with ModelServer(tmp_path / "scorer", warmup_iterations=2) as server:
            assert server.models == {"scorer": 1}

    @pytest.mark.parametrize("which", [0, 2])
    def test_one_that_fails_fails_the_load(
        self, saved_models: Path, tmp_path: Path, which: int
    ) -> None:
        publish(saved_models / "scorer", tmp_path / "scorer" / "1")
        self.write(tmp_path / "scorer" / "1", self.logs("nope")[which])

        with pytest.raises(ServerStartError, match="signature"):
            ModelServer(tmp_path / "scorer").start()
