"""Names in any script, drawn by whatever font has it; a font of two Chinese signs is made here."""

import warnings
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from keras_inception.report.fonts import drawable
from keras_inception.report.preview import _shortened
from keras_inception.training.tensorboard import draw_confusion

FOOD = "食品"


@pytest.fixture
def only_matplotlibs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without fonts."""
    own = Path(matplotlib.get_data_path())
    fonts = font_manager.fontManager
    kept = [font for font in fonts.ttflist if own in Path(font.fname).parents]
    monkeypatch.setattr(fonts, "ttflist", kept)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])


@pytest.fixture
def chinese(only_matplotlibs_own: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with one font, which has two signs, each a filled square."""
    pen = TTGlyphPen(None)
    for move, corner in zip(
        (pen.moveTo, pen.lineTo, pen.lineTo, pen.lineTo),
        ((0, 0), (0, 1000), (1000, 1000), (1000, 0)),
        strict=True,
    ):
        move(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(sign): "square" for sign in FOOD})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Two Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "squares.ttf")])
    return tmp_path / "squares.ttf"


def drawn(text: str) -> np.ndarray:
    """A text as matplotlib draws it: bool [height, width], where there is ink."""
    with drawable([text]):
        figure = Figure(figsize=(3, 1))
        figure.text(0.1, 0.3, text, fontsize=30)
        figure.savefig(file := BytesIO(), format="png")
    return np.asarray(Image.open(file).convert("L")) < 128


def test_names_are_drawn_by_the_font_that_has_their_signs(chinese: Path) -> None:
    ink = drawn(FOOD)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    whole = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert whole.mean() > 0.98, "two squares side by side"
    assert whole.shape[1] / whole.shape[0] == pytest.approx(2, abs=0.1)
    latin = drawn("cat")
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        np.testing.assert_array_equal(latin, drawn("cat"))


@pytest.mark.filterwarnings("error")
def test_what_no_font_has_is_no_warning(only_matplotlibs_own: None) -> None:
    assert drawn(FOOD).any(), "boxes"
    matrix = draw_confusion(np.eye(3), (FOOD, "東京", "서울"))
    assert matrix.shape[2] == 3
    with pytest.warns(UserWarning, match="missing from"):  # what it is spared
        Figure().text(0, 0, FOOD).figure.savefig(BytesIO(), format="png")


def test_signs_of_formulas_are_signs() -> None:
    assert drawn("$x").sum() > drawn("x").sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(np.eye(2), (r"$\frac$", "a $ and $ b"))


def test_names_below_pictures_are_cut_by_their_width() -> None:
    assert _shortened("a class of 20 signs!") == "a class of 20 signs!"
    assert _shortened("a class of 21 signs!!") == "a class of 21 signs…"
    assert _shortened("食" * 10) == "食" * 10
    assert _shortened("食" * 11) == "食" * 9 + "…"
