"""A folder as it comes from a phone, a Mac, a Windows share and a NAS, from training to answers."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_inception.cli import main

KÄFER = "Ka\u0308fer"  # as a Mac writes it, in Unicode's form NFD
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
    for name in ("._IMG_0001.JPG", ".DS_Store", "Icon\r"):
        (folder / name).write_bytes(b"Mac OS X")
    (folder / "__MACOSX" / folder.name).mkdir(parents=True)
    (folder / "__MACOSX" / folder.name / "._1.jpg").write_bytes(b"x")
    image(3).convert("CMYK").save(folder / "print.jpeg")
    deep = np.asarray(image(4).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "scan 16 bit.png")
    return 1  # the scan is grey, so of no class: taken away by the caller


def windows(folder: Path, image: Callable[[int], Image.Image]) -> int:
    for name in ("Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    (folder / "$RECYCLE.BIN").mkdir()
    image(5).save(folder / "$RECYCLE.BIN" / "$R1.jpg")
    (folder / "empty.jpg").touch()
    image(6).save(folder / "Bild (1).BMP")
    image(7).save(os.path.join(os.fsencode(folder), b"M\xfcller.jpg"), "JPEG")
    return 2


def nas(folder: Path, image: Callable[[int], Image.Image]) -> int:
    for name in ("@eaDir/1.jpg", "#recycle", "@Recycle", "lost+found"):
        (folder / name).mkdir(parents=True)
        image(8).save(folder / name / "SYNOFILE_THUMB_M.jpg")
    for number in range(4):
        image(10 + number).save(folder / f"{number}.Jpg", "JPEG")
    (folder / "notes.txt").write_text("which are which")
    return 4
