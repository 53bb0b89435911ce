"""Requests over TF Serving's REST API: the messages of gRPC, as JSON and back.

A channel here takes the same steps as gRPC's and gives the same responses and errors, so that a
client needs to know no difference. httpx carries them, on asyncio, where one timeout bounds all of
a request; a client that is not asynchronous has an event loop in a thread.
https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import json
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from google.protobuf import json_format

from inception_serving import errors, messages, tensors
from inception_serving.client.connection import Send, Setup, tls_context
from inception_serving.client.signatures import TensorSpec
from inception_serving.tensors import Tensor

# The inverse of errors.HTTP_STATUSES, where several codes share a status the likeliest.
_ERRORS: dict[int, type[errors.StatusError]] = {
    400: errors.InvalidArgumentError,
    401: errors.UnauthenticatedError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.DeadlineExceededError,
    409: errors.AbortedError,
    413: errors.ResourceExhaustedError,
    429: errors.ResourceExhaustedError,
    499: errors.CancelledError,
    500: errors.InternalError,
    501: errors.UnimplementedError,
    502: errors.UnavailableError,
    503: errors.UnavailableError,
    504: errors.DeadlineExceededError,
}
# JSON takes so much more memory once it is read than the tensors in it.
_JSON_SHARE = 8


class RestChannel:
    """Connections to one address, for one event loop."""

    def __init__(self, setup: Setup) -> None:
        """Nothing is sent before the first request.

        Raises:
            ValueError: the environment's proxy is none that httpx can use.
        """
        self._setup = setup
        self._most_bytes = setup.limits.answer_bytes // _JSON_SHARE
        encrypted = setup.address.target.startswith("https:")
        context = (tls_context(setup.pem) or ssl.create_default_context()) if encrypted else False
        try:
            self._http = httpx.AsyncClient(
                base_url=setup.address.target,
                headers=setup.headers,
                timeout=httpx.Timeout(None, connect=setup.timeout.connect_s),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
                verify=context,
                trust_env=not setup.address.is_own,  # a proxy of the environment
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            through = setup.address.through_proxy() or " A proxy of the environment is no address."
            raise ValueError(f"{setup.address} cannot be asked.{through} ({error})") from None

    async def send_and_wait(self, step: Send) -> Any:
        """The response, of the class that gRPC's would be.

        Raises:
            errors.StatusError: the server's answer, or that there is none.
            errors.AnswerError: the answer is none to the request.
        """
        try:
            async with asyncio.timeout(step.timeout_s):
                return await self._exchange(step)
        except TimeoutError:
            raise errors.DeadlineExceededError("Deadline exceeded") from None
        except httpx.DecodingError as error:
            raise errors.AnswerError(
                f"What {self._setup.address} answered cannot be decompressed: {error}."
            ) from None
        except httpx.RemoteProtocolError as error:
            # Before it answered, or in the middle of it.
            if "disconnected" in str(error) or "closed connection" in str(error):
                raise errors.UnavailableError(f"{self._setup.address}: {error}") from None
            raise errors.NotRestError(
                f"What answers on {self._setup.address} speaks no HTTP/1.1: REST's port is 8501"
                f" as a rule, where gRPC's is 8500. ({error})"
            ) from None
        except httpx.TransportError as error:
            text = str(error) or type(error).__name__
            if "SSL" in text:
                raise errors.UnavailableError(self._setup.address.unencrypted(text)) from None
            raise errors.UnavailableError(self._setup.address.unreached(text)) from None

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def _exchange(self, step: Send) -> Any:
        path = _path(step.request.model_spec)
        if step.method == "Predict":
            body, headers = await asyncio.to_thread(self._encode, step.request)
            answer = await self._ask("POST", f"{path}:predict", body, headers)
            return await asyncio.to_thread(read_predict, answer, step.outputs or {})
        if step.method == "GetModelMetadata":
            return read_metadata(await self._ask("GET", f"{path}/metadata"))
        return read_status(await self._ask("GET", path))

    def _encode(self, request: Any) -> tuple[bytes, dict[str, str]]:
        headers = {"content-type": "application/json"}
        body = predict_body(request)
        if self._setup.options.get("compression"):
            return gzip.compress(body, 1), headers | {"content-encoding": "gzip"}
        return body, headers

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> dict[str, Any]:
        """The JSON object of a good answer."""
        async with self._http.stream(method, path, content=body, headers=headers) as response:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > self._most_bytes:
                    raise errors.ResourceExhaustedError(
                        f"The server's answer is larger than {self._most_bytes} bytes of JSON"
                        f" (an {_JSON_SHARE}th of answer_bytes of the client's limits)"
                    )
                parts.append(part)
        try:
            answer = await asyncio.to_thread(json.loads, b"".join(parts))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._no_answer(response.status_code, b"".join(parts[:1]))
        if response.status_code != 200:
            raise _failure(response.status_code, str(answer.get("error", "")))
        return answer

    def _no_answer(self, status: int, body: bytes) -> errors.StatusError:
        if status in (429, 502, 503, 504):  # of a proxy on the way, which has its own pages
            return _failure(status, body.decode(errors="replace"))
        return errors.NotRestError(
            f"What answers on {self._setup.address} is no TF Serving: HTTP status {status}, and"
            f" {body[:60]!r} in place of a JSON object."
        )


class BlockingRestChannel:
    """The same for a client that is not asynchronous: its event loop runs in a thread."""

    def __init__(self, setup: Setup) -> None:
        """Nothing is sent before the first request."""
        self._channel = RestChannel(setup)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="client-rest", daemon=True
        )
        self._thread.start()

    def send(self, step: Send) -> Any:
        """See `RestChannel.send_and_wait`."""
        future = asyncio.run_coroutine_threadsafe(self._channel.send_and_wait(step), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise errors.CancelledError("The client was closed") from None
        finally:
            future.cancel()  # where the caller was interrupted

    def close(self) -> None:
        """Hang up; the requests under way are cancelled."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._channel.close()


