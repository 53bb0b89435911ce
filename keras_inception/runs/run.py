"""A run: the folder that training writes and everything after it reads.

RUN/
  recipe.yaml     every setting
  labels.txt      the class names, one a line, in the order of the network's outputs
  run.json        its format's number (without one: 1), the input protocol, the data, the results
                  and the libraries' versions
  model.keras     the network: stock Keras layers, uncompiled, opens anywhere
  history.csv     loss and metrics of every epoch
  curves.png      the same as a picture
  report.html     all of this to look at, with measures and mistakes
  checkpoints/    the last epoch's complete state and the best epoch's weights
  logs/           for TensorBoard
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from keras_inception.data.class_names import read_class_names, write_class_names
from keras_inception.data.examples import Examples, listed
from keras_inception.data.preparation.prepare import Prepared
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.sources.listing import read_list, write_list
from keras_inception.runs.files import atomic_write, sync_folder
from keras_inception.runs.machine import describe_machine, leave_gpus_to_keras
from keras_inception.runs.named_recipes import load_recipe
from keras_inception.runs.recipe import Recipe
from keras_inception.version import __version__

# Of run.json: the number goes up when what an older version reads changes its meaning. A run of
# format 1 was trained by other arithmetic: gradients clipped on each device, weight decay past the
# clipping, losses of probabilities, other crops, erasing and mixing.
FORMAT = 2


class RunError(ValueError):
    """A folder is no run, or not one that can do what is asked of it."""


class Terminated(RunError):
    """The process was asked to end (SIGTERM); the run's state has been kept."""

    def __init__(self, path: Path, go_on: str = "--resume") -> None:
        super().__init__(f"Asked to stop; the state is kept in {path}. To go on: {go_on}")


