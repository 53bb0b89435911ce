"""The table, the figure and the catalogue, against the built networks."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import keras
import pytest

from keras_inception import describe, draw
from keras_inception.cli import main
from keras_inception.models.catalogue import CATALOGUE, find
from keras_inception.models.drawing.figure import figure
from keras_inception.models.drawing.outline import Branches, outline, runs, total_macs

# 10^9 multiplications with an addition, counted elsewhere.
GMACS = [
    ("InceptionV1", "slim", 1.498),
    ("InceptionV1", "paper", 1.583),
    ("InceptionV2", "slim", 1.935),
    ("InceptionV2", "full", 2.019),
    ("InceptionV3", None, 5.713),
    ("InceptionV4", None, 12.254),
    ("InceptionResNetV1", None, 6.309),
    ("InceptionResNetV2", None, 13.156),
]


@pytest.mark.parametrize(("title", "variant", "gmacs"), GMACS)
def test_costs_are_the_known_ones(build, title, variant, gmacs):
    model = build(title) if variant in (None, "full") else build(title, variant=variant)
    description = describe(model)
    assert description.macs / 1e9 == pytest.approx(gmacs, rel=0.001)
    assert sum(row.parameters for row in description.rows) == model.count_params()
    assert sum(row.macs for row in description.rows) == description.macs
    assert sum(row.repeats for row in description.rows) == len(outline(model))


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.title)
def test_the_catalogue_is_true(build, entry):
    model = build(entry.title)
    assert entry.builder().__name__ == entry.title
    assert entry.name == model.name
    assert model.input.shape == (None, entry.size, entry.size, 3)
    assert entry.parameters == model.count_params()
    assert entry.gmacs == pytest.approx(total_macs(outline(model)) / 1e9, abs=0.001)
    # Every layer is in a module that the outline knows by its name.
    assert entry.parameters == sum(module.parameters for module in outline(model))


def test_the_catalogue_loads_neither_keras_nor_tensorflow():
    code = (
        "import sys, keras_inception.models.catalogue;"
        "sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_network_is_found_by_its_name():
    assert find("InceptionV3") is find("inception_v3") is find("inception-v3")
    assert find("inception_resnet_v2").title == "InceptionResNetV2"
    with pytest.raises(ValueError, match=r"InceptionV1, .*ResNetV2. Received: name='inception_v5'"):
        find("inception_v5")


def test_rows_read_as_the_papers(build):
    rows = {row.module: row for row in describe(build("InceptionV3")).rows}
    assert rows["stem_a_3x3"].patches == ("3x3/2V",)
    assert rows["stem_d_max_pool"].patches == ("3x3/2V max",)
    assert rows["mixed_5b"].patches == ("1x1", "1x1-5x5", "1x1-3x3-3x3", "3x3 avg-1x1")
    assert rows["mixed_5b"].widths == ("64", "48-64", "64-96-96", "·-32")
    assert rows["mixed_5b"].output == "35 x 35 x 256"
    assert rows["mixed_6c, 6d"].repeats == 2
    assert rows["mixed_7b, 7c"].patches[1:3] == ("1x1-{1x3,3x1}", "1x1-3x3-{1x3,3x1}")
    assert rows["logits"].widths == ("1000",)
    assert rows["dropout"].patches == ("dropout 20%",)

    rows = {row.module: row for row in describe(build("InceptionResNetV2")).rows}
    assert rows["block17_1 … 20"].repeats == 20
    assert rows["block17_1 … 20"].patches[-1] == "1x1 linear, times 0.1, plus input, ReLU"
    assert rows["block8_10"].patches[-1] == "1x1 linear, times 1, plus input"

    rows = {row.module: row for row in describe(build("InceptionV2", variant="slim")).rows}
    assert rows["stem_a_7x7"].patches == ("7x7/2 separable",)
    rows = {row.module: row for row in describe(build("InceptionV1", variant="torchvision")).rows}
    assert rows["stem_a_7x7"].patches == ("7x7/2 pad 3",)


def test_the_table_changes_with_width_stem_and_size(build):
    published = describe(build("InceptionV3"))
    half = describe(build("InceptionV3", width=0.5))
    small = describe(build("InceptionV3", stem="small"))
    assert [row.module for row in small.rows[:2]] == ["stem_a_3x3", "stem_b_3x3"]
    large = describe(build("InceptionV3", input_shape=(598, 598, 3)))
    assert half.parameters == build("InceptionV3", width=0.5).count_params()
    assert 0.2 < half.macs / published.macs < 0.3
    assert small.input == "32 x 32 x 3" and small.rows[0].patches == ("3x3",)
    assert large.parameters == published.parameters
    assert 4 < large.macs / published.macs < 4.4
    open_size = describe(build("InceptionV3", input_shape=(None, None, 3)))
    assert open_size.macs is None and open_size.rows[0].output == "? x ? x 32"


def test_the_text_is_a_table_with_its_sums(build):
    text = str(describe(build("InceptionV3", aux=True, classes=1001)))
    assert text.startswith("inception_v3: 299 x 299 x 3\n")
    (total,) = [line for line in text.splitlines() if line.startswith("total")]
    assert total.split() == ["total", "27,182,194", "5.719"]
    assert max(map(len, text.splitlines())) < 120


def test_outlines_of_loaded_models(narrow, tmp_path):
    model = narrow("InceptionV1")
    copy = keras.Model.from_config(model.get_config())
    assert outline(copy) == outline(model)


def _steps(chain):
    for item in chain:
        if isinstance(item, Branches):
            for branch in item.branches:
                yield from _steps(branch)
        else:
            yield item


@pytest.mark.parametrize("title", list(CATALOGUE))
def test_the_figure_shows_every_step(build, title):
    model = build(title)
    svg = ElementTree.fromstring(figure(model))
    tag = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in svg.iter(f"{tag}text")]
    modules = [run[-1] for run in runs(outline(model))]
    steps = [list(_steps(module.chain)) for module in modules]
    in_figures = [
        step
        for module, its_steps in zip(modules, steps, strict=True)
        for step in its_steps
        if module.name.startswith("stem_") or len(its_steps) > 1
    ]
    labels = [f"{step.patch} {step.kind} {step.width or ''}".strip() for step in in_figures]
    assert Counter(labels) <= Counter(texts)
    width, height = float(svg.get("width")), float(svg.get("height"))
    for box in svg.iter(f"{tag}rect"):
        if box.get("class") != "page":
            x, y = float(box.get("x")), float(box.get("y"))
            assert 0 <= x <= x + float(box.get("width")) <= width
            assert 0 <= y <= y + float(box.get("height")) <= height


def test_the_figure_is_written_and_changes_with_the_model(build, tmp_path):
    path = tmp_path / "figure.svg"
    draw(build("InceptionV3", aux=True, classes=1001), path)
    text = path.read_text("utf-8")
    assert "3x3/2V conv 384" in text and ">aux<" in text
    narrow = figure(build("InceptionV3", width=0.5))
    assert "3x3/2V conv 192" in narrow and ">aux<" not in narrow
    assert "3x3/2 conv 384" in figure(build("InceptionV3", stem="small"))


def test_the_command_lists_the_family(capsys):
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    for entry in CATALOGUE.values():
        assert entry.title in output and f"{entry.parameters:,}" in output


def test_the_command_describes_and_draws(capsys, tmp_path):
    path = tmp_path / "v1.svg"
    arguments = ["--width", "0.5", "--stem", "small", "--input-shape", "?x?x1", "--variant", "slim"]
    assert main(["describe", "inception_v1", *arguments, "--figure", str(path)]) == 0
    table = capsys.readouterr().out
    assert table.startswith("inception_v1: ? x ? x 1\n") and "1x1-3x3" in table
    assert path.read_text("utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inception_v9"], "InceptionResNetV2. Received: name='inception_v9'"),
        (
            ["InceptionV3", "--variant", "x"],
            "'slim', 'paper', 'torchvision'. Received: variant='x'",
        ),
        (["InceptionV3", "--input-shape", "70x80x3"], "at least 75 x 75 pixels"),
    ],
)
def test_the_command_answers_a_mistake_in_a_line(capsys, arguments, message):
    assert main(["describe", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.title)
def test_the_drawings_in_the_documentation_are_these(build, entry):
    """To draw them anew: keras-inception describe NAME --figure docs/figures/NAME.svg"""
    drawn = Path(__file__).parents[3] / "docs" / "figures" / f"{entry.name}.svg"
    assert drawn.read_text("utf-8") == figure(build(entry.title))
