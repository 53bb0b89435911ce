"""The SavedModel as it is written, its classify signature marked as one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from inception_export.serving_graph import ServingGraph
from inception_export.signatures import make_signatures
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
        servable = tf.Module(name="servable")
        # The bare variables: a Keras model as an attribute would be tracked layer by layer, and its
        # weights stored twice. Nor the functions, which every loader would restore twice.
        servable.weights = network.variables
        servable.labels_file = tf.saved_model.Asset(str(labels_file))
        signatures = make_signatures(network, preprocessing, labels, top)
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(servable, str(folder), signatures=signatures, options=options)
    # TensorFlow 2 calls every signature a predict signature; TF Serving's Classify asks for one of
    # its own kind.
    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    written = saved_model.meta_graphs[0].signature_def
    written["classify"].method_name = "tensorflow/serving/classify"
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
