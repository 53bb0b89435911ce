"""A network drawn as the papers draw it, branches side by side and from the bottom up, as an SVG.

On the left the schema, the whole network, and the stem; beside them one figure for every kind of
module. All of it is read from the built model (:mod:`keras_inception.models.drawing.outline`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import keras

from keras_inception.models.drawing.outline import (
    Chain,
    Module,
    Step,
    name_run,
    outline,
    runs,
    total_macs,
    written,
)

BOX, HEIGHT = 128, 26  # a step's box
GAP, ROOM, FORK = 14, 24, 20  # between branches; between steps; from a step to where branches part
MARGIN, TITLE, HEADER = 18, 52, 92  # around a drawing; above a figure's; above all figures
PAGE = 1240  # what a row of figures may fill; a wider figure has a row of its own

_STYLE = """
text { font: 12px "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #1f2933; }
text.word { text-anchor: middle; }
text.network { font-size: 20px; font-weight: 600; }
text.title { font-size: 14px; font-weight: 600; }
text.note { font-size: 11px; fill: #66727f; }
rect { stroke-width: 1; rx: 5px; }
rect.page { fill: #ffffff; rx: 0; }
rect.card { fill: #fbfcfd; stroke: #d9dfe5; rx: 9px; }
rect.conv { fill: #dbe9f8; stroke: #7da7d4; }
rect.linear { fill: #ffffff; stroke: #7da7d4; }
rect.pool { fill: #fbe4d0; stroke: #dba06b; }
rect.map { fill: #e9ecef; stroke: #a7b0ba; }
rect.top { fill: #dff0e0; stroke: #86b98a; }
path { fill: none; stroke: #7b8794; stroke-width: 1.2; }
path.arrow { marker-end: url(#arrow); }
path.head { fill: #7b8794; stroke: none; }
"""
_ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
    ' markerHeight="7" orient="auto"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
)
_LEGEND = (
    "From the bottom up. 3x3/2: stride 2. V: valid, nothing is padded; all else is same. conv:"
    " convolution, batch normalization, ReLU. Columns meet in a concatenation of their channels."
)

Point = tuple[float, float]


class Drawing:
    """Shapes and lines, collected as SVG; y grows downwards."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def rectangle(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        """From its upper left corner."""
        self.parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'
        )

    def text(self, kind: str, x: float, y: float, words: str) -> None:
        """From its base line."""
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>')

    def box(self, kind: str, x: float, y: float, words: str, width: float = BOX) -> None:
        """A step in its box, whose bottom's middle is at x, y."""
        self.rectangle(kind, x - width / 2, y - HEIGHT, width, HEIGHT)
        self.text("word", x, y - HEIGHT / 2 + 4, words)

    def line(self, *points: Point, arrow: bool = False) -> None:
        """A line through the points."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        kind = ' class="arrow"' if arrow else ""
        self.parts.append(f'<path{kind} d="M{path}"/>')

    def meet(self, ends: list[Point], y: float, words: str, kind: str = "map") -> Point:
        """A box wide enough for all the ends below it, each led straight up; its top's middle."""
        first, last = ends[0][0], ends[-1][0]
        for x, end in ends:
            self.line((x, end), (x, y), arrow=True)
        middle = (first + last) / 2
        self.box(kind, middle, y, words, max(BOX + 24, last - first + 56))
        return middle, y - HEIGHT


@dataclass(frozen=True)
class Card:
    """A figure: a kind of module, the stem, or an auxiliary head.

    Args:
        title: the names of the modules that look so.
        note: what they cost together.
        first, last: the modules it begins and ends with, which differ for the stem only.
        chain: what is drawn.
    """

    title: str
    note: str
    first: Module
    last: Module
    chain: Chain

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, title and margins included."""
        width, height = _size(self.chain)
        if self.last.scale is not None:
            width += 2 * 40  # the way around, and as much on the right, for symmetry
            height += ROOM + HEIGHT
        width = max(width, BOX + 100, len(self.title) * 8, len(self.note) * 6)
        return width + 2 * MARGIN, TITLE + HEIGHT + height + ROOM + HEIGHT + MARGIN

    def draw(self, drawing: Drawing, left: float, top: float) -> None:
        """Draw it with the upper left corner there."""
        width, height = self.size
        drawing.rectangle("card", left, top, width, height)
        drawing.text("title", left + MARGIN, top + 24, self.title)
        drawing.text("note", left + MARGIN, top + 41, self.note)
        x, y = left + width / 2, top + height - MARGIN
        base = y - HEIGHT / 2
        drawing.box("map", x, y, written(self.first.input))
        branches_only = len(self.chain) == 1
        ends = _draw(drawing, self.chain, (x, y - HEIGHT), grids=not branches_only)
        module, y = self.last, top + TITLE + HEIGHT
        if module.scale is None:
            concat = "concat  " if len(ends) > 1 else ""
            drawing.meet(ends, y, concat + written(module.output))
            return
        relu = ", ReLU" if module.relu else ""
        ends = [drawing.meet(ends, y + ROOM + HEIGHT, f"x {module.scale:g} + input{relu}")]
        around = left + MARGIN + 10
        add = y + ROOM + HEIGHT / 2
        drawing.line(
            (x - BOX / 2, base),
            (around, base),
            (around, add),
            (x - BOX / 2 - 12, add),
            arrow=True,
        )
        drawing.meet(ends, y, written(module.output))


def draw(model: keras.Model, path: str | Path) -> None:
    """Draw a network as an SVG: its schema, and a figure of every kind of module.

    Args:
        model: built by this package, or loaded from a file that was.
        path: the file to write.

    Raises:
        ValueError: the model is not a network of this family.
        OSError: the file can't be written.
    """
    Path(path).write_text(figure(model), "utf-8")


def figure(model: keras.Model) -> str:
    """The text of the SVG that :func:`draw` writes."""
    modules = outline(model)
    drawing = Drawing()
    drawing.text("network", MARGIN, 34, f"{model.name}: {written(modules[0].input)}")
    drawing.text("note", MARGIN, 54, _costs(modules))
    drawing.text("note", MARGIN, 72, _LEGEND)
    stem, *cards = _cards(modules)
    left, bottom = _schema(drawing, modules)
    stem.draw(drawing, MARGIN, bottom + 2 * MARGIN)
    left = max(left, 2 * MARGIN + stem.size[0])
    bottom += 2 * MARGIN + stem.size[1]
    x, y, row, right = left, float(HEADER), 0.0, left
    for card in cards:
        width, height = card.size
        if x > left and x + width > left + PAGE:
            x, y, row = left, y + row + MARGIN, 0
        card.draw(drawing, x, y)
        x, row, right = x + width + MARGIN, max(row, height), max(right, x + width)
    width, height = right + MARGIN, max(y + row, bottom) + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
            f' viewBox="0 0 {width:g} {height:g}">',
            f"<title>{escape(model.name)}</title>",
            f"<style>{_STYLE}</style>",
            _ARROW,
            '<rect class="page" width="100%" height="100%"/>',
            *drawing.parts,
            "</svg>\n",
        ]
    )


def _cards(modules: tuple[Module, ...]) -> list[Card]:
    """The stem as one figure, then every kind of module that is more than a step."""
    stem = [module for module in modules if module.name.startswith("stem_")]
    steps = tuple(item for module in stem for item in module.chain)
    cards = [Card("stem", _costs(stem), stem[0], stem[-1], steps)]
    for run in runs(modules[len(stem) :]):
        last = run[-1]
        if not (len(last.chain) == 1 and isinstance(last.chain[0], Step)):
            cards.append(Card(_named(run), _costs(run), last, last, last.chain))
    return cards


def _schema(drawing: Drawing, modules: tuple[Module, ...]) -> tuple[float, float]:
    """The whole network, a box for modules that look alike; where it ends, right and below."""
    stem = [module for module in modules if module.name.startswith("stem_")]
    trunk = [run for run in runs(modules[len(stem) :]) if run[0].on is None]
    heads = {module.on: module for module in modules if module.on}
    boxes = [("map", "image", written(stem[0].input)), ("conv", "stem", written(stem[-1].output))]
    boxes += [(_paint(run[0]), _named(run), written(run[-1].output)) for run in trunk]
    kind, name, grid = boxes[-1]
    boxes[-1] = (kind, f"{name}  {grid}", grid)
    width = max(BOX, *(len(name) * 7 + 16 for _, name, _ in boxes))
    aside = 90 if heads else 0
    x, y = MARGIN + width / 2, float(HEADER + len(boxes) * (HEIGHT + ROOM))
    bottom = y
    for index, (kind, name, grid) in enumerate(boxes):
        drawing.box(kind, x, y, name, width)
        if index < len(boxes) - 1:
            drawing.line((x, y - HEIGHT), (x, y - HEIGHT - ROOM), arrow=True)
            drawing.text("note", x + 8, y - HEIGHT - ROOM / 2 + 4, grid)
        for module in trunk[index - 2] if index >= 2 else ():
            if module.name in heads:
                edge, middle = x + width / 2, y - HEIGHT / 2
                drawing.line((edge, middle), (edge + 20, middle), arrow=True)
                drawing.box("top", edge + 20 + 35, y, heads[module.name].name, 70)
        y -= HEIGHT + ROOM
    return MARGIN + width + aside + 2 * MARGIN, bottom


def _size(chain: Chain) -> tuple[float, float]:
    """Width and height of a chain, the room below each of its steps included."""
    width, height = float(BOX), 0.0
    for item in chain:
        if isinstance(item, Step):
            height += ROOM + HEIGHT
            continue
        sizes = [_size(branch) for branch in item.branches]
        width = max(width, sum(each for each, _ in sizes) + GAP * (len(sizes) - 1))
        height += FORK + max(each for _, each in sizes)
        if item is not chain[-1]:
            height += ROOM + HEIGHT
    return width, height


def _draw(drawing: Drawing, chain: Chain, start: Point, grids: bool = False) -> list[Point]:
    """Draw a chain upwards; where it ends, in several points if its last item is branches.

    The branches of a figure stand next to what they meet in, as in the papers.
    """
    ends = [start]
    for item in chain:
        x, y = ends[0]
        if isinstance(item, Step):
            drawing.line((x, y), (x, y - ROOM), arrow=True)
            drawing.box(_paint(item), x, y - ROOM, _label(item))
            ends = [(x, y - ROOM - HEIGHT)]
            output = item.output
        else:
            sizes = [_size(branch) for branch in item.branches]
            tallest = max(height for _, height in sizes)
            left = x - (sum(width for width, _ in sizes) + GAP * (len(sizes) - 1)) / 2
            fork, ends = y - FORK, []
            drawing.line((x, y), (x, fork))
            for branch, (width, height) in zip(item.branches, sizes, strict=True):
                middle = left + width / 2
                foot = fork - (tallest - height)
                drawing.line((x, fork), (middle, fork), (middle, foot))
                ends += _draw(drawing, branch, (middle, foot))
                left += width + GAP
            output = item.output
            if item is not chain[-1]:
                ends = [drawing.meet(ends, fork - tallest - ROOM, f"concat  {written(output)}")]
        if grids and isinstance(item, Step) and item is not chain[-1]:
            drawing.text("note", x + 8, ends[0][1] - ROOM / 2 + 4, written(output))
    return ends


def _label(step: Step) -> str:
    if step.kind == "dropout":
        return f"dropout {step.rate:.0%}"
    width = "" if step.width is None else str(step.width)
    kind = step.kind.removesuffix(" conv") if step.kind == "separable conv" else step.kind
    return " ".join(part for part in (step.patch, kind, width) if part)


def _paint(what: Step | Module) -> str:
    """The kind of box, which chooses its colour."""
    if isinstance(what, Module):
        if len(what.output) == 1:
            return "top"
        return "conv" if what.parameters else "pool"
    if what.kind in ("conv", "separable conv"):
        return "conv"
    if what.kind == "linear":
        return "linear"
    return "pool" if "pool" in what.kind else "top"


def _named(run: tuple[Module, ...]) -> str:
    return name_run(run) if len(run) == 1 else f"{name_run(run)} (x{len(run)})"


def _costs(modules: tuple[Module, ...] | list[Module]) -> str:
    macs = total_macs(modules)
    parameters = f"{sum(module.parameters for module in modules):,} parameters"
    return parameters if macs is None else f"{parameters}, {macs / 1e9:.3f} GMACs"
