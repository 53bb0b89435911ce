"""Files of predictions: what is in them, and that a run that was stopped goes on."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from inception_serving import ModelServer
from inception_serving.predictions import prediction_files
from inception_serving.predictions.image_files import list_images
from inception_serving.predictions.prediction import (
    Prediction,
    PredictionError,
    predict_batch,
    predict_each,
)
from inception_serving.predictions.prediction_files import csv_rows, safe_cell
from keras_inception.cli import main
from keras_inception.inference import predict as predict_module
from keras_inception.inference.predict import predict, predict_to_file
from keras_inception.runs.run import Run


@pytest.fixture
def some(photos: Path, tmp_path: Path) -> Path:
    """Twelve photos, one named as a formula, and one that is none."""
    folder = tmp_path / "photos"
    for label in ("dawn", "dusk"):
        (folder / label).mkdir(parents=True)
        for path in sorted((photos / label).iterdir())[:6]:
            shutil.copy(path, folder / label / path.name)
    (folder / "dusk" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


@pytest.fixture(scope="module")
def using(models: Path) -> str:
    return str(models / "photos")


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_has_what_predict_answers(some: Path, using: str, tmp_path: Path) -> None:
    expected = predict([some], using, top=2)
    written = predict_to_file([some], using, tmp_path / "p.jsonl", top=2, batch_size=5)
    found = rows(tmp_path / "p.jsonl")
    assert written.images == len(found) == 13
    assert [each["image"] for each in found] == [each.image for each in expected]
    for row, each in zip(found, expected, strict=True):
        assert tuple(row["labels"]) == each.labels
        assert row["scores"] == pytest.approx(each.scores, abs=1e-6)
        assert row["error"] == each.error
    assert [Path(each.image).name for each in written.failed] == ["broken.jpg"]
    assert not (tmp_path / "p.jsonl.part").exists()


def test_a_csv_has_a_row_for_each_class_and_failure(
    some: Path, using: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "p.csv"
    command = ["predict", str(some), "--with", using, "--output", str(output)]
    assert main(command) == 1  # since one failed
    captured = capsys.readouterr()
    assert f"Written: {output}, 13 images, of which 1 failed" in captured.out
    assert "broken.jpg: " in captured.err
    found = rows(output)
    assert len(found) == 12 * 2 + 1
    (failed,) = [row for row in found if row["error"]]
    assert failed["image"].endswith("broken.jpg") and failed["label"] == failed["rank"] == ""
    best = [row for row in found if row["rank"] == "1"]
    assert all(Path(row["image"]).parent.name == row["label"] for row in best)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("cat", "cat"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_text(text: str, cell: str) -> None:
    assert safe_cell(text) == cell
    *_, row = csv_rows([Prediction("x", (text,), (0.5,), 0.0)])
    assert row == ["x", 1, cell, "0.500000", ""]


def test_a_name_is_one_line_and_no_formula() -> None:
    for name, cell in (("=1.jpg", "'=1.jpg"), ("\t=1", "\\t=1"), ("a\nb.jpg", "a\\nb.jpg")):
        *_, row = csv_rows([Prediction(name, ("cat",), (0.5,), 0.0)])
        assert row == [cell, 1, "cat", "0.500000", ""]
        *_, row = csv_rows([Prediction("x", (), (), 0.0, name)])
        assert row == ["x", "", "", "", cell]


def test_a_newline_in_a_name_breaks_no_output(
    photos: Path, using: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "first\nline.jpg", tmp_path / "bad\r\n\x1b[2J\u2028.jpg"
    shutil.copy(photos / "dawn" / "00.jpg", good)
    bad.write_bytes(b"I am text.")
    command = ["predict", str(tmp_path), "--with", using]
    for format_, lines in (("table", 4), ("csv", 1 + 2 + 1)):
        assert main([*command, "--format", format_]) == 1
        captured = capsys.readouterr()
        assert len(captured.out.splitlines()) == lines
        assert "first\\nline.jpg" in captured.out
        assert "bad\\r\\n\\x1b[2J\\u2028.jpg" in captured.out
        assert len(captured.err.splitlines()) == 1


def test_a_run_that_was_killed_goes_on(
    some: Path, using: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the last whole line; the file is the one that an undisturbed run writes."""
    whole, output = tmp_path / "whole.csv", tmp_path / "p.csv"
    predict_to_file([some], using, whole)

    def killed(*arguments: Any, **options: Any) -> Iterator[Prediction]:
        for number, each in enumerate(predict_each(*arguments, **options)):
            if number == 7:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(prediction_files, "predict_each", killed)
    with pytest.raises(KeyboardInterrupt):
        predict_to_file([some], using, output)
    assert not output.exists()
    part = tmp_path / "p.csv.part"
    part.write_bytes(part.read_bytes()[:-9])  # as a kill in the middle of a line leaves it

    asked: list[str] = []

    def counted(predictor: Any, paths: list[str], **options: Any) -> Iterator[Prediction]:
        asked.extend(paths)
        return predict_each(predictor, paths, **options)

    monkeypatch.setattr(prediction_files, "predict_each", counted)
    told: list[str] = []
    predict_to_file([some], using, output, log=told.append)
    assert asked == list_images([some])[6:]
    assert "6 of 13 images were predicted before." in told
    assert output.read_bytes() == whole.read_bytes()
    assert not part.exists()


