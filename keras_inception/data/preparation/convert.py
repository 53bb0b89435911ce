"""A folder of images copied, those that the decoder does not read converted by Pillow.

Pillow reads AVIF since 11.3, and HEIC where ``pillow-heif`` is installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inception_serving.walk import Walk
from keras_inception.data.errors import DataError
from keras_inception.data.images import Files
from keras_inception.data.preparation.inspection import BadImage, find_bad_images
from keras_inception.data.progress import bar
from keras_inception.data.text import one_line
from keras_inception.data.types import Log

# What Pillow is asked for: no documents and films, and no raw photos, of whose TIFF it would give
# the thumbnail.
_FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO"),
    *("PCX", "PNG", "PPM", "PSD", "QOI", "TGA", "TIFF", "WEBP"),
)
# Formats of photos, which a PNG would make several times as large.
_PHOTOS = ("AVIF", "HEIF", "JPEG", "JPEG2000", "MPO", "WEBP")


@dataclass(frozen=True)
class Converted:
    """What became of a folder's files.

    Args:
        copied: how many were copied as they are.
        converted: how many were converted.
        left: those that Pillow does not read either, with the decoder's reason.
    """

    copied: int
    converted: int
    left: list[BadImage]


def convert_folder(source: str | Path, output: str | Path, log: Log = print) -> Converted:
    """Copy a folder with its folders; convert the images in it that are not read.

    Photos become JPEG of quality 95, others and what is transparent PNG, 8 bits a channel. Of
    several images in a file the first is taken. They are turned upright.

    Args:
        source: a folder, with what is left out there as in training.
        output: a folder outside it, made here.

    Raises:
        DataError: a folder is not as it must be.
    """
    source, output = Path(source), Path(output)
    if not source.is_dir():
        raise DataError(f"{source} must be a folder of images.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not empty, and nothing is overwritten.")
    if output.resolve().is_relative_to(source.resolve()):
        raise DataError(f"The copy must lie outside of {source}. Received: {output}")
    walk = Walk(source)
    names = walk.files()
    if walk.left_out:
        log(one_line(walk.note()))
    files = Files.of(source, names)
    bad = {
        image.index: image
        for image in find_bad_images(files, bar("Decoding every image once", len(files)))
    }
    if any(image.reason.startswith("it is HEIC") for image in bad.values()) and not _reads_heic():
        log("To convert HEIC: pip install pillow-heif")
    taken = set(names)
    left: list[BadImage] = []
    converted = 0
    advance = bar("Copying", len(files))
    for index, name in enumerate(names):
        target = os.path.join(os.fsencode(output), name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if index not in bad:
            shutil.copyfile(files.name(index), target)
        elif _convert(files.name(index), target, name, taken):
            converted += 1
        else:
            left.append(bad[index])
        advance(1)
    return Converted(len(names) - len(bad), converted, left)


def _reads_heic() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _convert(path: str, target: bytes, name: bytes, taken: set[bytes]) -> bool:
    """Write an image as JPEG or PNG beside the others; false if Pillow does not read it."""
    from PIL import Image, ImageOps

    Image.init()
    formats = [each for each in _FORMATS if each in Image.OPEN]
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # Pillow's are of many kinds
        warnings.simplefilter("ignore")
        with Image.open(path, formats=formats) as opened:
            # The small image at the beginning of a raw photo is none of the photo.
            if opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(254, 0) & 1:
                return False
            photo = opened.format in _PHOTOS
            profile = opened.info.get("icc_profile")
            image = ImageOps.exif_transpose(opened)
        transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("RGBA" if transparent else "L" if image.mode == "L" else "RGB")
        suffix, kind = (b".jpg", "JPEG") if photo and not transparent else (b".png", "PNG")
        # `1.heic` may lie beside a `1.jpg`.
        stem = os.path.splitext(name)[0]
        free = stem + suffix if stem + suffix not in taken else name + suffix
        taken.add(free)
        written = target[: len(target) - len(name)] + free
        image.save(os.fsdecode(written), kind, quality=95, icc_profile=profile)
        return True
    return False
