"""One file that needs nothing else, whatever the classes are called."""

import csv
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from keras_inception.cli import main
from keras_inception.data.examples import Examples
from keras_inception.data.sources.folder import read_folder
from keras_inception.report.figures import as_svg, curves
from keras_inception.report.report import write_report
from keras_inception.report.template import (
    ENVIRONMENT,
    confusion_table,
    pairs,
    picture,
    render,
    show,
    table,
)
from keras_inception.runs.run import Run
from tests.training.made_up import colour_model, make_run, write_photos

LABELS = ("<script>alert(1)", 'a "quoted" & $x$', "grün", "東京", "plain")
VOID = {"meta", "img", "path", "use"}


class Page(HTMLParser):
    """Checks that elements close in order, and keeps what is looked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [
            value or "" for name, value in attributes
            if name in ("src", "href", "xlink:href", "data", "action", "srcset")
        ]  # fmt: skip
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += text


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("report") / "photos", LABELS, each=8, noise=90)


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    images = [(path, path.parent.name) for path in sorted(pictures.glob("*/*"))]
    path = tmp_path_factory.mktemp("runs") / "a <run>"
    return make_run(path, colour_model(len(LABELS)), LABELS, images)


def test_the_report_is_one_file_with_everything_in_it(finished: Run) -> None:
    path = write_report(finished, grad_cam=True)
    assert path == finished.path / "report.html"
    written = path.read_text("utf-8")
    page = Page(written)
    assert "script" not in page.elements and "link" not in page.elements
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert "url(" not in re.sub(r"url\(#\w+\)", "", written)
    assert "a <run>" in page.text
    for label in LABELS:
        assert label in page.text
    for words in ("Training", "Classes", "Confusion", "Confidence", "Mistakes", "Data", "Recipe",
                  "image_size", "Machine and versions", "expected calibration error"):  # fmt: skip
        assert words in page.text, words
    mistakes = page.text.count("taken for ")
    assert 0 < mistakes < 40
    assert page.elements.count("img") == 2 * mistakes, "each with its heat map"
    assert page.elements.count("table") >= 5
    assert "prefers-color-scheme: dark" in written


def test_it_measures_other_data_and_names_what_it_leaves_out(
    finished: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(pictures, tmp_path / "photos")
    (folder / "plain" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    output = tmp_path / "report.html"
    arguments = ["report", finished.path, "--data", folder, "--output", output]
    assert main([str(argument) for argument in arguments]) == 0
    assert f"Written: {output}" in capsys.readouterr().out
    page = Page(output.read_text("utf-8"))
    assert str(folder) in page.text and "broken.jpg" in page.text
    assert "Images left out: 1" in page.text and "40images measured" in page.text


def test_without_images_the_rest_is_there(finished: Run, tmp_path: Path) -> None:
    """None set apart, or all gone."""
    run = Run(shutil.copytree(finished.path, tmp_path / "run"))
    for rows, message in (([], "set no images apart"), ([("/gone.jpg", "plain")], "no image to")):
        with (run.path / "validation.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("image", "label"), *rows])
        page = Page(write_report(run).read_text("utf-8"))
        assert message in page.text and "Recipe" in page.text and "Mistakes" not in page.text
    (run.path / "history.csv").unlink()
    assert "Training" not in Page(write_report(run).read_text("utf-8")).text


def test_several_classes_an_image(pictures: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", colour_model(len(LABELS), "sigmoid"), LABELS, [])
    examples = read_folder(pictures)
    targets = np.eye(len(LABELS), dtype=bool)[examples.targets]
    targets[::3, 0] = True
    several = Examples(LABELS, examples.images, targets)
    page = Page(write_report(run, examples=several, grad_cam=True).read_text("utf-8"))
    assert "mean average precision" in page.text and ", missed" in page.text
    assert "Confusion" not in page.text and "Confidence" not in page.text


def test_many_classes_are_a_picture_and_a_list(tmp_path: Path) -> None:
    labels = tuple(f"class {number:02d}" for number in range(40))
    photos = write_photos(tmp_path / "photos", labels, each=2, noise=30)
    run = make_run(tmp_path / "run", colour_model(40), labels, [])
    page = Page(write_report(run, examples=read_folder(photos)).read_text("utf-8"))
    assert "image" in page.elements, "the heat map, in SVG"
    assert "The most frequent mistakes" in page.text


def test_a_run_that_has_not_finished_is_refused(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(shutil.copytree(finished.path, tmp_path / "run"))
    run.model_path.unlink()
    (run.path / "report.html").unlink(missing_ok=True)
    assert main(["report", str(run.path)]) == 1
    assert "has not finished" in capsys.readouterr().err
    assert not (run.path / "report.html").exists()


def test_figures_take_the_pages_colours_and_say_what_they_are() -> None:
    rows = [
        {"epoch": 1.0, "loss": 2.0, "accuracy": 0.5},
        {"epoch": 2.0, "loss": 1.0, "accuracy": 0.6},
    ]
    svg = as_svg(curves(rows), "curves")
    assert 'role="img" aria-label="curves"' in svg and "currentColor" in svg
    assert "#010203" not in svg and "<metadata" not in svg and "<?xml" not in svg


def test_a_steep_start_does_not_flatten_the_rest() -> None:
    """A loss of 80 in the first epoch; then the axis is logarithmic, and says so."""
    losses = [80.0, 0.9, 0.7, 0.5, 0.45, 0.4]
    rows = [
        {"epoch": float(number), "loss": loss, "val_loss": loss + 0.1, "accuracy": 0.5}
        for number, loss in enumerate(losses, 1)
    ]
    loss, accuracy = curves(rows).axes
    assert loss.get_yscale() == "log" and loss.get_ylabel() == "log scale"
    assert accuracy.get_yscale() == "linear" and accuracy.get_ylabel() == ""
    heights = loss.transData.transform([(0, 0.9), (0, 0.4)])[:, 1] / loss.bbox.height
    assert heights[0] - heights[1] > 0.1, "what follows is to be seen"
    assert "log scale" in as_svg(curves(rows), "curves")
    rows[0]["loss"] = rows[0]["val_loss"] = 2.3
    assert curves(rows).axes[0].get_yscale() == "linear"
    rows[0]["val_loss"], rows[1]["loss"] = math.inf, 0.0
    assert curves(rows).axes[0].get_yscale() == "linear"


def test_colours_have_a_legend(finished: Run) -> None:
    page = Page(write_report(finished).read_text("utf-8"))
    assert "Blue: right; orange: mistakes; the stronger, the larger the share" in page.text


def test_the_pieces_of_a_page() -> None:
    assert [show(value) for value in (None, True, 0.12345, 1234567, [1, "a"], {}, {"a": 0.5})] == [
        "-", "yes", "0.1235", "1,234,567", "1, a", "none", "a: 0.5",
    ]  # fmt: skip
    pieces = ENVIRONMENT.get_template("pieces.html").module
    numbers = pieces.table(
        table("about", ["a", "n"], [["x", 1], ["y", None], ["<z>", 3]], shares=[0.5, 1.0, 0.0])
    )
    assert numbers.count("--share:50.0%") == 1 and numbers.count('scope="row"') == 3
    assert "<thead>" in numbers and "&lt;z&gt;" in numbers and "<z>" not in numbers
    assert "<thead>" not in pieces.table(pairs({"a": 1}))
    small = pieces.picture(picture(np.zeros((8, 8, 3), np.uint8), 'a "b"'))
    large = pieces.picture(picture(np.zeros((900, 500, 3), np.uint8), "c"))
    assert 'class="small" alt="a &#34;b&#34;" src="data:image/png' in small
    assert "data:image/jpeg" in large
    matrix = pieces.table(confusion_table(["a", "b"], np.array([[3, 1], [0, 0]])))
    assert matrix.count("<td style") == 2 and "rgba(47,111,200,0.75)" in matrix


def test_what_the_template_wants_must_be_given() -> None:
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        render(network="a network")
