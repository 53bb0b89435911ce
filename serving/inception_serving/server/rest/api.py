"""TF Serving's HTTP API: a method, a path and a body in, a response out.

Sources: model_servers/http_rest_api_handler.cc and http_rest_api_util.cc.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format

from inception_serving import errors, messages
from inception_serving.server.core import Call, Core
from inception_serving.server.model.predict import DEFAULT_SIGNATURE
from inception_serving.server.model.saved_model import Model
from inception_serving.server.rest import example_json, json_values, tensor_json
from inception_serving.server.rest.http import Response
from inception_serving.tensors import Tensor

_log = logging.getLogger(__name__)

# model_servers/http_rest_api_util.cc
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I
)
_STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I)

_MAX_INT64 = 2**63 - 1


class RestApi:
    """A core's answers in JSON, to requests below /v1/."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def answer(self, method: str, path: str, body: bytes, call: Call) -> Response:
        """Any request; whatever goes wrong is an answer too.

        Args:
            path: as it was sent, since a name may hold an escaped slash.
        """
        try:
            return self._dispatch(method, path, body, call)
        except errors.StatusError as error:
            return error_response(error)
        except Exception as error:
            _log.exception("A request failed.")
            return error_response(errors.InternalError(f"{type(error).__name__}: {error}"))

    def _dispatch(self, method: str, path: str, body: bytes, call: Call) -> Response:
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            document = json_values.parse(body)
            content = self._infer(match["method"].lower(), _spec(match), document, call)
            return Response(200, content)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            if match["name"] is None:
                raise errors.InvalidArgumentError("Missing model name in request.")
            if match["metadata"]:
                return self._metadata(_spec(match))
            return json_response(200, _to_dict(self._core.status(_spec(match))))
        raise errors.InvalidArgumentError(f"Malformed request: {method} {path}")

    def _infer(self, method: str, spec: Any, document: dict[str, Any], call: Call) -> bytes:
        spec.signature_name = json_values.signature_name(document)
        if method == "predict":
            return self._predict(spec, document, call)
        examples = example_json.read_examples(document)
        if method == "classify":
            response = self._core.classify(spec, examples, call=call)
            return example_json.write_classifications(response.result)
        response = self._core.regress(spec, examples, call=call)
        return example_json.write_regressions(response.result)

    def _predict(self, spec: Any, document: dict[str, Any], call: Call) -> bytes:
        def read_inputs(model: Model) -> dict[str, Tensor]:
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name not in model.signatures:
                raise errors.InvalidArgumentError(
                    f'Serving signature name: "{name}" not found in signature def'
                )
            if not model.signatures[name].inputs:
                raise errors.InvalidArgumentError(
                    f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}"
                )
            return tensor_json.read_inputs(document, model.signatures[name])

        answer = self._core.predict(spec, read_inputs, call=call)
        row_format = tensor_json.is_row_format(document)
        return tensor_json.write_outputs(answer.outputs, row_format=row_format)

    def _metadata(self, spec: Any) -> Response:
        response = self._core.metadata(spec, ["signature_def"])
        signatures = messages.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return json_response(
            200,
            {
                "model_spec": _to_dict(response.model_spec),
                "metadata": {"signature_def": _to_dict(signatures)},
            },
        )


def _spec(match: re.Match[str]) -> Any:
    spec = messages.ModelSpec(name=unquote(match["name"]))
    if match["version"] is not None:
        # Thousands of digits would take Python long to read.
        if len(match["version"].lstrip("0")) > 19 or int(match["version"]) > _MAX_INT64:
            raise errors.InvalidArgumentError(
                f"Failed to convert version: {match['version']} to numeric."
            )
        spec.version.value = int(match["version"])
    elif match["label"] is not None:
        spec.version_label = unquote(match["label"])
    return spec


def _to_dict(message: Any) -> dict[str, Any]:
    return dict(
        json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    )


def error_response(error: errors.StatusError) -> Response:
    """A status as HTTP's, with its text."""
    return json_response(errors.HTTP_STATUSES[type(error)], {"error": str(error)})


def json_response(status: int, document: dict[str, Any]) -> Response:
    """A document, laid out for a reader as TF Serving does."""
    return Response(status, json.dumps(document, ensure_ascii=False, indent=4).encode())
