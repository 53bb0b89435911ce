"""``model.fit`` and what a run needs around it: from where it stands to its end.

Keras's bar is drawn for people only: where the log is ``print``, on a terminal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.pipeline import (
    evaluation_batches,
    training_batches,
    with_auxiliary_targets,
)
from keras_inception.data.preparation.balance import class_weights, label_weights
from keras_inception.data.preparation.prepare import Prepared
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, RunError
from keras_inception.training.best_epoch import BestEpochMetric, best_epoch_metric
from keras_inception.training.callbacks import (
    Bar,
    EarlyStopping,
    Progress,
    StopTogether,
    ending_on_sigterm,
    stops_early,
)
from keras_inception.training.checkpoint import (
    Checkpoints,
    Diverged,
    TrainingState,
    read_state,
    restore_last,
    write_history,
)
from keras_inception.training.devices.distribution import Devices, on_one_device, undistributed
from keras_inception.training.metrics import ConfusionAccuracy
from keras_inception.training.network import compile_network, inference
from keras_inception.training.optimization.averages import Averages
from keras_inception.training.optimization.fast_path import fuse_batch_norm, trace_steps_once
from keras_inception.training.optimization.finetune import Phase, phase_of, set_trainable
from keras_inception.training.optimization.growing import end_of_stage, size_in
from keras_inception.training.optimization.losses import make_loss, positive_weights
from keras_inception.training.optimization.recalibrate import BATCHES, Recalibration, recalibrate
from keras_inception.training.optimization.schedule import Schedule
from keras_inception.training.tensorboard import TensorBoard


@dataclass(frozen=True)
class TrainingJob:
    """A network and what it is to learn.

    Args:
        metrics: what is counted, kept from one ``compile`` to the next.
        unreadable: the numbers of training images that turn out so, where they were not looked at
            before; they count nothing.
        devices: that it trains on.
        fast: whether by TensorFlow's fast path.
    """

    recipe: Recipe
    data: Prepared
    model: keras.Model
    preprocessing: Preprocessing
    batch_size: int
    metrics: list[keras.metrics.Metric]
    unreadable: set[int] = field(default_factory=set)
    devices: Devices = field(default_factory=Devices)
    fast: bool = True

    @property
    def steps(self) -> int:
        """An epoch."""
        return len(self.data.training) // self.batch_size

    @property
    def best_epoch_metric(self) -> BestEpochMetric | None:
        """What decides which epoch is the best; ``None`` without validation images."""
        return best_epoch_metric(self.recipe) if len(self.data.validation) else None

    def learning_rate(self, phase: Phase) -> Any:
        """A number or a schedule, counted from the first step of the phase."""
        recipe = self.recipe
        if phase == "head":
            return recipe.head_learning_rate or recipe.learning_rate
        return Schedule(recipe, self.steps, recipe.epochs - recipe.head_epochs)

    def last_learning_rate(self, phase: Phase) -> float:
        """Of the last step."""
        rate = self.learning_rate(phase)
        if isinstance(rate, Schedule):
            changes = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
            return float(rate(max(changes * self.recipe.gradient_accumulation_steps - 1, 0)))
        return float(rate)

    def compile(self, phase: Phase) -> None:
        """Make the model ready for the epochs of a phase, with a new optimizer."""
        set_trainable(self.model, self.recipe, phase)
        compile_network(
            self.model,
            self.recipe,
            self.learning_rate(phase),
            self.metrics,
            loss=self.loss(),
            fast=self.fast,
        )

    def loss(self) -> Any:
        """Of every output, from its logits."""
        training, recipe = self.data.training, self.recipe
        balance = None
        if recipe.class_weights and training.multi_label:
            balance = label_weights(training)
        elif recipe.positive_weight is not None:
            balance = positive_weights(training, recipe.positive_weight)
        return make_loss(recipe, training.multi_label, balance)

    def batches(self, epochs: int, first_epoch: int = 0, first_step: int = 0) -> Any:
        """The training images from a step on, a tf.data stream, of the size of its first epoch."""
        recipe = self.recipe
        training = self.data.training
        augmentation = Augmentation(**recipe.augmentation())
        # Where an image can be of several classes, the loss weighs them.
        weigh = recipe.class_weights and not training.multi_label
        size = size_in(recipe, first_epoch, self.preprocessing.size)
        batches = training_batches(
            training,
            dataclasses.replace(self.preprocessing, size=size),
            augmentation,
            batch_size=self.batch_size,
            epochs=epochs,
            first_epoch=first_epoch,
            first_step=first_step,
            seed=recipe.seed,
            shard=self.devices.shard,
            on_bad=None if self.data.inspected else self.unreadable.add,
            class_weights=class_weights(training) if weigh else None,
        )
        return self._for_all_outputs(batches)

    def held_out(self) -> Any:
        """The validation images, a tf.data stream, or ``None``."""
        if not len(self.data.validation):
            return None
        batches = evaluation_batches(
            self.data.validation,
            self.preprocessing,
            self.batch_size,
            cache_megabytes=None,
            shard=self.devices.shard,
        )
        return self._for_all_outputs(batches)

    @property
    def batch_of_one_device(self) -> int:
        """Images of a batch on each device, with which what one alone does is done."""
        return max(1, self.batch_size // self.devices.count)

    def recalibrate(self, network: keras.Model) -> None:
        """Measure the statistics of batch norm again, of a network that is on one device."""
        # Shuffled, since a batch of one class alone has other statistics; not augmented.
        batches = training_batches(
            self.data.training,
            self.preprocessing,
            Augmentation(),
            batch_size=self.batch_of_one_device,
            epochs=1,
            seed=self.recipe.seed,
            cache_megabytes=0,
        )
        if self.fast:
            fuse_batch_norm(network)
        recalibrate(network, batches.take(BATCHES))

    def recalibrated(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """What recalibrating makes of values for ``model.weights``, which it leaves as they are."""

        def measure() -> keras.Model:
            network = self.inference(values)
            self.recalibrate(network)
            return network

        network = on_one_device(measure)
        new = {weight.path: keras.ops.convert_to_numpy(weight) for weight in network.weights}
        return [
            new.get(weight.path, value)
            for weight, value in zip(self.model.weights, values, strict=True)
        ]

    def inference(
        self, values: Sequence[np.ndarray] | None = None, *, multi_label: bool = False
    ) -> keras.Model:
        """See :func:`~keras_inception.training.network.inference`."""
        grows = self.recipe.image_size_start is not None
        size = self.preprocessing.size if grows else None
        return inference(self.model, values, multi_label=multi_label, size=size)

    def pictures(self) -> np.ndarray:
        """Some of the first training images as the network sees them, uint8 [up to 16, ...]."""
        with undistributed():
            images = next(iter(self.batches(1)))[0][:16].numpy()
        pixels = images * np.array(self.preprocessing.std) + np.array(self.preprocessing.mean)
        return pixels.clip(0, 255).astype(np.uint8)

    def _for_all_outputs(self, batches: Any) -> Any:
        if not self.recipe.aux:
            return batches
        return with_auxiliary_targets(batches, list(self.model.output))


def fit(
    job: TrainingJob,
    run: Run,
    log: Callable[[str], None],
    others: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train from where the run stands to its last epoch, or until a callback ends it.

    Args:
        others: the user's callbacks.

    Raises:
        RunError: the loss is no longer a number.
        Terminated: on SIGTERM, after the step.
        OSError: the disk is full.
    """
    recipe, state = job.recipe, read_state(run.path)
    first, several = job.devices.first, job.devices.hosts > 1
    if first:
        write_history(run.path, state.history)  # a kill may have come after the state and before it
    averages = _averages(job, state)
    checkpoints = Checkpoints(
        run.path,
        state,
        job.steps,
        job.best_epoch_metric,
        averages,
        recipe.checkpoint_minutes,
        first,
    )
    confusion = next((each for each in job.metrics if isinstance(each, ConfusionAccuracy)), None)

    def rate() -> float:
        return job.last_learning_rate(state.phase)

    board = TensorBoard(run.path / "logs", job.pictures, job.data.training.labels, rate, confusion)
    bar = first and log is print and sys.stdout.isatty()
    telling = [
        *([Bar(recipe.epochs)] if bar else []),
        Progress(job.steps, job.batch_size, recipe.epochs, rate, log, bar),
        board,
    ]
    callbacks = [
        *([averages] if averages else []),
        # After the averages, of which it measures, and which put everything back.
        *([Recalibration(job.recalibrated, averages is None)] if recipe.recalibrate else []),
        *(telling if first else []),
        *others,
        *([StopTogether(checkpoints)] if several else []),
        checkpoints,  # after what tells of the epoch, which it may end the run with
        EarlyStopping(state, job.best_epoch_metric, recipe),
    ]
    compiled: Phase | None = None
    # Where there are several hosts StopTogether ends them.
    ending = contextlib.nullcontext() if several else ending_on_sigterm(checkpoints)
    with contextlib.closing(board), ending:
        while state.epoch < recipe.epochs and not stops_early(
            state.history, job.best_epoch_metric, recipe
        ):
            phase = phase_of(recipe, state.epoch)
            if phase != compiled:
                job.compile(phase)
                if compiled is None:
                    restore_last(run.path, job.model, averages, phase)
                compiled = state.phase = phase
            with _telling_of_divergence(job, state):
                _fit_a_stretch(job, state, callbacks, bar)
            if job.model.stop_training:
                break  # asked for by a callback, ours or the user's


