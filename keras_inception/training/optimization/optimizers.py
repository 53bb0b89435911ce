"""The optimizer that a recipe names: Keras's own, with what the published recipes need besides.

That is weight decay as an L2 loss on the kernels gives it, added to the gradient, where Keras's
own goes past the gradient (what AdamW means); and RMSProp as TensorFlow 1 has it. They run on any
backend; :mod:`~keras_inception.training.optimization.fast_path` has TensorFlow's kernels for them.
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

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = self.decayed(gradient, variable)
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]


class SGD(_KernelDecay, keras.optimizers.SGD):
    """With Nesterov momentum or without."""


class RMSprop(_KernelDecay, keras.optimizers.RMSprop):
    """As TensorFlow 1 and TF-Slim have it: the mean squares start at one.

    Keras's start at zero; epsilon is inside the root in both. With epsilon 1.0 the first hundred
    steps are up to 1.4 times longer in Keras's.
    """

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        for mean_square in self._velocities:
            mean_square.assign(keras.ops.ones(mean_square.shape))


class Adam(_KernelDecay, keras.optimizers.Adam):
    """As Keras has it."""


def make_optimizer(recipe: Recipe, model: keras.Model, learning_rate: Any) -> Any:
    """The recipe's optimizer for ``model``.

    Args:
        learning_rate: a number or a schedule.

    Returns:
        A ``keras.Optimizer``, not built yet, of the name ``recipe.optimizer``: checkpoints call
        its variables by it.
    """
    momentum = 0.9 if recipe.momentum is None else recipe.momentum
    common: dict[str, Any] = {"global_clipnorm": recipe.clip_norm, "name": recipe.optimizer}
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
