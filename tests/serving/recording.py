"""What a TF Serving answered: requests, its answers, and the models that they ask.

    python -m tests.serving.recording FOLDER

writes the models, with a `models.config`, for another server to serve. The requests are in
`recorded/`, a line each: tensorflow_model_server 2.20.0 answered them, with TensorFlow 2.21's
kernels, `--model_config_file`, `--enable_grpc_healthcheck_service` and a REST port.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

FOLDER = Path(__file__).with_name("recorded")
README = Path(__file__).parents[2] / "serving" / "README.md"

_RESPONSES: dict[str, Any] = {
    "Predict": predict_pb2.PredictResponse,
    "Classify": classification_pb2.ClassificationResponse,
    "Regress": regression_pb2.RegressionResponse,
    "MultiInference": inference_pb2.MultiInferenceResponse,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    "GetModelStatus": get_model_status_pb2.GetModelStatusResponse,
    "HandleReloadConfigRequest": model_management_pb2.ReloadConfigResponse,
}
# A message that protobuf prints begins with a mark, at random, so that nobody parses it; its maps
# come in any order.
_PRINTED = re.compile(r"(goo\.gle/debug\w+\s+)?inputs \{.*", re.DOTALL)
_PRINTED_IN_JSON = re.compile(rb"(goo\.gle/debug\w+ *)?(\\n)?inputs \{.*", re.MULTILINE)


def rows(kind: str) -> list[dict[str, Any]]:
    """The recorded requests, "grpc" or "rest"."""
    lines = (FOLDER / f"{kind}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def differing_rows() -> set[str]:
    """The requests that serving/README.md says are answered in another way, on purpose."""
    section = README.read_text().partition("## Where it differs from TF Serving")[2]
    return set(re.findall(r"`([gr][0-9]{3})`", section.partition("\n## ")[0]))


def publish_models(folder: Path) -> Path:
    """Write the models; their BASE, of BASE/NAME/VERSION."""
    with tarfile.open(FOLDER / "models.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "models"


def difference_grpc(row: dict[str, Any], channel: grpc.Channel) -> tuple[Any, Any] | None:
    """What was recorded and what came instead; None where they are alike."""
    call = channel.unary_unary(row["method"])
    request = base64.b64decode(row["request"])
    try:
        came: tuple[str, Any] = (
            "OK",
            call(request, timeout=row["timeout"], metadata=row.get("metadata")),
        )
    except grpc.RpcError as error:
        came = error.code().name, error.details()
    recorded = row["code"], base64.b64decode(row["answer"]) if "answer" in row else row["details"]
    is_alike = _readable(row, *recorded) == _readable(row, *came)
    return None if is_alike else (recorded, came)


def _readable(row: dict[str, Any], code: str, content: Any) -> Any:
    """An answer to compare: a message, since its maps come in any order, or a text."""
    if code != "OK":
        return code, _PRINTED.sub("SIGNATURE", content or "")
    response = _RESPONSES.get(row["method"].rpartition("/")[2])
    if response is None:
        return code, content
    message = response.FromString(content)
    if response is not get_model_metadata_pb2.GetModelMetadataResponse:
        return code, message
    signatures = get_model_metadata_pb2.SignatureDefMap()
    message.metadata["signature_def"].Unpack(signatures)
    return code, message.model_spec, set(message.metadata), signatures


def difference_rest(row: dict[str, Any], port: int) -> tuple[Any, Any] | None:
    """What was recorded and what came instead; None where they are alike.

    The body is so to the byte, but for the order of maps.
    """
    recorded = base64.b64decode(row["answer"])
    if "raw" in row:
        sent = _send_raw(base64.b64decode(row["raw"]), port)
        return None if sent == recorded else (recorded, sent)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        connection.putrequest(row["method"], row["path"], skip_accept_encoding=True)
        body = base64.b64decode(row["body"])
        headers = dict(row["headers"])
        if body and not {"Content-Length", "Transfer-Encoding"} & set(headers):
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        came = response.status, response.getheader("content-type"), response.read()
    finally:
        connection.close()
    wanted = row["status"], row["answer_headers"].get("content-type"), recorded
    is_alike = wanted[:2] == came[:2] and _is_same_body(recorded, came[2])
    return None if is_alike else (wanted, came)


def _is_same_body(recorded: bytes, came: bytes) -> bool:
    recorded, came = (_PRINTED_IN_JSON.sub(b"SIGNATURE", body) for body in (recorded, came))
    if recorded == came:
        return True
    try:
        is_same_value = json.loads(recorded) == json.loads(came)
    except ValueError:
        return False
    # The order of maps is any, and the layout of every line is not.
    lines = [Counter(line.rstrip(b",") for line in body.splitlines()) for body in (recorded, came)]
    return is_same_value and lines[0] == lines[1]


def _send_raw(data: bytes, port: int) -> bytes:
    """All that comes back, without the date, and whether the connection ended then."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        connection.settimeout(0.5)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
            answer += b"<EOF>"
        except TimeoutError:
            answer += b"<TIMEOUT>"
    return re.sub(rb"(?i)date: [^\r]*\r\n", b"", answer)


def main(folder: Path) -> None:
    """Write the models, and the configuration that serves them."""
    base = publish_models(folder.resolve())
    configs = [
        f"  config {{ name: '{path.name}' base_path: '{path}' model_platform: 'tensorflow'\n"
        "    model_version_policy { latest { num_versions: 2 } } }\n"
        for path in sorted(base.iterdir())
    ]
    (folder / "models.config").write_text(f"model_config_list {{\n{''.join(configs)}}}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
