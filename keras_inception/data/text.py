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


def printable(name: str) -> str:
    r"""A file's name as text, whatever its bytes: each that is no UTF-8 as ``\udcfc``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def one_form(name: str) -> str:
    """A class's name in Unicode's form NFC, in which names are compared.

    A Mac writes ``é`` as two characters in the names of its folders, and others as one.
    """
    return unicodedata.normalize("NFC", name)


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
