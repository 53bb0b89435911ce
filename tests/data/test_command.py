"""``keras-inception data``, as its user sees it; and names that are no text, in all commands."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_serving.server.options import ServerOptions
from keras_inception.cli import main
from keras_inception.data.preparation.prepare import prepare
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.run import create_run
from tests.training.made_up import colour_model, make_run


def test_check_shows_what_training_would_find(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(photos)]) == 0
    said = capsys.readouterr().out
    assert "40 images of 2 classes" in said
    assert "Formats: 16 JPEG, 8 PNG, 8 GIF, 8 BMP" in said
    assert "8 transparent (alpha dropped, or as --alpha says)" in said
    assert "Every image can be decoded." in said
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dusk" / "text.jpg").write_text("I am text.")
    shutil.copy(folder / "dawn" / "00.jpg", folder / "dawn" / "copy.jpg")
    assert main(["data", "check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "text.jpg: it is text, not an image: 'I am text.'" in said
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


def test_check_counts_images_and_names_classes_that_would_be_empty(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "__MACOSX").mkdir()
    (folder / "noon").mkdir()
    for number in range(12):
        (folder / "noon" / f"{number:02d}.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert main(["data", "check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("40 images of 3 classes\n")
    assert "  noon   0\n" in said
    assert "Left out: 1 left there by a system or a tool (such as __MACOSX)." in said
    assert "No image is left of noon, so training refuses the data." in said
    assert "it is HEIC, which is not read; convert it first" in said
    assert ("and 2 more" in said, "11.heic" in said, "--list" in said) == (True, False, True)
    assert main(["data", "check", str(folder), "--list"]) == 1
    said = capsys.readouterr().out
    assert ("more" in said, said.count(".heic: it is HEIC")) == (False, 12)


def test_check_says_what_a_server_would_refuse(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    Image.new("1", (9000, 8000)).save(folder / "dawn" / "large.png")
    assert ServerOptions().max_image_pixels < 9000 * 8000
    assert main(["data", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "Images that training decodes and a server of ours refuses: 1, such as" in said
    assert "large.png: an image of 72000000 pixels; this server decodes 67108864 at most." in said
    assert "Every image can be decoded" not in said


def test_a_table_of_another_encoding_is_read_by_every_command(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "photos.csv"
    lines = [f"{photos}/{name},{label}" for name, label in
             (("dawn/00.jpg", "K\u00e4fer"), ("dusk/00.jpg", "Spinne"))]  # fmt: skip
    table.write_bytes("\n".join(["path,label", *lines]).encode("cp1252"))
    assert main(["data", "check", str(table)]) == 1
    assert "as cp1252 K\u00e4fer" in capsys.readouterr().err
    assert main(["data", "check", str(table), "--encoding", "cp1252"]) == 0
    assert "K\u00e4fer" in capsys.readouterr().out
    records = ["data", "records", str(table), str(tmp_path / "records"), "--encoding", "cp1252"]
    assert main(records) == 0
    assert (tmp_path / "records" / "labels.txt").read_text("utf-8") == "K\u00e4fer\nSpinne\n"


def test_names_that_are_no_text_pass_through_all_that_is_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "finished", colour_model(2), ("dawn", "dusk"), [])
    folder = shutil.copytree(photos, tmp_path / "photos")
    for label, name in (("dawn", b"M\xfcller.jpg"), ("dusk", b"br\xf6ken.jpg")):
        shutil.copy(photos / "dusk" / "00.jpg", os.fsencode(folder / label) + b"/" + name)
    (folder / "dusk" / os.fsdecode(b"br\xf6ken.jpg")).write_bytes(b"no image")

    prepared = prepare(folder, validation_fraction=0.5, log=lambda line: None)
    begun = create_run(tmp_path / "run", RECIPES["small"], prepared, Preprocessing(32))
    begun.update_record(more=os.fsdecode(b"M\xfcller.jpg"))
    record = json.loads((begun.path / "run.json").read_text("utf-8"))
    assert record["data"]["left_out"][0].endswith("br\\udcf6ken.jpg")
    assert record["more"] == os.fsdecode(b"M\xfcller.jpg")
    kept = begun.validation.images
    for index in range(len(kept)):
        assert kept.encoded(index) == prepared.validation.images.encoded(index)

    numbers, page = tmp_path / "numbers.json", tmp_path / "report.html"
    assert main(["evaluate", str(run.path), str(folder), "--json", str(numbers)]) == 0
    (left_out,) = json.loads(numbers.read_text("utf-8"))["left_out"]
    assert left_out["image"].endswith("br\\udcf6ken.jpg")
    report = ["report", str(run.path), "--data", str(folder), "--output", str(page)]
    assert main(report) == 0
    assert "br\\udcf6ken.jpg" in page.read_text("utf-8")
    capsys.readouterr()
    for style in ("csv", "json", "table"):
        assert main(["predict", str(folder), "--with", str(run.path), "--format", style]) == 1
        said = capsys.readouterr()
        assert "br\\udcf6ken.jpg: it is text, not an image: 'no image'" in said.err
        if style != "table":
            assert "M\\udcfcller.jpg" in said.out.replace("\\\\", "\\")
        said.out.encode("utf-8")


def test_names_that_would_move_a_terminals_cursor_are_shown_in_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    odd = "\x1b[2J\nEvery image is fine\u2028.jpg"
    (folder / f"loose{odd}").write_bytes(b"")
    (folder / f"empty{odd}").mkdir()
    (folder / "dawn" / f"bad{odd}").write_bytes(b"no image")
    shutil.copy(folder / "dawn" / "00.jpg", folder / "dawn" / f"copy{odd}")
    shutil.copy(folder / "dawn" / "00.jpg", folder / "dusk" / f"other{odd}")
    turned = Image.new("RGB", (40, 30), (90, 20, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "dusk" / f"turned{odd}", exif=exif)
    Image.new("1", (9000, 8000)).save(folder / "dawn" / f"large{odd}", "PNG")
    assert main(["data", "check", str(folder), "--near-duplicates"]) == 1
    said = capsys.readouterr().out
    for name in ("loose", "empty", "bad", "copy", "other", "turned", "large"):
        assert f"{name}\\x1b[2J\\nEvery image is fine\\u2028.jpg" in said
    assert not set(said) & {"\x1b", "\u2028"}
    lines: list[str] = []
    prepared = prepare(folder, folder, log=lines.append)
    assert "bad\\x1b[2J\\nEvery" in "".join(lines)
    assert not set("".join(lines)) & {"\x1b", "\u2028"}
    assert odd in prepared.record["left_out"][0], "a record has the name as it is"


def test_augment_preview_shows_the_ground_beneath_transparent_images(tmp_path: Path) -> None:
    clear = np.zeros((40, 40, 4), np.uint8)  # black beneath, and nothing to be seen
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        Image.fromarray(clear).save(tmp_path / label / "1.png")
    pictures = []
    for alpha in ("white", "black"):
        output = tmp_path / f"{alpha}.png"
        command = ["augment-preview", str(tmp_path), "--recipe", "small", "--alpha", alpha]
        assert main([*command, "--images", "2", "--variants", "1", "--output", str(output)]) == 0
        pictures.append(np.asarray(Image.open(output).convert("L"), float).mean())
    assert pictures[0] > pictures[1] + 50
