"""Pictures of a run's curves and of how far its confidence can be trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_inception.evaluation.calibration import Calibration

# Readable on white and on near-black alike.
BLUE, ORANGE = "#3b7dd8", "#d9772b"
# What `as_svg` turns into the colour of the text around the picture.
_INK = "#010203"
_STYLE: Any = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "keras-inception",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and accuracy by epoch, training beside validation.

    Args:
        history: a row for each epoch, as history.csv has them.
    """
    prefix = "predictions_" if "predictions_accuracy" in history[0] else ""
    metrics = [name for name in _METRICS if prefix + name in history[0]]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.8 * len(metrics), 3.6), layout="constrained")
        places = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(places, metrics, strict=True):
            for label, name, color in (
                ("training", prefix + metric, BLUE),
                ("validation", f"val_{prefix}{metric}", ORANGE),
            ):
                if name in history[0]:
                    axes.plot(
                        [row["epoch"] for row in history],
                        [row[name] for row in history],
                        label=label,
                        color=color,
                        marker="o" if len(history) == 1 else None,
                    )
            axes.set(xlabel="epoch", title=_METRICS[metric])
            axes.xaxis.get_major_locator().set_params(integer=True)
            if metric == "loss":
                _log_scale_if_steep(axes)
            _grid(axes)
            axes.legend()
    return figure


def losses_by_rate(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggested: float
) -> Figure:
    """The loss of steps at a rising learning rate, and the rate that is suggested.

    Args:
        rates, losses, smoothed: float64 [steps].
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        axes.plot(rates, losses, color=BLUE, alpha=0.4, linewidth=1, label="loss of a step")
        axes.plot(rates, smoothed, color=BLUE, label="smoothed")
        axes.axvline(suggested, color=ORANGE, label=f"suggested: {suggested:g}")
        axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
        _grid(axes)
        axes.legend()
    return figure


def reliability(calibration: Calibration) -> Figure:
    """Accuracy by confidence, and how many images have which confidence."""
    bins = len(calibration.images)
    middle = (np.arange(bins) + 0.5) / bins
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, 4.8), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.bar(middle, calibration.accuracy, 0.9 / bins, color=BLUE, label="accuracy")
        above.hlines(
            calibration.confidence,
            middle - 0.45 / bins,
            middle + 0.45 / bins,
            color=ORANGE,
            linewidth=3,
            label="mean confidence",
        )
        above.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1)
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        figure.legend(
            loc="outside upper center",
            ncols=2,
            title=f"expected calibration error {calibration.ece:.4f}",
        )
        share = calibration.images / calibration.images.sum()
        below.bar(middle, share, 0.9 / bins, color=BLUE)
        below.set(xlabel="confidence", ylabel="images", ylim=(0, 1))
        below.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
        for axes in (above, below):
            _grid(axes)
    return figure


def heat_map(confusion: np.ndarray) -> Figure:
    """A confusion matrix of many classes, each row as shares of the class's images."""
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(confusion / totals, cmap="magma", vmin=0, vmax=1)
        axes.set(xlabel="predicted class, by number", ylabel="true class, by number")
        figure.colorbar(image, label="share of the class's images")
    return figure


def as_svg(figure: Figure, about: str) -> Markup:
    """A figure as an element for an HTML page, in the page's own text colour.

    Args:
        about: what it shows, for people who can't see it.
    """
    text = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    begin = Markup('<svg role="img" aria-label="{}" ').format(about)
    # Matplotlib escapes the figure's own texts.
    return Markup(svg.replace("<svg ", begin, 1))


_STEEP = 10  # times the usual loss

_METRICS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "average_precision": "average precision",
    "learning_rate": "learning rate",
}


def _log_scale_if_steep(axes: Axes) -> None:
    """A logarithmic axis where the first epochs would flatten all others, and it says so."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    values = drawn[np.isfinite(drawn) & (drawn > 0)]
    if len(values) and values.max() > _STEEP * np.median(values):
        axes.set_yscale("log")
        axes.set_ylabel("log scale")
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which(matplotlib.ticker.LogFormatter(labelOnlyBase=False))


def _grid(axes: Axes) -> None:
    axes.grid(alpha=0.25, color="#808080", linewidth=0.6)
    axes.set_axisbelow(True)
