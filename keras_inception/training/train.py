"""The training of a network, from the data to a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import keras
import numpy as np
import tensorflow as tf

from keras_inception.data.examples import Examples, listed
from keras_inception.data.preparation.oversampling import oversample
from keras_inception.data.preparation.prepare import CheckImages, Prepared, prepare
from keras_inception.data.sources.source import Source
from keras_inception.data.text import one_line, printable
from keras_inception.evaluation.evaluate_model import NoNumber, evaluate_model
from keras_inception.evaluation.multi_label import MultiLabelEvaluation
from keras_inception.evaluation.thresholds import fit_thresholds
from keras_inception.renamed import renamed
from keras_inception.report.report import draw_curves, write_report
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.files import check_disk_space, sync_folder
from keras_inception.runs.recipe import Recipe, check_recipe
from keras_inception.runs.run import (
    FORMAT,
    Run,
    RunError,
    check_vacant,
    create_run,
    is_run,
    open_run,
    versions,
)
from keras_inception.training.best_epoch import check_validation
from keras_inception.training.callbacks import check_callbacks
from keras_inception.training.checkpoint import best_weights, has_checkpoint, read_state
from keras_inception.training.devices.distribution import (
    Devices,
    Scale,
    find_devices,
    synchronize_batch_norm,
)
from keras_inception.training.devices.hosts import Heartbeats, telling_of_lost_hosts
from keras_inception.training.devices.precision import choose_precision
from keras_inception.training.fit import TrainingJob, fit, what_helps
from keras_inception.training.metrics import metrics_for
from keras_inception.training.network import (
    build,
    build_again,
    decided_by_weights,
    preprocessing_for,
)
from keras_inception.training.optimization.distillation import check_teacher, teach
from keras_inception.training.optimization.finetune import momentum, phase_of, set_trainable
from keras_inception.training.optimization.growing import of_any_size, size_in, stages
from keras_inception.training.optimization.losses import check_loss
from keras_inception.training.optimization.temperature import scale_by_temperature
from keras_inception.training.settings import check_changes, check_settings
from keras_inception.training.tensorboard import MOST_CLASSES


@renamed(say="log")
def train(
    data: Source,
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    validation_data: Source | None = None,
    on_bad_image: Literal["skip", "refuse"] = "skip",
    check_images: CheckImages = "auto",
    resume: bool = False,
    fast: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
    **scale: Unpack[Scale],
) -> Run:
    """Train a network on images of known classes.

    Args:
        data: the training images, such as a folder ``data/CLASS/IMAGE``; see
            :func:`~keras_inception.data.sources.source.open_source`.
        output: the run's folder, made here.
        recipe: how; the default recipe if not given, the run's own when resuming, with the
            precision that was chosen when it began.
        validation_data: images to validate on, with the same classes; by default the recipe's
            ``validation_fraction`` of each class is set apart.
        on_bad_image: whether files that can't be decoded are left out and named, or refused.
        check_images: whether each is decoded once before; ``"auto"``, ``"all"`` or ``"none"``, see
            :func:`~keras_inception.data.preparation.prepare.prepare`.
        resume: go on with the run in ``output`` from its last checkpoint; where there is none yet
            and a recipe is given, begin it, and one that has finished is left as it is: so one
            command does for every start.
        fast: whether TensorFlow trains by fewer operations than Keras's own; without it the
            numbers are the same but for rounding, and it takes longer.
        callbacks: Keras callbacks of your own, called in every ``fit`` of the run: one for the new
            classifier alone, one for the rest, one for what is left of an epoch that is gone on
            with. Epochs are counted through the run. One that sets ``model.stop_training`` ends
            the training. Of several hosts each calls its own.
        log: takes each line about the data, the epochs and the result. Only where it is ``print``
            and standard output a terminal are Keras's bars drawn, too.
        scale: what it trains on: ``devices``, ``hosts`` and ``host_index``, as
            :class:`~keras_inception.training.devices.distribution.Scale` has them.

    Returns:
        The finished run, whose ``load_model()`` is the network of the epoch that is the best by the
        recipe's ``best_epoch_metric`` (the last epoch if nothing is set apart).

    Raises:
        DataError: the images can't be used.
        ValueError: there is no such network, or it refuses a setting of the recipe.
        DeviceError: the devices can't be used.
        HostError: the hosts can't train together, or one is gone. With several hosts a process
            that ends by an error must do so at once (``os._exit``), since the ordinary way waits
            for the others.
        RunError: ``output`` exists or can't be resumed, or the loss is no longer a number.
        Terminated: on SIGTERM, when the state has been kept.
        OSError: the disk has no room for the checkpoints.
    """
    check_recipe(recipe)
    check_callbacks(callbacks)
    run, recipe = _open(output, recipe, resume)
    if run is not None and run.finished:
        log(
            f"The run {output} has finished; there is nothing to resume. To train on from it, begin"
            f" another: --weights {output} --output ANOTHER"
        )
        return run
    where = find_devices(**scale, log=log)
    if where.first:
        _check_place(run, output)
    tell = log if where.first else _say_nothing
    recipe = choose_precision(recipe, tell)
    prepared = prepare_for(
        recipe,
        data,
        validation_data,
        on_bad_image=on_bad_image,
        check_images=check_images,
        exchange=run is None or run.format > 1,
        check=_checks(run, recipe, where),
        log=tell,
    )
    if run is not None:
        run.check_data(prepared)
        if where.first:
            tell_of_other_arithmetic(run, tell)
    with keras_settings(recipe):
        with where.scope():
            job = build_job(recipe, prepared, tell, where, fast, run)
            where.agree(repr(recipe).encode(), *_identity(prepared))
            if run is None and where.first:
                run = _begin(output, job, prepared)
            where.agree()  # that the folder is there
        run = run or open_run(output)
        alone = run.held() if where.first else contextlib.nullcontext()
        with alone, Heartbeats(run.path / "hosts", where.host, where.hosts) as heartbeats:
            with telling_of_lost_hosts(heartbeats), where.scope():
                fit(job, run, tell, callbacks)
            _tell_of_unreadable(job, run, log)
            if where.first:
                publish_result(job, run, log)
            heartbeats.wait_for_first(lambda: run.finished)
    return run


def prepare_for(
    recipe: Recipe,
    data: Source,
    validation_data: Source | None,
    *,
    check: Callable[[Examples, int], None] | None = None,
    log: Callable[[str], None] = print,
    **options: Any,
) -> Prepared:
    """The images, split as the recipe has it.

    Args:
        check: of the settings, before an image is looked at; by default :func:`check_settings`.
        **options: others of :func:`~keras_inception.data.preparation.prepare.prepare`.

    Raises:
        DataError: the images can't be used.
        RecipeError: a setting breaks its rule.
    """
    fold = _fold(recipe, validation_data)
    if fold and recipe.validation_fraction != Recipe.validation_fraction:
        log(
            f"Set apart is fold {fold[0]} of {fold[1]}, not"
            f" validation_fraction={recipe.validation_fraction}, of the images."
        )
    return prepare(
        data,
        validation_data,
        validation_fraction=recipe.validation_fraction,
        seed=recipe.seed,
        fold=fold,
        check=check or (lambda training, others: check_settings(recipe, training, others)),
        log=log,
        **options,
    )


def _fold(recipe: Recipe, validation_data: Source | None) -> tuple[int, int] | None:
    """The fold that one run validates on, from 1, and of how many; ``None`` without folds.

    Raises:
        RecipeError: it is not told which, or there are other images to validate on.
    """
    if recipe.folds is None:
        return None
    if recipe.fold is None:
        raise RecipeError(
            f"`fold` must be one of 1 to {recipe.folds} for one run; `cross_validate` trains one"
            " after the other. Received: fold=None"
        )
    if validation_data is not None:
        raise RecipeError(
            "`folds` must be left out with images to validate on, which are not split."
            f" Received: folds={recipe.folds}"
        )
    return recipe.fold, recipe.folds


def _checks(run: Run | None, recipe: Recipe, where: Devices) -> Callable[[Examples, int], None]:
    """What is checked of the settings before an image is looked at.

    Of a run that goes on nothing: it was when it began, and its first weights are no longer needed.
    Nor of several hosts, whose networks did not begin alike after one had been built here.
    """
    if run is not None or where.hosts > 1:
        return lambda training, validation: None
    return lambda training, validation: check_settings(recipe, training, validation, where)


def tell_of_other_arithmetic(run: Run, log: Callable[[str], None]) -> None:
    """Say that a run goes on otherwise than it began, where an earlier version began it."""
    if run.format > 1 or run.record.get("went_on_by"):
        return
    log(
        f"The run {run.path} was begun by an earlier version of keras-inception. It goes on by the"
        " arithmetic of this one, which differs: gradients are summed over all devices, with weight"
        " decay, before they are clipped; losses are of logits; crops, erasing, RandAugment, mixup"
        " and CutMix are drawn otherwise (CHANGELOG.md)."
    )
    state = read_state(run.path)
    run.update_record(
        went_on_by={"format": FORMAT, "epoch": state.epoch, "step": state.step} | versions()
    )


def _tell_of_unreadable(job: TrainingJob, run: Run, log: Callable[[str], None]) -> None:
    if not job.unreadable:
        return
    images = job.data.training.images
    names = [printable(images.name(index)) for index in sorted(job.unreadable)]
    told = listed([*map(one_line, names)])
    log(f"{len(names)} images could not be read and were left out: {told}")
    if job.devices.first:
        run.update_record(left_out_in_training=names)


def _say_nothing(line: str) -> None:
    pass


def _identity(prepared: Prepared) -> Iterator[bytes]:
    """What differs where the images or their order do."""
    for part in (prepared.training, prepared.validation):
        yield part.targets.tobytes()
        for index in np.linspace(0, max(len(part) - 1, 0), min(len(part), 100), dtype=int):
            yield os.fsencode(os.path.basename(part.images.name(index)))


def _open(output: str | Path, recipe: Recipe | None, resume: bool) -> tuple[Run | None, Recipe]:
    """The run to go on with, if there is one, and the recipe."""
    new = recipe is not None and not is_run(output)
    if not resume or new:
        return None, recipe or Recipe()
    run = open_run(output)
    own = run.recipe
    if recipe is not None and recipe.precision == "auto":
        recipe = recipe.with_changes({"precision": own.precision})
    differ = [] if recipe is None else _differences(recipe, own)
    if differ:
        raise RunError(
            f"A run is resumed with its own recipe, {output}/recipe.yaml. Received otherwise:"
            f" {'; '.join(differ)}. To train on from it by another, begin another run: --weights"
            f" {output} --output ANOTHER"
        )
    return run, own


def _begin(output: str | Path, job: TrainingJob, prepared: Prepared) -> Run:
    """Make the folder, where the disk has room for what is kept in it."""
    check_disk_space(_existing(Path(output)), disk_space_needed(job))
    decided = decided_by_weights(job.recipe)
    return create_run(output, job.recipe, prepared, job.preprocessing, decided)


def _check_place(run: Run | None, output: str | Path) -> None:
    """Refuse, before any work is done, a place that is taken, or a run that is being trained."""
    if run is None:
        check_vacant(output)
    else:
        with run.held():
            pass


def _differences(recipe: Recipe, own: Recipe) -> list[str]:
    """How a recipe differs from a run's; earlier versions wrote out what is now left open."""
    before = {"crop": 0.875, "alpha": "drop", "exif_orientation": "ignore"}
    written_out = {
        name: value
        for name, value in before.items()
        if getattr(recipe, name) is None and getattr(own, name) == value
    }
    given, kept = (dataclasses.asdict(each) for each in (recipe.with_changes(written_out), own))
    return [
        f"{name}={value} (the run's: {kept[name]})"
        for name, value in given.items()
        if value != kept[name]
    ]


