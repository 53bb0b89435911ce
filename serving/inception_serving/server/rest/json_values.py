"""JSON as TF Serving reads and writes it: bodies, single values, and the words of its errors.

Sources, below tensorflow_serving/: util/json_tensor.cc, util/json_tensor.h.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from inception_serving import errors


def parse(body: bytes) -> dict[str, Any]:
    """A request's body as a JSON object; NaN and Infinity are numbers here.

    Raises:
        errors.InvalidArgumentError: it is not one.
    """
    if not body:
        raise errors.InvalidArgumentError("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise errors.InvalidArgumentError(
            f"JSON Parse error: {error.msg} at offset: {error.pos}"
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number without end, too deep
        raise errors.InvalidArgumentError(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise errors.InvalidArgumentError(f"JSON Value: {show(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature a request names; "" where it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise errors.InvalidArgumentError(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return name


def dump(document: Mapping[str, Any]) -> bytes:
    """A response's body as JSON in one line; NaN and Infinity are numbers here too."""
    return json.dumps(document, ensure_ascii=False).encode()


def read_bytes(value: Any) -> bytes:
    """A string, or `{"b64": ...}`, as bytes.

    Raises:
        errors.InvalidArgumentError: it is neither.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise errors.InvalidArgumentError(
                "JSON Parse error: The surrogate pair in string is invalid."
            ) from error
    if not isinstance(value, dict):
        raise type_error(value, "string")
    if not is_base64(value):
        raise errors.InvalidArgumentError(
            f"JSON Value: {show(value)} not formatted correctly for base64 data"
        )
    # The standard alphabet only; padding may be left out.
    text = value["b64"].rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.InvalidArgumentError("Unable to base64 decode") from error


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def type_error(value: Any, kind: str) -> errors.InvalidArgumentError:
    """The error for a value that is not of the type wanted."""
    return errors.InvalidArgumentError(
        f"JSON Value: {show(value)} Type: {type_name(value)} is not of expected type: {kind}"
    )


def lossy_error(value: Any, kind: str) -> errors.InvalidArgumentError:
    """The error for a number that the type wanted cannot hold."""
    return errors.InvalidArgumentError(
        f"Cannot convert JSON value: {show(value)} to {kind} without loss of precision."
    )


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if isinstance(value, bool):
        return str(value)
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def show(value: Any) -> str:
    """A value, as error texts quote it."""
    return json.dumps(value, ensure_ascii=False, indent=4)


def write_base64(value: bytes) -> dict[str, str]:
    """Bytes as `{"b64": ...}`."""
    return {"b64": base64.b64encode(value).decode()}


def write_text(value: bytes) -> str:
    """Bytes as a string; what is not UTF-8 becomes replacement characters."""
    return value.decode(errors="replace")  # JSON is UTF-8; an output named *_bytes loses nothing
