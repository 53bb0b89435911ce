"""Requests that TF Serving runs when it loads a version, so that the first caller need not wait.

https://www.tensorflow.org/tfx/serving/saved_model_warmup: a TFRecord file of PredictionLog.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2


def write_warmup_requests(
    saved_model: Path, name: str, images: Sequence[bytes], batch_sizes: Sequence[int]
) -> None:
    """Write a ``serving_default`` request of each batch size into the SavedModel.

    Args:
        saved_model: its folder, as written.
        name: of the model, as requests have it.
        images: encoded; taken in turn.
        batch_sizes: one request each.
    """
    path = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for batch_size in batch_sizes:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = "serving_default"
            batch = [images[index % len(images)] for index in range(batch_size)]
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(batch))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