@contextlib.contextmanager
def keras_settings(recipe: Recipe) -> Iterator[None]:
    """Keras and TensorFlow as the recipe wants them, and afterwards as they were."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(choose_precision(recipe, _say_nothing).precision)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic and keras.config.backend() == "tensorflow":
        # For the rest of the process: TensorFlow has no way back.
        tf.config.experimental.enable_op_determinism()
    layout = tf.config.optimizer.get_experimental_options().get("layout_optimizer", True)
    if not tf.config.list_physical_devices("GPU"):
        # It has nothing to do there, and takes half a second to find out.
        tf.config.optimizer.set_experimental_options({"layout_optimizer": False})
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
        tf.config.optimizer.set_experimental_options({"layout_optimizer": layout})


def build_job(
    recipe: Recipe,
    data: Prepared,
    log: Callable[[str], None],
    devices: Devices | None = None,
    fast: bool = True,
    run: Run | None = None,
) -> TrainingJob:
    """Build the network for the data.

    Args:
        devices: to train on, within their scope; by default one.
        fast: whether to train by TensorFlow's fast path.
        run: that goes on. If it has a checkpoint, the weights that it started from need not be
            there any more.

    Raises:
        DeviceError: the batch can't be shared out evenly.
        ValueError: there is no such network, or it refuses a setting of the recipe.
    """
    training = data.training
    check_validation(recipe, training.multi_label, len(data.validation))
    check_loss(recipe, training.multi_label)
    devices = devices or Devices()
    teacher = check_teacher(recipe, training, devices.hosts)
    if recipe.oversample:
        training = oversample(training, recipe.oversample, recipe.seed)
        log(f"Rare classes repeated, an epoch is {len(training):,} images.")
        data = dataclasses.replace(data, training=training)
    batch_size = min(recipe.batch_size, len(training))
    if batch_size < recipe.batch_size:
        log(f"A batch is all of the {batch_size} training images.")
    devices.check_batch(batch_size)
    devices.check_accumulation(recipe.gradient_accumulation_steps)
    check_changes(recipe, len(training) // batch_size)
    devices.check_batch_norm(recipe.sync_batch_norm)
    classes = len(training.labels)
    decided = run.decided_by_weights if run is not None and has_checkpoint(run.path) else None
    of_batch_norm = momentum(recipe, len(training) // batch_size)
    if decided is None:
        model = build(recipe, classes, of_batch_norm)
    else:
        model = build_again(recipe, classes, of_batch_norm, decided)
    if run is not None:
        preprocessing = run.preprocessing
    else:
        preprocessing = preprocessing_for(recipe, model.input_shape[1], log)
    if recipe.image_size_start is not None:
        model = of_any_size(model)
    if devices.count > 1:
        if recipe.sync_batch_norm:
            synchronize_batch_norm(model)
        log(f"On {devices.count} devices, {batch_size // devices.count} images of a batch on each")
    if teacher is not None:
        each = training.multi_label or recipe.loss == "binary"
        teach(model, recipe, teacher, preprocessing, each)
        log(f"It learns from {teacher.path} too.")
    size = preprocessing.size
    log(f"{model.name}, {size} x {size} pixels, {model.count_params():,} parameters")
    if stages(recipe) > 1:
        sizes = dict.fromkeys(size_in(recipe, epoch, size) for epoch in range(recipe.epochs))
        log(f"Training images grow: {', '.join(map(str, sizes))} pixels")
    drawn = len(data.validation) > 0 and classes <= MOST_CLASSES
    metrics = metrics_for(
        classes, training.multi_label, confusion=drawn, best=recipe.best_epoch_metric
    )
    return TrainingJob(
        recipe, data, model, preprocessing, batch_size, metrics, devices=devices, fast=fast
    )


def disk_space_needed(job: TrainingJob) -> int:
    """Bytes of disk for the best and the last checkpoint, a new one beside it, and the result."""
    recipe = job.recipe
    copies = {"sgd": 2, "rmsprop": 3}.get(recipe.optimizer, 3) + (recipe.ema is not None)
    copies += recipe.gradient_accumulation_steps > 1
    return 4 * job.model.count_params() * (2 * copies + 2)


def publish_result(job: TrainingJob, run: Run, log: Callable[[str], None]) -> None:
    """Keep the best epoch's network, measured; the run is then finished."""
    recipe, validation = job.recipe, job.data.validation
    multi_label = job.data.training.multi_label
    # As in its epoch: what was frozen there is not recalibrated, nor was it to be validated.
    set_trainable(job.model, recipe, phase_of(recipe, _kept_epoch(job, run) - 1))
    network = job.inference(best_weights(run.path), multi_label=multi_label)
    batch_size = job.batch_of_one_device
    if recipe.recalibrate:
        job.recalibrate(network)
    result, metrics, intervals = None, {}, {}
    if len(validation):
        try:
            if recipe.calibrate:
                temperature = scale_by_temperature(
                    network, job.preprocessing, validation, batch_size, log
                )
                run.update_record(temperature=temperature)
            result = evaluate_model(
                network, run.labels, job.preprocessing, validation, batch_size=batch_size
            )
        except NoNumber as error:
            raise RunError(f"{error} {what_helps(recipe)}") from error
        if recipe.fit_thresholds and isinstance(result, MultiLabelEvaluation):
            result = _with_thresholds(result, run, log)
        metrics = {name: value for name, value in result.metrics.items() if value is not None}
        intervals = result.intervals
        log("Validation: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    _report_epoch(job, run, log)
    run.update_record(validation=metrics, validation_intervals=intervals)
    draw_curves(run.path / "history.csv", run.path / "curves.png")
    write_report(
        run,
        examples=validation,
        measured_on="the run's validation images",
        model=network,
        result=result,
    )
    # Last, since a run with a model.keras counts as finished.
    beside = run.path / "model.tmp.keras"
    network.save(beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, run.model_path)
    sync_folder(run.path)


def _with_thresholds(
    result: MultiLabelEvaluation, run: Run, log: Callable[[str], None]
) -> MultiLabelEvaluation:
    """Fit them, keep them in run.json, and measure by them."""
    thresholds = fit_thresholds(result.targets, result.scores)
    told = [f"{label} {each:.2g}" for label, each in zip(run.labels, thresholds, strict=True)]
    log(f"Thresholds: {listed(told)}, fitted on the validation images")
    run.update_record(thresholds=dict(zip(run.labels, thresholds.tolist(), strict=True)))
    return dataclasses.replace(result, thresholds=thresholds)


def _kept_epoch(job: TrainingJob, run: Run) -> int:
    """Of which epoch, counted from 1, the network is that the run keeps."""
    history, metric = read_state(run.path).history, job.best_epoch_metric
    return len(history) if metric is None else metric.best(history)


def _report_epoch(job: TrainingJob, run: Run, log: Callable[[str], None]) -> None:
    """Say of which epoch the network is that the run keeps."""
    history, metric = read_state(run.path).history, job.best_epoch_metric
    epoch, why = _kept_epoch(job, run), "the last, since nothing is set apart to choose by"
    if metric is not None:
        why = f"the best by `{metric.column}`, {history[epoch - 1][metric.column]:.4f}"
        if job.recipe.precision != "float32":
            why += f" in {job.recipe.precision}; the network is measured in float32"
    log(f"The network of the run is that of epoch {epoch} of {len(history)}: {why}")


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())
