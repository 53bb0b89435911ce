"""Warm-up: the requests a model carries with it, run before it answers anybody."""

from __future__ import annotations

import re
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from inception_serving import errors, messages
from inception_serving.server.model.examples import classify, infer_all, regress
from inception_serving.server.model.predict import DEFAULT_SIGNATURE, predict, read_protos
from inception_serving.server.model.saved_model import Model, from_tensorflow

# servables/tensorflow/saved_model_warmup_util.cc
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000


def warm_up(model: Model, path: Path, *, iterations: int = 1) -> int:
    """Run the records of a version's warm-up file, if it has one.

    Args:
        path: the version's folder.
        iterations: how often each request is run.

    Returns:
        The number of requests run.

    Raises:
        errors.StatusError: a record that cannot be read or run, or too many records.
    """
    file = path / WARMUP_FILE
    if iterations == 0 or not file.exists():
        return 0
    done = 0
    try:
        for index, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator()):
            if index == MAX_RECORDS:
                raise errors.InvalidArgumentError(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}"
                )
            for _ in range(iterations):
                done += _run(model, record, file)
    except tf.errors.DataLossError as error:
        text = re.sub(r"\A\{\{.*?\}\} ", "", str(from_tensorflow(error)))  # the reader's operation
        raise errors.DataLossError(
            f"{text}. Please verify your warmup data is in TFRecord format."
        ) from error
    except tf.errors.OpError as error:
        raise from_tensorflow(error) from error
    return done


def _run(model: Model, record: bytes, file: Path) -> int:
    log = messages.PredictionLog()
    try:
        log.ParseFromString(record)
    except DecodeError as error:
        text = record.decode("utf-8", "backslashreplace")
        message = f"Failed to parse warmup record: {text} from {file}"
        raise errors.InvalidArgumentError(message) from error
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        predict(
            model,
            request.model_spec.signature_name or DEFAULT_SIGNATURE,
            read_protos(request.inputs, len(record)),
            request.output_filter,
        )
    elif kind == "classify_log":
        request = log.classify_log.request
        result = messages.ClassificationResult()
        classify(model, request.model_spec.signature_name, request.input, result)
    elif kind == "regress_log":
        request = log.regress_log.request
        values = messages.RegressionResult()
        regress(model, request.model_spec.signature_name, request.input, values)
    elif kind == "multi_inference_log":
        infer_all(model, 0, log.multi_inference_log.request)
    elif kind is not None:  # a log of no type is passed over
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise errors.UnimplementedError(f"Unsupported log_type for warmup: {number}")
    return 1
