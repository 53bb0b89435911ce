"""Formats of image files that are not read, by their first bytes: their names and what helps.

The formats that are read are those of ``preprocessing.decode``: JPEG, PNG, GIF, BMP and WebP.
"""

from __future__ import annotations

import re

_CONVERT = "convert it first, with ImageMagick: mogrify -format {target} *.{suffix}"
# ISO base media files by their brands: https://nokiatech.github.io/heif/technical.html and
# https://aomediacodec.github.io/av1-avif/.
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"8BPS": "PSD",
    b"%PDF": "PDF",
}
_SVG = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE\s+svg[^>]*>\s*)?<svg[\s>]", re.S
)
_SUFFIXES = {
    "HEIC": ("heic", "jpg"),
    "AVIF": ("avif", "jpg"),
    "JPEG XL": ("jxl", "jpg"),
    "JPEG 2000": ("jp2", "jpg"),
    "TIFF": ("tif", "png"),
    "PSD": ("psd", "png"),
}


def unread_format(content: bytes) -> str:
    """What a file is that is not read, and what helps, in a line; ``""`` for any other.

    Args:
        content: the file's, or its first 512 bytes.
    """
    name = _name(content)
    if name == "SVG":
        return (
            "it is SVG, a drawing; make it pixels first, with librsvg: rsvg-convert -o a.png a.svg"
        )
    if name == "animated WebP":
        return "it is an animated WebP; take a frame of it: webpmux -get frame 1 a.webp -o b.webp"
    if name == "PDF":
        return "it is a PDF; take the images out of it, with poppler: pdfimages -png a.pdf a"
    if name:
        suffix, target = _SUFFIXES[name]
        return f"it is {name}, which is not read; " + _CONVERT.format(suffix=suffix, target=target)
    return ""


def _name(content: bytes) -> str:
    if content[4:8] == b"ftyp":
        size = max(16, min(int.from_bytes(content[:4], "big"), 512))
        brands = [content[8:12], *(content[at : at + 4] for at in range(16, size, 4))]
        # A file may say of itself that it is HEIF in general, and then of which kind.
        kinds = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in kinds else next(iter(kinds), "")
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and content[20:21]:
        return "animated WebP" if content[20] & 2 else ""
    if _SVG.match(content.removeprefix(b"\xef\xbb\xbf")[:512]):
        return "SVG"
    return next((name for start, name in _STARTS.items() if content.startswith(start)), "")
