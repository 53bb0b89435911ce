"""A folder as it comes from a phone, a Mac, a Windows share and a NAS, from training to answers."""

import json
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from inception_serving import ModelServer
from keras_inception.cli import main
from keras_inception.runs.run import open_run

LABELS = ("K\u00e4fer", "cat", "dog")


def pixels(label: str, seed: int) -> np.ndarray:
    """An image of one colour for each class, some noise upon it: uint8 [48, 64, 3]."""
    colour = np.eye(3)[LABELS.index(label)] * 180 + 40
    noise = np.random.default_rng(seed).integers(-30, 31, (48, 64, 3))
    return (colour + noise).clip(0, 255).astype(np.uint8)


def phone(folder: Path, image: Callable[[int], Image.Image]) -> int:
    """JPEG with EXIF orientation, HEIC beside it, a film, a sidecar, a screenshot with alpha."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image(0).save(folder / "IMG_0001.JPG", "JPEG", exif=exif)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    (folder / "IMG_0002.HEIC").write_bytes(heic)
    for name in ("IMG_0003.MOV", "IMG_0001.AAE", ".trashed-1700000000-IMG_1.jpg"):
        (folder / name).write_bytes(b"x")
    image(1).convert("RGBA").save(folder / "Screenshot 2024-01-01 at 10.00.00.PNG")
    image(2).save(folder / "PXL_1.webp", lossless=True)
    return 3


def mac(folder: Path, image: Callable[[int], Image.Image]) -> int:
    """What its archives hold, a print in CMYK, a scan of 16 bits a channel."""
    for name in ("._IMG_0001.JPG", ".DS_Store", "Icon\r", "__MACOSX/._1.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"Mac OS X")
    image(3).convert("CMYK").save(folder / "print.jpeg")
    deep = np.asarray(image(4)).astype(np.uint16) * 257
    (folder / "scan.png").write_bytes(tf.io.encode_png(deep).numpy())
    return 2


def windows(folder: Path, image: Callable[[int], Image.Image]) -> int:
    """A recycle bin, an empty file, a name in Latin-1."""
    for name in ("Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    (folder / "$RECYCLE.BIN").mkdir()
    image(5).save(folder / "$RECYCLE.BIN" / "$R1.jpg")
    (folder / "empty.jpg").touch()
    image(6).save(folder / "Bild (1).BMP")
    image(7).save(os.path.join(os.fsencode(folder), b"M\xfcller.jpg"), "JPEG")
    return 2


def nas(folder: Path, image: Callable[[int], Image.Image]) -> int:
    """Thumbnails and bins of Synology and QNAP, a disk's lost+found."""
    for name in ("@eaDir/1.jpg", "#recycle", "@Recycle", "lost+found"):
        (folder / name).mkdir(parents=True)
        image(8).save(folder / name / "SYNOFILE_THUMB_M.jpg")
    for number in range(4):
        image(10 + number).save(folder / f"{number}.Jpg", "JPEG")
    (folder / "notes.txt").write_text("which are which")
    return 4


@pytest.mark.slow
def test_a_photo_folder_is_trained_on_exported_and_served(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, images = tmp_path / "photos", 0
    for label in LABELS:
        # As a Mac writes it.
        folder = photos / unicodedata.normalize("NFD", label)
        folder.mkdir(parents=True)
        for bring in (phone, mac, windows, nas):
            images += bring(folder, lambda seed: Image.fromarray(pixels(label, seed)))  # noqa: B023
    assert images == 33

    settings = "--recipe small --width 0.125 --batch-size 8 --epochs 12 --precision float32"
    output = ["--output", str(tmp_path / "run")]
    assert main(["train", str(photos), *output, *settings.split()]) == 0
    said = capfd.readouterr().out
    for count, reason in (
        (9, "hidden"),
        (27, "left there by a system"),
        (9, "of other kinds by their names"),
    ):
        assert f"{count} {reason}" in said
    assert "6 files are no images" in said
    assert "Images with an EXIF orientation: 3" in said
    assert "3 CMYK (read as RGB), 3 16 bits (read as 8), 3 transparent" in said
    run = open_run(tmp_path / "run")
    assert run.labels == LABELS
    data = run.record["data"]
    assert data["training_images"] + data["validation_images"] == images
    assert sorted({Path(name).name for name in data["left_out"]}) == ["IMG_0002.HEIC", "empty.jpg"]

    assert main(["export", str(run.path), str(tmp_path / "models"), "--name", "photos"]) == 0
    capfd.readouterr()
    with ModelServer(tmp_path / "models") as server:
        using = ["--with", f"{server.address}/photos", "--format", "json"]
        assert main(["predict", str(photos), *using]) == 1, "some are no images"
    answers, errors = capfd.readouterr()
    right = [each for each in json.loads(answers) if not each["error"]]
    assert len(right) == images
    for each in right:
        label = unicodedata.normalize("NFC", Path(each["image"]).parent.name)
        assert each["labels"][0] == label, each
    assert sum(Path(each["image"]).name == r"M\udcfcller.jpg" for each in right) == 3
    assert len(re.findall(r"IMG_0002\.HEIC: it is HEIC, which is not read; convert", errors)) == 3
    assert errors.count("empty.jpg: ") == 3
