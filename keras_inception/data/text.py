"""Text as people bring it: its encoding, the one form of a name, and file names that are no text.

A name that is read in the wrong encoding shifts nothing and stops nothing: a class is then called
``ʳƷ`` and not ``食品`` in everything that follows. So what is neither UTF-8 nor UTF-16, or may be
another encoding, is refused, with how others would read it.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable

from inception_serving.text import one_line as one_line
from inception_serving.text import printable as printable

# What a file begins with that says its encoding; without it, a file is UTF-8.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets and old archives write where not Unicode: Western and Eastern Europe,
# Cyrillic, mainland China, Taiwan, Japan, Korea.
_LOCAL = ("cp1252", "cp1250", "cp1251", "gbk", "big5", "shift_jis", "euc_kr")
_WORD = re.compile(r"[^\W\d_]+")


def one_form(name: str) -> str:
    """A class's name in Unicode's form NFC, in which names are compared.

    A Mac writes ``é`` as two characters in the names of its folders, and others as one.
    """
    return unicodedata.normalize("NFC", name)


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: two for Chinese and its like, none for marks."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def encoding_of(content: bytes) -> str:
    """What a file's first bytes say: ``"utf-8-sig"`` or ``"utf-16"``; else ``"utf-8"``."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")


def no_text(content: bytes) -> str:
    """Why a file's content is neither UTF-8 nor UTF-16 with a mark; ``""`` if it is either."""
    try:
        text = content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = f" has the byte 0x{content[error.start]:02x}" if error.start < len(content) else ""
        return f"line {line}{byte}"
    if "\0" in text:
        return f"line {text[: text.index(chr(0))].count(chr(10)) + 1} has a zero byte"
    return ""


# What bears the suffix of a text and is none, by its first bytes, and what helps.
_NO_TEXT = {
    b"PK\3\4": "no text but a ZIP archive, as workbooks (.xlsx, .ods) are; save it as CSV, UTF-8",
    b"\xd0\xcf\x11\xe0": "no text but a workbook (.xls); save it as CSV, UTF-8",
    b"\x1f\x8b": "compressed by gzip; unpack it first, with gunzip",
    b"version https://git-lfs": "a pointer of Git LFS, not the file; fetch it: git lfs pull",
    b"/annex/objects/": "a pointer of git-annex, not the file; fetch it: git annex get .",
}
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)


def no_text_but(content: bytes) -> str:
    """What a file is that was meant to be a text, and what helps; ``""`` if it may be one."""
    if _PAGE.match(content):
        return "an HTML page, not a text of lines; download or save the file itself"
    return next((what for start, what in _NO_TEXT.items() if content.startswith(start)), "")


def unmarked_encoding(content: bytes) -> str:
    """The form of Unicode of a text whose first bytes do not say it, such as ``"UTF-16-LE"``.

    ``""`` where it is none but UTF-8. Every such text has a zero byte, in the end of a line if
    nowhere else, and no text in UTF-8 has one.
    """
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if encoding_of(content) != "utf-8" or b"\0" not in content:
        return ""
    ascii_letters = {}
    for encoding in ("UTF-32-LE", "UTF-32-BE", "UTF-16-LE", "UTF-16-BE"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(each.isprintable() or each in "\r\n\t\ufeff" for each in text):
            ascii_letters[encoding] = sum(map(str.isascii, text))
    likely = max(ascii_letters, key=ascii_letters.__getitem__, default="")
    return likely if likely and ascii_letters[likely] else ""


def like_gbk(names: Iterable[str]) -> bool:
    """Whether names in UTF-8 are rather Chinese ones in GBK, whose bytes can be both.

    So it is where every word that is not ASCII is common Chinese in GBK, and as UTF-8 one has
    letters that words don't have beside each other, such as phonetic ones.
    """
    words = [word for name in names for word in _WORD.findall(name) if not word.isascii()]
    try:
        chinese = "".join(word.encode("utf-8").decode("gb2312") for word in words)
    except UnicodeError:
        return False
    phonetic = any("\u0180" <= letter <= "\u02ff" for word in words for letter in word)
    return phonetic and all("\u4e00" <= letter <= "\u9fff" for letter in chinese)


def readings(content: bytes, names_in: Callable[[str], Iterable[str]]) -> str:
    """How encodings that are not Unicode would read a file's first names, in a sentence.

    Args:
        names_in: the names in a text.
    """
    found = []
    for encoding in _LOCAL:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        names = [name for name in dict.fromkeys(names_in(text)) if not name.isascii()][:3]
        if names and all(name.isprintable() for name in names):
            found.append(f"as {encoding} {', '.join(names)}")
    return f" It would read {'; '.join(found)}." if found else ""
