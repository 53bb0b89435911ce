"""The signatures of an export: what it answers, as the README's table has it.

Each is a few words around the same two functions: the preprocessing that training's evaluation
used, and the network, which the graph holds once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from inception_export.serving_graph import ServingGraph, Tensor
from keras_inception.data.preprocessing import Preprocessing, preprocess, preprocess_encoded

# The first bytes of the formats read: JPEG, PNG, GIF, BMP, WebP.
_FORMATS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")


def make_signatures(
    network: ServingGraph, preprocessing: Preprocessing, labels: tuple[str, ...], top: int
) -> dict[str, Any]:
    """A function for each signature, by its name.

    Args:
        network: from float32 [batch, size, size, 3].
        preprocessing: the input protocol.
        labels: the class names, in the order of the network's outputs.
        top: classes answered by ``serving_default`` and ``classify``, at most all.
    """

    # One function, so that the graph holds it once for all signatures.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decoded_and_answered(image_bytes: Tensor) -> dict[str, Tensor]:
        # Decoding and resizing run on the CPU only; a GPU then gets one dense batch.
        with tf.device("/device:CPU:0"):
            images = preprocess_encoded(image_bytes, preprocessing)
        return network.answer(images)

    def encoded(image_bytes: Tensor, name: str) -> dict[str, Tensor]:
        with tf.device("/device:CPU:0"), tf.control_dependencies([_check(image_bytes, name)]):
            checked = tf.identity(image_bytes)
        return decoded_and_answered(checked)

    def of_image_bytes(choose: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Any:
        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
            autograph=False,
        )
        def signature(image_bytes: Tensor) -> dict[str, Tensor]:
            return choose(encoded(image_bytes, "image_bytes"))

        return signature

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def predict_images(images: Tensor) -> dict[str, Tensor]:
        with tf.device("/device:CPU:0"):
            images = preprocess(images, preprocessing)
        return {"probabilities": network.answer(images)["probabilities"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(inputs: Tensor) -> dict[str, Tensor]:
        example = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        image_bytes = tf.io.parse_example(inputs, example)["image/encoded"]
        return _best(encoded(image_bytes, "image/encoded"), labels, top)

    return {
        "serving_default": of_image_bytes(lambda answer: _best(answer, labels, top)),
        "all_classes": of_image_bytes(lambda answer: _best(answer, labels, len(labels))),
        "predict_images": predict_images,
        "logits": of_image_bytes(lambda answer: {"logits": answer["logits"]}),
        "features": of_image_bytes(lambda answer: {"features": answer["features"]}),
        "classify": classify,
    }


def _best(answer: dict[str, Tensor], labels: tuple[str, ...], count: int) -> dict[str, Tensor]:
    """The best classes by name, the best first."""
    scores, indices = tf.math.top_k(answer["probabilities"], count)
    with tf.device("/device:CPU:0"):
        return {"classes": tf.gather(tf.constant(labels), indices), "scores": scores}


def _check(image_bytes: Tensor, name: str) -> Tensor:
    """Fail with the index of the first image whose first bytes are no image's.

    A decoder inside ``map_fn`` could only say that one of the batch is bad.
    """
    starts = [tf.equal(tf.strings.substr(image_bytes, 0, len(start)), start) for start in _FORMATS]
    good = tf.reduce_any(tf.stack(starts), axis=0)
    count = tf.size(good)
    index = tf.reduce_min(tf.where(good, count, tf.range(count)))
    message = tf.strings.join(
        [name, "[", tf.strings.as_string(index), "] is no JPEG, PNG, GIF, BMP or WebP image"]
    )
    return tf.debugging.Assert(tf.reduce_all(good), [message], summarize=1)
