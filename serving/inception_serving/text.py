"""Names of files as text that can be shown."""

from __future__ import annotations


def printable(name: str) -> str:
    r"""A file's name as text, whatever its bytes: each that is no UTF-8 as ``\udcfc``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(name: str) -> str:
    r"""A file's name as text in one line: a line's end in it as ``\n``, and so on."""
    # Letters and signs of any script stay as they are, and so do spaces and marks.
    return "".join(
        each.encode("unicode_escape").decode() if _breaks(each) else each
        for each in printable(name)
    )


def _breaks(sign: str) -> bool:
    """Whether it ends a line, or moves a terminal's cursor otherwise (Unicode's C0 and C1)."""
    return sign < " " or "\x7f" <= sign <= "\x9f" or sign in "\u2028\u2029"
