"""The optimizer that a recipe names: Keras's own, with what the published recipes need besides.

That is weight decay as an L2 loss on the kernels gives it, added to the gradient, where Keras's
own goes past the gradient (what AdamW means); and RMSProp as TensorFlow 1 has it. On TensorFlow
each weight is updated by one fused kernel, by the same formulas, where Keras spells them out in
some ten operations.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_inception.runs.recipe import Recipe


class _KernelDecay:
    """Weight decay in the gradient, on kernels."""

    kernel_decay = 0.0

    def build(self: Any, variables: list[Any]) -> None:
        super().build(variables)  # type: ignore[misc]
        self.decays = [self.kernel_decay if each.name == "kernel" else 0.0 for each in variables]

    def decayed(self: Any, gradient: Any, variable: Any) -> Any:
        """The gradient with that of ``kernel_decay`` times half the square of the kernel."""
        decay = self.decays[self._get_variable_index(variable)]
        return gradient + decay * variable if decay else gradient


class SGD(_KernelDecay, keras.optimizers.SGD):
    """With Nesterov momentum or without."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = self.decayed(gradient, variable)
        if keras.config.backend() != "tensorflow" or not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


class RMSprop(_KernelDecay, keras.optimizers.RMSprop):
    """As TensorFlow 1 and TF-Slim have it: the mean squares start at one.

    Keras's start at zero; epsilon is inside the root in both. With epsilon 1.0 the first hundred
    steps are up to 1.4 times longer in Keras's.
    """

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        for mean_square in self._velocities:
            mean_square.assign(keras.ops.ones(mean_square.shape))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = self.decayed(gradient, variable)
        if keras.config.backend() != "tensorflow" or not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._velocities[index].value.handle,
            mom=self._momentums[index].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=gradient,
        )


class Adam(_KernelDecay, keras.optimizers.Adam):
    """With weight decay in the gradient."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(self.decayed(gradient, variable), variable, learning_rate)


def make_optimizer(recipe: Recipe, model: keras.Model, learning_rate: Any) -> Any:
    """The recipe's optimizer for ``model``.

    Args:
        learning_rate: a number or a schedule.

    Returns:
        A ``keras.Optimizer``, not built yet.
    """
    momentum = 0.9 if recipe.momentum is None else recipe.momentum
    common: dict[str, Any] = {"global_clipnorm": recipe.clip_norm}
    if recipe.optimizer == "adamw":
        adamw = keras.optimizers.AdamW(
            learning_rate,
            epsilon=recipe.epsilon or 1e-7,
            weight_decay=recipe.weight_decay,
            **common,
        )
        others = [each for each in model.trainable_variables if each.name != "kernel"]
        adamw.exclude_from_weight_decay(var_list=others)
        return adamw
    optimizer: Any
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov is not False
        optimizer = SGD(learning_rate, momentum=momentum, nesterov=nesterov, **common)
    elif recipe.optimizer == "rmsprop":
        epsilon = recipe.epsilon or 1.0
        optimizer = RMSprop(learning_rate, rho=0.9, momentum=momentum, epsilon=epsilon, **common)
    else:
        optimizer = Adam(learning_rate, epsilon=recipe.epsilon or 1e-7, **common)
    optimizer.kernel_decay = recipe.weight_decay
    return optimizer
