"""Headers of image files, read by Pillow without decoding a pixel.

They tell what an image is, never whether it can be used: that is for TensorFlow's decoder, which
trains and serves. A file that Pillow refuses simply has no header here.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# The kinds of images that are read otherwise than they are kept, and how.
READ_AS = {
    "CMYK": "read as RGB",
    "16 bits": "read as 8",
    "palette": "read as RGB",
    "animated": "its first frame",
    "transparent": "alpha dropped, or as --alpha says",
}


@dataclass(frozen=True)
class Header:
    """What an image file is besides its pixels.

    Args:
        format: as Pillow calls it, such as ``"JPEG"``; ``""`` if it has no name.
        kinds: those of ``READ_AS`` that it is of.
        exif_rotated: whether it has an EXIF orientation other than upright.
    """

    format: str
    kinds: tuple[str, ...]
    exif_rotated: bool


def read_header(encoded: bytes) -> Header | None:
    """The header of an image file; ``None`` if Pillow finds none in the bytes."""
    from PIL import Image

    # Of odd metadata, and of a size that would be dangerous to decode, which nothing here does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                return Header(image.format or "", _kinds(image), _is_exif_rotated(image))
        except Exception:  # Pillow's are of many kinds
            return None


def _kinds(image: ImageFile) -> tuple[str, ...]:
    is_of = {
        "CMYK": image.mode == "CMYK",
        "16 bits": image.format == "PNG" and _raw_mode(image).endswith(";16B"),
        "palette": image.format == "PNG" and image.mode == "P",
        "animated": getattr(image, "is_animated", False),
        "transparent": image.mode in ("RGBA", "LA") or "transparency" in image.info,
    }
    return tuple(kind for kind in READ_AS if is_of[kind])


def _raw_mode(image: ImageFile) -> str:
    """How pixels lie in the file, ``"RGB;16B"``; ``image.mode`` is how Pillow would give them."""
    return str(image.tile[0].args) if image.tile else ""


def _is_exif_rotated(image: ImageFile) -> bool:
    from PIL import ExifTags
    from PIL.Image import Exif

    if "exif" not in image.info:  # of a PNG without, `getexif` would decode all to look for it
        return False
    tags = Exif()
    try:
        tags.load(image.info["exif"])
        return int(tags.get(ExifTags.Base.Orientation, 1)) != 1
    except Exception:  # of damaged EXIF, of many kinds
        return False
