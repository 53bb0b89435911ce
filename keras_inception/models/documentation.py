"""The builders' documentation: a network's own, then that of the arguments that all share.

Without Keras, so that the site can be built without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from keras_inception.models.catalogue import Entry

_ARGUMENTS = """
The signature is keras.applications's, with two deliberate differences: ``weights`` is ``None`` by
default, so that nothing is downloaded unasked, and the arguments from ``aux`` on are ours.

Args:
    include_top: end in the classifier: global average pooling, dropout, a dense layer named
        ``logits`` and its activation named ``predictions``.
    weights: ``None``, random initialization; a file, of all the kinds that
        :func:`keras_inception.load_weights` reads; ``"imagenet"``, published weights, downloaded
        into Keras's cache; or ``"imagenet:SOURCE/NAME"``, the others published. Nothing is left at
        its random value in silence: what does not fit is an error that lists the names.
    input_tensor: a Keras tensor to build on, [batch, height, width, channels].
    input_shape: (height, width, channels) without the batch; height and width may be ``None``.
        {size} x {size} x 3 by default, 32 x 32 x 3 with ``stem="small"``. The shorter side is at
        least {minimum} pixels{aux_minimum}.
    pooling: without top, what follows the last feature map: ``None``, ``"avg"`` or ``"max"``.
    classes: number of classes of the classifier, at least 1. Where it is not the weights', the
        classifier is new, which a line on standard error says; of 1001 classes in the file the
        first, background, is dropped for 1000.
    classifier_activation: of the classifier, ``None`` for logits.
    name: of the model.
    aux: add the auxiliary heads, for training only. The model's output is then a dictionary with
        the keys {outputs}; :func:`keras_inception.loss_weights`
        gives the published loss weights. Needs the top and a fixed input size.
    dropout: rate (the fraction dropped) before the classifier, in [0, 1); by default {dropout},
        {dropout_source}.
    width: factor on every filter count, results kept divisible by 8.
    stem: ``"imagenet"``, or ``"small"`` for images of 28 to 96 pixels: strides and pools of the
        stem are taken out until the first module sees at least 14 x 14, and ``valid`` becomes
        ``same`` throughout.
    variant: {variants}. Given weights decide it, and any other is refused.
    momentum: of batch norm's moving statistics, in [0, 1).
    epsilon: of batch norm, above 0.
    scale: whether batch norm has gamma, a factor on each channel. By default as the weights have
        it, and without weights ``False``: the released networks have none, PyTorch's have it.
    ema: of the weights, take the moving averages that training kept beside them.
    skip: names of weights that are not loaded and need not fit; ``*`` stands for anything.
    fold_gamma: multiply the weights' gamma into the kernels and build without it: the same
        function in inference only.
    embedding: units of a bottleneck before the classifier, a dense layer without bias and its batch
        norm, as facenet has it; with ``include_top=False`` and a ``pooling`` it is the output. By
        default there is none, whatever the weights have.

Returns:
    A functional ``keras.Model`` of stock Keras layers. Its input is float,
    [batch, height, width, channels], in the range that training used ([-1, 1] for the published
    weights). Its output is float32, [batch, classes], whatever the dtype policy.

Raises:
    ValueError: an argument breaks its rule; the message states the rule, the value received and
        the choices.
"""


def document(entry: Entry, doc: str, outputs: Sequence[str]) -> str:
    """A network's own documentation, then that of the arguments with its numbers.

    Args:
        outputs: the names of the outputs with auxiliary heads.
    """
    variants = ", ".join(f'``"{variant}"``' for variant in entry.variants)
    return f"{inspect.cleandoc(doc)}\n" + _ARGUMENTS.format(
        size=entry.size,
        minimum=entry.minimum,
        aux_minimum=f" ({entry.aux_minimum} with auxiliary heads)" if entry.aux_minimum else "",
        outputs=", ".join(f'``"{output}"``' for output in outputs),
        dropout=entry.dropout,
        dropout_source="as its paper has it"
        if entry.title == "InceptionV1"
        else "as TF-Slim has it",
        variants=f"one of {variants}; the first by default"
        if len(entry.variants) > 1
        else f"{variants}, the only one",
    )
