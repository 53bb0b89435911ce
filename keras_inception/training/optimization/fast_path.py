"""The one door to what lies beneath Keras on TensorFlow: the same training by fewer operations.

:func:`take_fast_path` replaces three things of a model that is to be trained, all on the instance,
so that what is saved is stock:

- batch norm, which Keras 3 spells out in some ten operations, forward and again backward, by one
  kernel that takes a fraction of the time;
- the update of a weight by SGD or RMSProp, some ten operations too, by one kernel;
- the function that ``fit`` calls for a step, which Keras wraps in a second one for several steps an
  execution and for distribution; that takes a second to trace.

Without it (``fast=False``) stock Keras trains to the same numbers but for rounding. What is relied
on of Keras and TensorFlow, checked on Keras 3.15.1 and TensorFlow 2.21.0, is tested by name in
tests/training/optimization/test_fast_path.py.
"""

from __future__ import annotations

import types
from typing import Any

import keras
import numpy as np

from keras_inception.training.optimization.optimizers import SGD, RMSprop


def take_fast_path(model: keras.Model) -> None:
    """Train a compiled model the fast way from here on; on other backends do nothing."""
    if keras.config.backend() != "tensorflow":
        return
    fuse_batch_norm(model)
    # Keras wraps the optimizer of a mixed_float16 model.
    _fuse_update(getattr(model.optimizer, "inner_optimizer", model.optimizer))
    trace_steps_once(model)


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
            _replace(layer, "call", _fused_batch_norm(layer))


def _replace(owner: Any, name: str, function: Any) -> None:
    """Replace a method of one instance, past Keras's own __setattr__, which would track it."""
    object.__setattr__(owner, name, function)


def _fused_batch_norm(layer: Any) -> Any:
    """What takes the place of a batch norm's ``call``."""
    import tensorflow as tf

    stock = types.MethodType(type(layer).call, layer)
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


def _fuse_update(optimizer: Any) -> None:
    """Let SGD and RMSProp with momentum update each weight by one kernel, by the same formula."""
    import tensorflow as tf

    def momentum(gradient: Any, variable: Any, learning_rate: Any) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=optimizer.momentums[optimizer._get_variable_index(variable)].value.handle,
            lr=tf.cast(optimizer.rate_of(variable, learning_rate), variable.dtype),
            grad=gradient,
            momentum=optimizer.momentum,
            use_nesterov=optimizer.nesterov,
        )

    def rmsprop(gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = optimizer._get_variable_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=optimizer._velocities[index].value.handle,
            mom=optimizer._momentums[index].value.handle,
            lr=tf.cast(optimizer.rate_of(variable, learning_rate), variable.dtype),
            rho=optimizer.rho,
            momentum=optimizer.momentum,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    fused = {SGD: momentum, RMSprop: rmsprop}.get(type(optimizer))
    if fused is not None and optimizer.momentum:
        _replace(optimizer, "update_step", fused)


def trace_steps_once(model: keras.Model) -> None:
    """Have ``fit`` run a compiled model's step as one function, where nothing needs the second.

    That is on one device and without XLA, which can't compile what reads the data. On other
    backends do nothing.
    """
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    if model.run_eagerly or model.jit_compile or tf.distribute.has_strategy():
        return

    def step(iterator: Any) -> Any:
        return model.train_step(next(iterator))

    model.train_function = tf.function(step, autograph=False, reduce_retracing=True)
