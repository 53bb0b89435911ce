"""Moving averages of the weights, which generalize better than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_inception.training.devices.distribution import VariableValues


class Averages(keras.callbacks.Callback):
    """Exponential moving averages of all weights, batch norm's moving statistics included.

    As TF-Slim keeps them: in a young run the decay is (1 + steps) / (10 + steps), so that the
    random weights of the start are soon forgotten. Keras's own (``use_ema``) leave out the
    statistics, and put the averages into the model at the end of every ``fit``. Validation inside
    ``fit`` sees the averages.

    Args:
        decay: of the averages, 0 to below 1.
        steps: that the run has behind it.
        every: so many steps the weights change, and the averages move.
    """

    def __init__(self, model: keras.Model, decay: float, steps: int = 0, every: int = 1) -> None:
        super().__init__()
        self.decay = decay
        self.steps = steps
        self.every = every
        self.weights = model.weights
        self._variables = [
            keras.Variable(keras.ops.copy(each), trainable=False, dtype=each.dtype, name="average")
            for each in self.weights
        ]
        self._newer: list[Any] = []  # on JAX, until somebody asks for the variables
        self._values = VariableValues(self.weights)
        self._replaced: list[Any] = []
        self._update = self._move
        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            self._update = tf.function(self._move, autograph=False)
        elif keras.config.backend() == "jax":
            self._update = self._move_on_jax(model)

    @property
    def variables(self) -> list[keras.Variable]:
        """The averages, in the order of ``model.weights``."""
        for variable, value in zip(self._variables, self._newer, strict=False):
            variable.assign(value)
        self._newer = []
        return self._variables

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._values = VariableValues(self.weights)  # other layers may be trained than before

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.steps += 1
        if self.steps % self.every:
            return
        changes = self.steps // self.every
        decay = min(self.decay, (1 + changes) / (10 + changes))
        self._update(keras.ops.convert_to_tensor(1 - decay, "float32"))

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._replaced = [keras.ops.copy(each) for each in self.weights]
        for weight, average in zip(self.weights, self.variables, strict=True):
            weight.assign(keras.ops.copy(average))  # JAX's test step gives up its inputs' memory

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        for weight, replaced in zip(self.weights, self._replaced, strict=True):
            weight.assign(replaced)
        self._replaced = []

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages in the model in place of its weights."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    def _move(self, share: Any) -> None:
        for average, weight in zip(self._variables, self.weights, strict=True):
            average.assign_sub(keras.ops.cast(share, average.dtype) * (average - weight))

    def _move_on_jax(self, model: keras.Model) -> Any:
        """The same, all at once, and past the variables, which take some milliseconds to set."""
        import jax

        def moved(averages: list[Any], weights: list[Any], share: Any) -> list[Any]:
            return [
                average - share.astype(average.dtype) * (average - weight)
                for average, weight in zip(averages, weights, strict=True)
            ]

        compiled = jax.jit(moved, donate_argnums=0)

        def move(share: Any) -> None:
            averages = self._newer or [each.value for each in self._variables]
            self._newer = compiled(averages, self._values.of(model), share)

        return move