def _averages(job: TrainingJob, state: TrainingState) -> Averages | None:
    if job.recipe.ema is None:
        return None
    steps = state.epoch * job.steps + state.step
    return Averages(job.model, job.recipe.ema, steps, job.recipe.gradient_accumulation_steps)


def _fit_a_stretch(job: TrainingJob, state: TrainingState, callbacks: list[Any], bar: bool) -> None:
    """What one ``fit`` can do: the rest of an epoch, or whole epochs of one phase and size."""
    epoch, step = state.epoch, state.step
    last = epoch + 1
    if not step:
        last = job.recipe.head_epochs if state.phase == "head" else job.recipe.epochs
        last = min(last, end_of_stage(job.recipe, epoch))
    if job.fast and job.recipe.image_size_start is not None:
        trace_steps_once(job.model)  # for this size alone, not for any
    job.model.fit(
        job.batches(last, epoch, step),
        epochs=last,
        initial_epoch=epoch,
        steps_per_epoch=job.steps - step,
        validation_data=job.held_out(),
        shuffle=False,  # the stream is in random order already
        callbacks=callbacks,
        verbose=1 if bar else 0,
    )


@contextlib.contextmanager
def _telling_of_divergence(job: TrainingJob, state: TrainingState) -> Iterator[None]:
    try:
        yield
    except Diverged as error:
        rate = job.last_learning_rate(state.phase)
        raise RunError(
            f"The loss is no longer a number: step {state.step} of {job.steps} in epoch"
            f" {state.epoch + 1}, at learning rate {rate:.3g}. The last checkpoint, from before,"
            f" is kept. {what_helps(job.recipe)}"
        ) from error


def what_helps(recipe: Recipe) -> str:
    """What to try where numbers overflowed."""
    advice = "a lower learning_rate, a longer warm-up (warmup_epochs)"
    if recipe.clip_norm is None:
        advice += ", shorter gradients (clip_norm=2)"
    if recipe.precision == "mixed_float16":
        advice += ", precision=mixed_bfloat16"
    return f"What helps, in a new run: {advice}."
