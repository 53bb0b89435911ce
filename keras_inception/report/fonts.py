"""Fonts for pictures that name classes: matplotlib's own, and the system's for what it lacks."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib
from matplotlib import font_manager

_OWN = "DejaVu Sans"  # comes with matplotlib; no Chinese, Japanese or Korean in it


@contextlib.contextmanager
def drawable(texts: Iterable[str]) -> Iterator[None]:
    """Let matplotlib draw texts of any script, letter by letter as they are.

    What its own font lacks is drawn by the fonts of the system that have it. What none has is
    drawn as a box, without the warning that matplotlib has for each. ``$`` begins no formula.

    Args:
        texts: all that are drawn within; they are made and saved within, too.
    """
    own = font_manager.findfont(_OWN, fallback_to_default=False)
    lacking = {ord(sign) for sign in "".join(texts) if sign.isprintable()} - _signs(own)
    style: Any = {"font.family": [_OWN, *_families(lacking)], "text.parse_math": False}
    with warnings.catch_warnings(), matplotlib.rc_context(style):
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
        yield


def _families(lacking: set[int]) -> list[str]:
    """The system's fonts for signs, by their code points: each the one that has the most."""
    signs = {path: _signs(path) & lacking for path in _files()} if lacking else {}
    families = []
    while lacking:
        best = max(signs, key=lambda path: len(signs[path] & lacking), default="")
        if not best or not signs[best] & lacking:
            break
        lacking = lacking - signs[best]
        families.append(_family(best))
    return families


def _files() -> list[str]:
    """The files of all fonts, those called regular first; installed since, too.

    Matplotlib's own are not among them: its last resort has a box for every sign there is.
    """
    own = matplotlib.get_data_path()
    known = [font.fname for font in font_manager.fontManager.ttflist]
    paths = {path for path in (*known, *font_manager.findSystemFonts()) if not path.startswith(own)}
    return sorted(paths, key=lambda path: ("regular" not in path.lower(), path))


def _family(path: str) -> str:
    """What matplotlib calls a font by, which it is made to know."""
    fonts = font_manager.fontManager
    if all(font.fname != path for font in fonts.ttflist):
        fonts.addfont(path)
    return str(next(font.name for font in fonts.ttflist if font.fname == path))


@functools.cache
def _signs(path: str) -> frozenset[int]:
    """The code points that a font has signs for; of a file that can't be read, none."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
