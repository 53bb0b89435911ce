"""Predictions of any number of images in a file, which a killed run goes on with.

What is predicted is kept in ``OUTPUT.part``, a line an image, and becomes the file once all is. The
same command goes on where the last one was stopped.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from inception_serving.predictions.prediction import (
    ImagePredictor,
    Prediction,
    PredictionError,
    predict_each,
)
from inception_serving.text import one_line, printable

FORMATS = (".csv", ".jsonl", ".parquet")
# Of OUTPUT.part.
_FORMAT = 1
_OF_MODEL = ("kind", "model", "version")  # by which another is known
_ROWS = 10_000  # of a row group of Parquet
# Cells that begin so are formulas to a spreadsheet, which runs them
# (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclasses.dataclass(frozen=True)
class Written:
    """What a file holds.

    Attributes:
        images: how many, those that failed included.
        failed: those that failed, with why.
    """

    path: Path
    images: int
    failed: Sequence[Prediction]


def write_predictions(
    predictor: ImagePredictor,
    paths: Sequence[str],
    output: Path,
    *,
    using: str,
    top: int = 5,
    threshold: float | None = None,
    batch_size: int = 16,
    progress: Callable[[int], Any] | None = None,
    log: Callable[[str], object] = lambda line: None,
) -> Written:
    """Predict image files into a CSV, JSON Lines or Parquet file, by the end of its name.

    A CSV has a row for each image and class: ``image``, ``rank``, ``label``, ``score``, ``error``;
    cells that a spreadsheet would run begin with an apostrophe. The others have a row for each
    image: ``image``, ``labels``, ``scores``, ``error``.

    Args:
        predictor, top, threshold, batch_size: see `predict_each`.
        paths: of the images.
        output: the file; it must not be there yet.
        using: what the user calls the predictor; it has to be the same to go on with a file.
        progress: makes a bar for so many images: a context manager that gives a function to be
            told how many more are done.
        log: is told what was predicted before.

    Raises:
        PredictionError: the file is there, or has another end, or what was begun is of other
            settings, or the disk is full; what is predicted by then is kept.
    """
    check_output(output)
    settings = {
        "format": _FORMAT, "using": using, "top": top, "threshold": threshold,
        **{f"model_{name}": predictor.about[name] for name in _OF_MODEL if name in predictor.about},
    }  # fmt: skip
    with _open_journal(output, settings) as journal:
        done = {each.image for each in _read(journal)}
        left = [path for path in paths if path not in done]
        if done:
            log(f"{len(paths) - len(left)} of {len(paths)} images were predicted before.")
        with _bar(progress, len(paths)) as advance:
            advance(len(paths) - len(left))
            for each in predict_each(
                predictor, left, top=top, threshold=threshold, batch_size=batch_size
            ):
                with _kept(output):
                    journal.write(json.dumps(_row(each)) + "\n")
                    journal.flush()
                advance(1)
        wanted = set(paths)
        failed = [each for each in _read(journal) if each.error and each.image in wanted]
        chosen = (each for each in _read(journal) if each.image in wanted)
        check_output(output)  # again: somebody may have put one there meanwhile
        with _kept(output):
            _WRITERS[output.suffix.lower()](output, chosen)
        _part(output).unlink()
    return Written(output, len(paths), failed)


def check_output(output: Path) -> None:
    """Refuse a file that can't be written, before there is anything to write.

    Raises:
        PredictionError: it is there already, has another end, or needs a package that is missing.
    """
    suffix = output.suffix.lower()
    if suffix not in FORMATS:
        raise PredictionError(
            f"`output` ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}. Received: {output}"
        )
    if output.exists():
        raise PredictionError(f"{output} exists already. Remove it, or choose another name.")
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise PredictionError(
                "Parquet is written by pyarrow, which is not installed: pip install pyarrow. Or"
                " let the name end in .csv or .jsonl."
            ) from None


def _bar(progress: Callable[[int], Any] | None, images: int) -> Any:
    return contextlib.nullcontext(_ignore) if progress is None else progress(images)


@contextlib.contextmanager
def _kept(output: Path) -> Iterator[None]:
    """Tell what to do where the disk has no more room, whose errors name no file."""
    try:
        yield
    except OSError as error:
        raise PredictionError(
            f"{output} can't be written: {error.strerror or error}. What is predicted is kept in"
            f" {_part(output)}: make room, and the same command goes on."
        ) from error


def _ignore(done: int) -> None:
    """Where there is no bar."""


# ---- what is done so far ----


def _part(output: Path) -> Path:
    return output.with_name(f"{output.name}.part")


@contextlib.contextmanager
def _open_journal(output: Path, settings: dict[str, Any]) -> Iterator[IO[str]]:
    """What was begun, to go on with, or a new one; a line that was cut off is taken away.

    Raises:
        PredictionError: it is of other settings, or another process writes it.
    """
    path = _part(output)
    file = open(path, "a+", encoding="utf-8", errors="replace", newline="\n")  # noqa: SIM115
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PredictionError(f"Another process is writing {path}.") from None
        _cut(path)
        file.seek(0)
        first = file.readline()
        if not first:
            with _kept(output):
                file.write(json.dumps(settings) + "\n")
                file.flush()
        elif (before := _settings(path, first)) != settings:
            names = {*before, *settings}
            other = [
                f"{name.replace('model_', 'model ')}={before.get(name)}"
                for name in sorted(names)
                if before.get(name) != settings.get(name)
            ]
            raise PredictionError(
                f"{path} was begun with {', '.join(other)}. Give the same again to go on, or remove"
                " the file to begin anew."
            )
        yield file
    finally:
        with contextlib.suppress(OSError):  # a line that found no room, which is told already
            file.close()


def _settings(path: Path, line: str) -> dict[str, Any]:
    try:
        settings = json.loads(line)
        return {str(name): value for name, value in settings.items()}
    except (ValueError, AttributeError):
        raise PredictionError(
            f"{path} is no file of this command: remove it, or choose another name."
        ) from None


def _cut(path: Path) -> None:
    """Take away what stands behind the last whole line, which was being written when it ended."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 2**16)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)


