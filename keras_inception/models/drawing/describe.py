"""A network in the form of its paper's table, computed from the built model."""

from __future__ import annotations

from dataclasses import dataclass

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

_LEGEND = """\
a-b: one after the other; {a,b}: side by side; a line of a module is one of its columns.
V: valid, nothing is padded; all else is same. Every convolution is followed by batch normalization
and ReLU, save the linear and the separable ones. A row of several modules counts all of them.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table: a module, or several that look alike and follow one another.

    Args:
        module: its name, the end point's.
        repeats: how many modules the row stands for.
        patches: kernel or window, stride and padding, one entry a branch of the module.
        widths: output channels of the same steps; ``·`` where a pool passes its input's through.
        output: grid and channels of the (last) module's output.
        parameters: of all of the row's modules.
        macs: multiplications with an addition, likewise; ``None`` if the input size is open.
    """

    module: str
    repeats: int
    patches: tuple[str, ...]
    widths: tuple[str, ...]
    output: str
    parameters: int
    macs: int | None


@dataclass(frozen=True)
class Description:
    """The table of a network; as text, ``str(description)``.

    Args:
        name: the model's.
        input: height, width and channels of the image.
        rows: from the image to the classifier, auxiliary heads last.
        parameters: of the whole model, all kinds.
        macs: multiplications with an addition for one image; ``None`` if its size is open.
    """

    name: str
    input: str
    rows: tuple[Row, ...]
    parameters: int
    macs: int | None

    def __str__(self) -> str:
        lines = [("module", "patch/stride", "width", "output", "parameters", "GMACs")]
        for row in self.rows:
            module = row.module if row.repeats == 1 else f"{row.module} (x{row.repeats})"
            costs = (f"{row.parameters:,}", _giga(row.macs)) if row.parameters else ("", "")
            numbers = (row.output, *costs)
            for patch, width in zip(row.patches, row.widths, strict=True):
                lines.append((module, patch, width, *numbers))
                module, numbers = "", ("", "", "")
        lines.append(("total", "", "", "", f"{self.parameters:,}", _giga(self.macs)))
        sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = []
        for line in lines:
            left = [cell.ljust(size) for cell, size in zip(line[:3], sizes[:3], strict=True)]
            right = [cell.rjust(size) for cell, size in zip(line[3:], sizes[3:], strict=True)]
            text.append("  ".join(left + right).rstrip())
        rule = "-" * (sum(sizes) + 2 * (len(sizes) - 1))
        header, *body, total = text
        return "\n".join(
            [f"{self.name}: {self.input}", "", header, rule, *body, rule, total, "", _LEGEND]
        )


def describe(model: keras.Model) -> Description:
    """A network as its paper's table: modules, patches, strides, padding, widths, grids, costs.

    Everything is computed from the model's layers, whatever its width, stem and input size.

    Args:
        model: built by this package, or loaded from a file that was.

    Raises:
        ValueError: the model is not a network of this family.
    """
    modules = outline(model)
    return Description(
        name=model.name,
        input=written(modules[0].input),
        rows=tuple(map(_row, runs(modules))),
        parameters=model.count_params(),
        macs=total_macs(modules),
    )


def _row(run: tuple[Module, ...]) -> Row:
    module = run[-1]
    patches, widths = [], []
    for item in module.chain:
        for branch in [(item,)] if isinstance(item, Step) else item.branches:
            patches.append(_patches(branch))
            widths.append(_widths(branch))
    if module.scale is not None:
        relu = ", ReLU" if module.relu else ""
        patches[-1] += f", times {module.scale:g}, plus input{relu}"
    return Row(
        module=name_run(run),
        repeats=len(run),
        patches=tuple(patches),
        widths=tuple(widths),
        output=written(module.output),
        parameters=sum(each.parameters for each in run),
        macs=total_macs(run),
    )


def _patches(chain: Chain) -> str:
    return "-".join(
        _patch(item)
        if isinstance(item, Step)
        else "{" + ",".join(map(_patches, item.branches)) + "}"
        for item in chain
    )


def _patch(step: Step) -> str:
    if step.kind == "dropout":
        return f"dropout {step.rate:.0%}"
    kind = "" if step.kind == "conv" else step.kind.removesuffix(" pool").removesuffix(" conv")
    return f"{step.patch} {kind}".strip()


def _widths(chain: Chain) -> str:
    return "-".join(
        ("·" if item.width is None else str(item.width))
        if isinstance(item, Step)
        else "{" + ",".join(map(_widths, item.branches)) + "}"
        for item in chain
    )


def _giga(macs: int | None) -> str:
    return "?" if macs is None else f"{macs / 1e9:.3f}"
