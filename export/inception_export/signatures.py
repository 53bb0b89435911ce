"""What an export answers: its signatures, as the README's table has them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_inception.data.preprocessing import Preprocessing, preprocess, preprocess_encoded


class Servable(tf.Module):
    """A network with its preprocessing and labels inside.

    Args:
        network: from float32 [batch, size, size, 3] to float32 [batch, classes].
        how: the input protocol.
        labels: the class names, in the order of the network's outputs.
        top: classes answered by ``serving_default``, at most all.
        labels_file: of the same names, to go with the SavedModel.
    """

    def __init__(
        self,
        network: keras.Model,
        how: Preprocessing,
        labels: tuple[str, ...],
        top: int,
        labels_file: str,
    ) -> None:
        super().__init__(name="servable")
        # The bare variables: a Keras model as an attribute would be tracked layer by layer, and
        # its weights stored twice.
        self.weights = [variable.value for variable in network.variables]
        self.labels_file = tf.saved_model.Asset(labels_file)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def serving_default(image_bytes: Any) -> dict[str, Any]:
            probabilities = network(preprocess_encoded(image_bytes, how), training=False)
            scores, indices = tf.math.top_k(tf.cast(probabilities, tf.float32), top)
            return {"classes": tf.gather(tf.constant(labels), indices), "scores": scores}

        @tf.function(
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")]
        )
        def predict_images(images: Any) -> dict[str, Any]:
            probabilities = network(preprocess(images, how), training=False)
            return {"probabilities": tf.cast(probabilities, tf.float32)}

        self.endpoints = {"serving_default": serving_default, "predict_images": predict_images}
