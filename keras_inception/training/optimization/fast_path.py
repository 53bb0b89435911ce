"""Less work for the same training on TensorFlow.

Keras 3 spells batch normalization out in some ten operations on TensorFlow, forward and again
backward; one kernel does it in a fraction of the time. What is saved stays a stock layer: only the
instance's ``call`` is replaced, which no file records. And Keras wraps the traced step in a second
function, for several steps an execution and for distribution, which takes a second to trace.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def fuse_batch_norm(model: keras.Model) -> None:
    """Let every batch norm of ``model`` train by the fused kernel; on other backends do nothing.

    Inference, frozen layers, masks, and what the kernel can't do (other axes and ranks,
    synchronization) go the stock way. The moving variance keeps Keras's convention, the variance of
    the batch itself, where the kernel gives the unbiased estimate (times n / (n - 1)).
    """
    if keras.config.backend() != "tensorflow":
        return
    for layer in model.layers:
        if (
            isinstance(layer, keras.layers.BatchNormalization)
            and layer.axis in (-1, 3)
            and len(layer.input.shape) == 4
            and not layer.synchronized
            and not layer.renorm
        ):
            # Past Keras's own __setattr__, which would track the function as state.
            object.__setattr__(layer, "call", _fused_call(layer))


def trace_steps_once(model: keras.Model) -> None:
    """Have ``fit`` run a compiled model's step as one function, where nothing needs the second.

    That is on TensorFlow, on one device, without XLA, which can't compile what reads the data.
    """
    if keras.config.backend() != "tensorflow" or model.run_eagerly or model.jit_compile:
        return
    import tensorflow as tf

    if tf.distribute.has_strategy():
        return

    def step(iterator: Any) -> Any:
        return model.train_step(next(iterator))

    model.train_function = tf.function(step, autograph=False, reduce_retracing=True)


def _fused_call(layer: Any) -> Any:
    import tensorflow as tf

    stock = layer.call
    ops = tf.raw_ops  # few and bare: their number is what tracing takes time for

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or mask is not None or not layer.trainable:
            return stock(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        momentum = layer.momentum
        old = [tf.convert_to_tensor(each) for each in (layer.moving_mean, layer.moving_variance)]
        outputs, mean, variance, *_ = ops.FusedBatchNormV3(
            x=inputs,
            scale=_float32(layer.gamma) if layer.scale else np.ones(channels, np.float32),
            offset=_float32(layer.beta) if layer.center else np.zeros(channels, np.float32),
            # At momentum 0 the kernel wants nothing to average with.
            mean=old[0] if momentum else np.zeros(0, np.float32),
            variance=old[1] if momentum else np.zeros(0, np.float32),
            epsilon=layer.epsilon,
            exponential_avg_factor=1 - momentum,
            is_training=True,
        )
        # What is new in the moving variance, the batch's, times (n - 1) / n.
        count = inputs.shape.num_elements()
        if count is None:
            n = tf.cast(tf.size(inputs), tf.float32) / channels
        else:
            n = np.float32(count / channels)
        variance = ops.AddV2(
            x=ops.Mul(x=variance, y=1 - 1 / n), y=ops.Mul(x=old[1], y=momentum / n)
        )
        for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            if tf.distribute.has_strategy():
                moving.assign(new)
            else:
                ops.AssignVariableOp(resource=moving.value.handle, value=new)
        return outputs

    def _float32(variable: Any) -> Any:
        value = tf.convert_to_tensor(variable)
        return value if value.dtype == tf.float32 else tf.cast(value, tf.float32)

    return call
