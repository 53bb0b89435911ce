"""``keras-inception data``, as its user sees it."""

import shutil
from pathlib import Path

import pytest

from keras_inception.cli import main


def test_check_shows_what_training_would_find(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(photos)]) == 0
    said = capsys.readouterr().out
    assert "40 images of 2 classes" in said
    assert "Formats: 16 JPEG, 8 PNG, 8 GIF, 8 BMP" in said
    assert "8 transparent (alpha dropped)" in said
    assert "Every image can be decoded." in said
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dusk" / "text.jpg").write_text("I am text.")
    shutil.copy(folder / "dawn" / "00.jpg", folder / "dawn" / "copy.jpg")
    assert main(["data", "check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "text.jpg: Unknown image file format" in said
    assert "Copies of other images: 1, such as" in said


def test_records_are_written_shown_and_indexed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "records"
    command = ["data", "records", str(photos), str(output), "--validation-fraction", "0.25"]
    assert main([*command, "--shards", "2"]) == 0
    said = capsys.readouterr().out
    assert "train: 30 images in 2 shards" in said
    assert "validation: 10 images in 1 shard," in said
    assert main(["data", "check", f"{output}/validation"]) == 0
    said = capsys.readouterr().out
    assert "10 images of 2 classes" in said
    assert f"Other splits: {output}/train" in said
    (output / "train.index.npz").unlink()
    assert main(["data", "index", str(output)]) == 0
    assert (output / "train.index.npz").is_file()
    assert "30 images of 2 classes" in capsys.readouterr().out


def test_errors_are_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.endswith("nowhere does not exist.\n")
    assert main(["data", "index", str(photos)]) == 1
    assert "is no folder or pattern of TFRecords" in capsys.readouterr().err
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "notes.txt").write_text("x")
    assert main(["data", "records", str(photos), str(tmp_path / "records")]) == 1
    assert "is not empty" in capsys.readouterr().err