def _row(prediction: Prediction) -> dict[str, Any]:
    row = dataclasses.asdict(prediction)
    del row["milliseconds"]
    return row


def _read(journal: IO[str]) -> Iterator[Prediction]:
    """The predictions so far, each once.

    Raises:
        PredictionError: a line is none.
    """
    with open(journal.name, encoding="utf-8", errors="replace") as file:
        next(file, None)
        for number, line in enumerate(file, 2):
            try:
                row = json.loads(line)
                found = Prediction(
                    row["image"], tuple(row["labels"]), tuple(row["scores"]), 0.0, row["error"]
                )
            except (ValueError, KeyError, TypeError):
                raise PredictionError(
                    f"Line {number} of {journal.name} is damaged. Remove the line, and its image"
                    " is predicted again, or the file to begin anew."
                ) from None
            yield found


# ---- files ----


def csv_rows(predictions: Iterable[Prediction]) -> Iterator[list[Any]]:
    """The lines of a CSV: its heading, then one for each image and class."""
    yield ["image", "rank", "label", "score", "error"]
    for each in predictions:
        image, error = safe_cell(one_line(each.image)), safe_cell(one_line(each.error))
        if not each.labels:
            yield [image, "", "", "", error]
        for rank, (label, score) in enumerate(zip(each.labels, each.scores, strict=True), 1):
            yield [image, rank, safe_cell(label), f"{score:.6f}", error]


def safe_cell(text: str) -> str:
    """A cell with an apostrophe before it where a spreadsheet would run it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _write_csv(path: Path, predictions: Iterable[Prediction]) -> None:
    with _atomic_write(path, "w") as file:
        csv.writer(file).writerows(csv_rows(predictions))


def _write_jsonl(path: Path, predictions: Iterable[Prediction]) -> None:
    with _atomic_write(path, "w") as file:
        for each in predictions:
            row = _row(each) | {"image": printable(each.image), "error": printable(each.error)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, predictions: Iterable[Prediction]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("image", pa.string()),
            ("labels", pa.list_(pa.string())),
            ("scores", pa.list_(pa.float32())),
            ("error", pa.string()),
        ]
    )
    rest = iter(predictions)
    with _atomic_write(path, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        while rows := list(itertools.islice(rest, _ROWS)):
            columns = {
                "image": [printable(each.image) for each in rows],
                "labels": [list(each.labels) for each in rows],
                "scores": [list(each.scores) for each in rows],
                "error": [printable(each.error) or None for each in rows],
            }
            writer.write_table(pa.table(columns, schema=schema))


@contextlib.contextmanager
def _atomic_write(path: Path, mode: Literal["w", "wb"]) -> Iterator[IO[Any]]:
    """Write a file beside its place and rename it: at `path` is a whole file, or none."""
    beside = path.with_name(f"{path.name}.tmp")
    text = {"encoding": "utf-8", "newline": "", "errors": "backslashreplace"} if mode == "w" else {}
    try:
        with beside.open(mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


_WRITERS = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
