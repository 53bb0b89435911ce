"""The one door to what lies beneath Keras on TensorFlow: the same training by fewer operations.

:func:`take_fast_path` replaces four things of a model that is to be trained, all on the instance,
so that what is saved is stock:

- batch norm, which Keras 3 spells out in some ten operations, forward and again backward, by one
  kernel that takes a fraction of the time;
- in bfloat16 on a processor, where a convolution's output has few columns, the gradient of its
  kernel, which oneDNN's kernel is slow at, by the product of two matrices;
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

from keras_inception.runs.machine import small_maps_are_slow
from keras_inception.training.optimization.optimizers import SGD, RMSprop

FEW = 8  # columns of a convolution's output


def take_fast_path(model: keras.Model) -> None:
    """Train a compiled model the fast way from here on; on other backends do nothing."""
    if keras.config.backend() != "tensorflow":
        return
    fuse_batch_norm(model)
    multiply_small_maps(model)
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


def multiply_small_maps(model: keras.Model) -> None:
    """Let bfloat16 convolutions of few columns find their kernels' gradients by a matrix product.

    Few are up to 8 in the output. There oneDNN's kernel for AVX512_BF16 does a tenth to a half of
    what the processor can. The same sums, as the product of the inputs' patches and the outputs'
    gradients, take 0.2 to 0.9 of its time, the patches' copies included (measured on an AMD EPYC,
    for the shapes of Inception v3; at 17 columns they take as long, and in float32 kernels of 1x7
    take longer at 7).
    On other backends, on GPUs and on processors with AMX, which were not measured, do nothing; nor
    where the size of the images is not given.
    """
    if keras.config.backend() != "tensorflow" or not small_maps_are_slow():
        return
    for layer in model.layers:
        if (
            type(layer) is keras.layers.Conv2D
            and layer.compute_dtype == "bfloat16"
            and layer.groups == 1
            and layer.dilation_rate == (1, 1)
            and layer.strides[0] == layer.strides[1]
            and layer.data_format == "channels_last"
            and None not in layer.output.shape[1:]
            and layer.output.shape[2] <= FEW
        ):
            _replace(layer, "convolution_op", _convolution_of_small_maps(layer))


def _convolution_of_small_maps(layer: Any) -> Any:
    """What takes the place of a convolution's ``convolution_op``."""
    import tensorflow as tf

    ops = tf.raw_ops
    (height, width), (rows, columns) = layer.input.shape[1:3], layer.output.shape[1:3]
    (kernel_height, kernel_width), stride = layer.kernel_size, layer.strides[0]
    geometry = {"strides": [1, stride, stride, 1], "padding": layer.padding.upper()}
    around = [
        (missing // 2, missing - missing // 2) if layer.padding == "same" else (0, 0)
        for missing in (
            max(0, (rows - 1) * stride + kernel_height - height),
            max(0, (columns - 1) * stride + kernel_width - width),
        )
    ]

    def patches(inputs: Any) -> Any:
        """Of every output, the inputs that it is the sum of."""
        if layer.kernel_size == (1, 1) and stride == 1:
            return inputs
        if stride > 1:  # where strided slices, the other way, take longer than the convolution
            sizes = [1, kernel_height, kernel_width, 1]
            return ops.ExtractImagePatches(images=inputs, ksizes=sizes, rates=[1] * 4, **geometry)
        if around != [(0, 0), (0, 0)]:
            inputs = ops.Pad(input=inputs, paddings=[(0, 0), *around, (0, 0)])
        slices = [
            ops.Slice(
                input=inputs, begin=[0, top, left, 0], size=[-1, rows, columns, inputs.shape[-1]]
            )
            for top in range(kernel_height)
            for left in range(kernel_width)
        ]
        return ops.ConcatV2(values=slices, axis=3)

    @tf.custom_gradient
    def convolve(inputs: Any, kernel: Any) -> Any:
        outputs = ops.Conv2D(input=inputs, filter=kernel, **geometry)

        def gradients(above: Any) -> Any:
            of_inputs = ops.Conv2DBackpropInput(
                input_sizes=ops.Shape(input=inputs),
                filter=kernel,
                out_backprop=above,
                **geometry,
            )
            of_kernel = ops.MatMul(
                a=tf.reshape(patches(inputs), [-1, np.prod(kernel.shape[:3])]),
                b=tf.reshape(above, [-1, kernel.shape[3]]),
                transpose_a=True,
            )
            return of_inputs, tf.reshape(of_kernel, kernel.shape)

        return outputs, gradients

    def convolution_op(inputs: Any, kernel: Any) -> Any:
        return convolve(inputs, tf.convert_to_tensor(kernel))

    return convolution_op


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
