"""Formats of files that are not read as images, by their first bytes: their names and what helps.

Read are JPEG, PNG, GIF, BMP and WebP. Training and the client name them by this one file, which is
here because the client goes without ``keras_inception``.
"""

from __future__ import annotations

import re
import zlib

_READ = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
# ISO base media files by their brands: https://nokiatech.github.io/heif/technical.html,
# https://aomediacodec.github.io/av1-avif/ and, of Canon, https://github.com/lclevy/canon_cr3.
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "CR3"} | dict.fromkeys(
    [b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"], "HEIC"
)
_IMAGES = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  \x0d\x0a\x87\x0a": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"II\xbc\x01": "JPEG XR",
    b"II*\0\x10\0\0\0CR": "CR2",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"IIRO": "ORF",
    b"IIRS": "ORF",
    b"MMOR": "ORF",
    b"IIU\0": "RW2",
    b"FUJIFILMCCD-RAW": "RAF",
    b"FOVb": "X3F",
    b"\0MRM": "MRW",
    b"\0\0\1\0": "ICO",
    b"\0\0\2\0\0\0\0\0": "TGA",
    b"\0\0\x0a\0\0\0\0\0": "TGA",
    b"\x0a\5\1": "PCX",
    b"icns": "ICNS",
    b"8BPS": "PSD",
    b"gimp xcf": "XCF",
    b"v/1\1": "OpenEXR",
    b"#?RADIANCE": "HDR",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"SIMPLE  =": "FITS",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
} | {
    b"P%c%c" % (kind, space): name
    for kinds, name in ((b"14", "PBM"), (b"25", "PGM"), (b"36", "PPM"), (b"7", "PAM"))
    for kind in kinds
    for space in b" \t\r\n"
}
# What is no image, whatever its suffix says.
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the image; fetch it: git lfs pull",
    b"/annex/objects/": "a pointer of git-annex, not the image; fetch it: git annex get .",
    b"PK\3\4": "a ZIP archive, such as an office's document; take the images out of it",
    b"Rar!\x1a\7": "a RAR archive; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"\x1f\x8b": "compressed by gzip; unpack it first, with gunzip",
    b"\xd0\xcf\x11\xe0": "an office's document; take the images out of it",
    b"\0\5\x16\7": "what a Mac keeps of a file beside its content; the image is elsewhere",
    b"SQLite format 3": "a database (SQLite)",
    b"\x1aE\xdf\xa3": "a film (Matroska or WebM)",
}
_SUFFIXES = {
    "HEIC": ("heic", "jpg"),
    "AVIF": ("avif", "jpg"),
    "JPEG XL": ("jxl", "jpg"),
    "JPEG 2000": ("jp2", "jpg"),
    "JPEG XR": ("jxr", "jpg"),
    "TIFF": ("tif", "png"),
    "ICO": ("ico", "png"),
    "ICNS": ("icns", "png"),
    "PSD": ("psd", "png"),
    "XCF": ("xcf", "png"),
    "OpenEXR": ("exr", "png"),
    "HDR": ("hdr", "png"),
    "DDS": ("dds", "png"),
    "QOI": ("qoi", "png"),
    "FITS": ("fits", "png"),
    "TGA": ("tga", "png"),
    "PCX": ("pcx", "png"),
    "PBM": ("pbm", "png"),
    "PGM": ("pgm", "png"),
    "PPM": ("ppm", "png"),
    "PAM": ("pam", "png"),
    "DICOM": ("dcm", "png"),
    "PostScript": ("eps", "png"),
}
_RAW = ("CR2", "CR3", "ORF", "RW2", "RAF", "X3F", "MRW", "DNG, NEF, ARW or their like")
_SVG = re.compile(rb"<svg[\s>]")
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script)\b", re.S | re.I)
_FILM = "a film; take an image out of it, with FFmpeg: ffmpeg -i FILE -frames:v 1 a.png"

# TensorFlow's words where its decoder fails on a file that begins as an image that is read
# (core/kernels/image/decode_image_op.cc and what it calls).
_DAMAGED = {
    "JPEG": re.compile("Invalid JPEG"),
    "PNG": re.compile("Invalid PNG"),
    "GIF": re.compile("Invalid GIF"),
    "WebP": re.compile("Failed to decode WebP"),
    "BMP": re.compile(r"Incomplete bmp|Input size should match \(header_size|^Width must be"),
}


def decoder_words(text: str) -> str:
    """What a decoder's error says of an image, in our words where it is damaged.

    Args:
        text: the error's, in a line.
    """
    name = next((name for name, words in _DAMAGED.items() if words.search(text)), "")
    return f"it is a damaged {name}, or one that is cut off; copy it again" if name else text