def _failure(status: int, text: str) -> errors.StatusError:
    text = errors.shorten(text) or f"HTTP status {status}"
    if status == 413:
        text = f"{text} (too large)"  # for good, so not to be sent again
    return _ERRORS.get(status, errors.UnknownError)(text)


def _path(spec: Any) -> str:
    path = f"/v1/models/{quote(spec.name, safe='')}"
    if spec.HasField("version"):
        return f"{path}/versions/{spec.version.value}"
    return f"{path}/labels/{quote(spec.version_label, safe='')}" if spec.version_label else path


# ---- messages as JSON ----


def predict_body(request: Any) -> bytes:
    """A PredictRequest as the body of `:predict`, its inputs by name.

    Raises:
        errors.SignatureError: JSON has no such numbers.
    """
    inputs = {
        name: _json_of(name, tensors.from_proto(each)) for name, each in request.inputs.items()
    }
    body: dict[str, Any] = {"inputs": inputs}
    if request.model_spec.signature_name:
        body["signature_name"] = request.model_spec.signature_name
    return json.dumps(body).encode()


def _json_of(name: str, tensor: Tensor) -> Any:
    if tensor.dtype.kind == "O":
        encoded = np.empty(tensor.size, object)
        encoded[:] = [{"b64": base64.b64encode(each).decode()} for each in tensor.ravel()]
        return encoded.reshape(tensor.shape).tolist()
    if tensor.dtype.kind == "c":
        raise errors.SignatureError(f"Input {name!r}: complex numbers go over gRPC, not REST.")
    return (tensor.astype(np.float32) if tensor.dtype.kind == "V" else tensor).tolist()


def read_predict(answer: Mapping[str, Any], outputs: Mapping[str, TensorSpec]) -> Any:
    """The answer of `:predict` as a PredictResponse, which names no version.

    Args:
        outputs: what the signature says of those wanted, since JSON does not tell types.

    Raises:
        errors.AnswerError: it holds no such tensors.
    """
    response = messages.PredictResponse()
    if "outputs" not in answer:
        raise errors.AnswerError(f"The server answered {sorted(answer)}: missing outputs.")
    values = answer["outputs"]
    if not isinstance(values, dict) or set(values) == {"b64"}:  # of a signature with one output
        values = {name: values for name in outputs}
    for name, spec in outputs.items():
        if name not in values:
            continue  # which is missed where the response is read
        try:
            tensor = _tensor(values[name], tensors.numpy_dtype(spec.data_type))
        except (ValueError, TypeError, OverflowError) as error:
            raise errors.AnswerError(
                f"The server answered {name!r} as no {spec}: {error}"
            ) from None
        tensors.fill_proto(response.outputs[name], tensor)
    return response


def _tensor(value: Any, dtype: np.dtype[Any]) -> Tensor:
    if dtype == np.dtype(object):
        given = np.asarray(value, dtype=object)
        strings = np.empty(given.size, object)
        strings[:] = [_string(each) for each in given.ravel()]
        return strings.reshape(given.shape)
    tensor = np.asarray(value)
    if tensor.size and tensor.dtype.kind not in "biufO":  # O: integers of more than 64 bits
        raise ValueError("not numbers")
    # Not through float64, which has 53 bits.
    return np.asarray(value, dtype=dtype) if dtype.kind in "iu" else tensor.astype(dtype)


def _string(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            pass
    raise ValueError("not strings")


def read_metadata(answer: Mapping[str, Any]) -> Any:
    """The answer of `/metadata` as a GetModelMetadataResponse.

    Raises:
        errors.AnswerError: it is none.
    """
    response = messages.GetModelMetadataResponse()
    try:
        _parse(answer["model_spec"], response.model_spec)
        if "signature_def" in answer["metadata"]:
            known = messages.SignatureDefMap()
            _parse(answer["metadata"]["signature_def"], known)
            response.metadata["signature_def"].Pack(known)
    except (json_format.ParseError, KeyError, TypeError) as error:
        raise errors.AnswerError(f"The server answered no metadata of a model: {error}") from None
    return response


def read_status(answer: Mapping[str, Any]) -> Any:
    """The answer of a model's own address as a GetModelStatusResponse.

    Raises:
        errors.AnswerError: it is none.
    """
    response = messages.GetModelStatusResponse()
    try:
        _parse(answer, response)
    except (json_format.ParseError, TypeError) as error:
        raise errors.AnswerError(f"The server answered no status of a model: {error}") from None
    return response


def _parse(values: Any, message: Any) -> None:
    if isinstance(values, dict):  # as `any` is written
        values = {name: each for name, each in values.items() if name != "@type"}
    json_format.ParseDict(
        values, message, ignore_unknown_fields=True, descriptor_pool=messages.POOL
    )
