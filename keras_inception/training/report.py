"""Pictures of a run."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure


def draw_curves(history: Path, output: Path) -> None:
    """Loss and accuracy by epoch, training beside validation, from a history.csv to a PNG."""
    with history.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    figure = Figure(figsize=(10, 4), layout="constrained")
    prefix = "predictions_" if "predictions_accuracy" in rows[0] else ""
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for label, name in (("training", prefix + metric), ("validation", f"val_{prefix}{metric}")):
            if name in rows[0]:
                axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=label)
        axes.set(xlabel="epoch", title=metric)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(output, dpi=120)