def unread_format(content: bytes) -> str:
    """Why a file is not read as an image, and what helps, in a line; ``""`` if it may be one.

    Args:
        content: the file's, or its first 4,096 bytes.
    """
    if not content:
        return "it is empty"
    if content.startswith(_READ):
        return ""
    name = _name(content)
    if not name:
        return "" if _is_read(content) else f"it is {_other(content)}"
    if name == "SVG":
        return (
            "it is SVG, a drawing; make it pixels first, with librsvg: rsvg-convert -o a.png a.svg"
        )
    if name == "animated WebP":
        return "it is an animated WebP; take a frame of it: webpmux -get frame 1 a.webp -o b.webp"
    if name == "PDF":
        return "it is a PDF; take the images out of it, with poppler: pdfimages -png a.pdf a"
    if name in _RAW:
        suffix = name[:3].lower()
        return (
            f"it is a camera's raw photo ({name}); develop it first, with darktable:"
            f" darktable-cli a.{suffix} a.jpg"
        )
    suffix, target = _SUFFIXES[name]
    return (
        f"it is {name}, which is not read; convert it first, with ImageMagick:"
        f" mogrify -format {target} *.{suffix}"
    )


def is_image(content: bytes) -> bool:
    """Whether a file begins as an image does, of a format that is read or that is known."""
    return _is_read(content) or bool(_name(content))


def _is_read(content: bytes) -> bool:
    return content.startswith(_READ) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def _name(content: bytes) -> str:
    """What an image is whose format is not read; ``""`` for any other file."""
    if content[4:8] == b"ftyp":
        size = max(16, min(int.from_bytes(content[:4], "big"), 512))
        brands = [content[8:12], *(content[at : at + 4] for at in range(16, size, 4))]
        # A file may say of itself that it is HEIF in general, and then of which kind.
        kinds = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in kinds else next(iter(kinds), "")
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and content[20:21]:
        return "animated WebP" if content[20] & 2 else ""
    if content[128:132] == b"DICM":
        return "DICOM"
    text = _text(content)
    if text.startswith(b"<") and not _HTML.match(text) and _SVG.search(text):
        return "SVG"
    name = next((name for start, name in _IMAGES.items() if content.startswith(start)), "")
    return _RAW[-1] if name == "TIFF" and _is_raw(content) else name


def _text(content: bytes) -> bytes:
    """The beginning of a text in UTF-8, its mark taken off; unpacked, as an .svgz is."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = zlib.decompressobj(31).decompress(content, 4096)
        except zlib.error:
            return b""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        content = content[:8192].decode("utf-16", "ignore").encode("utf-8", "ignore")
    return content.removeprefix(b"\xef\xbb\xbf")[:4096].lstrip()


def _is_raw(content: bytes) -> bool:
    """Whether a TIFF's first image is a small one of a photo (tag 254), or it has DNG's tag 50706.

    So it is in DNG, NEF, ARW and PEF; TIFF 6.0, section 2, has the layout.
    """
    order = "little" if content[:2] == b"II" else "big"

    def number(begin: int, count: int) -> int:
        return int.from_bytes(content[begin : begin + count], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    tags = {
        number(at, 2): number(at + 8, 4)
        for at in range(directory + 2, directory + 2 + 12 * min(number(directory, 2), 200), 12)
    }
    return bool(tags.get(254, 0) & 1) or 50706 in tags


def _other(content: bytes) -> str:
    """What a file is that is no image."""
    if content[4:8] == b"ftyp" or content[4:8] in (b"moov", b"mdat", b"wide"):
        return _FILM
    if content[:4] == b"RIFF":
        return {b"AVI ": _FILM, b"WAVE": "sound (WAV)"}.get(content[8:12], "a damaged WebP")
    known = next((name for start, name in _OTHERS.items() if content.startswith(start)), "")
    if known:
        return known
    text = _text(content)
    if _HTML.match(text):
        return "an HTML page, as a server answers where there is no image; download it again"
    if text.startswith((b"<?xml", b"{", b"[")):
        return f"text of {'XML' if text[:1] == b'<' else 'JSON'}, not an image: {_shown(text)}"
    if _shown(text):
        return f"text, not an image: {_shown(text)}"
    return (
        "none of JPEG, PNG, GIF, BMP and WebP, nor another format that is known here; it begins"
        f" with {content[:8].hex(' ')}"
    )


def _shown(text: bytes) -> str:
    """The first words of a text; ``""`` if it is none."""
    words = text[:200].decode("utf-8", "ignore").strip()
    words = " ".join(words.split())
    if not words or not words.isprintable() or b"\0" in text:
        return ""
    return repr(words if len(words) <= 40 else f"{words[:37]}...")
