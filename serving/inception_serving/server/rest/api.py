"""TF Serving's HTTP API: a method, a path and a body in, a response out.

Sources, below tensorflow_serving/model_servers/: http_rest_api_handler.cc, http_rest_api_util.cc.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from google.protobuf import json_format

from inception_serving import errors, messages
from inception_serving.server.budget import claim_answer
from inception_serving.server.core import Call, Core
from inception_serving.server.model.predict import DEFAULT_SIGNATURE
from inception_serving.server.model.saved_model import Model
from inception_serving.server.rest import example_json, json_layout, json_values, tensor_json
from inception_serving.server.rest.http import Response
from inception_serving.server.rest.sizes import text_size
from inception_serving.tensors import Tensor

_Found = TypeVar("_Found")

_log = logging.getLogger(__name__)

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PATHS = {
    "POST": re.compile(
        rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<api>classify|regress|predict)", re.I | re.A
    ),
    "GET": re.compile(
        rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.I | re.A
    ),
}

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
        match = _PATHS[method].fullmatch(path) if method in _PATHS else None
        name = _unquote(match["name"] or "") if match else ""
        api = match["api"] if match and method == "POST" else ""
        try:
            with self._core.counted(name, api, "REST"):
                return Response(200, self._dispatch(method, path, match, body, call))
        except errors.StatusError as error:
            return error_response(error)
        except Exception as error:
            _log.exception("A request failed.")
            return error_response(errors.InternalError(f"{type(error).__name__}: {error}"))

    def _dispatch(
        self, method: str, path: str, match: re.Match[str] | None, body: bytes, call: Call
    ) -> bytes:
        if match is not None and method == "POST":
            spec = _spec(match)
            if match["api"] in ("classify", "regress", "predict"):  # and not "Predict"
                try:
                    return self._infer(match["api"], spec, body, call)
                except (errors.InvalidArgumentError, errors.NotFoundError):
                    json_values.check_numbers(body)  # which RapidJSON tells first
                    raise
        elif match is not None:
            if match["name"] is None:
                raise errors.InvalidArgumentError("Missing model name in request.")
            spec = _spec(match)
            if match["metadata"] == "metadata":
                return self._metadata(spec)
            return f"{_to_json(self._core.status(spec))}\n".encode()
        raise errors.InvalidArgumentError(f"Malformed request: {method} {path}")

    def _infer(self, method: str, spec: Any, body: bytes, call: Call) -> bytes:
        if method == "predict":
            return self._predict(spec, body, call)
        document = json_values.parse(body)
        if json_values.has_large_exponents(body):
            document = json_values.parse_exactly(body)
        name = _read(json_values.signature_name, document, body)
        examples = _read(lambda it: example_json.read_examples(it, call.claim), document, body)
        if method == "classify":
            response = self._core.classify(spec, examples, signature_name=name, call=call)
            return example_json.write_classifications(response.result)
        response = self._core.regress(spec, examples, signature_name=name, call=call)
        return example_json.write_regressions(response.result)

    def _predict(self, spec: Any, body: bytes, call: Call) -> bytes:
        document = json_values.parse(body)
        signature_name = _read(json_values.signature_name, document, body)
        if len(signature_name) <= json_layout.MOST_TOLD:
            with contextlib.suppress(ValueError):  # which is that of no signature, as a longer one
                spec.signature_name = signature_name

        def read_inputs(model: Model) -> dict[str, Tensor]:
            name = signature_name or DEFAULT_SIGNATURE
            if name not in model.signatures:
                raise errors.InvalidArgumentError(
                    f'Serving signature name: "{name}" not found in signature def'
                )
            signature = model.signatures[name]
            if not signature.inputs:
                raise errors.InvalidArgumentError(
                    f"Failed to get input map for signature: {signature_name or 'DEFAULT'}"
                )
            inputs = _read(lambda it: tensor_json.read_inputs(it, signature), document, body)
            if tensor_json.is_delicate(inputs, body):
                inputs = tensor_json.read_inputs(json_values.parse_exactly(body), signature)
            elif tensor_json.has_more(document):
                json_values.check_numbers(body)
            return inputs

        row_format = tensor_json.is_row_format(document)
        answer = self._core.predict(spec, read_inputs, call=call)
        document = {}  # which would take memory while the answer is written
        claim_answer(call.claim, text_size(answer.outputs, row_format=row_format))
        return tensor_json.write_outputs(answer.outputs, row_format=row_format)

    def _metadata(self, spec: Any) -> bytes:
        response = self._core.metadata(spec, ["signature_def"])
        signatures = messages.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        # Two messages with something around them, as TF Serving puts them together.
        return (
            f'{{\n"model_spec":{_to_json(response.model_spec)}\n,\n'
            f'"metadata": {{"signature_def": {_to_json(signatures)}\n}}\n}}\n'
        ).encode()


def _read(
    read: Callable[[dict[str, Any]], _Found], document: dict[str, Any], body: bytes
) -> _Found:
    """What a document is read as. An error quotes its numbers as RapidJSON reads them."""
    try:
        return read(document)
    except OverflowError:
        return read(json_values.parse_large_integers(body))
    except (errors.InvalidArgumentError, errors.UnimplementedError):
        if not json_values.has_long_decimals(body):
            raise
    return read(json_values.parse_exactly(body))


def _spec(match: re.Match[str]) -> Any:
    spec = messages.ModelSpec()
    if match["version"] is not None:
        # Thousands of digits would take Python long to read.
        if len(match["version"].lstrip("0")) > 19 or int(match["version"]) > _MAX_INT64:
            raise errors.InvalidArgumentError("")
        spec.version.value = int(match["version"])
    name = _unquote(match["name"])
    label = None if match["label"] is None else _unquote(match["label"])
    try:
        spec.name = name
        if label is not None:
            spec.version_label = label
    except (UnicodeEncodeError, ValueError):
        raise _unknown(name, spec) from None
    return spec


def _unquote(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _unknown(name: str, spec: Any) -> errors.StatusError:
    """The error for a name that is not UTF-8, and so is that of no model."""
    version = f"Specific({name}, {spec.version.value})" if spec.HasField("version") else ""
    return errors.NotFoundError(f"Servable not found for request: {version or f'Latest({name})'}")


def _to_json(message: Any) -> str:
    """A message with all its fields, laid out as protobuf's C++ does."""
    return str(
        json_format.MessageToJson(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            indent=1,
            ensure_ascii=False,
        )
    )


def error_response(error: errors.StatusError) -> Response:
    """A status as HTTP's, with its text, if it has one."""
    if not str(error):
        return Response(errors.HTTP_STATUSES[type(error)], b"")
    said = str(error)
    if len(said) > json_layout.MOST_TOLD:
        said = f"{said[: json_layout.MOST_TOLD]}... ({len(said)} letters)"
    text = json_layout.write_object({"error": json_layout.write_string(said)}, 0)
    return Response(errors.HTTP_STATUSES[type(error)], json_layout.encode(text))
