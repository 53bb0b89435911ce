"""The optimizer that a recipe names: Keras's own, with what the published recipes need besides.

That is the gradient of the whole batch before anything is done with it, where Keras clips, and
looks for overflows, in each replica's own; weight decay as an L2 loss on the kernels gives it, in
the gradient that is clipped, where Keras's own goes past it (what AdamW means); and RMSProp as
TensorFlow 1 has it. They run on any backend;
:mod:`~keras_inception.training.optimization.fast_path` has TensorFlow's kernels for them.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_inception.runs.recipe import Recipe
from keras_inception.training.optimization.finetune import learning_rate_factors


def sum_over_replicas(gradients: list[Any]) -> list[Any]:
    """The gradients of the whole batch, on TensorFlow where each replica has its part of them."""
    if keras.config.backend() != "tensorflow":
        return gradients
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return gradients
    there = [each for each in gradients if each is not None]
    summed = iter(replica.all_reduce(tf.distribute.ReduceOp.SUM, there))
    return [each if each is None else next(summed) for each in gradients]


class _WholeBatch:
    """Gradients summed over the replicas, with weight decay on kernels, before they are clipped."""

    kernel_decay = 0.0
    rate_factors: tuple[float, ...] = ()  # of the variables in their order; empty for 1
    summed = False  # whether they are before they come here: by LossScale

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads) if self.summed else sum_over_replicas(list(grads))
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        variables = trainable_variables or self._trainable_variables
        grads = [self._decayed(*each) for each in zip(grads, variables, strict=True)]
        super().apply(grads, trainable_variables)  # type: ignore[misc]

    def _decayed(self, gradient: Any, variable: Any) -> Any:
        """The gradient with that of ``kernel_decay`` times half the square of the kernel."""
        if gradient is None or not self.kernel_decay or variable.name != "kernel":
            return gradient
        return gradient + self.kernel_decay * variable

    def rate_of(self: Any, variable: Any, learning_rate: Any) -> Any:
        """The learning rate of a variable."""
        if not self.rate_factors:
            return learning_rate
        return learning_rate * self.rate_factors[self._get_variable_index(variable)]

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = self.rate_of(variable, learning_rate)
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        """Keras's own sum, which would come after the clipping."""
        return grads_and_vars


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's, for float16, but that an overflow on any replica leaves the step out.

    Keras asks the first replica alone, of the gradients before they are summed.
    """

    def __init__(self, inner_optimizer: Any, **options: Any) -> None:
        super().__init__(inner_optimizer, **options)
        inner_optimizer.summed = True

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        super().apply(sum_over_replicas(list(grads)), trainable_variables)


class SGD(_WholeBatch, keras.optimizers.SGD):
    """With Nesterov momentum or without."""


class RMSprop(_WholeBatch, keras.optimizers.RMSprop):
    """As TensorFlow 1 and TF-Slim have it: the mean squares start at one.

    Keras's start at zero; epsilon is inside the root in both. With epsilon 1.0 the first hundred
    steps are up to 1.4 times longer in Keras's.
    """

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        for mean_square in self._velocities:
            mean_square.assign(keras.ops.ones(mean_square.shape))


class Adam(_WholeBatch, keras.optimizers.Adam):
    """As Keras has it."""


class AdamW(_WholeBatch, keras.optimizers.AdamW):
    """As Keras has it: its weight decay goes past the gradient, and so past the clipping."""


def make_optimizer(recipe: Recipe, model: keras.Model, learning_rate: Any) -> Any:
    """The recipe's optimizer for ``model``.

    Args:
        learning_rate: a number or a schedule.

    Returns:
        A ``keras.Optimizer``, not built yet, of the name ``recipe.optimizer``: checkpoints call
        its variables by it. For a float16 model it is within a :class:`LossScale`.
    """
    optimizer = _named(recipe, learning_rate)
    if recipe.layer_decay < 1:
        optimizer.rate_factors = tuple(learning_rate_factors(model, recipe.layer_decay))
    if recipe.optimizer == "adamw":
        others = [each for each in model.trainable_variables if each.name != "kernel"]
        optimizer.exclude_from_weight_decay(var_list=others)
    else:
        optimizer.kernel_decay = recipe.weight_decay
    if model.dtype_policy.name == "mixed_float16":
        return LossScale(optimizer, name="loss_scale_optimizer")  # the name that Keras gives it
    return optimizer


def _named(recipe: Recipe, learning_rate: Any) -> Any:
    momentum = 0.9 if recipe.momentum is None else recipe.momentum
    accumulated = recipe.gradient_accumulation_steps
    common: dict[str, Any] = {
        "global_clipnorm": recipe.clip_norm,
        "gradient_accumulation_steps": accumulated if accumulated > 1 else None,
        "name": recipe.optimizer,
    }
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov is not False
        return SGD(learning_rate, momentum=momentum, nesterov=nesterov, **common)
    if recipe.optimizer == "rmsprop":
        epsilon = recipe.epsilon or 1.0
        return RMSprop(learning_rate, rho=0.9, momentum=momentum, epsilon=epsilon, **common)
    epsilon = recipe.epsilon or 1e-7
    if recipe.optimizer == "adam":
        return Adam(learning_rate, epsilon=epsilon, **common)
    if recipe.optimizer == "adamw":
        return AdamW(learning_rate, epsilon=epsilon, weight_decay=recipe.weight_decay, **common)
    raise NotImplementedError(f"The recipe knows an optimizer that is not made: {recipe.optimizer}")