@dataclass(frozen=True)
class Run:
    """A run's folder; see :func:`open_run` and :func:`create_run`."""

    path: Path

    @property
    def recipe(self) -> Recipe:
        return load_recipe(str(self.path / "recipe.yaml"))

    @property
    def labels(self) -> tuple[str, ...]:
        return read_class_names(self.path / "labels.txt", verbatim=True)

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds."""
        record: dict[str, Any] = json.loads((self.path / "run.json").read_text("utf-8"))
        return record

    def update_record(self, **entries: Any) -> None:
        """Add to run.json, whole or not at all."""
        record = self.record | entries
        with atomic_write(self.path / "run.json", "w") as file:
            json.dump(record, file, indent=1, ensure_ascii=False)

    @property
    def preprocessing(self) -> Preprocessing:
        return read_preprocessing(self.record["preprocessing"])

    @property
    def decided_by_weights(self) -> dict[str, Any] | None:
        """What the weights that it started from decided of the network; None in older runs."""
        decided: dict[str, Any] | None = self.record.get("decided_by_weights")
        return decided

    @property
    def temperature(self) -> float | None:
        """What the logits are divided by, where that was fitted, and the images told it."""
        temperature: float | None = self.record.get("temperature")
        return None if temperature == 1 else temperature

    @property
    def thresholds(self) -> dict[str, float]:
        """The score from which each class is predicted, by its name, where that was fitted."""
        thresholds: dict[str, float] = self.record.get("thresholds", {})
        return thresholds

    @property
    def validation(self) -> Examples:
        """The images that the run was validated on; none if nothing was set apart.

        Raises:
            DataError: they were arrays in memory, or their source has changed.
        """
        source = self.record["data"].get("validation_source")
        return read_list(self.path / "validation.csv", self.labels, source)

    def check_data(self, prepared: Prepared) -> None:
        """Refuse to go on with other data than the run was begun with.

        Raises:
            RunError: the classes or the images are others.
        """
        own, given = self.labels, prepared.training.labels
        if given != own:
            differ = {
                "in the run only": [label for label in own if label not in given],
                "in the data only": [label for label in given if label not in own],
            }
            told = ", ".join(
                f"{listed(names, 5)} {where}" for where, names in differ.items() if names
            )
            raise RunError(
                f"The data have other classes than the run {self.path}:"
                f" {told or 'the same in another order'}."
            )
        before, now = self.record["data"], prepared.record
        if before.get("fingerprint", now["fingerprint"]) != now["fingerprint"]:
            had, have = (
                f"{data['training_images']} images to train and {data['validation_images']} to"
                " validate on"
                for data in (before, now)
            )
            raise RunError(
                f"The data are not those of the run {self.path}: it had {had}, now there are"
                f" {have}. Go on with the same images, or begin a new run."
            )

    @property
    def format(self) -> int:
        """Of run.json."""
        return int(self.record.get("format", 1))

    @property
    def model_path(self) -> Path:
        return self.path / "model.keras"

    @property
    def finished(self) -> bool:
        return self.model_path.exists()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training the run meanwhile, on this machine and its disks.

        Raises:
            RunError: one of them trains it.
        """
        lock = filelock.FileLock(self.path / "checkpoints" / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunError(
                f"The run {self.path} is being trained by another process. Wait for it, or stop it,"
                " and go on with --resume."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def load_model(self) -> Any:
        """The trained network, a ``keras.Model``.

        Raises:
            RunError: the training has not come to its end.
            ModelFileError: the file is damaged.
        """
        if not self.finished:
            raise RunError(
                f"The run {self.path} has not finished. Go on with it:"
                f" keras-inception train DATA --output {self.path} --resume"
            )
        from keras_inception.models.keras_file import open_model

        leave_gpus_to_keras()
        return open_model(self.model_path)


def is_run(path: str | Path) -> bool:
    """Whether a folder is a run, finished or not: whether it has a run.json."""
    return (Path(path) / "run.json").is_file()


def run_of(weights: str | Path) -> Run | None:
    """The run whose weights these are: its folder, or its model.keras; ``None`` if of no run."""
    path = Path(weights)
    folder = path.parent if path.name == "model.keras" else path
    return open_run(folder) if is_run(folder) else None


def open_run(path: str | Path) -> Run:
    """The run in a folder.

    Raises:
        RunError: the folder does not exist, or holds no run or one of a later format.
    """
    if not is_run(path):
        if is_run(Path(path, "fold-1")):
            raise RunError(
                f"{path} is of a cross-validation, whose runs are {path}/fold-1 and so on. To go on"
                " with it: the whole command that began it, with --resume"
            )
        raise RunError(
            f"{path} is no run: it has no run.json."
            " A run is the folder that `keras-inception train --output` made."
        )
    run = Run(Path(path))
    try:
        number = run.format
        if number <= FORMAT:
            _ = run.preprocessing, run.record["data"]
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path}/run.json can't be read: {error}") from error
    except KeyError as error:
        raise RunError(f"{path}/run.json can't be read: it has no {error}") from error
    if number > FORMAT:
        raise RunError(
            f"{path}/run.json is of format {number}, of a later version of keras-inception; this"
            f" one reads formats up to {FORMAT}."
        )
    for name in ("recipe.yaml", "labels.txt"):
        if not (run.path / name).is_file():
            raise RunError(f"The run {path} is not complete: it has no {name}.")
    return run


def create_run(
    path: str | Path,
    recipe: Recipe,
    prepared: Prepared,
    preprocessing: Preprocessing,
    decided: Mapping[str, Any] | None = None,
) -> Run:
    """Make the folder of a new run, for images that are ready to train on.

    Args:
        decided: of the network, by the weights that it starts from.

    Raises:
        RunError: there is something at ``path`` already.
    """
    check_vacant(path)
    run = Run(Path(path))
    (run.path / "checkpoints").mkdir(parents=True, exist_ok=True)
    recipe.save(run.path / "recipe.yaml")
    write_class_names(run.path / "labels.txt", prepared.training.labels)
    write_list(run.path / "validation.csv", prepared.validation, prepared.validation_indices)
    record = {
        "format": FORMAT,
        "preprocessing": dataclasses.asdict(preprocessing),
        **({"decided_by_weights": dict(decided)} if decided else {}),
        "data": prepared.record,
        "machine": describe_machine(),
        "versions": versions(),
    }
    # Last, since it makes the folder a run.
    with atomic_write(run.path / "run.json", "w") as file:
        json.dump(record, file, indent=1, ensure_ascii=False)
    sync_folder(run.path.parent)
    return run


def check_vacant(path: str | Path) -> None:
    """Refuse a place where no new run can be made.

    Raises:
        RunError: there is something at ``path`` already, or nothing may be made there.
    """
    place = Path(path)
    if place.exists() and (not place.is_dir() or not _is_unfinished_start(place)):
        if not place.is_dir():
            raise RunError(
                f"{path} is a file, and a run is a folder of its own. Choose another name."
            )
        raise RunError(
            f"{path} exists already, and a run is never overwritten. Choose another folder, remove"
            " this one, or go on with the run in it: --resume"
        )
    above = next(each for each in (place, *place.absolute().parents) if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"The run {path} can't be made: {above} is no folder to be written to.")


def _is_unfinished_start(path: Path) -> bool:
    """Whether a folder is empty, or what :func:`create_run` left when it was killed."""
    made = {"checkpoints", "recipe.yaml", "labels.txt", "validation.csv", "run.json.tmp"}
    return {each.name for each in path.iterdir()} <= made


def read_preprocessing(settings: dict[str, Any]) -> Preprocessing:
    """The input protocol from what JSON made of it."""
    lists = {name: tuple(settings[name]) for name in ("mean", "std")}
    return Preprocessing(**(settings | lists))


def versions() -> dict[str, str]:
    """The versions of this package and of the libraries beneath it."""
    from importlib.metadata import version

    import keras

    names = ["keras", "tensorflow", "numpy"]
    if keras.config.backend() == "jax":
        names.append("jax")
    # Ours is the code's that runs: an editable install's metadata may be of an earlier one.
    return {"keras-inception": __version__, **{name: version(name) for name in names}}