# Predicts 200 empty files, where a file may have so many bytes at most.
LIMITED = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
from inception_serving.predictions.prediction_files import write_predictions

size, folder, output = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
best = SimpleNamespace(labels=("cat",), scores=(0.5,))
predictor = SimpleNamespace(about={}, thresholds={}, best=lambda images: [best] * len(images))
paths = [str(path) for path in sorted(folder.iterdir())]
try:
    write_predictions(predictor, paths, output, using="x")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_disk_that_is_full_loses_nothing(tmp_path: Path, suffix: str) -> None:
    """Neither in the middle nor where all is predicted and the file itself is written."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    images, output = tmp_path / "images", tmp_path / f"p{suffix}"
    images.mkdir()
    for number in range(200):
        (images / f"{number}.png").touch()

    def write(size: int, output: Path) -> str:
        command = [sys.executable, "-c", LIMITED, str(size), str(images), str(output)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    for size in (100, 5000):
        told = write(size, output)
        assert told.startswith(f"{output} can't be written: File too large. What is predicted is")
        assert told.endswith(f"kept in {output}.part: make room, and the same command goes on.\n")
        assert [path.name for path in tmp_path.glob("p*")] == [f"p{suffix}.part"]
    assert not write(10**6, output)
    assert not write(10**6, output.with_stem("whole"))
    assert output.read_bytes() == output.with_stem("whole").read_bytes()
    assert not output.with_name(f"{output.name}.part").exists()


def test_a_disk_that_is_full_at_the_end(some: Path, using: str, tmp_path: Path) -> None:
    output, beside = tmp_path / "p.csv", tmp_path / "p.csv.tmp"
    beside.symlink_to("/dev/full")
    with pytest.raises(PredictionError, match=r"p\.csv can't be written: No space left on device"):
        predict_to_file([some], using, output)
    assert not output.exists() and not beside.is_symlink()
    predict_to_file([some], using, output)
    assert len({row["image"] for row in rows(output)}) == 13


class Scores:
    """Answers one image with these scores, of the classes a, b and so on."""

    about: ClassVar[dict[str, Any]] = {}
    thresholds: ClassVar[dict[str, float]] = {}

    def __init__(self, scores: tuple[float, ...]) -> None:
        self.labels, self.scores = tuple("abc"[: len(scores)]), scores

    def best(self, encoded: Sequence[bytes]) -> list[Any]:
        return [self]

    def refusal(self, error: Exception) -> None: ...


def test_scores_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.touch()
    nan = predict_batch(Scores((float("nan"), 0.5)), [str(image)], 5, None)[0]
    assert (nan.labels, nan.error) == ((), "the model answers scores that are NaN")
    logits = predict_batch(Scores((2.0, -1.0)), [str(image)], 5, None)[0]
    assert (logits.labels, logits.error) == (("a", "b"), "")
    assert predict_batch(Scores((2.0, -1.0)), [str(image)], 5, 0.0)[0].labels == ("a",)


def test_what_was_begun_otherwise_is_not_gone_on_with(
    some: Path, using: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, part = tmp_path / "p.jsonl", tmp_path / "p.jsonl.part"

    def stopped(*_: Any, **__: Any) -> Iterator[Prediction]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(prediction_files, "predict_each", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict_to_file([some], using, output, top=1)
    with pytest.raises(PredictionError, match=r"p\.jsonl\.part was begun with top=1\. Give"):
        predict_to_file([some], using, output, top=2)
    part.write_text("a file of mine\n")
    with pytest.raises(PredictionError, match="is no file of this command"):
        predict_to_file([some], using, output)
    assert part.read_text() == "a file of mine\n"


def test_a_line_that_is_damaged_is_named(
    some: Path, using: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file that was put in the output's place meanwhile stays."""
    output, part = tmp_path / "p.jsonl", tmp_path / "p.jsonl.part"

    def put(*arguments: Any, **options: Any) -> Iterator[Prediction]:
        yield from predict_each(*arguments, **options)
        output.write_text("mine")

    monkeypatch.setattr(prediction_files, "predict_each", put)
    with pytest.raises(PredictionError, match=r"p\.jsonl exists already"):
        predict_to_file([some], using, output)
    assert output.read_text() == "mine"
    output.unlink()
    monkeypatch.undo()
    lines = part.read_bytes().splitlines(keepends=True)
    for wrong in (b"\xff\n", b"[]\n", b'{"image": 1}\n'):
        part.write_bytes(b"".join([*lines[:3], wrong, *lines[4:]]))
        with pytest.raises(PredictionError, match=r"Line 4 of .*p\.jsonl\.part is damaged\."):
            predict_to_file([some], using, output)
    part.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    predict_to_file([some], using, output)
    assert len(rows(output)) == 13


