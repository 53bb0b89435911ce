"""The pieces of an HTML page that needs nothing but itself: no scripts, no fonts, no links out."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

# What a browser may load for the page, whatever is in it: nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6573; --page: #f6f7f9;
  --card: #fff; --line: #dfe3e8; --blue: #2f6fc8; --orange: #b95a12; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b3; --page: #14181d;
  --card: #1c2127; --line: #323a44; --blue: #6aa3f0; --orange: #e89450; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); }
section > div, .card { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 1rem; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.3rem 0; padding: 0;
  list-style: none; }
.card { min-width: 8.5rem; flex: 1; }
.card b { display: block; font-size: 1.55rem; font-variant-numeric: tabular-nums;
  line-height: 1.25; }
.scroll { overflow: auto; max-height: 42rem; }
.scroll thead { position: sticky; top: 0; background: var(--card); }
svg { display: block; height: auto; max-width: 100%; }
section > div > svg { width: 100%; }
svg text { font-family: system-ui, sans-serif !important; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.share { min-width: 14rem; background: linear-gradient(to right,
  color-mix(in srgb, var(--blue) 35%, transparent) var(--share), transparent var(--share)); }
.confusion th, .confusion td { border: 1px solid var(--line); padding: .2rem .45rem; }
.confusion td { text-align: center; min-width: 2.3rem; }
.confusion thead th { text-align: center; }
.confusion thead .long { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 12rem;
  text-align: left; }
.row { display: flex; flex-wrap: wrap; gap: 0 1.2rem; }
.row > section { flex: 1 1 26rem; min-width: 0; max-width: 100%; display: flex;
  flex-direction: column; }
.row > section > div { flex: 1; }
.beside { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: center; }
.beside > * { flex: 1 1 20rem; max-width: 30rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr));
  gap: .9rem; padding: 0; margin: .8rem 0 0; list-style: none; }
.pictures img { width: 100%; height: 11rem; object-fit: contain; background: var(--page);
  border-radius: 6px; display: block; }
.pictures img + img { margin-top: .35rem; }
figure { margin: 0; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; padding-top: .35rem; }
figcaption p { margin: 0; }
.small { image-rendering: pixelated; }
.wrong { color: var(--orange); font-weight: 600; }
.right { color: var(--blue); font-weight: 600; }
details > summary { cursor: pointer; color: var(--soft); padding: .3rem 0; }
@media print { body { max-width: none; } .scroll { max-height: none; }
  .card, figure { break-inside: avoid; } }
"""


def page(title: str, *parts: str) -> str:
    """The whole file."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def header(title: str, line: str) -> str:
    """The page's title and a line below it."""
    return f'<header><h1>{escape(title)}</h1><p class="soft">{escape(line)}</p></header>'


def section(title: str, *parts: str) -> str:
    """A heading and a box below it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n<div>{''.join(parts)}</div>\n</section>"


def row(*sections: str) -> str:
    """Sections beside each other, where there is room."""
    return f'<div class="row">{"".join(sections)}</div>'


def beside(*parts: str) -> str:
    """Parts of a section beside each other, where there is room."""
    return f'<div class="beside">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def cards(values: Mapping[str, str]) -> str:
    """Figures, each with what it is."""
    items = "".join(
        f'<li class="card"><b>{escape(value)}</b><span class="soft">{escape(name)}</span></li>'
        for name, value in values.items()
    )
    return f'<ul class="cards">{items}</ul>'


def details(summary: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table(
    about: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    digits: int | None = None,
    shares: Sequence[float] | None = None,
) -> str:
    """A table whose first column names the rows; numbers to the right.

    Args:
        about: what it holds, above it.
        digits: after the point, of all fractions; by default as few as show four of them.
        shares: from 0 to 1, of each row, shown as a bar in the last column.
    """
    rows = [list(each) for each in rows]
    numeric = [
        all(isinstance(each[place], int | float | None) for each in rows)
        for place in range(len(head))
    ]
    top = "".join(
        f'<th scope="col"{_NUMBER * is_number}>{escape(name)}</th>'
        for name, is_number in zip(head, numeric, strict=True)
    )
    body = []
    for number, (first, *others) in enumerate(rows):
        cells = [f'<th scope="row"{_NUMBER * numeric[0]}>{escape(show(first))}</th>']
        for value, is_number in zip(others, numeric[1:], strict=True):
            text = show(value)
            if digits is not None and isinstance(value, float):
                text = f"{value:.{digits}f}"
            cells.append(f"<td{_NUMBER * is_number}>{escape(text)}</td>")
        if shares is not None:
            cells[-1] = cells[-1].replace(
                _NUMBER, f' class="number share" style="--share:{100 * shares[number]:.1f}%"'
            )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return _scrolling(
        about,
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody>",
    )


def pairs(about: str, values: Mapping[str, Any]) -> str:
    """A table of names and values."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(show(value))}</td></tr>'
        for name, value in values.items()
    )
    return _scrolling(about, f"<tbody>{rows}</tbody>")


def confusion_table(labels: Sequence[str], confusion: np.ndarray) -> str:
    """A confusion matrix; the stronger a cell's colour, the larger its share of the row."""
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    kind = ' class="long"' if max(map(len, labels)) > 3 else ""
    head = "".join(f'<th scope="col"{kind}>{escape(label)}</th>' for label in labels)
    rows = []
    for row, label in enumerate(labels):
        cells = []
        for column, count in enumerate(confusion[row].tolist()):
            share = count / totals[row, 0]
            # A root, so that rare mistakes show too.
            rgb, depth = ("47,111,200", share) if row == column else ("200,95,15", share**0.5)
            ink = ";color:#fff" if depth > 0.55 else ""
            style = f' style="background:rgba({rgb},{depth:.2f}){ink}"' if count else ""
            cells.append(f"<td{style}>{count or ''}</td>")
        rows.append(f'<tr><th scope="row">{escape(label)}</th>{"".join(cells)}</tr>')
    return _scrolling(
        "Numbers of images. Rows: true classes; columns: predicted classes.",
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody>",
        ' class="confusion"',
    )


def picture(image: Any, about: str, side: int = 360) -> str:
    """An image element with its pixels in it.

    Args:
        image: uint8 [height, width, 3]; made smaller if a side is longer than ``side``.
        about: what it shows, for people who can't see it.
    """
    from PIL import Image

    drawn = Image.fromarray(image)
    small = max(drawn.size) <= 96
    drawn.thumbnail((side, side))
    file = io.BytesIO()
    drawn.save(file, *(("PNG",) if small else ("JPEG",)), quality=85)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    kind = "png" if small else "jpeg"
    look = ' class="small"' if small else ""
    return f'<img{look} alt="{escape(about)}" src="data:image/{kind};base64,{data}">'


def show(value: Any) -> str:
    """A value as people write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(show, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {show(each)}" for name, each in value.items()) or "none"
    return str(value)


_NUMBER = ' class="number"'


def _scrolling(about: str, content: str, kind: str = "") -> str:
    said = paragraph(about, "soft") if about else ""
    label = f' aria-label="{escape(about)}"' if about else ""
    return f'{said}<div class="scroll" tabindex="0"><table{kind}{label}>{content}</table></div>'
