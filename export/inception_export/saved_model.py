"""The SavedModel as it is written, its classify signature marked as one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from inception_export.serving_graph import ServingGraph
from inception_export.signatures import Servable
from keras_inception.data.class_names import write_class_names
from keras_inception.data.preprocessing import Preprocessing


def write_saved_model(
    folder: Path,
    network: ServingGraph,
    preprocessing: Preprocessing,
    labels: tuple[str, ...],
    top: int,
) -> None:
    """Write a network with its preprocessing and labels into ``folder``."""
    with tempfile.TemporaryDirectory() as scratch:
        labels_file = Path(scratch) / "labels.txt"
        write_class_names(labels_file, labels)
        servable = Servable(network, preprocessing, labels, top, str(labels_file))
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(servable, str(folder), signatures=servable.endpoints, options=options)
    # TensorFlow 2 calls every signature a predict signature; TF Serving's Classify asks for one of
    # its own kind.
    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signatures = saved_model.meta_graphs[0].signature_def
    signatures["classify"].method_name = "tensorflow/serving/classify"
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