def test_two_do_not_write_one_file(some: Path, using: str, tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    with (
        prediction_files._open_journal(output, {}),
        pytest.raises(PredictionError, match="Another process is writing"),
    ):
        predict_to_file([some], using, output)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("p.txt", r"does not end in \.csv, \.jsonl or \.parquet"),
        ("nowhere/p.csv", "is its folder there"),
    ],
)
def test_a_name_that_can_not_be_is_told_at_once(
    name: str, message: str, using: str, some: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import re

    with pytest.raises(SystemExit):
        main(["predict", str(some), "--with", using, "--output", str(tmp_path / name)])
    assert re.search(message, capsys.readouterr().err)


def test_a_file_that_is_there_stays(some: Path, using: str, tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    output.write_text("mine")
    with pytest.raises(PredictionError, match="exists already"):
        predict_to_file([some], using, output)
    assert output.read_text() == "mine"


def test_without_pyarrow_a_line_says_so(
    some: Path, using: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(PredictionError, match="pip install pyarrow"):
        predict_to_file([some], using, tmp_path / "p.parquet")
    assert not list(tmp_path.glob("p.parquet*"))


def test_parquet_has_the_same(some: Path, using: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    predict_to_file([some], using, tmp_path / "p.jsonl")
    predict_to_file([some], using, tmp_path / "p.parquet")
    found = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    for row, expected in zip(found, rows(tmp_path / "p.jsonl"), strict=True):
        assert row["image"] == expected["image"] and row["labels"] == expected["labels"]
        assert row["scores"] == pytest.approx(expected["scores"], abs=1e-7)
        assert (row["error"] or "") == expected["error"]


def test_a_run_and_a_server_write_the_same(
    some: Path, run: Run, models: Path, using: str, tmp_path: Path
) -> None:
    outputs = []
    with ModelServer(models) as server:
        for number, each in enumerate((run.path, using, f"{server.address}/photos")):
            output = tmp_path / f"{number}.jsonl"
            predict_to_file([some], each, output, batch_size=2)
            outputs.append(rows(output))
    for other in outputs[1:]:
        for one, two in zip(outputs[0], other, strict=True):
            assert (one["image"], one["labels"]) == (two["image"], two["labels"])
            assert one["scores"] == pytest.approx(two["scores"], abs=1e-4)
            assert bool(one["error"]) == bool(two["error"])


def test_a_file_that_goes_away_fails_alone(some: Path, using: str, tmp_path: Path) -> None:
    paths: list[str | Path] = [*list_images([some])]
    gone = Path(paths[1])
    moved = gone.with_suffix(".jpg.gone")
    listed = predict_module.list_images

    def list_and_lose(*arguments: Any) -> list[str]:
        found = listed(*arguments)
        gone.rename(moved)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict_module, "list_images", list_and_lose)
        written = predict_to_file(paths, using, tmp_path / "p.csv")
    assert {each.image: "can't be read" in each.error for each in written.failed} == {
        str(gone): True,
        next(str(path) for path in paths if "broken" in str(path)): False,
    }
