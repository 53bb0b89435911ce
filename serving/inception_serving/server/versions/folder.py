"""Models and their versions on disk: BASE/NAME/VERSION/saved_model.pb."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import stat
from pathlib import Path

from inception_serving import errors
from inception_serving.server.config.model_config import ModelConfig

_log = logging.getLogger(__name__)

_MOST_FILES = 10_000
_INT64 = range(-(2**63), 2**63)


def find_versions(base_path: Path) -> dict[int, Path]:
    """Every child of `base_path` whose name is an int64, by that number, smallest first.

    As in TF Serving (sources/storage_path/file_system_storage_path_source.cc), any such child is
    a version, whatever it holds, and `00000123` is version 123.

    Raises:
        OSError: `base_path` is not there, or cannot be read.
    """
    versions: dict[int, Path] = {}
    for child in sorted(base_path.iterdir()):
        # absl::SimpleAtoi, which takes blanks around a number too
        if (
            not re.fullmatch(r"\s*[+-]?[0-9]+\s*", child.name, re.A)
            or int(child.name) not in _INT64
        ):
            continue
        number = int(child.name)
        if number in versions:
            _log.warning(
                "Version %d exists twice: %s is used, %s is not.", number, child, versions[number]
            )
        versions[number] = child
    return dict(sorted(versions.items()))


class ModelFolder:
    """The models below BASE, of BASE/NAME/VERSION; or one model, the folder NAME itself.

    Called, it searches the disk. A model that has been seen stays on the list, since a disk that
    is away for a moment looks just like a model that was deleted.
    """

    def __init__(
        self, base: Path, *, model_name: str | None = None, num_versions: int | None = 1
    ) -> None:
        """Nothing is read yet.

        Args:
            base: BASE, or, with `model_name`, the folder NAME.
            model_name: what to call the one model. It may be left out where `base` holds versions
                itself; the model is then called as the folder is.
            num_versions: of each model; see `ModelConfig`.
        """
        self._base = base
        self._model_name = model_name
        self._num_versions = num_versions
        self._seen: dict[str, ModelConfig] = {}

    def __call__(self) -> list[ModelConfig]:
        """The models.

        Raises:
            OSError: BASE is not there, or cannot be read.
        """
        if self._model_name is None and not self._seen and find_versions(self._base):
            self._model_name = self._base.resolve().name
        if self._model_name is not None:
            return [ModelConfig(self._model_name, self._base, self._num_versions)]
        for child in sorted(self._base.iterdir()):
            if child.name in self._seen:
                continue  # nor is its disk asked, which may hang
            if child.is_dir() and not child.name.startswith(".") and _may_hold_versions(child):
                self._seen[child.name] = ModelConfig(child.name, child, self._num_versions)
        return list(self._seen.values())

    def check(self) -> None:
        """Refuse a folder with nothing to serve.

        Raises:
            errors.ServerStartError: there is nothing; the text has what was expected.
        """
        try:
            found = bool(self())
        except OSError as error:
            raise errors.ServerStartError(
                f"{self._base} cannot be read: {error.strerror or error}."
            ) from error
        if not found:
            raise errors.ServerStartError(
                f"No model to serve in {self._base}: expected folders NAME/VERSION, where "
                "VERSION is a number, such as flowers/1/saved_model.pb."
            )


def _may_hold_versions(folder: Path) -> bool:
    try:
        return bool(find_versions(folder))
    except OSError:
        return True  # the error is that of loading the model


def _files(path: Path) -> list[Path]:
    """What is in a folder and those within it, however deep they go; links are not followed."""
    found: list[Path] = []
    left = [path]
    while left and len(found) < _MOST_FILES:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in itertools.islice(entries, _MOST_FILES - len(found)):
                found.append(Path(entry.path))
                if entry.is_dir(follow_symlinks=False):
                    left.append(found[-1])
    return found


def file_states(path: Path) -> tuple[tuple[str, int, int], ...]:
    """The name, size and time of change of every file of a version, to see that it has changed."""
    files = []
    for file in sorted([path, *_files(path)]):
        with contextlib.suppress(OSError):  # it has gone since, or is a link that leads nowhere
            state = file.stat()
            files.append((str(file), state.st_size, state.st_mtime_ns))
    return tuple(files)


def check_files(path: Path) -> None:
    """Refuse a version in which reading some file, such as a pipe, or all would never end.

    Raises:
        errors.FailedPreconditionError: it holds what is neither a file nor a folder, or more files
            than any model has, as a link to a whole disk does.
    """
    files = _files(path)
    if len(files) == _MOST_FILES:
        raise errors.FailedPreconditionError(
            f"{path} holds {_MOST_FILES} files or more, and so is no SavedModel's folder."
        )
    for file in sorted([path, *files]):
        try:
            mode = file.stat().st_mode
        except OSError:  # a link that leads nowhere; whoever reads it has an error
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise errors.FailedPreconditionError(
                f"{file} is neither a file nor a folder, and is not read."
            )
